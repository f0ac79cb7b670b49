"""What a run has kept scores any table as the run has scored its own test rows, to the last bit."""

import csv
import gzip
import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from datasets import read_table
from experiments.fraud import deciding
from experiments.fraud.main import main as fraud
from experiments.model import FraudModel
from experiments.model.threshold import Rows
from experiments.score.main import ADDED, main
from trainer import Network

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

N = 525
Captured = pytest.CaptureFixture[str]


def payments() -> "pd.DataFrame":
    """Make a table with gaps, texts that look like numbers, and texts with commas and quotes."""
    rng = np.random.default_rng(8)
    fraud_rows = rng.random(N) < 0.2
    amounts = np.round(rng.gamma(1.0, 40.0, N) * np.where(fraud_rows, 9.0, 1.0), 2)
    return pd.DataFrame(
        {
            "Time": np.arange(N) * 2,
            "Amount": np.where(np.arange(N) % 11 == 3, "", amounts.astype(str)),
            "Code": np.array(["1", "02", "x"], object)[rng.integers(0, 3, N)],
            "Shop": np.array(['a "good" one', "NA", "here, there", "é"], object)[rng.integers(0, 4, N)],
            "Class": fraud_rows.astype(int),
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Rows, np.ndarray]:
    """Train on the table, and give the run's folder, the table, the rows that it was judged on, and their places."""
    root, judged, places = tmp_path_factory.mktemp("score"), [], []
    (root / "payments.csv").write_text(payments().to_csv(index=False), encoding="utf-8")
    command = shlex.split("--hidden 7 3 --epochs=3 --batch-size=64 --check-every=0 --baselines=off --quiet --no-report")
    command += ["--data", str(root / "payments.csv"), "--target", "Class", "--positive-weight", "5"]
    with pytest.MonkeyPatch.context() as patch:
        whole, spans = deciding.judged, deciding.Payments.spans
        patch.setattr(deciding, "judged", lambda rows, *rest: judged.append(rows) or whole(rows, *rest))
        patch.setattr(deciding.Payments, "spans", lambda self, split: places.append(split.rows) or spans(self, split))
        assert fraud([*command, "--out", str(root / "run")]) == 0
    return root / "run", root / "payments.csv", judged[0], places[0]


def read_back(path: Path) -> "pd.DataFrame":
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"probability": str})
    return table.assign(probability=[float(text) for text in table.probability])


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_every_row_has_the_probability_of_the_runs_own_test(ending: str, run, tmp_path: Path) -> None:
    folder, table, rows, places = run
    out = tmp_path / f"scored{ending}"
    assert main([str(folder), str(table), "--output", str(out)]) == 0
    scored = read_back(out)
    assert np.array_equal(scored.probability.to_numpy()[places], rows.probabilities)
    cut = json.loads((folder / "metrics.json").read_text())["threshold"]["cut"]
    assert np.array_equal(scored.decision, scored.probability >= float(cut))
    assert scored.columns.tolist() == ["Time", "Amount", "Code", "Shop", "Class", *ADDED]


def test_money_dates_kinds_and_a_separator_are_read_as_in_training_in_any_piece(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "Shop": rng.integers(0, 150, N),
            "When": pd.date_range("2025-01-31", periods=N, freq="7h")[rng.permutation(N)].strftime("%d.%m.%Y %H:%M"),
            "Amount": [f"{value:,.3f}".translate(str.maketrans(",.", ".,")) for value in rng.gamma(1.0, 4000.0, N)],
            "Class": np.where(rng.random(N) < 0.3, "Yes", "No"),
        }
    )
    frame.loc[5, "Amount"] = "1.234"  # alone it would be read as 1.234
    frame.to_csv(tmp_path / "a.csv", index=False, sep=";")
    asked = ["--data", str(tmp_path / "a.csv"), "--target", "Class", "--separator", ";", "--categorical", "Shop"]
    asked += shlex.split(
        "--hidden 5 --epochs=2 --check-every=0 --baselines=off --quiet --no-report --cost-missed Amount"
    )
    assert fraud([*asked, "--cost-missed", "Amount", "--cost-alarm", "50", "--out", str(tmp_path / "run")]) == 0
    expected = FraudModel.load(tmp_path / "run").predict_proba(read_table(tmp_path / "a.csv", separator=";"))
    for some in ([5], [5, 6, 7], range(N)):
        frame.iloc[list(some)].to_csv(tmp_path / "b.csv", index=False, sep="\t")
        out = tmp_path / "scored.parquet"
        typed = [str(tmp_path / "run"), str(tmp_path / "b.csv"), "--separator", "tab", "--output", str(out)]
        assert main(typed) == 0
        assert np.array_equal(pd.read_parquet(out).probability, expected[list(some)])
        assert pd.read_parquet(out).Amount[0] == 1234.0 or len(some) == N


def test_from_python_a_frame_gets_the_same_bits(run) -> None:
    folder, table, rows, places = run
    model = FraudModel.load(folder)
    for frame in (read_table(table), pd.read_csv(table), pd.read_csv(table, dtype=str)):
        assert np.array_equal(model.predict_proba(frame)[places], rows.probabilities)


def test_a_csv_table_is_handed_on_to_the_letter_with_all_its_columns(run, capsys: Captured) -> None:
    folder, table, *_ = run
    assert main([str(folder), str(table)]) == 0
    given, scored = table.read_text(encoding="utf-8"), capsys.readouterr().out
    before, after = ([*csv.reader(io.StringIO(text))] for text in (given, scored))
    assert [row[:5] for row in after] == before
    assert {len(row) for row in after} == {7}


