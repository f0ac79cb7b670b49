"""Forged: every field that is read back, as the codec's own annotations list them, with every kind of wrong value."""

import json
import math
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from tqdm import tqdm

from checks import GradientReport
from checks.training.kept import CheckState
from checks.training.violation import Violation
from checks.training.violation_file import read_violation
from experiments.command import BAD_USAGE, DONE
from experiments.crash.inputs.entrance import Entrance, attempt
from experiments.crash.inputs.entrances import QUICK_RUN, command, quietly
from experiments.crash.small_run import HISTORY, SmallRun, in_memory
from experiments.figures import Figure
from experiments.fraud.main import main
from experiments.replay import main as replay
from experiments.runs.judging import Curve
from experiments.runs.reading import read_run
from experiments.runs.record import Check
from experiments.runs.results import Results
from experiments.screen import silent
from trainer.callbacks.checkpoint import checkpoints
from trainer.callbacks.snapshot import Facts, Snapshot
from trainer.storage.archive import read_archive, write_archive
from trainer.storage.codec import As, to_plain
from trainer.storage.history import FileState

MISSING = "missing"
WRONG: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 0.5, 2.0, -0.0, 1e308, math.inf, -math.inf, math.nan, 2**63, 2**64, -(2**63)),
    *(10**400, -(10**400), "", "nan", "inf", "text", "9" * 300, "é\0", [], [[]], [None], [1, 2, 3], {}, {"a": None}),
    MISSING,
)
LEAST = 10_000
QUICK_EVERY = 41
EVERY_REPLAY, EVERY_RESUME = 41, 13  # of the cases that go through a whole command
#: What the annotations leave open: states that callbacks read themselves.
STATES = {"GradientCheck": CheckState}

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Kept:
    """A kind of file: what it holds, of which kind that is, and who reads a forged one."""

    name: str
    kind: Any
    data: Any
    read: Callable[[Any], object]
    every: int = 1  # of the cases, how many are tried: those that go through a whole run


def places(kind: Any, data: Any) -> Iterator[Path_]:
    """Give the path to every field within data of this annotation, its own (the empty one) first."""
    yield ()
    for key, inner, value in _parts(kind, data):
        yield from ((key, *rest) for rest in places(inner, value))


