"""SmallRun: a training of a few milliseconds whose files are damaged, or whose disk fails, by the thousand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from checks import GradientCheck
from trainer import Adam, Checkpoint, EarlyStopping, History, Network, Trainer, latest_checkpoint
from trainer.callbacks.checkpoint import checkpoints

HISTORY = "history.jsonl"
MEMORY = Path("/dev/shm")  # a file system in memory, where there is one

Files = dict[str, bytes]


class SmallRun:
    """A run that was never interrupted, and how one goes on from what is left of it; an epoch has seven iterations."""

    def __init__(self, folder: Path, seed: int = 0, *, every: int = 4, keep: int = 99, epochs: int = 3) -> None:
        self.folder = folder
        self.seed = seed
        self.every, self.keep, self.epochs = every, keep, epochs
        rng = np.random.default_rng(seed)
        self.inputs = rng.normal(size=(61, 7))
        self.targets = (self.inputs @ rng.normal(size=7) > 0).astype(float)
        folder.mkdir()
        trainer = self.trainer(folder)
        trainer.fit(self.inputs, self.targets)
        self.end = _end(trainer)  # what `go_on` gives if nothing was lost
        self.files: Files = {path.name: path.read_bytes() for path in (*checkpoints(folder), folder / HISTORY)}

    def trainer(self, folder: Path) -> Trainer:
        """Set it up anew, in another folder; the `Checkpoint` is the last of its callbacks."""
        saves = Checkpoint(folder, self.every, keep=self.keep)
        return Trainer(
            Network((7, 5, 3, 1), dropout=0.2),
            optimizer=Adam(0.01),
            batch_size=9,
            epochs=self.epochs,
            seed=self.seed,
            callbacks=[GradientCheck(5, rows=13), EarlyStopping("epoch_loss", patience=9), saves],
            history_path=folder / HISTORY,
        )

    def go_on(self, folder: Path, name: str = "") -> Any:
        """Resume it from what a folder holds, and give its end: None where there was nothing to resume."""
        snapshot = latest_checkpoint(folder, folder / HISTORY)
        if snapshot is None:
            return None
        trainer = self.trainer(folder)
        trainer.fit(self.inputs, self.targets, resume=snapshot)
        return _end(trainer)


def _end(trainer: Trainer) -> Any:
    written = History.read(str(trainer.history_path))
    rows = [[value for name, value in row.items() if name != "milliseconds"] for row in written]
    return trainer.parameters.vector.tobytes(), repr(rows)


@contextmanager
def on_disk() -> Iterator[Path]:
    """Give a folder for a while."""
    with TemporaryDirectory(prefix="crash-") as folder:
        yield Path(folder)


@contextmanager
def in_memory() -> Iterator[Path]:
    """Give a folder for a while, in memory if that can be."""
    with TemporaryDirectory(prefix="crash-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)
