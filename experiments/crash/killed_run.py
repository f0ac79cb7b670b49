"""KilledRun: one run of the main job that is killed outright, again and again, and then resumed to its end."""

import math
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import sklearn.datasets
import sklearn.metrics
import sklearn.model_selection  # noqa: F401 - all once, and not in every fork

from experiments.crash.remains import outcome, state
from experiments.fraud.main import main
from trainer.callbacks.checkpoint import PATTERN, checkpoints
from trainer.storage.durable import UNFINISHED

MOMENTS = ("start", "any", "save", "rival", "save", "end")  # where a kill is aimed, in turn
EARLY, LATE = 0.15, 0.02  # shares of a run within which the kills aimed at its start and at its end fall
WAITS_FOR = {"end": "metrics.json*", "rival": "history.jsonl"}  # the file with which the time of a kill begins
PATIENCE = 120.0  # seconds after which a run counts as hanging


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
        self.argv = [*options, "--quiet", "--no-report", "--out", str(out)]
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

    def forget(self) -> None:
        """Take the folder away, as if nothing had been run yet."""
        shutil.rmtree(self.out, ignore_errors=True)

    def kill(self, moment: str, duration: float, rng: random.Random) -> str:
        """Run it (on, if it was begun before) until a random moment, kill it, and say where that met it.

        Parameters
        ----------
        moment : str
            One of `MOMENTS`.
        duration : float
            Seconds that a run takes; the moment is drawn from it.
        rng : random.Random

        Raises
        ------
        Hanging
            If the moment never comes, and the run does not end.
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
                return True
            return now >= due and (moment != "save" or any(self.out.glob(f"checkpoint-*{UNFINISHED}")))

        if moment == "rival":
            self._send_rival(pid)
        code = _waited(pid, is_due)
        if time.perf_counter() > started + PATIENCE:
            raise Hanging(f"{' '.join(self.argv)} goes on for ever. It said: {self.said()}")
        return self.where() if code is None else "after the end"

    def _send_rival(self, pid: int) -> None:
        """Start a second run in the same folder while the first is at work, and held up so that it stays so."""
        while state(self.out).get("pid") != pid:
            if _has_ended(pid):
                return
            time.sleep(0.001)
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        is_at_work = outcome(self.out) == "running" and not _has_ended(pid)
        rival = KilledRun(self.argv, self.out, self.screen.with_suffix(".rival"))
        started = time.perf_counter()
        _waited(rival._fork("--resume"), lambda: time.perf_counter() > started + PATIENCE)
        self.let_in |= is_at_work and "--out is in use" not in rival.said()
        os.kill(pid, signal.SIGCONT)

    def where(self) -> str:
        """Say what a kill had interrupted, by what it left."""
        if outcome(self.out) == "completed":
            return "after the end"
        unfinished = list(self.out.glob(f"*{UNFINISHED}"))
        if any(path.match(PATTERN + UNFINISHED) for path in unfinished):
            return "inside a save"
        settings, metrics = self.out / "settings.json", self.out / "metrics.json"
        if not settings.exists():
            return "before the settings were written"
        if unfinished or (metrics.exists() and metrics.stat().st_mtime_ns > settings.stat().st_mtime_ns):
            return "as other files were written"
        return "between two saves" if checkpoints(self.out) else "before the first checkpoint"

    def said(self) -> str:
        """Give the end of what the command has written to the screen."""
        return self.screen.read_text(encoding="utf-8", errors="replace")[-2_000:] if self.screen.exists() else ""

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
