"""What others put into a folder, or into a file: each figure of it falls once its protection is taken away."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.crash import moves, strangers
from experiments.crash.inputs import memory
from experiments.crash.strangers import Case
from experiments.runs.folder import RunFolder
from trainer.storage import durable

Patch = pytest.MonkeyPatch


def some_strangers(monkeypatch: Patch, *chosen: Case) -> list[str]:
    monkeypatch.setattr(strangers, "cases", lambda: iter(chosen))
    monkeypatch.setattr(strangers, "QUICK_EVERY", 1)
    return strangers.measure(quick=True).failures


def some_moves(monkeypatch: Patch, *chosen: Callable[[Path], list[str]]) -> list[str]:
    monkeypatch.setattr(moves, "MOVES", chosen)
    return moves.measure(quick=True, seed=0).failures


def test_nothing_of_strangers_is_touched(monkeypatch: Patch) -> None:
    assert some_strangers(monkeypatch, *list(strangers.cases())[:: 2 * strangers.QUICK_EVERY]) == []


def test_without_looking_for_a_run_somebody_elses_checkpoints_are_lost(monkeypatch: Patch) -> None:
    monkeypatch.setattr(RunFolder, "_tells_of_a_run", lambda folder: True)
    (lost,) = some_strangers(monkeypatch, Case("checkpoint-00000003.npz", "file", False, ("--overwrite",)))
    assert lost.endswith("it is gone")


def test_without_looking_into_it_somebody_elses_file_called_lock_is_overwritten(monkeypatch: Patch) -> None:
    monkeypatch.setattr("experiments.runs.folder._content", lambda file: b"")
    (lost,) = some_strangers(monkeypatch, Case("lock", "file", False, ()))
    assert lost.endswith("it was changed")


@pytest.mark.parametrize("name", ["log.txt", "lock"])
@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_where_links_are_followed_what_they_lead_to_is_changed(monkeypatch: Patch, name: str, kind: str) -> None:
    monkeypatch.setattr(durable, "OURS", os.O_RDWR)
    monkeypatch.setattr(durable, "_is_own", lambda found: True)
    if name == "lock":
        monkeypatch.setattr("experiments.runs.folder._content", lambda file: b"")
    found = some_strangers(monkeypatch, Case(name, kind, name == "log.txt", ("--resume",)))
    assert any(failure.endswith("what it led to was changed") for failure in found)


def test_a_run_whose_folder_is_taken_over_ends_and_writes_nothing_more(monkeypatch: Patch) -> None:
    assert some_moves(monkeypatch, moves.swapped, moves.unlocked_and_resumed) == []


def test_without_looking_for_its_lock_a_run_goes_on_in_the_folder_of_another(monkeypatch: Patch) -> None:
    monkeypatch.setattr(RunFolder, "_demand_to_be_alone", lambda folder: None)
    (moved, taken) = some_moves(monkeypatch, moves.moved, moves.unlocked)
    assert "the first run ended with 0" in moved
    assert "the first run has changed checkpoint-" in taken


def test_forged_fields_end_in_no_traceback(monkeypatch: Patch) -> None:
    pytest.importorskip("hypothesis", reason="the extra test")
    from experiments.crash.inputs import forged

    monkeypatch.setattr(forged, "QUICK_EVERY", 397)
    figure = forged.measure(quick=True)
    assert figure.met, figure.failures
    assert figure.numbers["refused"] > 20


def test_without_ranges_a_forged_field_is_a_traceback(monkeypatch: Patch) -> None:
    pytest.importorskip("hypothesis", reason="the extra test")
    from experiments.crash.inputs import forged

    monkeypatch.setattr("trainer.storage.codec._matching", lambda fits, value, name, expected: value)
    only = {"checkpoint": forged.WRONG[13:18]}
    every = forged.kept_files

    def some(folder: Path) -> list[Any]:
        return [own for own in every(folder) if own.name in only]

    monkeypatch.setattr(forged, "kept_files", some)
    monkeypatch.setattr(forged, "QUICK_EVERY", 37)
    assert forged.measure(quick=True).numbers["traceback"] > 5


def test_files_that_look_smaller_than_they_are_take_no_more_than_is_promised() -> None:
    figure = memory.measure(quick=True)
    assert figure.met, figure.failures


FORMS = {form.name: form for form in memory.forms()}


@pytest.mark.parametrize(
    ("name", "protection"),
    [
        ("facts of empty lists", ("trainer.storage.archive.is_lean", lambda text: True)),
        ("settings of empty objects", ("experiments.runs.folder.is_lean", lambda text: True)),
        ("overlapping members", ("trainer.storage.archive.sum", lambda sizes: 0)),
        ("one long row", ("trainer.storage.history.LONGEST", 10**9)),
    ],
)
def test_without_a_bound_a_file_takes_many_times_its_length(
    monkeypatch: Patch, tmp_path: Path, name: str, protection: tuple[str, Any]
) -> None:
    if name.startswith("overlapping") and hasattr(zipfile.ZipInfo("x"), "_end_offset"):
        pytest.skip("this Python refuses them itself")
    path, form, size = tmp_path / "file", FORMS[name], 3 * 2**20
    path.write_bytes(form.make(size))
    held = memory.taken(form, path)
    monkeypatch.setattr(*protection, raising=False)
    assert memory.taken(form, path) > 3 * held + 30 * 2**20
