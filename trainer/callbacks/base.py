"""Callbacks: what may watch a training run, when it is called, and how it may end the run."""

import difflib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np

from trainer.batches import Batch
from trainer.network.parameters import Array, Parameters
from trainer.optimizers import Optimizer, OptimizerState
from trainer.storage.codec import FINITE, LARGEST, Generator, Within
from trainer.storage.history import History
from trainer.storage.json_rows import Row, plain

HOOKS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_gradients_computed",
    "on_batch_end",
    "on_epoch_end",
    "on_train_end",
)

Metric = Callable[[Array, Array], float]  # of targets and predictions

Outcome = Literal["running", "completed", "stopped", "halted", "diverged", "interrupted", "failed"]


class TrainingHalted(RuntimeError):
    """Do not trust this model: raised out of a hook, it ends the run and is never swallowed.

    Raised in `on_gradients_computed`, it leaves the parameters as they were before the suspect update.
    """


class TrainingDiverged(RuntimeError):
    """The loss of a batch, or a parameter, is not finite: no wrong gradient, but most often steps that are too large.

    Parameters
    ----------
    found : str
        What is not finite, and where.
    iteration : int
        Of the batch with that loss, or the last one before the parameters were looked at.
    """

    def __init__(self, found: str, iteration: int) -> None:
        super().__init__(
            f"The training diverged at iteration {iteration}. Expected a finite loss and parameters, as a smaller "
            f"learning rate or max_norm of the optimizer may give. Received {found}."
        )
        self.found = found
        self.iteration = iteration

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it cross the border of a process."""
        return type(self), (self.found, self.iteration)


@dataclass(frozen=True)
class PlaceState:
    """What a checkpoint keeps of a `Place`; the order is that at the beginning of the epoch."""

    order_at_epoch: Generator
    masks: Generator
    batches: Annotated[int, Within(0, LARGEST)]
    total: Annotated[float, FINITE]
    opening: dict[str, Any] = field(default_factory=dict, metadata={"may_lack": True})  # version 0.1 did not log it


@dataclass(eq=False)
class Place:
    """Where a run stands within its epoch: with parameters and optimizer, all that decides how it goes on."""

    order: "np.random.Generator"  # of the rows in every epoch
    masks: "np.random.Generator"  # of dropout
    order_at_epoch: Mapping[str, Any]  # the state of `order` when the epoch began: its batches can be drawn again
    batches: int = 0  # done in this epoch
    total: float = 0.0  # of the losses of this epoch's rows so far, in the order in which they were added
    opening: Row = field(default_factory=dict)  # what `on_epoch_begin` said, for the row of the epoch

    def begin_epoch(self) -> None:
        """Note where the epoch's random order comes from."""
        self.order_at_epoch = self.order.bit_generator.state
        self.batches, self.total, self.opening = 0, 0.0, {}

    @property
    def state(self) -> PlaceState:
        """All of it that has to be kept."""
        masks = dict(self.masks.bit_generator.state)
        return PlaceState(dict(self.order_at_epoch), masks, self.batches, self.total, plain(self.opening))

    @state.setter
    def state(self, state: PlaceState) -> None:
        self.order_at_epoch = self.order.bit_generator.state = state.order_at_epoch
        self.masks.bit_generator.state = state.masks
        self.batches, self.total, self.opening = state.batches, state.total, dict(state.opening)