def test_pieces_do_not_change_what_is_scored(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, table, rows, places = run
    read_table(table).to_parquet(tmp_path / "payments.parquet")
    monkeypatch.setattr("datasets.tables.pieces.ROWS", 31)
    monkeypatch.setattr("datasets.tables.pieces.BLOCK", 700)
    for path in (table, tmp_path / "payments.parquet"):
        assert main([str(folder), str(path), "--output", str(tmp_path / "scored.parquet")]) == 0
        assert np.array_equal(read_back(tmp_path / "scored.parquet").probability[places], rows.probabilities)


def test_numbers_of_a_parquet_table_stay_of_their_type_and_those_of_a_csv_table_become_numbers(
    run, tmp_path: Path
) -> None:
    folder, table, *_ = run
    payments().assign(Amount=7.0).to_parquet(tmp_path / "payments.parquet")
    for path, kind in ((tmp_path / "payments.parquet", np.int64), (table, np.float64)):
        assert main([str(folder), str(path), "--output", str(tmp_path / "scored.parquet")]) == 0
        assert read_back(tmp_path / "scored.parquet").Time.dtype == kind


def test_a_packed_table_and_one_without_rows_are_scored(run, tmp_path: Path, capsys: Captured) -> None:
    folder, table, *_ = run
    (tmp_path / "few.csv.gz").write_bytes(gzip.compress(b"".join(table.read_bytes().splitlines(keepends=True)[:8])))
    (tmp_path / "none.csv").write_text("Amount,Code,Shop,Time\n", encoding="utf-8")
    for name, n_rows in (("few.csv.gz", 7), ("none.csv", 0)):
        assert main([str(folder), str(tmp_path / name), "--output", str(tmp_path / "scored.csv")]) == 0
        assert f"{n_rows} rows, " in capsys.readouterr().err
        assert len(read_back(tmp_path / "scored.csv")) == n_rows


def test_columns_far_outside_and_new_texts_are_warned_of_and_few_new_texts_are_not(
    run, tmp_path: Path, capsys: Captured
) -> None:
    folder, table, *_ = run
    assert main([str(folder), str(table), "--output", str(tmp_path / "scored.csv")]) == 0
    assert "warning" not in capsys.readouterr().err
    frame = payments()
    frame.loc[7, "Amount"] = "1e6"
    frame.loc[9, "Shop"] = "new"
    frame["Code"] = "new"
    frame["Time"] = None
    frame.to_csv(tmp_path / "other.csv", index=False)
    assert main([str(folder), str(tmp_path / "other.csv"), "--output", str(tmp_path / "scored.csv")]) == 0
    shown = capsys.readouterr().err
    assert re.search(r"warning: Amount: 1 rows \(0.19%\) beyond [\d.]+ to [\d.]+, by more than that range", shown)
    assert "warning: Code: 525 rows (100.00%) with a text that no training row holds" in shown
    assert "warning: Time: 525 rows (100.00%) without a number" in shown
    assert "Shop" not in shown


@pytest.mark.parametrize(
    ("change", "output", "words"),
    [
        (lambda t: t.drop(columns=["Amount", "Code"]), "s.csv", "lacks columns.*Expected Amount, Code, too"),
        (lambda t: t.assign(Amount=["12x" if row == 500 else "1" for row in range(N)]), "s.csv", "'12x' in row 501"),
        (lambda t: t.assign(probability=1), "s.csv", "scored already"),
        (lambda t: t, "scored.xlsx", "names no table. Expected a file ending in .csv"),
        (lambda t: t, "other.csv", "is the table itself"),
        (lambda t: t, "no/where.csv", "cannot read or write"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    change, output: str, words: str, run, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.tables.pieces.BLOCK", 900)
    change(payments()).to_csv(tmp_path / "other.csv", index=False)
    before = (tmp_path / "other.csv").read_bytes()
    assert main([str(run[0]), str(tmp_path / "other.csv"), "--output", str(tmp_path / output)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(rf"python -m experiments\.score: error: .*{words}.*\n", shown.err)
    assert [path.name for path in tmp_path.iterdir()] == ["other.csv"]
    assert (tmp_path / "other.csv").read_bytes() == before


@pytest.mark.parametrize("spoil", ["missing", "damaged", "table"])
def test_without_a_whole_model_or_table_it_is_one_line(spoil: str, run, tmp_path: Path, capsys: Captured) -> None:
    folder, table, *_ = run
    if spoil == "damaged":
        (tmp_path / "model.npz").write_bytes((folder / "model.npz").read_bytes()[:-200])
    where = folder if spoil == "table" else tmp_path
    assert main([str(where), str(tmp_path / "no.csv") if spoil == "table" else str(table)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_whose_checks_failed_says_so_whenever_it_scores(tmp_path: Path, capsys: Captured) -> None:
    small = "--samples 400 --features 3 --hidden 5 --epochs 1 --check-every 2 --baselines=off --quiet --no-report"
    out = str(tmp_path / "run")
    fraud([*small.split(), "--on-failure", "log", "--bug", "dW2", "--out", out])
    rows = np.random.default_rng(0).normal(size=(9, 3))
    pd.DataFrame(rows, columns=["V1", "V2", "V3"]).to_csv(tmp_path / "rows.csv", index=False)
    capsys.readouterr()
    assert main([out, str(tmp_path / "rows.csv"), "--output", str(tmp_path / "scored.csv")]) == 0
    shown = capsys.readouterr().err
    assert re.search(r"warning: do not trust this model: \d+ gradient checks of its training FAILED", shown)
    model = FraudModel.load(out)
    network = Network(model.network.layer_sizes)
    assert model.predict_proba(pd.DataFrame(rows, columns=["V1", "V2", "V3"])) == pytest.approx(
        network.predict_proba(model.parameters, rows), rel=1e-12
    )
