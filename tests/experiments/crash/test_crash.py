"""The crash campaign meets its figures, and each figure falls once the protection that it measures is taken away."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipExtFile

import pytest

from experiments.crash import damage, faults, kills, soak
from experiments.crash import main as crash
from experiments.figures import Figure
from trainer.callbacks.base import Place
from trainer.storage import durable
from trainer.storage.history import History

Patch = pytest.MonkeyPatch


def quick_damage(monkeypatch: Patch) -> Figure:
    monkeypatch.setattr(damage, "QUICK_CASES", 250)
    return damage.measure(quick=True, seed=3)


def quick_faults(monkeypatch: Patch, every: int = 23) -> Figure:
    monkeypatch.setattr(faults, "QUICK_EVERY", every)
    return faults.measure(quick=True)


def test_the_quick_campaign_meets_every_figure(
    tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kills, "QUICK_RUNS", 4)
    monkeypatch.setattr(faults, "QUICK_EVERY", 31)
    only = ["--only", "kills", "damage", "faults", "soak", "--soak", "0.03", "--json", str(tmp_path / "figures.json")]
    assert crash.main(["--quick", *only]) == 0
    shown = capsys.readouterr().out
    assert "| 4 of 4 | all, at least 2 hit | yes |" in shown
    written = json.loads((tmp_path / "figures.json").read_text())
    assert [figure["met"] for figure in written["figures"]] == [True] * 4
    assert written["figures"][0]["numbers"]["kills"] >= 2
    assert set(written["seconds"]) == {"kills", "damage", "faults", "soak"}


def test_bad_inputs_end_in_a_clear_error_or_a_right_result(monkeypatch: Patch) -> None:
    pytest.importorskip("hypothesis", reason="the extra test")
    from experiments.crash.inputs import bad_inputs

    monkeypatch.setattr(bad_inputs, "QUICK_CASES", 500)
    row = bad_inputs.measure(quick=True, number=0)
    assert row.met, row.failures
    assert row.numbers["right"] > 20
    assert row.numbers["refused"] > 200


def test_an_unchecked_argument_is_seen_by_the_bad_inputs(monkeypatch: Patch) -> None:
    pytest.importorskip("hypothesis", reason="the extra test")
    from experiments.crash.inputs import bad_inputs

    def unchecked(value: Any, what: str, expected: str, accepts: Any) -> Any:
        if not accepts(value):
            raise ValueError(f"Expected {expected}. Received {value!r}.")
        return value

    monkeypatch.setattr("trainer.optimizers.optimizers.checked_number", unchecked)
    monkeypatch.setattr(bad_inputs, "QUICK_CASES", 60)
    all_of_them = bad_inputs.entrances

    def only_adam(folder: Path) -> list[bad_inputs.Entrance]:
        return [entrance for entrance in all_of_them(folder) if entrance.name == "Adam"]

    monkeypatch.setattr(bad_inputs, "entrances", only_adam)
    row = bad_inputs.measure(quick=True, number=0)
    assert not row.met
    assert "TypeError at trainer/argument.py" in row.failures[0]


def test_without_the_checksum_damage_goes_unnoticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr("trainer.storage.archive._verify", lambda *_: None)
    monkeypatch.setattr(ZipExtFile, "_update_crc", lambda *_: None)
    row = quick_damage(monkeypatch)
    assert not row.met
    assert row.numbers["by target"]["checkpoint"]["unnoticed"] > 5


def test_without_the_number_in_its_name_a_swapped_checkpoint_goes_unnoticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr("trainer.callbacks.snapshot.NUMBER", re.compile("never"))
    row = quick_damage(monkeypatch)
    assert any(failure.endswith(": swap") for failure in row.failures)


def test_without_its_checksum_another_history_goes_unnoticed(monkeypatch: Patch) -> None:
    monkeypatch.setattr("trainer.storage.history.crc32", lambda *_: 0)
    assert quick_damage(monkeypatch).numbers["by target"]["history"]["unnoticed"] > 5


def test_a_torn_line_that_is_not_cut_off_is_seen_in_the_resumed_run(monkeypatch: Patch) -> None:
    def at_the_end(state: Any, path: Any) -> Any:
        History.verify(state, path)
        written = History.read(path)
        written._file, written._n_rows = written._place.open("a"), state["n_rows"]
        return written

    monkeypatch.setattr(History, "from_state", at_the_end)
    row = quick_damage(monkeypatch)
    assert row.numbers["by target"]["whole run, resumed"].keys() & {"unnoticed", "traceback"}


def replaced_by(monkeypatch: Patch, *, beside: bool = True, fsync: bool = True, sync: bool = True) -> None:
    """Let files be replaced in another way."""

    def replace(folder: durable.Folder, name: str, write: Any) -> None:
        place = name + durable.UNFINISHED if beside else name
        with folder.descriptor() as handle:
            opened = durable.os.open(place, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666, dir_fd=handle)
            with durable.FileIO(opened, "r+") as file:
                write(file)
                if fsync:
                    durable.os.fsync(file.fileno())
            if beside:
                durable.os.replace(place, name, src_dir_fd=handle, dst_dir_fd=handle)
            if sync:
                durable.os.fsync(handle)

    monkeypatch.setattr(durable.Folder, "replace", replace)


def test_the_replacements_below_lack_nothing_but_what_they_lack(monkeypatch: Patch) -> None:
    replaced_by(monkeypatch)
    assert quick_faults(monkeypatch).met


def test_a_file_written_in_place_is_lost_where_a_write_fails(monkeypatch: Patch) -> None:
    replaced_by(monkeypatch, beside=False)
    row = quick_faults(monkeypatch)
    assert not row.met
    assert any("half" in failure for failure in row.failures)


@pytest.mark.parametrize("missing", ["fsync", "sync"])
def test_without_a_sync_a_loss_of_power_costs_what_was_saved(monkeypatch: Patch, missing: str) -> None:
    replaced_by(monkeypatch, **{missing: False})
    row = quick_faults(monkeypatch)
    assert not row.met
    assert all("the power was lost" in failure for failure in row.failures)


def test_old_checkpoints_that_go_too_early_are_missed(monkeypatch: Patch) -> None:
    from trainer.callbacks.checkpoint import Checkpoint, checkpoints

    save = Checkpoint.save

    def hasty(self: Checkpoint, state: Any) -> None:
        for old in checkpoints(self.folder):
            self._folder.unlink(old.name)
        save(self, state)

    monkeypatch.setattr(Checkpoint, "save", hasty)
    assert not quick_faults(monkeypatch).met


def slowly_in_place(monkeypatch: Patch) -> None:
    class Slow:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, content: bytes) -> Any:
            time.sleep(0.001)
            return self.file.write(content)

    def in_place(folder: durable.Folder, name: str, write: Any) -> None:
        with folder.open(name, "w") as file:
            write(Slow(file))

    monkeypatch.setattr(durable.Folder, "replace", in_place)
    monkeypatch.setattr(kills, "MOMENTS", ("any",))


def without_lock(monkeypatch: Patch) -> None:
    monkeypatch.setattr("experiments.runs.folder.fcntl.flock", lambda *_: None)


def without_place(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Place, "state", Place.state.setter(lambda *_: None))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("sabotage", "runs", "first", "seen"),
    [
        (slowly_in_place, 3, 0, "torn under a good name: [a-z]+"),  # whichever file the kill meets
        (without_lock, 1, 3, "a second run was let into the folder"),
        (without_place, 1, 5, "another end: (parameters|history)"),
    ],
)
def test_runs_that_are_killed_show_what_a_protection_is_worth(
    monkeypatch: Patch, sabotage: Callable[[Patch], None], runs: int, first: int, seen: str
) -> None:
    """What is taken away, how many runs are killed, from which on, and what is seen."""
    sabotage(monkeypatch)
    row = kills.judge(kills.run_campaign(kills.Campaign(kills.QUICK[0], runs, first, 0, on_disk=False)), 1)
    assert not row.met
    assert re.search(seen, " ".join(row.failures)), row.failures


def samples(**growth: float) -> list[dict[str, float]]:
    start = {"Rss": 9e7, "Pss": 8e7, "Anonymous": 7e7, "descriptors": 6.0}
    return [
        {name: start[name] + growth.get(name, 0.0) * second for name in start} | {"seconds": second}
        for second in map(float, range(120))
    ]


@pytest.mark.parametrize(
    ("growth", "code", "met"),
    [({}, 143, True), ({"Rss": 30_000.0}, 143, False), ({"descriptors": 0.1}, 143, False), ({}, 1, False)],
)
def test_a_soak_that_grows_leaks_or_dies_is_no_success(growth: dict[str, float], code: int, met: bool) -> None:
    assert soak.judge(samples(**growth), 2.0, code, 9, "").met is met


@pytest.mark.parametrize("options", [["--soak", "-1"], ["--jobs", "0"], ["--json", "no/such/folder"]])
def test_bad_usage_is_refused_before_anything_runs(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        crash.main(["--quick", *options])
    assert caught.value.code == 2
    assert re.search(r"Expected .* Received ", capsys.readouterr().err)


def test_without_hypothesis_the_campaign_says_what_it_lacks(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(crash, "find_spec", lambda name: None if name == "hypothesis" else name)
    with pytest.raises(SystemExit):
        crash.main(["--quick"])
    assert "pip install backproof[test]" in capsys.readouterr().err
