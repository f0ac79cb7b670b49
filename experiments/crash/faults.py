"""Faults: whichever call of a save fails, or is the last before a crash, the last good state loads."""

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from unittest.mock import patch

import numpy as np
from tqdm import tqdm

from experiments.command import UsageError
from experiments.crash.small_run import HISTORY, Files, SmallRun, in_memory
from experiments.figures import Figure
from experiments.runs.folder import RunFolder
from experiments.screen import silent
from trainer import latest_checkpoint
from trainer.callbacks.checkpoint import checkpoints
from trainer.callbacks.snapshot import Snapshot
from trainer.storage import durable, history
from trainer.storage.history import History

EVERY, QUICK_EVERY = 1, 9  # of the steps, how many are made to fail
# A call fails with an error; a write is done in half, and fails; the process is killed before a call, or in half of it.
FAULTS = ("ENOSPC", "EIO", "half", "kill", "kill in half")

Result = TypeVar("Result")
Names = dict[str, int]  # the names in the folder, and the number of the file that each stands for


class Killed(BaseException):
    """The process is gone: nothing that it would do after this reaches the disk."""


class FaultyDisk:
    """Counts the calls that `trainer.storage` makes within a folder, and lets the one numbered `failing` fail."""

    # It also keeps book of what a loss of power would leave: a file holds what it held when it was last synced, and
    # whatever came after may read as zeros; of the names that were given, moved and taken since the folder was last
    # synced, the first so many are on disk.

    def __init__(self, folder: Path, failing: int | None = None, fault: str = "EIO") -> None:
        self.folder = folder
        self.failing = failing
        self.fault = fault
        self.steps: list[str] = []  # the calls, in order
        self.dead = False
        self._synced: dict[int, bytes] = {}
        self._lengths: dict[int, int] = {}  # of files that hold more than was synced
        self._tables: list[Names] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Stand between the packages and the disk."""
        self._tables = [self._names()]
        self._synced = {number: (self.folder / name).read_bytes() for name, number in self._tables[0].items()}
        disk = self

        class Counted(FileIO):
            """An unbuffered file whose calls are counted, unless it is only read."""

            def write(self, content: Any) -> int:
                def half() -> None:
                    super(Counted, self).write(content[: len(content) // 2])

                try:
                    return disk.step("write", lambda: super(Counted, self).write(content), half)
                finally:
                    disk.note(self.fileno())

            def truncate(self, size: int | None = None) -> int:
                try:
                    return super().truncate(size)
                finally:
                    disk.note(self.fileno(), fresh=not size)

            def close(self) -> None:
                if disk.dead or self.closed or self.mode == "rb":
                    super().close()
                else:
                    disk.step("close", super().close, super().close)

        calls = _Calls(self)
        self._stack.enter_context(patch.object(durable, "os", calls))
        self._stack.enter_context(patch.object(history, "os", calls))
        self._stack.enter_context(patch.object(durable, "FileIO", Counted))
        self._stack.enter_context(patch.object(durable, "BufferedRandom", lambda raw: raw))  # every write is a call
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Step aside."""
        self._stack.close()

    def step(self, name: str, act: Callable[[], Result], half: Callable[[], object] | None = None) -> Result:
        """Make one call, unless it is the one that fails."""
        if self.dead:
            raise Killed
        self.steps.append(name)
        if len(self.steps) - 1 != self.failing:
            return act()
        if half is not None and ("half" in self.fault or name.startswith("close")):  # the system frees the handle
            half()
        if self.fault.startswith("kill"):
            self.dead = True
            raise Killed
        number = errno.EIO if self.fault == "EIO" else errno.ENOSPC
        raise OSError(number, os.strerror(number))

    def note(self, handle: int, *, fresh: bool = False) -> None:
        """Note that a file, perhaps a new one, holds more than what was synced."""
        status = os.fstat(handle)
        if fresh:
            self._synced[status.st_ino] = b""
        self._lengths[status.st_ino] = status.st_size
        self.note_names()

    def note_names(self) -> None:
        """Note that a name may have come, gone or moved."""
        names = self._names()
        if names != self._tables[-1]:
            self._tables.append(names)

    def sync(self, handle: int) -> None:
        """Note that a file, or the names in the folder, are on disk now."""
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            self._tables = self._tables[-1:]
            return
        name = next((name for name, number in self._names().items() if number == status.st_ino), None)
        if name is not None:
            self._synced[status.st_ino] = (self.folder / name).read_bytes()
        self._lengths.pop(status.st_ino, None)

    def after_loss_of_power(self) -> Iterator[dict[str, bytes]]:
        """Give what the folder may hold once the power is back, one possibility after the other."""
        for names in self._tables:
            yield {name: self._synced[number] for name, number in names.items()}
            if self._lengths.keys() & names.values():
                yield {
                    name: self._synced[number].ljust(self._lengths.get(number, 0), b"\0")
                    for name, number in names.items()
                }

    def _names(self) -> Names:
        return {entry.name: entry.inode() for entry in os.scandir(self.folder) if entry.is_file()}


