"""EarlyStopping: ends a run that no longer improves."""

import math
from collections.abc import Mapping
from typing import Any

from trainer.argument import NOT_NEGATIVE, checked_number
from trainer.callbacks.base import Callback, TrainState


class EarlyStopping(Callback):
    """Requests a stop when a number of the epoch row has not fallen for some epochs; NaN is no improvement.

    Parameters
    ----------
    monitor : str, default="validation_loss"
        Key of the epoch row; smaller is better. ``"epoch_loss"`` needs no validation rows.
    patience : int >= 1, default=3
        Epochs without improvement that end the run.
    min_delta : float >= 0, default=0.0
        How far below the best value counts as an improvement, in units of the monitored number.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of its range; out of `fit`, before training, if there are no
        validation rows to monitor, or, at the end of an epoch, if the row has no such key.
    """

    def __init__(self, monitor: str = "validation_loss", patience: int = 3, min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"Invalid monitor. Expected a key of the epoch rows. Received {monitor!r}.")
        self.monitor = monitor
        self.patience: int = checked_number(patience, "patience", "at least 1 epoch", lambda epochs: epochs >= 1)
        self.min_delta: float = checked_number(min_delta, "min_delta", *NOT_NEGATIVE)
        self.best = math.inf
        self.epochs_without_improvement = 0

    def on_train_begin(self, state: TrainState) -> None:
        """Forget the last run."""
        if self.monitor == "validation_loss" and state.validation is None:
            raise ValueError(
                "EarlyStopping has nothing to monitor. Expected fit(…, validation=(inputs, targets)), "
                'or monitor="epoch_loss". Received no validation rows.'
            )
        self.best = math.inf
        self.epochs_without_improvement = 0

    def state_dict(self) -> dict[str, Any]:
        """Give the best value, and the patience used up."""
        return {"best": self.best, "epochs_without_improvement": self.epochs_without_improvement}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on waiting."""
        self.best = checked_number(state["best"], "best value", "a number", lambda number: True)
        waited = state["epochs_without_improvement"]
        self.epochs_without_improvement = checked_number(waited, "epochs waited", "at least 0", lambda n: n >= 0)

    def on_epoch_end(self, state: TrainState) -> None:
        """Compare this epoch with the best one."""
        if self.monitor not in state.row:
            raise ValueError(
                f"The epoch row lacks the monitored key. Expected one of {', '.join(state.row)}. "
                f"Received {self.monitor!r}."
            )
        value = state.row[self.monitor]
        if value < self.best - self.min_delta:
            self.best = value
            self.epochs_without_improvement = 0
            return
        self.epochs_without_improvement += 1
        if self.epochs_without_improvement >= self.patience:
            epochs = "epoch" if self.patience == 1 else "epochs"
            state.request_stop(f"{self.monitor} has not improved on {self.best:.6g} for {self.patience} {epochs}")
