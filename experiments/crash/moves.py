"""Moves: the folder of a run is moved, swapped or deleted, or loses its lock, and another run begins there."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from experiments.crash.kills import TINY, Hanging, KilledRun
from experiments.crash.remains import differences
from experiments.crash.small_run import in_memory
from experiments.figures import Figure
from trainer.callbacks.checkpoint import checkpoints

LONG = f"{TINY} --epochs 20 --checkpoint-every 2"
PATIENCE = 60.0  # seconds
EACH = 12  # times each move is made in the whole campaign
FIRST_SAVES = (1, 2, 5, 9)  # checkpoints that the first run may have made before

Contents = dict[str, bytes]


def moved(out: Path) -> list[str]:
    """Move the folder away; the other run makes a new one."""
    out.rename(out.with_name("away"))
    return []


def swapped(out: Path) -> list[str]:
    """Move it away, and put a link to another run's folder in its place."""
    out.rename(out.with_name("away"))
    out.with_name("target").mkdir()
    out.symlink_to(out.with_name("target"))
    return []


def deleted(out: Path) -> list[str]:
    """Delete it."""
    shutil.rmtree(out)
    return []


def unlocked(out: Path) -> list[str]:
    """Delete its lock; the other run replaces what is there."""
    (out / "lock").unlink()
    return ["--overwrite"]


def unlocked_and_resumed(out: Path) -> list[str]:
    """Delete its lock; the other run goes on with what is there."""
    (out / "lock").unlink()
    return ["--resume"]


def locked_by_another(out: Path) -> list[str]:
    """Put another lock in its place."""
    (out / "lock").rename(out / "old-lock")
    (out / "lock").touch()
    return ["--resume"]


MOVES: tuple[Callable[[Path], list[str]], ...] = (
    moved,
    swapped,
    deleted,
    unlocked,
    unlocked_and_resumed,
    locked_by_another,
)


def attempt(move: Callable[[Path], list[str]], folder: Path, whole: Path, rng: random.Random) -> list[str]:
    """Let a second run come to its end while the first is held up, and the first go on; give what is wrong then."""
    folder.mkdir()
    out = folder / "out"
    first = KilledRun(LONG.split(), out)
    pid = first.begun()
    started, least = time.perf_counter(), rng.choice(FIRST_SAVES)
    while len(checkpoints(out)) == 0 or int(checkpoints(out)[-1].stem[-8:]) < 2 * least:
        if time.perf_counter() > started + PATIENCE:
            raise Hanging(f"no checkpoint. It said: {first.said()}")
        time.sleep(0.000_5)
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    options = move(out)
    second = KilledRun(LONG.split(), out, folder / "second.screen")
    wrong = []
    try:
        second.finish(*options)
        before = contents(out)
    finally:
        os.kill(pid, signal.SIGCONT)
        code = first.waited(pid)
    said = first.said()
    if code != 2 or len(said.splitlines()) != 1 or "nothing more was written" not in said:
        wrong.append(f"the first run ended with {code}: {said[-300:]}")
    changed = [name for name in before | contents(out) if before.get(name) != contents(out).get(name)]
    wrong += [f"the first run has changed {name} of the second" for name in changed if name != "old-lock"]
    wrong += [f"the second run has another end: {name}" for name in differences(out, whole)]
    return wrong


def contents(folder: Path) -> Contents:
    """Give every file of a folder; the log, at the end of which both write their lines, is left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "log.txt"}


def judge(counts: Counter[str], failures: list[str]) -> Figure:
    """Count the first runs that ended in one line, and the second ones that nothing happened to."""
    total = counts.total()
    return Figure(
        f"folders moved, swapped for a link, deleted, or left without their lock under a run, while another begins or "
        f"goes on there ({total}, of {len(counts)} kinds): the first ends in one line, the second is untouched",
        f"{total - len(failures)} of {total}",
        "all",
        not failures and total > 0,
        numbers={"moves": total, "by kind": dict(counts)},
        failures=failures,
    )


def measure(*, quick: bool, seed: int) -> Figure:
    """Make every move, and judge what came of it."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with in_memory() as folder:
        whole = KilledRun(LONG.split(), folder / "whole")
        whole.finish()
        chosen = [move for move in MOVES for _ in range(1 if quick else EACH)]
        for number, move in enumerate(tqdm(chosen, unit="move", desc="moves", leave=False)):
            counts[move.__name__] += 1
            try:
                wrong = attempt(move, folder / str(number), whole.out, rng)
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
            failures += [f"{move.__name__}: {'; '.join(wrong)}"] if wrong else []
    return judge(counts, failures)
