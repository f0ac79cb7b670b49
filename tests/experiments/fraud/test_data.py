"""The main job on a table of one's own: what it says, what it keeps, and how it refuses."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.fraud.main import main

N = 210
OPTIONS = ["--hidden", "3", "--epochs=2", "--batch-size=64", "--check-every=2", "--baselines=off"]
HEADER = "Time,V1,V2,Kind,Amount,Class"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Write a table with texts and gaps."""
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    values = np.random.default_rng(0).standard_normal((N, 3))
    lines = [
        f"{row},{v1},{v2 if row % 9 else ''},{'abc'[row % 3]},{amount},{int(row % 7 == 0)}"
        for row, (v1, v2, amount) in enumerate(values)
    ]
    path = tmp_path / "card.csv"
    path.write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    return path


def test_a_table_is_announced_trained_on_and_kept_in_the_settings(card: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "run"
    assert main([*OPTIONS, "--data", str(card), "--target", "Class", "--split-by", "Time", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    for words in (
        "card.csv: 210 rows, of which 30 (14.286%) are fraud: Class = 1",
        "split by Time, which is no feature then",
        "numbers, standardised: V1, V2, Amount",
        "texts, a column for each: Kind (3)",
        "missing numbers, now the training rows' median: V2 (24)",
        "210 payments: 126 to train, 42 to validate, 42 to test",
        "6-3-1 relu network",
    ):
        assert words in shown.err
        assert words in (out / "log.txt").read_text(encoding="utf-8")
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert (settings["data"], settings["target"], settings["split_by"]) == (str(card), "Class", "Time")
    assert not {"samples", "features", "fraud_rate"} & set(settings)
    assert np.load(out / "parameters.npz")["W1"].shape == (3, 6)


def test_columns_labels_and_separator_are_as_asked(card: Path, tmp_path: Path, capsys: Captured) -> None:
    lines = [line.split(",") for line in card.read_text(encoding="utf-8").splitlines()]
    for row, line in enumerate(lines[1:]):
        line[4] = f"{abs(float(line[4])):.2f}".replace(".", ",")
        line[5] = {"1": ("Good", "good ")[row % 2], "0": "Bad"}[line[5]]
        line.insert(0, str(row % 5))
    lines[0].insert(0, "Shop Code")
    card.write_text("\n".join(";".join(line) for line in lines), encoding="utf-8")
    options = [*OPTIONS, "--data", str(card), "--target", "Class", "--out", str(tmp_path / "run")]
    assert main([*options, "--overwrite"]) == 2
    assert "--separator ';'" in capsys.readouterr().err
    asked = [
        "--checkpoint-every=1",
        "--separator",
        ";",
        "--fraud-label",
        "bad",
        "--drop",
        "V1",
        "Time",
        "--categorical",
        "Shop Code",
    ]
    assert main([*options, *asked]) == 0
    shown = capsys.readouterr().err
    for words in (
        "of which 180 (85.714%) are fraud: Class = Bad",
        "left out, as asked: V1, Time",
        "numbers, standardised: V2, Amount",
        "Shop Code (5), Kind (3)",
        "10-3-1 relu network",
        "WARNING labels that differ in case or spaces only are one: 'Good', 'good'",
        "WARNING numbers written as text: Amount",
    ):
        assert words in shown
    assert main([*options, *asked, "--resume", "--epochs", "3"]) == 0


def test_a_leak_is_told_before_the_training_and_after_the_result(card: Path, capsys: Captured) -> None:
    text = card.read_text(encoding="utf-8").splitlines()
    lines = [f"{line},{'Flag' if not row else line[-1]}" for row, line in enumerate(text)]
    card.write_text("\n".join(lines), encoding="utf-8")
    assert main([*OPTIONS, "--data", str(card), "--target", "Class", "--quiet"]) == 0
    shown = capsys.readouterr()
    for stream in (shown.err, shown.out):
        assert "LEAK: Flag alone tells fraud from honest rows" in stream
        assert "--drop Flag" in stream


def test_what_is_left_out_is_a_warning(card: Path, capsys: Captured) -> None:
    card.write_text(
        card.read_text().replace(HEADER, HEADER.replace("Kind", "Same")).replace(",b,", ",a,").replace(",c,", ",a,")
    )
    assert main([*OPTIONS, "--data", str(card), "--target", "Class", "--quiet"]) == 0
    assert "WARNING left out: Same: one value" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "CARD"], "--data needs to know the labels. Expected --target COLUMN too"),
        (["--data", "CARD", "--target", "class"], "no column 'class'.*perhaps 'Class'"),
        (["--data", "CARD", "--target", "Kind"], "Received 3: "),
        (["--data", "CARD", "--target", "Class", "--split-by", "Tine"], "no column 'Tine'.*perhaps 'Time'"),
        (["--data", "CARD", "--target", "Class", "--drop", "v1"], "no column 'v1'.*perhaps 'V1'"),
        (["--data", "CARD", "--target", "Class", "--categorical", "Class"], "The target cannot"),
        (["--data", "CARD", "--target", "Class", "--fraud-label", "2"], "--fraud-label.*Expected '0' or '1'"),
        (["--data", "CARD", "--target", "Class", "--separator", "ab"], "--separator.*Expected one character"),
        (["--data", "openml:a", "--target", "Class", "--separator", ";"], "--separator is of a CSV file"),
        (["--drop", "V1"], "--drop is of a table of your own"),
        (["--separator", "tab"], "--separator is of a table of your own"),
        (["--fraud-label", "1"], "--fraud-label is of a table of your own"),
        (["--data", "CARD", "--target", "Class", "--samples", "500"], "--samples is of the synthetic table"),
        (["--data", "CARD", "--target", "Class", "--features=5"], "--features is of the synthetic table"),
        (["--data", "CARD", "--target", "Class", "--fraud-rate", "0.1"], "--fraud-rate is of the synthetic table"),
        (["--data", "nosuch.csv", "--target", "Class"], "--data cannot be read.*nosuch.csv: No such file"),
        (["--data", "/", "--target", "Class"], "--data cannot be read.*Is a directory"),
        (["--data", "a.xlsx\x1b[2J", "--target", "Class"], "--data cannot be read"),
        (["--data", "", "--target", "Class"], "argument --data"),
        (["--data", "openml:a/b", "--target", "Class"], "openml: no such table"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    options: list[str], words: str, card: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "run"
    given = [str(card) if option == "CARD" else option for option in options]
    assert main([*OPTIONS, *given, "--out", str(out)]) == 2
    shown = capsys.readouterr()
    assert re.fullmatch(rf"python -m experiments\.fraud: error: .*{words}.*\n", shown.err)
    assert shown.err[:-1].isprintable()
    assert not out.exists()


def test_without_the_extra_it_is_named(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert main(["--data", str(tmp_path / "card.csv"), "--target", "Class"]) == 2
    assert "pip install 'backproof[tables]'" in capsys.readouterr().err
