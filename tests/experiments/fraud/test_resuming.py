"""Runs that are killed, interrupted, or get in each other's way: what their folder says, and how they go on."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import GradientCheck
from experiments.fraud.main import main
from experiments.runs.folder import BALLAST, RunFolder
from trainer import History
from trainer.callbacks.checkpoint import checkpoints

ROOT = Path(__file__).parents[3]
SMALL = shlex.split(
    "--samples=1000 --features=9 --hidden 7 5 --batch-size=64 --check-every=5 --no-report --baselines=off --quiet"
)
LONG = [*SMALL, "--epochs=2000", "--checkpoint-every=7"]  # 20,000 iterations: ended long before that
Captured = pytest.CaptureFixture[str]


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class Fork:
    """The main job in a fork of this process, which loads nothing again: what a test asks of a `subprocess.Popen`."""

    def __init__(self, argv: Sequence[str], screen: Path, prepare: Callable[[], None]) -> None:
        self.screen, self.returncode = screen, None
        self.pid = os.fork()
        if not self.pid:
            code = 99  # of what `main` lets through
            try:
                prepare()
                signal.signal(signal.SIGINT, signal.default_int_handler)  # as Python begins
                for place, descriptor in ((Path(os.devnull), 1), (screen, 2)):
                    os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT, 0o666), descriptor)
                sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1) for descriptor in (1, 2))
                code = main(argv)
            except BaseException as error:
                os.write(2, f"Traceback: {error!r}".encode())
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        if self.returncode is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(found[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[None, bytes]:
        given_up = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < given_up
            time.sleep(0.01)
        return None, self.screen.read_bytes()


def started(
    out: Path, *options: str, at: int = 30, ignores: Sequence[int] = (), by_the_shell: bool = False
) -> "subprocess.Popen[bytes] | Fork":
    """Start a long run, and come back when it has done some iterations.

    What it does about signals it inherits, and these tests may run under nohup, or behind an & of a script.
    """

    def as_in_a_terminal() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in ignores else signal.SIG_DFL)

    process: subprocess.Popen[bytes] | Fork
    argv = [*LONG, *options, "--out", str(out)]
    if by_the_shell:
        command = [sys.executable, "-m", "experiments.fraud", *argv]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=as_in_a_terminal
        )
    else:
        process = Fork(argv, out.with_name(f"{out.name}.screen"), as_in_a_terminal)
    while process.poll() is None:
        with suppress(FileNotFoundError):
            if (out / "history.jsonl").read_bytes().count(b"\n") > at and checkpoints(out):
                break
        time.sleep(0.01)
    return process


def ended(process: "subprocess.Popen[bytes] | Fork") -> tuple[int | None, str]:
    shown = process.communicate(timeout=60)[1].decode()
    return process.returncode, shown


def without_times(path: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "milliseconds"} for row in History.read(path)]


def assert_same(one: Path, other: Path) -> None:
    with np.load(one / "parameters.npz") as left, np.load(other / "parameters.npz") as right:
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])
    assert without_times(one / "history.jsonl") == without_times(other / "history.jsonl")


@pytest.mark.parametrize("options", [["--dtype=float32", "--optimizer=sgd"], ["--coverage=directions"]])
def test_a_killed_run_reads_as_running_and_goes_on_to_the_same_end(tmp_path: Path, options: list[str]) -> None:
    process = started(tmp_path / "cut", *options)
    process.send_signal(signal.SIGKILL)
    ended(process)
    state = load(tmp_path / "cut" / "run.json")
    assert (state["outcome"], state["pid"]) == ("running", process.pid)
    assert state["started"][:2] == "20"
    n_done = len(History.read(tmp_path / "cut" / "history.jsonl").column("loss"))
    epochs = f"--epochs={n_done // 10 + 3}"
    assert main(["--out", str(tmp_path / "cut"), "--resume", "--no-report", "--quiet", epochs]) == 0
    assert main([*LONG, *options, epochs, "--out", str(tmp_path / "whole")]) == 0
    assert_same(tmp_path / "cut", tmp_path / "whole")
    assert load(tmp_path / "cut" / "run.json")["outcome"] == "completed"
    assert load(tmp_path / "cut" / "metrics.json")["checks"] == load(tmp_path / "whole" / "metrics.json")["checks"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_run_with_a_checkpoint_of_its_last_iteration(tmp_path: Path, name: str) -> None:
    number = signal.Signals[name]
    process = started(tmp_path, by_the_shell=name == "SIGINT")
    process.send_signal(number)
    code, shown = ended(process)
    assert code == 128 + number
    assert "Traceback" not in shown
    state = load(tmp_path / "run.json")
    assert (state["outcome"], state["reason"]) == ("interrupted", f"Interrupted: {name}")
    assert checkpoints(tmp_path)[-1].name == f"checkpoint-{state['iterations']:08d}.npz"


def test_a_run_under_nohup_does_not_end_with_its_terminal(tmp_path: Path) -> None:
    process = started(tmp_path, ignores=[signal.SIGHUP])
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143


def test_a_second_run_in_the_same_folder_is_refused_and_disturbs_nothing(tmp_path: Path, capsys: Captured) -> None:
    process = started(tmp_path)
    for option in ("--resume", "--overwrite"):
        assert main([*LONG, option, "--out", str(tmp_path)]) == 2
        assert f"where process {process.pid} has been since 20" in capsys.readouterr().err
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143


def test_without_the_lock_two_runs_would_write_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = started(tmp_path)
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    try:  # they race: the other may take a file away that this one is about to rename
        code = main([*SMALL, "--epochs=1", "--checkpoint-every=0", "--overwrite", "--out", str(tmp_path)])
        error = capsys.readouterr().err
        assert code == 0 or (code == 2 and "No such file" in error), error
        assert "where process" not in error
    finally:
        process.send_signal(signal.SIGTERM)
        ended(process)


def test_resume_begins_a_run_where_there_is_none(tmp_path: Path) -> None:
    for name, options in (("one", ["--resume"]), ("two", [])):
        assert main([*SMALL, "--epochs=2", *options, "--out", str(tmp_path / name)]) == 0
    assert_same(tmp_path / "one", tmp_path / "two")


def test_a_run_that_ended_may_go_on_for_more_epochs(tmp_path: Path) -> None:
    assert main([*SMALL, "--epochs=2", "--checkpoint-every=7", "--out", str(tmp_path / "one")]) == 0
    assert main(["--resume", "--epochs=3", "--no-report", "--quiet", "--out", str(tmp_path / "one")]) == 0
    assert main(["--resume", "--no-report", "--quiet", "--out", str(tmp_path / "one")]) == 0
    assert main([*SMALL, "--epochs=3", "--out", str(tmp_path / "two")]) == 0
    assert_same(tmp_path / "one", tmp_path / "two")


def test_a_run_of_version_0_1_which_asked_one_question_goes_on_and_asks_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, new, state_dict = tmp_path / "old", tmp_path / "new", GradientCheck.state_dict

    def of_0_1(self: GradientCheck) -> dict[str, Any]:
        state = state_dict(self)
        del state["applied"], state["proof"]["applied"]
        return state

    with monkeypatch.context() as patches:
        patches.setattr(GradientCheck, "on_batch_begin", lambda self, state: None)
        patches.setattr(GradientCheck, "state_dict", of_0_1)
        assert main([*SMALL, "--epochs=2", "--checkpoint-every=7", "--out", str(out)]) == 0
    settings = load(out / "settings.json")
    del settings["check_applied"]
    (out / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    assert main(["--resume", "--epochs=3", "--no-report", "--quiet", "--out", str(out)]) == 0
    assert main([*SMALL, "--epochs=3", "--out", str(new)]) == 0
    with np.load(out / "parameters.npz") as one, np.load(new / "parameters.npz") as other:
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    both = [load(folder / "proof.json") for folder in (out, new)]
    assert both[0]["checks"] == both[1]["checks"]
    assert 0 < both[0]["applied"]["checks"] < both[1]["applied"]["checks"]


def test_a_halted_run_resumed_halts_again(tmp_path: Path, capsys: Captured) -> None:
    options = [*SMALL, "--epochs=4", "--bug=sign", "--bug-after=20", "--checkpoint-every=7"]
    assert main([*options, "--out", str(tmp_path)]) == 1
    state = load(tmp_path / "run.json")
    assert (state["outcome"], state["report"]) == ("halted", "report.json")
    assert (tmp_path / state["violation"]).exists()
    assert state["reason"] == "TrainingHaltedByCheck: Training halted at iteration 20."
    first = capsys.readouterr().err
    assert main(["--resume", "--no-report", "--quiet", "--out", str(tmp_path)]) == 1
    assert "Training halted at iteration 20." in first
    assert "Training halted at iteration 20." in capsys.readouterr().err


CONTRADICTIONS = ["--hidden 5", "--learning-rate 0.1", "--seed 3", "--dtype float32", "--check-every 7", "--bug dW2"]
CONTRADICTIONS.append("--check-applied off")


@pytest.mark.parametrize("options", CONTRADICTIONS)
def test_an_option_that_contradicts_the_run_is_refused_in_one_line(
    tmp_path: Path, options: str, capsys: Captured
) -> None:
    main([*SMALL, "--epochs=1", "--out", str(tmp_path)])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert main(["--resume", "--out", str(tmp_path), *options.split()]) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert f"Received {options}" in shown
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


BROKEN = [b"", b"[]", b"{}", b'{"argv": 3}', b'{"argv": ["--nothing"]}', b"[" * 9_999, b"\xff"]


@pytest.mark.parametrize("content", BROKEN)
def test_settings_that_cannot_be_read_are_one_line(tmp_path: Path, content: bytes, capsys: Captured) -> None:
    (tmp_path / "settings.json").write_bytes(content)
    assert main(["--resume", "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert re.search("Expected .* Received |unrecognized arguments: --nothing", shown)


def test_where_every_checkpoint_is_damaged_the_run_is_refused_and_left(tmp_path: Path, capsys: Captured) -> None:
    main([*SMALL, "--epochs=2", "--checkpoint-every=7", "--out", str(tmp_path)])
    for path in checkpoints(tmp_path):
        path.write_bytes(path.read_bytes()[:-5])
    history = (tmp_path / "history.jsonl").read_bytes()
    assert main(["--resume", "--out", str(tmp_path), "--quiet"]) == 2
    assert "No checkpoint can be used" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "history.jsonl").read_bytes() == history


def test_a_folder_deleted_in_mid_run_ends_the_run_in_one_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started(out)
    while out.exists():  # the run may write a checkpoint in between
        shutil.rmtree(out, ignore_errors=True)
    code, shown = ended(process)
    assert code == 2
    assert re.fullmatch(r".*error: --out was moved, deleted or taken over\. Expected .* Received .*\n", shown)
    assert not out.exists()


def test_a_terminal_that_is_gone_does_not_end_the_training(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "experiments.fraud", *SMALL[:-1], "--epochs=2", "--out", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=writer, stderr=writer) as process:
        os.close(writer)
        os.read(reader, 10)
        os.close(reader)
    assert process.returncode == 0
    assert load(tmp_path / "run.json")["outcome"] == "completed"
    assert "epoch 2/2" in (tmp_path / "log.txt").read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_under_the_screen_or_the_log_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.fraud", *SMALL[:-1], "--epochs=1", "--out", str(tmp_path)]
    with open("/dev/full", "wb") as full:
        assert subprocess.run(command, cwd=ROOT, stdout=full, stderr=full, check=False).returncode == 0
    assert load(tmp_path / "run.json")["outcome"] == "completed"


def test_a_disk_that_fills_up_ends_the_run_as_failed_and_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    room = 20_000
    write = FileIO.write

    def filling(self: FileIO, line: bytes | memoryview) -> int:
        nonlocal room
        is_row = bytes(line).startswith(b'{"event"')  # of the history; for the last word there is ballast
        room -= len(line) * is_row
        if is_row and room < 0:
            raise OSError(28, "No space left on device")
        return write(self, line)

    options = [*SMALL, "--epochs=40", "--checkpoint-every=7"]
    with monkeypatch.context() as patches:
        patches.setattr("trainer.storage.durable.FileIO", type("Filling", (FileIO,), {"write": filling}))
        assert main([*options, "--out", str(tmp_path / "cut")]) == 2
    shown = capsys.readouterr().err
    assert re.fullmatch(r".*cannot write\. .*then --resume goes on\. .*No space left on device.*\n", shown)
    state = load(tmp_path / "cut" / "run.json")
    assert (state["outcome"], state["reason"]) == ("failed", "[Errno 28] No space left on device")
    assert main(["--resume", "--no-report", "--quiet", "--out", str(tmp_path / "cut")]) == 0
    assert main([*options, "--out", str(tmp_path / "whole")]) == 0
    assert_same(tmp_path / "cut", tmp_path / "whole")


def test_while_a_run_is_at_work_room_for_its_last_word_is_kept(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        assert (tmp_path / "run" / "lock").stat().st_size == BALLAST
        folder.end("completed", None)
    assert (tmp_path / "run" / "lock").stat().st_size == 0


def test_a_clock_that_jumps_back_changes_labels_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    years = iter([2026, 1970, 1970])

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Jumping":
            return cls(next(years), 1, 2, tzinfo=tz)

    clock = iter(range(10**9, 0, -1000))
    monkeypatch.setattr("experiments.runs.folder.datetime", Jumping)
    monkeypatch.setattr("time.time", lambda: float(next(clock)))
    assert main([*SMALL, "--epochs=2", "--out", str(tmp_path)]) == 0
    state, metrics = load(tmp_path / "run.json"), load(tmp_path / "metrics.json")
    assert (state["started"][:4], state["ended"][:4]) == ("2026", "1970")
    assert state["outcome"] == "completed"
    assert 0 < metrics["checks_seconds"] < metrics["seconds"] < 60


def test_what_a_kill_has_cut_short_is_cleared_away_when_the_run_goes_on(tmp_path: Path) -> None:
    assert main([*SMALL, "--epochs=1", "--checkpoint-every=7", "--out", str(tmp_path)]) == 0
    for name in ("report.json", "check.npz", "checkpoint-00000007.npz"):
        (tmp_path / f"{name}.unfinished").write_bytes(b"torn")
    assert main(["--resume", "--no-report", "--quiet", "--out", str(tmp_path)]) == 0
    assert not list(tmp_path.glob("*.unfinished"))


def test_the_last_report_belongs_to_the_checkpoint(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = [*SMALL, "--epochs=4", "--check-every=25", "--checkpoint-every=3"]  # the last check: at 25 of 40
    for out in (whole, cut):
        assert main([*options, "--out", str(out)]) == 0
    for name in ("report.json", "check.npz", "metrics.json"):
        (cut / name).unlink()
    assert main(["--resume", "--no-report", "--quiet", "--out", str(cut)]) == 0  # from iteration 39
    one, other = (load(folder / "report.json") | {"seconds": 0, "applied": None} for folder in (cut, whole))
    assert one == other
    with np.load(cut / "check.npz") as left, np.load(whole / "check.npz") as right:
        assert left.files == right.files
        assert all(np.array_equal(left[name], right[name], equal_nan=True) for name in left.files)


@pytest.mark.parametrize("on_failure", ["raise", "log"])
def test_violations_do_not_pile_up_however_often_a_run_is_resumed(tmp_path: Path, on_failure: str) -> None:
    options = [*SMALL, "--epochs=4", "--bug=sign", "--bug-after=20", "--checkpoint-every=7", "--check-applied=off"]
    code = main([*options, f"--on-failure={on_failure}", "--out", str(tmp_path)])
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("violation-*.npz")}
    assert len(kept) == (1 if on_failure == "raise" else 3)
    for _ in range(2):
        assert main(["--resume", "--no-report", "--quiet", "--out", str(tmp_path)]) == code
    assert {path.name: path.read_bytes() for path in tmp_path.glob("violation-*.npz")} == kept
    assert load(tmp_path / "run.json")["violation"] == ("violation-000020.npz" if on_failure == "raise" else None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bug", "sign"], r"Expected no --bug\. Received --bug sign"),
        (["--terms"], r"Expected no --terms\. Received --terms"),
        (["--check-every", "9"], r"Expected --check-every 5\. Received --check-every 9"),
    ],
)
def test_settings_that_were_changed_are_refused_by_the_checkpoint(
    tmp_path: Path, capsys: Captured, words: list[str], said: str
) -> None:
    assert main([*SMALL, "--epochs=2", "--checkpoint-every=7", "--out", str(tmp_path)]) == 0
    settings = load(tmp_path / "settings.json")
    settings["argv"] += words
    (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    before = (tmp_path / "history.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["--resume", "--no-report", "--quiet", "--out", str(tmp_path)]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert (tmp_path / "history.jsonl").read_bytes() == before


def test_an_option_that_was_not_there_is_named_as_one_types_it(tmp_path: Path, capsys: Captured) -> None:
    main([*SMALL, "--epochs=1", "--out", str(tmp_path)])
    assert main(["--resume", "--out", str(tmp_path), "--terms"]) == 2
    assert "Expected no --terms, or nothing. Received --terms." in capsys.readouterr().err


def test_a_finished_run_whose_checkpoints_are_gone_is_not_begun_again(tmp_path: Path, capsys: Captured) -> None:
    assert main([*SMALL, "--epochs=2", "--checkpoint-every=7", "--out", str(tmp_path)]) == 0
    for path in checkpoints(tmp_path):
        path.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for outcome in ("completed", "running"):  # as after a kill
        (tmp_path / "run.json").write_text(json.dumps(load(tmp_path / "run.json") | {"outcome": outcome}))
        before["run.json"] = (tmp_path / "run.json").read_bytes()
        capsys.readouterr()
        assert main(["--resume", "--quiet", "--out", str(tmp_path)]) == 2
        assert "no checkpoint to go on from. Expected one of the run, which has done 20" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_nobody_has_foreseen_is_70_and_one_line_that_says_where_the_details_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody thought of that")

    monkeypatch.setattr("experiments.fraud.main.check_of", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main([*SMALL, "--epochs=1"]) == 70
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    (details,) = tmp_path.glob("backproof-*.txt")
    assert str(details) in shown
    assert "in broken" in details.read_text(encoding="utf-8")


@pytest.mark.parametrize("options", ["--step 1e-300", "--step 1e300"])
def test_what_the_library_refuses_is_one_line(tmp_path: Path, options: str, capsys: Captured) -> None:
    code = main([*SMALL, "--epochs=1", *options.split(), "--out", str(tmp_path / "out")])
    shown = capsys.readouterr().err
    assert code == 2, shown
    assert re.fullmatch(r"python -m experiments\.fraud: error: .*Expected .*Received .*\n", shown)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.npz"))