def _parts(kind: Any, data: Any) -> Iterator[tuple[str | int, Any, Any]]:
    """Give key, annotation and value of what lies directly within; of many that are annotated alike the first."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from _parts(arguments[1].kind if isinstance(arguments[1], As) else arguments[0], data)
    elif origin in (Union, types.UnionType):
        yield from _parts(next(one for one in arguments if one is not types.NoneType), data)
    elif is_dataclass(kind) and isinstance(data, Mapping):
        hints = get_type_hints(kind, include_extras=True)
        for part in fields(kind):
            if part.metadata.get("kept", True):
                yield part.name, hints[part.name], data.get(part.name)
    elif kind is None:  # within what may be anything, one level is enough
        return
    elif isinstance(data, Mapping):
        inner = arguments[1] if len(arguments) > 1 and arguments[1] is not Any else None
        yield from list((key, inner, value) for key, value in data.items())[: None if inner is None else 1]
    elif isinstance(data, list | tuple):
        if len(data) == 2 and isinstance(data[0], str) and data[0] in STATES:  # a callback's name, and its state
            yield from ((0, str, data[0]), (1, STATES[data[0]], data[1]))
            return
        each = arguments[:1] if Ellipsis in arguments or (origin is list and not _states(data)) else arguments
        each = arguments * len(data) if _states(data) else each
        yield from ((number, inner, value) for number, (inner, value) in enumerate(zip(each, data, strict=False)))


def _states(data: Any) -> bool:
    """Say whether a list is that of callbacks with their states, each of which is another."""
    return bool(data) and isinstance(data[0], list | tuple) and bool(data[0]) and data[0][0] in [*STATES]


def forged(data: Any, path: Path_, value: Any) -> Any:
    """Give a copy of data in which one field is another."""
    if not path:
        return value
    key, *rest = path
    if isinstance(data, Mapping):
        others = {name: own for name, own in data.items() if name != key}
        return others if value is MISSING and not rest else others | {key: forged(data.get(key), tuple(rest), value)}
    copy = list(data)
    copy[int(key)] = forged(copy[int(key)], tuple(rest), value)
    return copy


def kept_files(folder: Path) -> list[Kept]:
    """Make a run of every kind, and list what is read back of it; a new kind of file belongs into this list."""
    small = SmallRun(folder / "run", every=6, epochs=1, keep=1)
    halted, ended = folder / "halted", folder / "ended"
    quietly(main, [*QUICK_RUN, "--epochs", "1", "--quiet", "--bug", "dW2", "--terms", "--out", str(halted)])
    rest = ["--epochs", "2", "--checkpoint-every", "3", "--quiet", "--no-report", "--out", str(ended)]
    quietly(main, [*QUICK_RUN, *rest])
    case = read_archive(next(halted.glob("violation-*.npz")), "violation", 1)
    snapshot, saved = Snapshot.read(checkpoints(small.folder)[-1]), checkpoints(ended)[-1]
    of_job = read_archive(saved, "checkpoint", 1)
    for other in checkpoints(ended)[:-1]:
        other.unlink()
    before = {path.name: path.read_bytes() for path in ended.iterdir()}
    turns = Counter[str]()

    def resume(facts: Any) -> None:
        if isinstance(facts, dict):  # which `write_archive` takes
            for path in checkpoints(folder):
                path.unlink()
            (folder / HISTORY).write_bytes(small.files[HISTORY])
            write_archive(folder / "forged.npz", "checkpoint", 1, snapshot.arrays, facts)
            small.trainer(folder).fit(small.inputs, small.targets, resume=Snapshot.read(folder / "forged.npz"))

    def resume_job(facts: Any) -> None:
        for path in ended.iterdir():
            path.unlink()
        for name, content in before.items():
            (ended / name).write_bytes(content)
        write_archive(saved, "checkpoint", 1, of_job.arrays, facts)
        said, code = quietly(main, ["--resume", "--quiet", "--no-report", "--out", str(ended)])
        if code not in (DONE, BAD_USAGE) or len(said.splitlines()) > 3:
            raise RuntimeError(f"exit code {code}: {said[-500:]}")

    def show(facts: Any) -> None:
        if isinstance(facts, dict):
            write_archive(folder / "violation.npz", "violation", 1, case.arrays, facts)
            read_violation(folder / "violation.npz")
            turns["replay"] += 1
            if turns["replay"] % EVERY_REPLAY == 0:
                command(replay.main, [str(folder / "violation.npz")])

    def page(name: str) -> Callable[[Any], object]:
        def read(data: Any) -> None:
            content = (halted / name).read_bytes() if (halted / name).exists() else None
            (halted / name).write_text(json.dumps(data), encoding="utf-8")
            try:
                read_run(halted)
            finally:
                (halted / name).unlink()
                if content is not None:
                    (halted / name).write_bytes(content)

        return read

    def rows(row: Any) -> None:
        content = (halted / HISTORY).read_bytes()
        (halted / HISTORY).write_bytes(json.dumps(row).encode() + b"\n" + content)
        try:
            read_run(halted)
        finally:
            (halted / HISTORY).write_bytes(content)

    row = next(json.loads(line) for line in (halted / HISTORY).read_bytes().splitlines() if b"verdict" in line)
    data = {name: json.loads((ended / name).read_bytes()) for name in ("metrics.json", "curve.json", "report.json")}
    facts, report = to_plain(snapshot.facts), case.facts["report"]
    return [
        Kept("checkpoint", Facts, facts, resume),
        Kept("history in it", FileState, facts["history"], lambda state: resume(facts | {"history": state})),
        Kept("checkpoint, --resume", Facts, of_job.facts, resume_job, EVERY_RESUME),
        Kept("violation", Violation, case.facts, show),
        Kept("report in it", GradientReport, report, lambda told: show(case.facts | {"report": told})),
        Kept("report.json", GradientReport, data["report.json"], page("report.json")),
        Kept("metrics.json", Results, data["metrics.json"], page("metrics.json")),
        Kept("curve.json", Curve, {**data["curve.json"], "recall": [0.5], "precision": [0.5]}, page("curve.json")),
        Kept("row of the history", Check, row, rows),
    ]


def measure(*, quick: bool) -> Figure:
    """Forge every field, and judge what came of it."""
    counts: Counter[str] = Counter()
    by_kind: dict[str, int] = {}
    failures: list[str] = []
    with silent("trainer"), silent("checks"), in_memory() as folder, redirect_stdout(StringIO()):
        for own in kept_files(folder):
            entrance = Entrance(own.name, None, own.read)
            every = list(dict.fromkeys(places(own.kind, own.data)))
            step = own.every * (QUICK_EVERY if quick else 1)
            chosen = [(path, value) for path in every if path for value in WRONG][::step]
            by_kind[own.name] = len(chosen)
            for path, value in tqdm(chosen, unit="case", desc=own.name, leave=False):
                result, where = attempt(entrance, forged(own.data, path, value))
                counts[result] += 1
                if result == "traceback":
                    failures.append(f"{own.name}, {'.'.join(map(str, path))} ← {value!r:.60}: {where}")
    required = LEAST // QUICK_EVERY if quick else LEAST
    total = counts.total()
    return Figure(
        f"forged fields: each that the annotations of a kept file name, with {len(WRONG)} kinds of wrong value "
        f"({total:,} cases): tracebacks",
        f"{len(failures):,}",
        f"0 of at least {required:,}",
        not failures and total >= required,
        numbers={"cases": total, **counts, "by file": by_kind},
        failures=failures,
    )