class _Calls:
    """The module `os`, with the calls that matter counted."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path | str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_DIRECTORY:
            return self._disk.step("open folder", lambda: os.open(path, flags))
        if not flags & os.O_RDWR:
            return os.open(path, flags, dir_fd=dir_fd)
        handle = self._disk.step(f"open {path}", lambda: os.open(path, flags, mode, dir_fd=dir_fd))
        self._disk.note(handle, fresh=bool(flags & (os.O_EXCL | os.O_TRUNC)))
        return handle

    def close(self, handle: int) -> None:
        if self._disk.dead:
            os.close(handle)
        else:
            self._disk.step("close folder", lambda: os.close(handle), lambda: os.close(handle))

    def fsync(self, handle: int) -> None:
        self._disk.step("fsync", lambda: self._disk.sync(handle))

    def replace(self, source: str, target: str, **folders: int) -> None:
        self._disk.step("rename", lambda: os.replace(source, target, **folders))
        self._disk.note_names()

    def unlink(self, name: str, **folder: int) -> None:
        self._disk.step(f"unlink {name}", lambda: os.unlink(name, **folder))
        self._disk.note_names()


@dataclass(frozen=True)
class Scenario:
    """Something that saves, and what must be true after a fault."""

    name: str
    begin: Files  # what is in the folder before
    act: Callable[
        [Path, dict[str, Any]], None
    ]  # saves in the folder; notes what `holds` needs to know, even if it fails
    holds: Callable[[Path, dict[str, Any]], str | None]  # raises, or gives a complaint, if something was lost


def training(folder: Path) -> Scenario:
    """Train with checkpoints: the first ones, and later ones that let go of the oldest."""
    run = SmallRun(folder, every=2, keep=2, epochs=1)
    every = SmallRun(folder.with_name("every"), every=1, epochs=1)
    snapshots = [Snapshot.read(path) for path in checkpoints(every.folder)]
    good = {snapshot.iteration: snapshot.arrays for snapshot in snapshots}

    def act(folder: Path, known: dict[str, Any]) -> None:
        trainer = run.trainer(folder)
        known["saves"] = trainer.callbacks[-1]
        trainer.fit(run.inputs, run.targets)

    def holds(folder: Path, known: dict[str, Any]) -> str | None:
        saved = known["saves"].iteration
        snapshot = latest_checkpoint(folder, folder / HISTORY)
        found = 0 if snapshot is None else snapshot.iteration
        if found < saved:
            return f"the checkpoint of iteration {saved} was written, and that of {found} is the last that loads"
        if snapshot is None:
            return None
        if any(array.tobytes() != good[found][name].tobytes() for name, array in snapshot.arrays.items()):
            return f"the checkpoint of iteration {found} holds something else"
        return None if run.go_on(folder) == run.end else "resumed, the run had another end"

    return Scenario("training", {}, act, holds)


def rows(folder: Path) -> Scenario:
    """Write a history."""

    def act(folder: Path, known: dict[str, Any]) -> None:
        known["whole"] = 0
        with closing(History(folder / HISTORY)) as file:
            for number in range(5):
                file.append({"iteration": number})
                known["whole"] = number + 1
                known["state"] = file.state_dict() if number == 2 else known.get("state")

    def holds(folder: Path, known: dict[str, Any]) -> str | None:
        path = folder / HISTORY
        read = History.read(path).column("iteration") if path.exists() else []
        least = known["whole"] if not known.get("power") else 0
        if known.get("state"):
            least = max(least, 3)
            if not known.get("power"):
                History.verify(known["state"], path)
        return None if read == list(range(len(read))) and len(read) >= least else f"rows {read} instead of {least}"

    return Scenario("history", {}, act, holds)


def results(folder: Path) -> Scenario:
    """Replace the files that a run leaves when it has ended."""
    old, new = ({"outcome": outcome, "pid": 1, "started": "today"} for outcome in ("running", "completed"))

    def written(folder: Path, data: dict[str, Any]) -> None:
        place = RunFolder(folder, resume=True)
        place.write_json("metrics.json", data)
        place.write_arrays("parameters.npz", {"W1": np.full(9, len(str(data)))})
        place.write_json("run.json", data)

    contents: list[Files] = []
    for name, data in (("old", old), ("new", new)):
        (folder / name).mkdir(parents=True)
        written(folder / name, data)
        contents.append({path.name: path.read_bytes() for path in (folder / name).iterdir()})

    def holds(folder: Path, known: dict[str, Any]) -> str | None:
        for name in contents[0]:
            if (folder / name).read_bytes() not in (contents[0][name], contents[1][name]):
                return f"{name} is neither the old nor the new one"
        ended = json.loads((folder / "run.json").read_bytes()) == new
        if ended and any((folder / name).read_bytes() != contents[1][name] for name in contents[1]):
            return "run.json says that the run has ended, and its results are not there"
        return None

    return Scenario("results", contents[0], lambda folder, known: written(folder, new), holds)


def inject(scenario: Scenario, folder: Path, failing: int | None, fault: str) -> tuple[list[str], list[str]]:
    """Let one call fail; give all the calls, and what was lost."""
    _fill(folder, scenario.begin)
    known: dict[str, Any] = {}
    wrong: list[str] = []
    with FaultyDisk(folder, failing, fault) as disk:
        try:
            scenario.act(folder, known)
        except (OSError, UsageError, Killed):
            pass
        except Exception as error:
            wrong.append(f"it ended with {error!r}")
    after = [("", {path.name: path.read_bytes() for path in folder.iterdir()})]
    if disk.dead:
        after += [(", and the power was lost", files) for files in disk.after_loss_of_power()]
    for how, files in after:
        _fill(folder, files)
        try:
            complaint = scenario.holds(folder, known | {"power": bool(how)})
        except Exception as error:
            complaint = f"{type(error).__name__}: {error}"
        if complaint:
            wrong.append(f"{fault}{how}: {complaint}")
    return disk.steps, wrong


def _fill(folder: Path, files: Files) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def judge(counts: Counter[str], failures: list[str]) -> Figure:
    """Count the faults after which something was lost."""
    faults = counts.total()
    return Figure(
        f"write, fsync, rename, close, unlink failing or the last call before a crash, each once ({faults:,} faults): "
        "the last good state loads",
        f"{faults - len(failures):,} of {faults:,}",
        "all",
        not failures and faults > 0,
        numbers={"faults": faults, "failures": len(failures), "by call": dict(counts.most_common())},
        failures=failures,
    )


def measure(*, quick: bool) -> Figure:
    """Inject every fault into every call, and judge what was left."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with silent("trainer"), in_memory() as folder:
        place = folder / "disk"
        place.mkdir()
        for scenario in (make(folder / make.__name__) for make in (training, rows, results)):
            steps, wrong = inject(scenario, place, None, "none")
            failures += wrong
            chosen = list(_each(steps, QUICK_EVERY if quick else EVERY))
            for number, fault in tqdm(chosen, unit="fault", desc=f"faults, {scenario.name}", leave=False):
                _, wrong = inject(scenario, place, number, fault)
                counts[f"{scenario.name}: {steps[number].split()[0]}"] += 1
                if wrong:
                    failures.append(f"{scenario.name}, call {number} ({steps[number]}): {'; '.join(wrong)}")
    return judge(counts, failures)


def _each(steps: list[str], every: int) -> Iterator[tuple[int, str]]:
    """Give every call with every fault that it can have; or a share of them, of each fault."""
    for number, step in enumerate(steps):
        for shift, fault in enumerate(FAULTS):
            if (step == "write" or "half" not in fault) and (number + 2 * shift) % every == 0:
                yield number, fault
