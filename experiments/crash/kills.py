"""Kills: runs that are killed outright at random moments, then resumed, end with the same bits as others."""

import math
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

import sklearn.datasets
import sklearn.metrics
import sklearn.model_selection  # noqa: F401 - all once, and not in every fork
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from experiments.crash.remains import differences, outcome, state, torn
from experiments.crash.small_run import in_memory, on_disk
from experiments.figures import Figure
from experiments.fraud.main import main
from trainer.callbacks.checkpoint import NAME, checkpoints
from trainer.storage.durable import UNFINISHED

RUNS, QUICK_RUNS = 288, 12
LEAST = 200  # runs that a kill must have met before their end; of the quick campaign half
FURTHER = 0.4  # probability that a run which goes on is killed once more
MOST = 4  # kills of one run
SOONER = (0.5, 0.25, 0.1, 0.03)  # shares of a run's time in which a first kill is tried again that came too late
SMALL = "--samples 1000 --features 9 --hidden 7 5 --batch-size 64 --epochs 12 --check-every 5"
WIDE = "--samples 3000 --features 30 --hidden 64 32 --batch-size 256 --epochs 15 --check-every 9 --coverage directions"
LINEAR = "--samples 700 --features 5 --hidden --batch-size 13 --epochs 3 --dropout 0 --check-every 2 --terms"
TINY = "--samples 700 --features 5 --hidden 3 --batch-size 32 --epochs 3 --check-every 5"
QUICK = (
    f"{TINY} --dropout 0.2 --checkpoint-every 2",
    f"{TINY} --optimizer sgd --dtype float32 --coverage directions --checkpoint-every 5",
)
RHYTHMS = ("1", "7", "50", "3", "20")  # iterations between two checkpoints
# A kill is aimed at these in turn; at "rival", a second run is first tried in the folder.
MOMENTS = ("start", "any", "save", "rival", "save", "end")
EARLY, LATE = 0.15, 0.02  # shares of a run within which the kills aimed at its start and at its end fall
WAITS_FOR = {"end": "metrics.json*", "rival": "history.jsonl"}  # the file with which the time of a kill begins
PATIENCE = 120.0  # seconds after which a run counts as hanging


class Hanging(RuntimeError):
    """A run did not end in time."""


