"""A run folder is read with care: nothing in it is taken for granted."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from checks import Verdict
from checks.explain.entries import Entries
from experiments.command import UsageError
from experiments.report.main import main
from experiments.runs import reading
from experiments.runs.reading import read_run

Captured = pytest.CaptureFixture[str]


def test_a_record_holds_what_the_run_left(kept) -> None:
    found = read_run(kept("halted"))
    assert found.outcome == "halted"
    assert [check.iteration for check in found.checks] == [5, 10]
    assert [check.verdict for check in found.checks] == [Verdict.PASS, Verdict.FAIL]
    assert found.losses.shape == (10, 2)
    assert found.report is not None
    assert str(found.report).startswith("Gradient check: FAIL")
    assert found.report.culprits[0].name == "W2"
    entries = found.report.tensors["W2"].entries
    assert isinstance(entries, Entries)
    np.testing.assert_allclose(entries.gradient, 2.0 * entries.numerical, rtol=1e-6, atol=1e-10)
    assert found.curve is None


def test_a_record_of_a_completed_run_has_the_curve_and_the_epochs(kept) -> None:
    found = read_run(kept("completed"))
    assert found.epochs.shape == (2, 3)
    assert np.isfinite(found.epochs).all()
    assert found.curve is not None
    assert found.metrics is not None
    assert found.metrics.test is not None
    assert found.curve.cut_recall == found.metrics.test.recall


def test_rounding_explains_what_a_correct_run_reads(kept) -> None:
    for check in read_run(kept("completed")).checks:
        assert 0.02 * check.rounding < check.difference < 5.0 * check.rounding


def test_a_run_that_was_killed_is_read_as_far_as_it_came(own) -> None:
    folder = own("completed")
    for name in ("run.json", "metrics.json", "proof.json", "report.json", "check.npz", "curve.json", "parameters.npz"):
        (folder / name).unlink()
    lines = (folder / "history.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "history.jsonl").write_bytes(b"".join(lines[:12]) + lines[12][:20])  # the last write was cut short
    found = read_run(folder)
    assert (found.outcome, len(found.losses), found.report, found.proof) == ("unfinished", 11, None, None)


def test_a_resumed_run_that_was_killed_is_unfinished_whatever_the_part_before_left(own) -> None:
    folder = own("completed")
    (folder / "run.json").write_text('{"outcome": "running", "pid": 1}', encoding="utf-8")
    assert read_run(folder).outcome == "unfinished"


@pytest.mark.parametrize(
    "name", ["settings.json", "run.json", "metrics.json", "proof.json", "report.json", "curve.json"]
)
@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_a_broken_file_is_one_line_and_exit_code_2(name: str, text: str, own, capsys: Captured) -> None:
    folder = own("halted" if name == "report.json" else "completed")
    (folder / "report.html").write_text("of the run itself", encoding="utf-8")
    (folder / name).write_text(text, encoding="utf-8")
    capsys.readouterr()
    assert main([str(folder)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert name in shown.err
    assert "Expected" in shown.err
    assert (folder / "report.html").read_text(encoding="utf-8") == "of the run itself"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("report.json", {"tensors": {}}),
        ("report.json", {"tensors": {"W1": {}}}),
        ("report.json", {"difference": None}),
        ("curve.json", {"recall": [[0.0]]}),
        ("curve.json", {"recall": [0.0, "x"]}),
        ("curve.json", {"confusion": [1, 2]}),
        ("curve.json", {"confusion": {"true_positives": 3}}),
        ("curve.json", {"cut": {}}),
        ("curve.json", {"recall": [0.5]}),
        ("metrics.json", {"seconds": "long"}),
        ("metrics.json", {"test": {"roc_auc": 0.5}}),
        ("report.json", {"threshold": 0}),
    ],
)
def test_data_of_the_wrong_kind_is_broken(name: str, change: dict[str, object], own) -> None:
    folder = own("completed")
    data = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(data | change), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"broken\. Expected .* Received .*{name}"):
        read_run(folder)


@pytest.mark.parametrize(
    ("change"),
    [
        {"worst_index": [99, 0]},
        {"worst_index": [0]},
        {"worst_index": [-1, 0]},
        {"shape": [3, 3]},
        {"verdict": "FINE"},
        {"shape": [10**400, 1]},
    ],
)
def test_a_tensor_that_contradicts_its_entries_is_broken(change: dict[str, object], own) -> None:
    folder = own("halted")
    data = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    data["tensors"]["W2"] |= change
    (folder / "report.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UsageError, match="broken"):
        read_run(folder)


def test_arrays_are_never_unpickled_and_never_unpacked_beyond_bounds(own) -> None:
    folder = own("completed")
    np.savez(folder / "check.npz", **{"gradient/W1": np.array([print], dtype=object)})
    with pytest.raises(UsageError, match=r"broken.*an array of object"):
        read_run(folder)
    np.savez_compressed(folder / "check.npz", **{"gradient/W1": np.zeros(10**6)})
    with pytest.raises(UsageError, match=r"broken.*8,000,\d+ bytes together, in a file of"):
        read_run(folder)
    (folder / "check.npz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match="broken"):
        read_run(folder)


def test_a_file_beyond_all_bounds_is_refused_unread(own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_HISTORY", 100)
    with pytest.raises(UsageError, match="too large"):
        read_run(own("completed"))


@pytest.mark.parametrize("row", ["{}", '{"event": "iteration"}', '{"event": "epoch", "iteration": "x"}', "[1]", '"a"'])
def test_rows_that_are_no_history_are_broken(row: str, own) -> None:
    folder = own("completed")
    text = (folder / "history.jsonl").read_text(encoding="utf-8")
    (folder / "history.jsonl").write_text(f"{row}\n{text}", encoding="utf-8")
    with pytest.raises(UsageError, match=r"broken.*history\.jsonl"):
        read_run(folder)


@pytest.mark.parametrize("what", ["missing", "file", "empty", "other"])
def test_a_folder_without_a_run_is_one_line_and_exit_code_2(what: str, own, tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "here"
    if what == "file":
        folder.write_text("", encoding="utf-8")
    elif what == "empty":
        folder.mkdir()
    elif what == "other":
        shutil.copytree(own("completed"), folder)
        (folder / "history.jsonl").unlink()
    capsys.readouterr()
    assert main([str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
