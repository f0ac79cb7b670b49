"""Checkpoint: keeps what a run needs to go on, every so many iterations, so that a crash loses little."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.argument import checked_integer
from trainer.callbacks.base import Callback, TrainState
from trainer.callbacks.snapshot import Snapshot
from trainer.storage.archive import ArchiveError
from trainer.storage.codec import to_plain
from trainer.storage.durable import UNFINISHED, File, Folder
from trainer.storage.history import History

NAME = re.compile(r"checkpoint-(\d{8,})\.npz", re.ASCII)

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
    settings : mapping, optional
        What else is to be kept in them, such as the settings of the run: `Snapshot.facts` has it.

    Raises
    ------
    ValueError
        If an argument is out of its range; out of `fit`, before training, if the folder holds checkpoints of another
        run, or if a callback after this one in the list has a state: it belongs behind all of these.
    """

    def __init__(
        self,
        folder: Folder | Path | str,
        every: int = 1_000,
        *,
        keep: int = 2,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder = Folder.of(folder)
        self._holds = False  # whether it has to let go of the folder
        self.every = checked_integer(every, "every", 1, wrong_kind=ValueError)
        self.keep = checked_integer(keep, "keep", 1, wrong_kind=ValueError)
        self.settings: dict[str, Any] = to_plain(dict(settings or {}))
        self.iteration = 0  # of the last one that was written

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self._folder.path

    def on_train_begin(self, state: TrainState) -> None:
        """Make the folder, and refuse what would lose something."""
        behind = state.callbacks[state.callbacks.index(self) + 1 :]
        late = [type(callback).__name__ for callback in behind if callback.state_dict()]
        if late:
            raise ValueError(
                "Checkpoint cannot save the state of callbacks behind it. Expected it at the end of the list. "
                f"Received {', '.join(late)} after it."
            )
        self._folder.make()
        self._holds = self._folder.hold()
        found = checkpoints(self._folder)
        if found and not state.iteration:
            raise ValueError(
                f"{self.folder} holds checkpoints already. Expected none of another run, or fit(…, resume=…). "
                f"Received {found[-1].name}."
            )
        for name in self._folder.names():
            if name.endswith(UNFINISHED) and NAME.fullmatch(name.removesuffix(UNFINISHED)):
                self._folder.unlink(name)
        self.iteration = state.iteration

    def on_train_end(self, state: TrainState) -> None:
        """Let go of the folder."""
        if self._holds:
            self._holds = False
            self._folder.release()

    def on_batch_end(self, state: TrainState) -> None:
        """Save, where it is time to."""
        if state.iteration % self.every == 0:
            self.save(state)

    def save(self, state: TrainState) -> None:
        """Save now; to be called in `on_batch_end`."""
        try:
            Snapshot.of(state, self.settings).write(self._folder / f"checkpoint-{state.iteration:08d}.npz")
            self.iteration = state.iteration
            for old in checkpoints(self._folder)[: -self.keep]:
                self._folder.unlink(old.name)
        except OSError as error:
            last = f"the last good one is of iteration {self.iteration}" if self.iteration else "there is none yet"
            logger.warning("iteration %d: no checkpoint could be written (%s); %s", state.iteration, error, last)


def checkpoints(folder: Folder | Path | str) -> list[Path]:
    """List the checkpoints in a folder, the last one last."""
    place = Folder.of(folder)
    found = [(int(match[1]), name) for name in place.names() if (match := NAME.fullmatch(name))]
    return [place.path / name for _, name in sorted(found)]


def latest_checkpoint(folder: Folder | Path | str, history_path: File | Path | str | None = None) -> Snapshot | None:
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
    place = Folder.of(folder)
    refusal: Exception | None = None
    for path in reversed(checkpoints(place)):
        try:
            snapshot = Snapshot.read(place / path.name)
            History.verify(snapshot.facts.history, history_path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("refused a checkpoint: %s", error)
            refusal = error
        else:
            return snapshot
    if refusal is not None:
        raise ArchiveError(f"No checkpoint can be used. Expected a good one in {place.path}. Received {refusal}")
    return None