class KilledRun:
    """A folder, and the main job that fills it, in a fork of this process so that it starts at once."""

    def __init__(self, options: Sequence[str], out: Path, screen: Path | None = None) -> None:
        self.argv = [*options, "--quiet", "--no-report", "--baselines=off", "--out", str(out)]
        self.out = out
        self.screen = screen or out.with_name(f"{out.name}.screen")
        self.let_in = False  # whether a second run got into the folder while a first was at work there

    def finish(self, *more: str) -> float:
        """Let it run to its end, and give the seconds it took."""
        started = time.perf_counter()
        code = self.waited(self.begun(*more))
        if code != 0:
            raise RuntimeError(f"{' '.join(self.argv)}: exit code {code}. It said: {self.said()}")
        return time.perf_counter() - started

    def waited(self, pid: int) -> int | None:
        """Wait for it, and give its exit code."""
        started = time.perf_counter()
        return _waited(pid, lambda: time.perf_counter() - started > PATIENCE)

    def forget(self) -> None:
        """Take the folder away, as if nothing had been run yet."""
        shutil.rmtree(self.out, ignore_errors=True)

    def kill(self, moment: str, duration: float, rng: random.Random) -> str:
        """Run it (on, if it was begun before) until a random moment, kill it, and say where that met it."""
        begun = (self.out / "run.json").exists()
        wait = duration * rng.uniform(0, {"start": EARLY, "end": LATE}.get(moment, 1.0))
        started = time.perf_counter()
        pid = self.begun(*(["--resume"] if begun else []))
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
        _waited(rival.begun("--resume"), lambda: time.perf_counter() > started + PATIENCE)
        self.let_in |= is_at_work and "--out is in use" not in rival.said()
        os.kill(pid, signal.SIGCONT)

    def where(self) -> str:
        """Say what a kill had interrupted, by what it left."""
        if outcome(self.out) == "completed":
            return "after the end"
        unfinished = list(self.out.glob(f"*{UNFINISHED}"))
        if any(NAME.fullmatch(path.name.removesuffix(UNFINISHED)) for path in unfinished):
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

    def begun(self, *more: str) -> int:
        """Begin it, and give its process."""
        pid = os.fork()
        if pid:
            return pid
        code = 99  # what a traceback is reported as
        try:
            screen = os.open(self.screen, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(screen, 1)
            os.dup2(screen, 2)
            sys.stdout = sys.stderr = os.fdopen(screen, "w", encoding="utf-8")
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


@dataclass(frozen=True)
class Campaign:
    """The kills of one setting: one run that is left alone, and some that are not."""

    options: str  # of the main job
    runs: int  # that are killed
    first: int  # number of the first of them
    seed: int  # what their moments are drawn from
    on_disk: bool = True  # whose syncs take their time; else in memory


def settings() -> list[str]:
    """List the settings: every optimizer, dtype and dropout with both coverages, and other rhythms of saves."""
    each = product((SMALL, WIDE), ("adam", "sgd"), ("float64", "float32"), ("0", "0.2"))
    found = [f"{size} --optimizer {name} --dtype {dtype} --dropout {rate}" for size, name, dtype, rate in each]
    found += [f"{SMALL} --dropout 0.3 --check-dropout frozen", f"{LINEAR} --optimizer sgd"]
    rhythms = cycle(RHYTHMS)
    return [f"{options} --seed {seed} --checkpoint-every {next(rhythms)}" for seed, options in enumerate(found)]


def run_campaign(campaign: Campaign) -> list[dict[str, Any]]:
    """Kill runs of one setting, and give what came of each."""
    outcomes = []
    with on_disk() if campaign.on_disk else in_memory() as folder:
        whole = KilledRun(campaign.options.split(), folder / "whole")
        duration = whole.finish()
        for number in range(campaign.first, campaign.first + campaign.runs):
            rng = random.Random(1_000 * campaign.seed + number)
            run = KilledRun(campaign.options.split(), folder / f"run-{number}")
            outcomes.append({"options": campaign.options, **_cut(run, whole, number, duration, rng)})
    return outcomes


def _cut(run: KilledRun, whole: KilledRun, number: int, duration: float, rng: random.Random) -> dict[str, Any]:
    places: list[str] = []
    wrong: list[str] = []
    try:
        while not places or (len(places) < MOST and rng.random() < FURTHER):
            moment = MOMENTS[number % len(MOMENTS)] if not places else rng.choice(MOMENTS)
            place = run.kill(moment, duration, rng)
            for shorter in SOONER if not places else ():
                if place != "after the end":
                    break
                run.forget()
                place = run.kill(moment, shorter * duration, rng)
            places.append(place)
            if run.let_in:
                wrong.append("a second run was let into the folder")
            wrong += [f"torn under a good name: {name}" for name in torn(run.out)]
            if outcome(run.out) not in (None, "running", "completed"):
                wrong.append(f"run.json says {outcome(run.out)} after a kill")
            if outcome(run.out) == "completed":
                wrong += [f"completed with another end: {name}" for name in differences(run.out, whole.out)]
        run.finish("--resume")
        wrong += [f"another end: {name}" for name in differences(run.out, whole.out)]
        wrong += [f"left behind: {path.name}" for path in run.out.glob(f"*{UNFINISHED}")]
    except Exception as error:
        wrong.append(f"{type(error).__name__}: {error}")
    return {"places": places, "wrong": wrong}


def judge(outcomes: Sequence[dict[str, Any]], required: int) -> Figure:
    """Count the runs that ended as if they had never been killed."""
    same = sum(not outcome["wrong"] for outcome in outcomes)
    places = Counter(place for outcome in outcomes for place in outcome["places"])
    kills = places.total() - places["after the end"]  # the others came too late
    hit = sum(set(outcome["places"]) != {"after the end"} for outcome in outcomes)
    return Figure(
        f"runs killed by SIGKILL at random moments ({kills} kills, {hit} runs hit), then resumed: same bits as a run "
        "never interrupted",
        f"{same} of {len(outcomes)}",
        f"all, at least {required} hit",
        same == len(outcomes) and hit >= required,
        numbers={
            "runs": len(outcomes),
            "same": same,
            "hit": hit,
            "kills": kills,
            "where": dict(places.most_common()),
            "settings": len({outcome["options"] for outcome in outcomes}),
        },
        failures=[f"{outcome['options']}: {'; '.join(outcome['wrong'])}" for outcome in outcomes if outcome["wrong"]],
    )


def measure(*, quick: bool, jobs: int, seed: int) -> Figure:
    """Kill and resume runs, and judge what came of them."""
    runs = QUICK_RUNS if quick else RUNS
    chosen = QUICK if quick else settings()
    share, more = divmod(runs, len(chosen))
    campaigns, first = [], 0
    for number, options in enumerate(chosen):
        campaigns.append(Campaign(options, share + (number < more), first, seed, not quick))
        first += campaigns[-1].runs
    with parallel_config("loky", inner_max_num_threads=1):
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(run_campaign)(c) for c in campaigns)
    outcomes: list[dict[str, Any]] = []
    with tqdm(total=runs, unit="run", desc="kills", leave=False) as bar:
        for some in done:
            outcomes += some
            bar.update(len(some))
    return judge(outcomes, runs // 2 if quick else LEAST)