@dataclass(eq=False)
class TrainState:
    """Where a training run stands: the one argument of every hook.

    Read it freely; write to `row` and call `request_stop`, and leave the rest alone.

    Attributes
    ----------
    network, parameters, gradients, optimizer, optimizer_state, history, callbacks
        Of the run; the network is a `Model`, the gradients are those of the current batch, from `on_gradients_computed`
        on.
    inputs, targets : ndarray of shape (n_samples, ...)
        The training rows.
    n_epochs, n_iterations : int
        Planned in total.
    place : Place
        Where the run stands within its epoch, and its generators.
    batch, validation : Batch
        The rows of the current iteration, empty before the first; those for validation, None if there are none.
    metrics : dict of str to callable
        Of the validation rows: what `Trainer.fit` was given.
    settings : dict
        Of the trainer, as far as they decide what a run ends with.
    resumed : bool
        Whether the run goes on from a snapshot; then the epoch in which it does is not begun again.
    epoch, iteration : int
        One pass over the training rows, and one parameter update; each counts from 1.
    loss : float
        Of the current batch before its update, penalty and dropout included, from `on_gradients_computed` on.
    row : dict
        What this iteration, or in `on_epoch_begin` and `on_epoch_end` this epoch, will log; add to it.
    outcome : str
        ``"running"``, then ``"completed"``, ``"stopped"`` (on request), ``"halted"`` (`TrainingHalted`),
        ``"diverged"`` (`TrainingDiverged`), ``"interrupted"`` (`KeyboardInterrupt`) or ``"failed"`` (any other
        exception).
    stop_reason : str or None
        Why a stop was requested.
    after_backprop : list of callable
        Called with the state directly after backprop, before any hook: for a check that keeps what backprop gave.
    """

    network: Any  # a `Model`
    parameters: Parameters
    gradients: Parameters
    optimizer: Optimizer
    optimizer_state: OptimizerState
    inputs: Array
    targets: Array
    n_epochs: int
    n_iterations: int
    history: History
    place: Place
    batch: Batch
    callbacks: "Sequence[Callback]" = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    resumed: bool = False
    validation: Batch | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    epoch: int = 0
    iteration: int = 0
    loss: float = math.nan
    row: Row = field(default_factory=dict)
    outcome: Outcome = "running"
    stop_reason: str | None = None
    after_backprop: "list[Callable[[TrainState], None]]" = field(default_factory=list)

    def request_stop(self, reason: str) -> None:
        """End the run in good order, once every callback had its turn at the current hook.

        Requested in `on_gradients_computed`, the update is not applied. The first `reason` is kept.
        """
        if self.stop_reason is None:
            self.stop_reason = reason

    def demand_finite(self, loss: float = 0.0) -> None:
        """Go on only where this loss and all parameters are finite.

        Parameters
        ----------
        loss : float, default=0.0
            Of a batch, in nats.

        Raises
        ------
        TrainingDiverged
            If one of them is not.
        """
        vector = self.parameters.vector
        # Where all are finite, their squares usually add up to a number, which is quicker to tell; vdot does not warn.
        if math.isfinite(loss) and (np.isfinite(np.vdot(vector, vector)) or np.isfinite(vector).all()):
            return
        bad = [name for name, values in self.parameters.items() if not np.isfinite(values).all()]
        where = f"NaN or infinity in {', '.join(bad)}"
        if not bad:
            largest = max(self.parameters, key=lambda name: float(np.abs(self.parameters[name]).max(initial=0.0)))
            where = f"parameters of up to {np.abs(self.parameters[largest]).max():.2g}, in {largest}"
        raise TrainingDiverged(where if math.isfinite(loss) else f"a loss of {loss} with {where}", self.iteration)


class Callback:
    """Watches a training run; override any of the hooks.

    Hooks are called in the order of the list of callbacks, one after the other.

    Raises
    ------
    TypeError
        When a class is defined with a method ``on_…`` that is no hook, and would never be called, or that does not take
        the state alone.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse misspelt hooks, and hooks of another library."""
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if name.startswith("on_") and callable(value) and name not in HOOKS:
                close = difflib.get_close_matches(name, HOOKS, n=1)
                hint = f" Did you mean {close[0]}?" if close else ""
                raise TypeError(
                    f"{cls.__name__} defines an unknown hook. Expected one of {', '.join(HOOKS)}. "
                    f"Received {name}.{hint}"
                )
            if name in HOOKS and inspect.isfunction(value):
                try:
                    inspect.signature(value).bind(None, None)
                except TypeError as error:
                    raise TypeError(
                        f"{cls.__name__}.{name} takes something else. Expected {name}(self, state): state.epoch, "
                        "state.iteration and state.batch say where the run is, state.row is what other libraries call "
                        f"logs. Received {name}{inspect.signature(value)}."
                    ) from error

    def on_train_begin(self, state: TrainState) -> None:
        """Before the first epoch; the parameters are the initial ones."""

    def on_epoch_begin(self, state: TrainState) -> None:
        """Before the first batch of an epoch; what is added to `state.row` is logged with the epoch, at its end."""

    def on_batch_begin(self, state: TrainState) -> None:
        """Before the forward pass; `state.batch` is chosen, loss and gradients are still the last ones."""

    def on_gradients_computed(self, state: TrainState) -> None:
        """After back-propagation and before the update; what is added to `state.row` is logged."""

    def on_batch_end(self, state: TrainState) -> None:
        """After the update; the row of this iteration is written."""

    def on_epoch_end(self, state: TrainState) -> None:
        """After the last batch of an epoch; what is added to `state.row` is logged with the epoch."""

    def on_train_end(self, state: TrainState) -> None:
        """At the end, however it came about: for every callback whose `on_train_begin` was called."""

    def state_dict(self) -> dict[str, Any]:
        """Give what the callback has to remember from one iteration to the next, as plain data for JSON.

        Nothing by default. It goes into every checkpoint.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where a `state_dict` left off; called when a run is resumed, after `on_train_begin`.

        A KeyError, TypeError or ValueError over the `state` becomes a `ResumeError`.
        """
