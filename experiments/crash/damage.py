"""Damage: files of real runs, torn, flipped, mixed and swapped; whoever reads them notices, or loses nothing."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments.crash.small_run import HISTORY, Files, SmallRun, in_memory
from experiments.figures import Figure
from experiments.screen import silent
from trainer.callbacks.snapshot import Snapshot
from trainer.storage.history import History

CASES, QUICK_CASES = 40_000, 600
PAGE = 4_096  # bytes: what a disk loses at once


@dataclass(frozen=True)
class Target:
    """A kind of file, and who reads it: what that gives is equal if and only if the same was read."""

    name: str
    files: Files  # good ones: what the folder holds before the damage
    damaged: tuple[str, ...]  # which of them get damaged
    others: Sequence[bytes]  # files that may be mistaken for them
    read: Callable[[Path, str], Any]  # gets the folder and the name of a damaged file
    expected: Any = None  # what reading gives while all is good; None: what it gives before anything is damaged
    together: int = 1  # how many are damaged at once, at most
    share: float = 1.0  # of the cases, relative to the other targets


def targets(folder: Path) -> list[Target]:
    """Make real files, and say who reads them; a new kind of file belongs into this list."""
    run, stranger = (SmallRun(folder / name, seed) for name, seed in (("run", 1), ("stranger", 2)))
    saved = [name for name in run.files if name != HISTORY]
    contents = [run.files[name] for name in saved]
    last = Snapshot.read(run.folder / saved[-1])

    def read_checkpoint(folder: Path, name: str) -> Any:
        snapshot = Snapshot.read(folder / name)
        arrays = {key: (array.dtype, array.shape, array.tobytes()) for key, array in snapshot.arrays.items()}
        return arrays, repr(snapshot.facts)

    def read_history(folder: Path, name: str) -> Any:
        History.verify(last.facts.history, folder / name)
        return (folder / name).read_bytes()[: last.facts.history["n_bytes"]]

    history = {HISTORY: run.files[HISTORY]}
    shorter = run.files[HISTORY][: len(run.files[HISTORY]) // 2]
    return [
        Target("checkpoint", run.files, tuple(saved), contents, read_checkpoint, share=0.75),
        Target("history", history, (HISTORY,), [stranger.files[HISTORY], shorter, b""], read_history, share=0.15),
        Target(
            "whole run, resumed",
            run.files,
            tuple(run.files),
            [*contents, *stranger.files.values()],
            run.go_on,
            expected=run.end,
            together=9,
            share=0.1,
        ),
    ]


def cut(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Truncate."""
    return good[: rng.randrange(len(good))]


def flip(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Flip one to eight bits."""
    damaged = bytearray(good)
    for _ in range(rng.randint(1, 8)):
        bit = rng.randrange(8 * len(good))
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def zero(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Lose a page, which reads as zeros."""
    start = PAGE * rng.randrange(-(-len(good) // PAGE))
    end = min(start + PAGE, len(good))
    return good[:start] + bytes(end - start) + good[end:]


def repeat(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Write a block twice."""
    start, end = _block(rng, good)
    return good[:end] + good[start:end] + good[end:]


def drop(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Leave a block out."""
    start, end = _block(rng, good)
    return good[:start] + good[end:]


def exchange(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Let two neighbouring blocks change places."""
    start, end = _block(rng, good)
    further = min(2 * end - start, len(good))
    return good[:start] + good[end:further] + good[start:end] + good[further:]


def append(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Go on after the end."""
    return good + rng.choice([b"\0", bytes(PAGE), good[-64:], good, other, rng.randbytes(rng.randint(1, 99))])


def mix(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Overwrite the first part of another file, as a write in place that was cut short would."""
    end = rng.randrange(1, len(good))
    return good[:end] + other[end:]


def overwrite(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Put noise in the place of a block."""
    start, end = _block(rng, good)
    return good[:start] + rng.randbytes(end - start) + good[end:]


def swap(rng: random.Random, good: bytes, other: bytes) -> bytes:
    """Put the other file in its place."""
    return other


DAMAGES = (cut, flip, zero, repeat, drop, exchange, append, mix, overwrite, swap)


def _block(rng: random.Random, good: bytes) -> tuple[int, int]:
    start = rng.randrange(len(good))
    return start, min(start + rng.choice([1, 8, 64, 512, PAGE]), len(good))


def damage(target: Target, cases: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Damage the files of one target so many times, and count what its reader made of it; also tell the failures."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    rng = random.Random(seed)
    good = {name: target.expected or _read(target, folder, {}, name) for name in target.damaged}
    for _ in tqdm(range(cases), unit="case", desc=target.name, leave=False):
        bad: Files = {}
        ways = []
        for name in rng.sample(target.damaged, min(rng.randint(1, target.together), len(target.damaged))):
            way = rng.choice(DAMAGES)
            content = way(rng, target.files[name], rng.choice(target.others))
            if content != target.files[name]:
                bad[name] = content
                ways.append(f"{name}: {way.__name__}")
        if not bad:
            continue
        name = next(iter(bad))
        try:
            result = "nothing lost" if _read(target, folder, bad, name) == good[name] else "unnoticed"
        except (ValueError, OSError):
            result = "noticed"
        except Exception as error:
            result = "traceback"
            ways.append(repr(error))
        counts[result] += 1
        if result in ("unnoticed", "traceback"):
            failures.append(f"{target.name}, {result}: {'; '.join(ways)}")
    return counts, failures


def _read(target: Target, folder: Path, bad: Files, name: str) -> Any:
    for path in folder.iterdir():
        if path.name not in target.files or target.together > 1:
            path.unlink()
    for file, content in (target.files | bad).items():
        (folder / file).write_bytes(content)
    return target.read(folder, name)


def judge(results: dict[str, Counter[str]], failures: list[str], required: int) -> Figure:
    """Count what nobody has noticed."""
    total = sum(results.values(), Counter[str]())
    wrong = total["unnoticed"] + total["traceback"]
    return Figure(
        f"damaged, mixed or swapped files read without being noticed ({total.total():,} cases)",
        f"{wrong}",
        f"0 of at least {required:,}",
        wrong == 0 and total.total() >= required,
        numbers={"cases": total.total(), **total, "by target": {name: dict(one) for name, one in results.items()}},
        failures=failures,
    )


def measure(*, quick: bool, seed: int) -> Figure:
    """Damage files, and judge what their readers made of it."""
    cases = QUICK_CASES if quick else CASES
    results: dict[str, Counter[str]] = {}
    failures: list[str] = []
    with silent("trainer"), in_memory() as folder:
        for number, target in enumerate(targets(folder)):
            place = folder / f"target-{number}"
            place.mkdir()
            share = 1 + round(1.1 * target.share * cases)  # some damages change nothing, and are no case
            results[target.name], wrong = damage(target, share, seed + number, place)
            failures += wrong
    return judge(results, failures, cases)
