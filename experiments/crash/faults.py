"""Faults: whichever call of a save fails, or is the last before a crash, the last good state loads."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from experiments.crash.faulty_disk import FAULTS, FaultyDisk, Killed
from experiments.crash.small_run import HISTORY, Files, SmallRun, in_memory, silent
from experiments.figures import Figure
from experiments.runs.folder import RunFolder
from trainer import latest_checkpoint
from trainer.callbacks.checkpoint import checkpoints
from trainer.callbacks.snapshot import Snapshot
from trainer.storage.history import History

EVERY, QUICK_EVERY = 1, 9  # of the steps, how many are made to fail


@dataclass(frozen=True)
class Scenario:
    """Something that saves, and what must be true after a fault.

    Attributes
    ----------
    name : str
    begin : dict of str to bytes
        What is in the folder before.
    act : callable
        Gets the folder, and saves there; gives what `holds` needs to know, even if it fails.
    holds : callable
        Gets the folder afterwards and what `act` gave; raises, or gives a complaint, if something was lost.
    """

    name: str
    begin: Files
    act: Callable[[Path, dict[str, Any]], None]
    holds: Callable[[Path, dict[str, Any]], str | None]


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
        with closing(History(folder / HISTORY)) as history:
            for number in range(5):
                history.append({"iteration": number})
                known["whole"] = number + 1
                known["state"] = history.state_dict() if number == 2 else known.get("state")

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
    old, new = {"outcome": "running"}, {"outcome": "completed"}

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
        except (OSError, Killed):
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
    with silent(), in_memory() as folder:
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
