"""The cut comes from the validation rows alone; what it costs, when it is late, and what trees would do is said."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.fraud.main import main
from experiments.fraud.payments import Payments

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

N = 700
SMALL = shlex.split("--hidden 5 --epochs=6 --batch-size=64 --check-every=0 --quiet --no-report")
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write seven weeks of payments, in whose last one frauds look honest."""
    rng = np.random.default_rng(4)
    days = pd.Timestamp("2024-03-04") + pd.to_timedelta(np.sort(rng.random(N)) * 49.0, unit="D")  # a Monday
    fraud = rng.random(N) < 0.25
    shown = fraud & (np.arange(N) < 0.94 * N)
    frame = pd.DataFrame(
        {
            "When": days.astype(str),
            "Second": (days - days[0]).total_seconds(),
            "V1": rng.normal(size=N) + 4.0 * shown,
            "V2": rng.normal(size=N),
            "Amount": rng.gamma(2.0, 30.0, N).round(2),
            "Class": fraud.astype(int),
        }
    )
    path = tmp_path_factory.mktemp("table") / "payments.csv"
    frame.to_csv(path, index=False)
    return path


def run(table: Path, out: Path, options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the main job on the table, and give its metrics and its curve."""
    command = [*SMALL, *options.split(), "--data", str(table), "--target", "Class", "--out", str(out), "--overwrite"]
    assert main(command) == 0
    return tuple(json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in ("metrics", "curve"))


BY_TIME = "--split-by When --baselines=off"


def test_permuted_labels_of_the_test_rows_do_not_move_the_cut(table: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(table)
    newest = frame.index[int(0.8 * N) :]
    frame.loc[newest, "Class"] = np.random.default_rng(1).permutation(frame.Class[newest])
    frame.to_csv(tmp_path / "permuted.csv", index=False)
    for options in ("", "--cost-missed Amount --cost-alarm 9", "--alerts 12%", "--alerts 2.5"):
        honest, permuted = (
            run(path, tmp_path / "run", f"{BY_TIME} {options}")[0] for path in (table, tmp_path / "permuted.csv")
        )
        assert permuted["threshold"] == honest["threshold"]
        assert permuted["test"]["average_precision"] < honest["test"]["average_precision"]


def test_alarms_are_at_most_as_many_as_asked_for_on_the_validation_rows(table: Path, tmp_path: Path) -> None:
    rows = N // 5
    metrics, _ = run(table, tmp_path / "run", f"{BY_TIME} --alerts 10%")
    assert metrics["threshold"]["rule"] == "at most 10 % of alarms"
    assert 0 < metrics["test"]["alarms"] < 0.2 * rows
    fewer, _ = run(table, tmp_path / "run", f"{BY_TIME} --alerts 1")
    assert fewer["threshold"]["cut"] > metrics["threshold"]["cut"]


def test_a_cost_is_chosen_for_and_said(table: Path, tmp_path: Path, capsys: Captured) -> None:
    metrics, _ = run(table, tmp_path / "run", f"{BY_TIME} --cost-missed Amount --cost-alarm 5")
    frame = pd.read_csv(table).iloc[int(0.8 * N) :]
    assert metrics["test"]["cost_of_nothing"] == pytest.approx(frame.Amount[frame.Class == 1].sum(), rel=0.02)
    assert metrics["test"]["cost"] < metrics["test"]["cost_of_nothing"]
    assert "if nothing was called fraud)" in capsys.readouterr().out


def test_rows_with_dates_are_told_by_the_week_and_a_late_change_is_named(
    table: Path, tmp_path: Path, capsys: Captured
) -> None:
    metrics, curve = run(table, tmp_path / "run", BY_TIME)
    names = [span["name"] for span in curve["spans"]]
    assert names == ["week of 2024-04-08", "week of 2024-04-15"]
    counts = curve["confusion"]
    assert sum(span["rows"] for span in curve["spans"]) == sum(counts.values())
    assert sum(span["found"] for span in curve["spans"]) == counts["true_positives"]
    assert "It is worse of late: recall" in capsys.readouterr().out
    assert metrics["test"]["recall"] < 0.9


def test_a_time_that_is_no_date_is_told_by_its_tenths_and_none_is_not_told(table: Path, tmp_path: Path) -> None:
    _, curve = run(table, tmp_path / "run", "--split-by Second --baselines=off")
    assert len(curve["spans"]) == 10
    assert curve["spans"][0]["name"].startswith("Second ")
    _, curve = run(table, tmp_path / "run", "--baselines=off")
    assert curve["spans"] == []


def test_a_weight_of_the_frauds_is_put_right_and_the_brier_score_says_so(table: Path, tmp_path: Path) -> None:
    metrics, curve = run(table, tmp_path / "run", "--positive-weight 30 --baselines=off")
    assert metrics["test"]["brier"] < metrics["test"]["brier_uncorrected"]
    mean = [sum(part["mean"] * part["rows"] for part in curve[name]) for name in ("calibration", "uncorrected")]
    frauds = curve["confusion"]["true_positives"] + curve["confusion"]["false_negatives"]
    assert abs(mean[0] - frauds) < abs(mean[1] - frauds)
    plain, _ = run(table, tmp_path / "run", "--baselines=off")
    assert plain["test"]["brier"] == plain["test"]["brier_uncorrected"]


def test_rivals_are_fitted_unless_told_not_to(table: Path, tmp_path: Path, capsys: Captured) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score

    from datasets import prepare, read_table

    metrics, _ = run(table, tmp_path / "run", "--split-by When")
    assert [rival["name"] for rival in metrics["rivals"]] == ["logistic regression", "gradient-boosted trees"]
    data = prepare(read_table(table), "Class", split_by="When")
    model = LogisticRegression(max_iter=1_000).fit(data.train.inputs, data.train.targets)
    expected = average_precision_score(data.test.targets, model.predict_proba(data.test.inputs)[:, 1])
    assert metrics["rivals"][0]["average_precision"] == expected
    assert "gradient-boosted trees" in capsys.readouterr().out
    assert run(table, tmp_path / "run", BY_TIME)[0]["rivals"] == []


def test_the_epoch_that_ranks_the_validation_rows_best_is_kept(table: Path, tmp_path: Path) -> None:
    metrics, _ = run(table, tmp_path / "run", f"{BY_TIME} --learning-rate 0.05 --epochs 9")
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    values = {row["epoch"]: row["validation_average_precision"] for row in rows if row["event"] == "epoch"}
    assert metrics["best_epoch"] == max(values, key=values.get)
    assert metrics["validation_average_precision"] == max(values.values())
    assert metrics["epochs"] == 9
    run(table, tmp_path / "early", f"{BY_TIME} --learning-rate 0.05 --epochs {metrics['best_epoch']}")
    kept, again = (np.load(tmp_path / name / "parameters.npz") for name in ("run", "early"))
    assert all(np.array_equal(kept[name], again[name]) for name in kept.files)


def test_patience_ends_a_run_that_is_no_better_any_more_in_good_order(table: Path, tmp_path: Path) -> None:
    metrics, _ = run(table, tmp_path / "run", f"{BY_TIME} --learning-rate 0.05 --epochs 90 --patience 2")
    assert metrics["outcome"] == "stopped"
    assert metrics["epochs"] == metrics["best_epoch"] + 2 < 90
    assert "has not improved" in metrics["reason"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--cost-missed Amount --cost-alarm Costs", "--cost-alarm names no column.*Received 'Costs'"),
        ("--cost-missed V1 --cost-alarm 5", "'V1' is no cost.*Received '-"),
        ("--cost-missed When --cost-alarm 5", "'When' is no cost"),
        ("--alerts 20 --split-by Second", "cannot count by the day.*dates in Second"),
    ],
)
def test_what_does_not_go_with_the_table_is_one_line(
    options: str, words: str, table: Path, tmp_path: Path, capsys: Captured
) -> None:
    command = [*SMALL, *options.split(), "--data", str(table), "--target", "Class", "--out", str(tmp_path / "run")]
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert re.search(words, shown)


def test_rows_that_are_inputs_already_stay_what_they_are() -> None:
    from datasets import make_fraud
    from experiments.fraud.arguments import parse

    data = make_fraud(500, 3, fraud_rate=0.1, seed=0)
    payments = Payments.synthetic(data, parse(["--cost-missed", "70", "--cost-alarm", "3"]))
    frame = pd.DataFrame(data.test.inputs, columns=list(data.feature_names))
    assert np.array_equal(payments.preparation.transform(frame), data.test.inputs)
    assert (payments.missed, payments.alarm) == (70.0, 3.0)
