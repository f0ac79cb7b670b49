"""EarlyStopping: ends a run that no longer improves."""

import base64
import logging
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from trainer.argument import NOT_NEGATIVE, checked_number
from trainer.callbacks.base import Callback, TrainState
from trainer.network.parameters import Array

logger = logging.getLogger(__name__)


class EarlyStopping(Callback):
    """Requests a stop when a number of the epoch row has not improved for some epochs; NaN is no improvement.

    Parameters
    ----------
    monitor : str, default="validation_loss"
        Key of the epoch row. ``"epoch_loss"`` needs no validation rows.
    patience : int >= 1, default=3
        Epochs without improvement that end the run.
    min_delta : float >= 0, default=0.0
        How far beyond the best value counts as an improvement, in units of the monitored number.
    mode : {"min", "max"}, default="min"
        Whether smaller or larger is better.
    restore_best : bool, default=False
        Put the parameters of the best epoch back at the end of a run that was completed or stopped, and its number into
        the end row, as ``"best_epoch"``. After any other end the parameters are what they were.

    Attributes
    ----------
    best : float
        The best value so far; infinite before the first.
    best_epoch : int
        Its epoch; 0 before the first.
    epochs_without_improvement : int

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range; out of `fit`, before training, if there are no
        validation rows to monitor, or, at the end of an epoch, if the row has no such key.
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        *,
        mode: Literal["min", "max"] = "min",
        restore_best: bool = False,
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"Invalid monitor. Expected a key of the epoch rows. Received {monitor!r}.")
        if not isinstance(mode, str) or mode not in ("min", "max"):
            raise ValueError(f"Invalid mode. Expected 'min' or 'max'. Received {mode!r}.")
        self.monitor = monitor
        self.patience: int = checked_number(patience, "patience", "at least 1 epoch", lambda epochs: epochs >= 1)
        self.min_delta: float = checked_number(min_delta, "min_delta", *NOT_NEGATIVE)
        self.mode = mode
        self.restore_best = bool(restore_best)
        self._begin_afresh()

    def _begin_afresh(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.best_epoch = self.epochs_without_improvement = 0
        self._kept: Array | None = None  # the parameters of the best epoch
        self._like: Array = np.empty(0)  # those of the run

    def on_train_begin(self, state: TrainState) -> None:
        """Forget the last run."""
        if self.monitor.startswith("validation_") and state.validation is None:
            raise ValueError(
                "EarlyStopping has nothing to monitor. Expected fit(…, validation=(inputs, targets)), "
                'or monitor="epoch_loss". Received no validation rows.'
            )
        self._begin_afresh()
        self._like = state.parameters.vector

    def state_dict(self) -> dict[str, Any]:
        """Give the best value, where it was, and the patience used up; the best parameters if they are to come back."""
        numbers = ("mode", "best", "best_epoch", "epochs_without_improvement")
        state = {name: getattr(self, name) for name in numbers}
        if self._kept is not None:
            state["parameters"] = base64.b64encode(self._kept.tobytes()).decode()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on waiting."""
        if state.get("mode", "min") != self.mode:  # version 0.1 had one mode, and kept no parameters
            raise ValueError(f"The mode has changed. Expected {state['mode']!r}. Received {self.mode!r}.")
        at_least_0 = "at least 0", lambda number: number >= 0
        self.best = checked_number(state["best"], "best value", "a number", lambda number: True)
        self.best_epoch = checked_number(state.get("best_epoch", 0), "best epoch", *at_least_0)
        self.epochs_without_improvement = checked_number(
            state["epochs_without_improvement"], "epochs waited", *at_least_0
        )
        if self.restore_best and self.best_epoch:
            numbers = base64.b64decode(state["parameters"], validate=True)
            self._kept = np.frombuffer(numbers, self._like.dtype).copy()
            if self._kept.shape != self._like.shape:
                sizes = f"Expected {self._like.size} numbers. Received {self._kept.size}."
                raise ValueError(f"The best parameters do not fit. {sizes}")

    def on_epoch_end(self, state: TrainState) -> None:
        """Compare this epoch with the best one."""
        if self.monitor not in state.row:
            raise ValueError(
                f"The epoch row lacks the monitored key. Expected one of {', '.join(state.row)}. "
                f"Received {self.monitor!r}."
            )
        value = state.row[self.monitor]
        is_smaller, is_larger = value < self.best - self.min_delta, value > self.best + self.min_delta
        if is_smaller if self.mode == "min" else is_larger:
            self.best, self.best_epoch = value, state.epoch
            self.epochs_without_improvement = 0
            if self.restore_best:
                self._kept = state.parameters.vector.copy()
            return
        self.epochs_without_improvement += 1
        if self.epochs_without_improvement >= self.patience:
            epochs = "epoch" if self.patience == 1 else "epochs"
            state.request_stop(f"{self.monitor} has not improved on {self.best:.6g} for {self.patience} {epochs}")
            if self.best_epoch == 1 and value != self.best and not self.monitor.endswith("loss"):
                other = "max" if self.mode == "min" else "min"
                message = (
                    '%s was best in the first epoch, and has gone from %.6g to %.6g. If that is better, say mode="%s"'
                )
                logger.warning(message, self.monitor, self.best, value, other)

    def on_train_end(self, state: TrainState) -> None:
        """Put the parameters of the best epoch back."""
        if self._kept is not None and state.outcome in ("completed", "stopped"):
            state.parameters.vector[...] = self._kept
            state.row["best_epoch"] = self.best_epoch
