"""Checkpoint: keeps what a run needs to go on, every so many iterations, so that a crash loses little."""

import logging
from pathlib import Path

from trainer.argument import checked_integer
from trainer.callbacks.base import Callback, TrainState
from trainer.callbacks.snapshot import Snapshot
from trainer.storage.archive import ArchiveError
from trainer.storage.durable import UNFINISHED, make_folder
from trainer.storage.history import History

PATTERN = "checkpoint-*.npz"

logger = logging.getLogger(__name__)


class Checkpoint(Callback):
    """Writes ``checkpoint-NNNNNNNN.npz``, a file for `Trainer.fit(resume=…)`, and keeps the last ones.

    Each is written beside, synced and moved into place, and carries a checksum: after a crash at any moment the last
    good one is there, and a damaged one is noticed. A disk that takes no more is logged, and the training goes on.

    Parameters
    ----------
    folder : path
        Made if it is missing. It must hold no checkpoints of another run.
    every : int >= 1, default=1000
        Iterations between two checkpoints.
    keep : int >= 1, default=2
        How many stay.

    Raises
    ------
    ValueError
        If an argument is out of its range; out of `fit`, before training, if the folder holds checkpoints of another
        run, or if a callback after this one in the list has a state: it belongs behind all of these.
    """

    def __init__(self, folder: Path | str, every: int = 1_000, *, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.every = checked_integer(every, "every", 1, wrong_kind=ValueError)
        self.keep = checked_integer(keep, "keep", 1, wrong_kind=ValueError)
        self.iteration = 0  # of the last one that was written

    def on_train_begin(self, state: TrainState) -> None:
        """Make the folder, and refuse what would lose something."""
        behind = state.callbacks[state.callbacks.index(self) + 1 :]
        late = [type(callback).__name__ for callback in behind if callback.state_dict()]
        if late:
            raise ValueError(
                "Checkpoint cannot save the state of callbacks behind it. Expected it at the end of the list. "
                f"Received {', '.join(late)} after it."
            )
        make_folder(self.folder)
        found = checkpoints(self.folder)
        if found and not state.iteration:
            raise ValueError(
                f"{self.folder} holds checkpoints already. Expected none of another run, or fit(…, resume=…). "
                f"Received {found[-1].name}."
            )
        for left in self.folder.glob(PATTERN + UNFINISHED):
            left.unlink()
        self.iteration = state.iteration

    def on_batch_end(self, state: TrainState) -> None:
        """Save, where it is time to."""
        if state.iteration % self.every == 0:
            self.save(state)

    def save(self, state: TrainState) -> None:
        """Save now; to be called in `on_batch_end`."""
        path = self.folder / f"checkpoint-{state.iteration:08d}.npz"
        try:
            Snapshot.of(state).write(path)
            self.iteration = state.iteration
            for old in checkpoints(self.folder)[: -self.keep]:
                old.unlink()
        except OSError as error:
            last = f"the last good one is of iteration {self.iteration}" if self.iteration else "there is none yet"
            logger.warning("iteration %d: no checkpoint could be written (%s); %s", state.iteration, error, last)


def checkpoints(folder: Path | str) -> list[Path]:
    """List the checkpoints in a folder, the last one last."""
    return sorted(Path(folder).glob(PATTERN))


def latest_checkpoint(folder: Path | str, history_path: Path | str | None = None) -> Snapshot | None:
    """Read the last good checkpoint; one that is damaged is refused, and logged, and the one before offered.

    Parameters
    ----------
    folder : path
    history_path : path, optional
        The history of the run, where it has a file: a checkpoint with which it does not agree is refused, too.

    Returns
    -------
    Snapshot or None
        None if there is no checkpoint at all.

    Raises
    ------
    ArchiveError
        If all of them are refused.
    """
    found = checkpoints(folder)
    refusal: Exception | None = None
    for path in reversed(found):
        try:
            snapshot = Snapshot.read(path)
            History.verify(snapshot.facts.history, history_path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("refused a checkpoint: %s", error)
            refusal = error
        else:
            return snapshot
    if refusal is not None:
        raise ArchiveError(f"No checkpoint can be used. Expected a good one in {folder}. Received {refusal}")
    return None
