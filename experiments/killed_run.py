"""KilledRun: one run of the main job that is killed outright, again and again, and then resumed to its end."""

import json
import math
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.fraud import main
from trainer.checkpoint import PATTERN, checkpoints
from trainer.durable import UNFINISHED
from trainer.history import History
from trainer.parameters import Array
from trainer.snapshot import Snapshot

MOMENTS = ("start", "any", "save", "rival", "save", "end")  # where a kill is aimed, in turn
EARLY, LATE = 0.15, 0.02  # shares of a run within which the kills aimed at its start and at its end fall
WAITS_FOR = {"end": "metrics.json*", "rival": "history.jsonl"}  # the file with which the time of a kill begins
PATIENCE = 120.0  # seconds after which a run counts as hanging
WHOLE = ("settings.json", "run.json", "metrics.json", "proof.json", "report.json")
TIMED = ("milliseconds", "seconds", "check_seconds", "training_seconds")  # what no two runs share


class Hanging(RuntimeError):
    """A run did not end in time."""


class KilledRun:
    """A folder, and the command that fills it. The command runs in a fork of this process, so that it starts at once.

    At the moment ``"rival"``, a second run is started in the same folder first, which must be refused.

    Parameters
    ----------
    options : sequence of str
        Of the main job, without ``--out``.
    out : Path
    screen : Path, optional
        What the command shows goes there; beside the folder by default.

    Attributes
    ----------
    let_in : bool
        Whether a rival got into the folder while a run was at work there.
    """

    def __init__(self, options: Sequence[str], out: Path, screen: Path | None = None) -> None:
        self.argv = [*options, "--quiet", "--out", str(out)]
        self.out = out
        self.screen = screen or out.with_name(f"{out.name}.screen")
        self.let_in = False

    def finish(self, *more: str) -> float:
        """Let it run to its end, and give the seconds it took.

        Raises
        ------
        RuntimeError
            If its exit code is not 0, or it hangs.
        """
        started = time.perf_counter()
        pid = self._fork(*more)
        code = _waited(pid, lambda: time.perf_counter() - started > PATIENCE)
        if code != 0:
            raise RuntimeError(f"{' '.join(self.argv)}: exit code {code}. It said: {self.said()}")
        return time.perf_counter() - started

    def kill(self, moment: str, duration: float, rng: random.Random) -> str:
        """Run it (on, if it was begun before) until a random moment, kill it, and say where that met it.

        Parameters
        ----------
        moment : str
            One of `MOMENTS`.
        duration : float
            Seconds that a run takes; the moment is drawn from it.
        rng : random.Random
        """
        begun = (self.out / "run.json").exists()
        wait = duration * rng.uniform(0, {"start": EARLY, "end": LATE}.get(moment, 1.0))
        started = time.perf_counter()
        pid = self._fork(*(["--resume"] if begun else []))
        due = math.inf if moment in WAITS_FOR else started + wait

        def is_due() -> bool:
            nonlocal due
            now = time.perf_counter()
            if due == math.inf and any(self.out.glob(WAITS_FOR[moment])):
                due = now + wait
            if now > started + PATIENCE:
                raise Hanging(f"{' '.join(self.argv)} goes on for ever. It said: {self.said()}")
            return now >= due and (moment != "save" or any(self.out.glob(f"checkpoint-*{UNFINISHED}")))

        if moment == "rival":
            self._send_rival(pid)
        code = _waited(pid, is_due)
        return self.where() if code is None else "after the end"

    def _send_rival(self, pid: int) -> None:
        """Start a second run in the same folder while the first is at work, and held up so that it stays so."""
        while not (self.out / "history.jsonl").exists() and not _has_ended(pid):
            time.sleep(0.001)
        if _has_ended(pid):
            return
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        is_at_work = self.outcome() == "running" and not _has_ended(pid)
        rival = KilledRun(self.argv, self.out, self.screen.with_suffix(".rival"))
        _waited(rival._fork("--resume"), lambda: False)
        self.let_in |= is_at_work and "--out is in use" not in rival.said()
        os.kill(pid, signal.SIGCONT)

    def where(self) -> str:
        """Say what a kill had interrupted, by what it left."""
        if self.outcome() == "completed":
            return "after the end"
        unfinished = list(self.out.glob(f"*{UNFINISHED}"))
        if any(path.match(PATTERN + UNFINISHED) for path in unfinished):
            return "inside a save"
        if unfinished or (self.out / "metrics.json").exists():
            return "as other files were written"
        if not (self.out / "settings.json").exists():
            return "before the settings were written"
        return "between two saves" if checkpoints(self.out) else "before the first checkpoint"

    def torn(self) -> list[str]:
        """Name the files that stand under their good name and are not whole."""
        names = []
        for path in sorted(self.out.glob("*")):
            try:
                if path.name in WHOLE:
                    json.loads(path.read_bytes())
                elif path.match(PATTERN):
                    Snapshot.read(path)
                elif path.name == "parameters.npz":
                    loaded(path)
                elif path.name == "history.jsonl":
                    History.read(path)
            except Exception as error:
                names.append(f"{path.name}: {error}")
        return names

    def outcome(self) -> str | None:
        """Give what ``run.json`` says, if it is there."""
        try:
            outcome: str = json.loads((self.out / "run.json").read_bytes())["outcome"]
        except (FileNotFoundError, ValueError):
            return None
        return outcome

    def said(self) -> str:
        """Give the end of what the command has written to the screen."""
        return self.screen.read_text(encoding="utf-8", errors="replace")[-2_000:] if self.screen.exists() else ""

    def differences(self, whole: "KilledRun") -> list[str]:
        """Name what is not, to the last bit, as in the run that was never interrupted."""
        found = []
        if _not_same(loaded(self.out / "parameters.npz"), loaded(whole.out / "parameters.npz")):
            found.append("parameters")
        if _timeless(self.out / "history.jsonl") != _timeless(whole.out / "history.jsonl"):
            found.append("history")
        if without_times(_json(self.out / "proof.json")) != without_times(_json(whole.out / "proof.json")):
            found.append("proof")
        ours, theirs = checkpoints(self.out), checkpoints(whole.out)
        if [path.name for path in ours] != [path.name for path in theirs]:
            found.append("names of the checkpoints")
        elif any(
            _not_same(Snapshot.read(one).arrays, Snapshot.read(other).arrays)
            for one, other in zip(ours, theirs, strict=True)
        ):
            found.append("moments of the optimizer")
        if self.outcome() != whole.outcome():
            found.append(f"outcome {self.outcome()}")
        if list(self.out.glob(f"*{UNFINISHED}")):
            found.append("a file left unfinished")
        return found

    def _fork(self, *more: str) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 99  # what a traceback is reported as
        try:
            screen = os.open(self.screen, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(screen, 1)
            os.dup2(screen, 2)
            code = main([*self.argv, *more])
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(code)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _waited(pid: int, due: Callable[[], bool]) -> int | None:
    """Wait for a process, and kill it when that is due; then there is no exit code."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if due():
            os.kill(pid, signal.SIGKILL)  # which may come too late
            _, status = os.waitpid(pid, 0)
            return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        time.sleep(0.000_1)


def loaded(path: Path) -> dict[str, Array]:
    """Read every array of a file."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file}


def _not_same(ours: dict[str, Array], theirs: dict[str, Array]) -> bool:
    return ours.keys() != theirs.keys() or any(
        (ours[name].dtype, ours[name].shape, ours[name].tobytes())
        != (theirs[name].dtype, theirs[name].shape, theirs[name].tobytes())
        for name in ours
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _timeless(path: Path) -> Any:
    return without_times(History.read(path).rows)


def without_times(value: Any) -> Any:
    """Leave out what the clock says; NaN becomes a string, which equals itself."""
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if name not in TIMED}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return repr(value) if isinstance(value, float) else value
