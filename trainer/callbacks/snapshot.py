"""Snapshot: everything that decides how a run goes on, as it was at the end of one iteration."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self
from zlib import crc32

import numpy as np

from trainer.batches import release
from trainer.callbacks.base import Callback, PlaceState, TrainState
from trainer.network.parameters import Array
from trainer.storage.archive import ArchiveError, read_archive, write_archive
from trainer.storage.codec import LARGEST, BrokenError, Within, from_plain
from trainer.storage.durable import File
from trainer.storage.history import History

KIND, VERSION = "checkpoint", 1
SAMPLED_ROWS = 1_024  # evenly spaced ones tell two tables apart without reading a large one
NUMBER = re.compile(r"\d+")


class ResumeError(ValueError):
    """A run cannot go on from this snapshot, because it is one of another run."""


@dataclass(frozen=True)
class Facts:
    """What a snapshot holds beside its arrays."""

    iteration: Annotated[int, Within(1, LARGEST)]
    epoch: Annotated[int, Within(1, LARGEST)]
    n_updates: Annotated[int, Within(0, LARGEST)]
    place: PlaceState
    history: dict[str, Any]  # as `History` reads it
    callbacks: list[tuple[str, dict[str, Any]]]  # names and states of those that have one
    run: dict[str, Any]  # settings and rows, as `_identity` gives them
    settings: dict[str, Any] = field(default_factory=dict, metadata={"may_lack": True})  # what else the user wants kept


@dataclass(frozen=True)
class Snapshot:
    """The state of a run at the end of one iteration: what `Trainer.fit` takes as ``resume``.

    Attributes
    ----------
    arrays : dict of str to ndarray of shape (n_parameters,)
        ``"parameters"``, and the optimizer's moments by name.
    facts : Facts
        The counts, generators, history, states of the callbacks, and the settings and rows of the run.
    """

    arrays: dict[str, Array]
    facts: Facts

    @classmethod
    def of(cls, state: TrainState, settings: Mapping[str, Any] | None = None) -> Self:
        """Take one; to be called in `on_batch_end`, when the row of the iteration is in the history.

        The arrays are those of the run, not copies. The `settings` are what else is to be kept.
        """
        facts = Facts(
            iteration=state.iteration,
            epoch=state.epoch,
            n_updates=state.optimizer_state.n_updates,
            place=state.place.state,
            history=state.history.state_dict(),
            callbacks=[(type(c).__name__, kept) for c in state.callbacks if (kept := c.state_dict())],
            run=_identity(state),
            settings=dict(settings or {}),
        )
        return cls({"parameters": state.parameters.vector} | state.optimizer_state.moments, facts)

    @property
    def iteration(self) -> int:
        """The last iteration that it holds."""
        return self.facts.iteration

    def write(self, path: File | Path | str) -> None:
        """Write it to `path`, whole or not at all; an OSError says that it could not be written."""
        # Not through `to_plain`, which would go through every row of a history in memory.
        write_archive(path, KIND, VERSION, self.arrays, vars(self.facts) | {"place": vars(self.facts.place)})

    @classmethod
    def read(cls, path: File | Path | str) -> Self:
        """Read one from `path`.

        Raises
        ------
        ArchiveError
            If the file is damaged, or something else, lacks a part, or carries the name of another iteration.
        """
        archive = read_archive(path, KIND, VERSION)
        try:
            facts = from_plain(Facts, archive.facts, "checkpoint")
        except BrokenError as error:
            raise ArchiveError(f"{path} is no whole checkpoint. {error}") from error
        number = NUMBER.search(File.of(path).name)
        if number and int(number[0]) != facts.iteration:
            raise ArchiveError(
                f"{path} has been renamed. Expected the checkpoint of iteration {int(number[0])}. "
                f"Received that of {facts.iteration}."
            )
        return cls(archive.arrays, facts)

    @classmethod
    def given(cls, snapshot: Self | Path | str) -> Self:
        """Give the `snapshot` itself, or read it where its path is given.

        Raises
        ------
        TypeError
            If it is neither; and what `read` raises.
        """
        if isinstance(snapshot, cls):
            return snapshot
        if not isinstance(snapshot, Path | str):
            raise TypeError(
                "There is nothing to resume. Expected a snapshot, as latest_checkpoint(folder) gives it, or its path. "
                f"Received {type(snapshot).__name__}."
            )
        return cls.read(snapshot)

    def restore(self, state: TrainState) -> None:
        """Bring a fresh run of the same settings and rows to where this one was, but for history and callbacks.

        Raises
        ------
        ResumeError
            If the settings or the rows are others, or fewer epochs are planned than this run had begun.
        """
        for name, value in _identity(state).items():
            expected = self.facts.run.get(name)
            if expected != value:
                why = ", or were computed with another number of threads or another version" if "rows" in name else ""
                raise ResumeError(
                    f"The checkpoint is of another run: {name} differs{why}. Expected {expected}. Received {value}."
                )
        moments = state.optimizer_state.moments
        for name, array in ({"parameters": state.parameters.vector} | moments).items():
            saved = self.arrays.get(name)
            if saved is None or (saved.shape, saved.dtype) != (array.shape, array.dtype):
                what = "none" if saved is None else f"{saved.dtype} of shape {saved.shape}"
                expected = f"{array.dtype} of shape {array.shape}"
                raise ResumeError(f"The checkpoint's {name} do not fit. Expected {expected}. Received {what}.")
            array[...] = saved
        try:
            state.place.state = self.facts.place
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ResumeError(f"The place is broken. Expected what was written. Received {error!r}.") from error
        state.optimizer_state.n_updates = self.facts.n_updates
        state.epoch, state.iteration = self.facts.epoch, self.iteration
        if state.epoch > state.n_epochs:
            raise ResumeError(
                f"The checkpoint is beyond the end. Expected at least {state.epoch} epochs. Received {state.n_epochs}."
            )

    def history(self, path: File | Path | str | None) -> History:
        """Give the history where it was, to go on with; the file at `path` must begin with it.

        Raises
        ------
        ResumeError
            If it does not.
        """
        try:
            return History.from_state(self.facts.history, path)
        except (KeyError, TypeError, ValueError) as error:
            raise ResumeError(f"The history cannot go on. Expected what was written. Received {error!r}.") from error

    def restore_callbacks(self, callbacks: Sequence[Callback]) -> None:
        """Give each of the `callbacks` that has one its state back, in the order of the list.

        Raises
        ------
        ResumeError
            If the callbacks are others, or one of them cannot go on from its state.
        """
        having = [callback for callback in callbacks if callback.state_dict()]
        saved = self.facts.callbacks
        expected, received = [name for name, _ in saved], [type(callback).__name__ for callback in having]
        if expected != received:
            raise ResumeError(
                f"The callbacks are others than the checkpoint's. Expected {expected}. Received {received}."
            )
        for callback, (name, state) in zip(having, saved, strict=True):
            try:
                callback.load_state_dict(state)
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
                raise ResumeError(f"{name} cannot go on. Expected what was written. Received {error!r}.") from error


def _identity(state: TrainState) -> dict[str, Any]:
    """Say what a run must share with the one that is resumed, so that it ends with the same bits."""
    held_out = state.validation
    return {
        "network": repr(state.network),
        "optimizer": repr(state.optimizer),
        **state.settings,
        "rows": _fingerprint(state.inputs, state.targets),
        "validation rows": None if held_out is None else _fingerprint(held_out.inputs, held_out.targets),
    }


def _fingerprint(inputs: Array, targets: Array) -> str:
    """Give number and CRC-32 of rows: of all, or of evenly spaced ones."""
    chosen = np.unique(np.linspace(0, len(inputs) - 1, SAMPLED_ROWS).astype(np.intp))
    crc = crc32(targets[chosen].tobytes(), crc32(inputs[chosen].tobytes()))
    release(inputs)
    return f"{len(inputs):,} × {inputs.shape[1]}, CRC-32 {crc:08x}"
