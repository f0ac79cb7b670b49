"""The loop: the only training loop in the project, and the hooks that it calls."""

import logging
import math
from collections.abc import Callable, Sequence

from trainer.argument import is_number
from trainer.batches import Batch, Batches, in_blocks
from trainer.callbacks.base import HOOKS, Callback, Outcome, TrainingDiverged, TrainingHalted, TrainState
from trainer.network.parameters import Array
from trainer.storage.durable import FolderLost
from trainer.storage.json_rows import Row

logger = logging.getLogger(__name__)


class Hooks:
    """What one run calls at each of its moments: the callbacks in their order, at the end as at the beginning."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = callbacks
        self._begun: list[Callback] = []
        # Only what is overridden: a callback that does nothing at a moment costs nothing there.
        self.bound: dict[str, list[Callable[[TrainState], None]]] = {
            name: [
                getattr(callback, name)
                for callback in callbacks
                if getattr(getattr(callback, name), "__func__", None) is not getattr(Callback, name)
            ]
            for name in HOOKS
        }

    def begin(self, state: TrainState) -> bool:
        """Call every `on_train_begin`; return whether a stop was requested."""
        for callback in self._callbacks:
            self._begun.append(callback)
            callback.on_train_begin(state)
        return state.stop_reason is not None

    def call(self, name: str, state: TrainState) -> bool:
        """Call the hooks of one moment; return whether a stop was requested."""
        for hook in self.bound[name]:
            hook(state)
        return state.stop_reason is not None

    def end(self, state: TrainState, error: BaseException | None) -> None:
        """Call `on_train_end` of all that began, whatever the others raise; write the end row.

        What the end hooks raise becomes an ExceptionGroup with `error`, which ended the run, as its cause; an
        interrupt stays an interrupt, and then they are logged instead.
        """
        reason = state.stop_reason
        state.outcome = "completed" if reason is None else "stopped"
        if error is not None:
            first_line = str(error).partition("\n")[0]  # a report may follow, which is kept elsewhere
            state.outcome, reason = _outcome(error), f"{type(error).__name__}: {first_line}"
        state.row = {"event": "end", "outcome": state.outcome, "reason": reason, "iteration": state.iteration}
        failures: list[BaseException] = []
        for callback in self._begun:
            try:
                callback.on_train_end(state)
            except BaseException as failure:
                failures.append(failure)
        if failures and error is None:
            state.outcome = _outcome(failures[0])
            state.row |= {"outcome": state.outcome, "reason": f"on_train_end: {failures[0]!r}"}
        try:
            if not isinstance(error, FolderLost):
                state.history.append(state.row)
        finally:
            state.history.close()
        if failures and (error is None or isinstance(error, Exception)):
            raise BaseExceptionGroup("on_train_end failed", failures) from error
        for unraised in failures:
            logger.error("on_train_end failed while the run was interrupted", exc_info=unraised)


def run_epochs(state: TrainState, hooks: Hooks, batches: Batches) -> None:
    """Run every epoch that is left, or return where a stop was requested.

    A snapshot puts the state within an epoch, which then is not begun again.
    """
    network, parameters, gradients, place = state.network, state.parameters, state.gradients, state.place
    # Lists to go through here: a call for each moment is a third of what seven callbacks that do nothing cost a step.
    begins, computed, ends = (
        hooks.bound[f"on_{moment}"] for moment in ("batch_begin", "gradients_computed", "batch_end")
    )
    for epoch in range(max(1, state.epoch), state.n_epochs + 1):
        if epoch != state.epoch:
            state.epoch = epoch
            place.begin_epoch()
            if hooks.call("on_epoch_begin", state):
                return
        for state.batch in batches.epoch(place.order, skip=place.batches):
            state.iteration += 1
            state.row = {"event": "iteration", "epoch": state.epoch, "iteration": state.iteration}
            for hook in begins:
                hook(state)
            if state.stop_reason is not None:
                return
            state.loss, returned = network.loss_and_gradients(parameters, *state.batch, place.masks, gradients)
            if returned is not gradients:  # to write into them was an offer
                gradients.assign(returned)
            for look in state.after_backprop:
                look(state)
            state.row["loss"] = state.loss
            place.total += state.loss * len(state.batch.targets)
            if not math.isfinite(state.loss):
                state.history.append(state.row)
                state.demand_finite(state.loss)
            try:
                for hook in computed:
                    hook(state)
            finally:  # on disk before anybody can raise over it
                state.history.append(state.row)
            if state.stop_reason is not None:
                return
            state.optimizer.update(parameters.vector, gradients.vector, state.optimizer_state)
            place.batches += 1
            for hook in ends:
                hook(state)
            if state.stop_reason is not None:
                return
        state.demand_finite()
        state.row = {"event": "epoch", "epoch": state.epoch, "iteration": state.iteration}
        state.row["epoch_loss"] = place.total / len(state.inputs)
        if state.validation is not None:
            state.row["validation_loss"] = network.loss(parameters, *state.validation)
            state.row |= _measured(state, state.validation)
        try:
            stop = hooks.call("on_epoch_end", state)
        finally:
            state.history.append(state.row)
        if stop:
            return


def _measured(state: TrainState, held_out: Batch) -> Row:
    """Give what the metrics say of the validation rows."""
    if not state.metrics:
        return {}

    def predicted(rows: Array) -> Array:
        return state.network.predict_proba(state.parameters, rows)

    predictions, row = in_blocks(predicted, held_out.inputs, state.parameters.vector.dtype), {}
    for name, metric in state.metrics.items():
        value = metric(held_out.targets, predictions)
        if not is_number(value):
            raise TypeError(f"The metric {name!r} gave no number. Expected a float. Received {value!r}.")
        row[f"validation_{name}"] = float(value)
    return row


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, TrainingHalted):
        return "halted"
    if isinstance(error, TrainingDiverged):
        return "diverged"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
