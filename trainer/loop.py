"""Epochs: the only training loop in the project."""

from trainer.batches import Batches
from trainer.callbacks.base import TrainState
from trainer.hooks import Hooks


def run_epochs(state: TrainState, hooks: Hooks, batches: Batches) -> None:
    """Run every epoch that is left, or return where a stop was requested.

    Parameters
    ----------
    state : TrainState
        At the beginning, or where a snapshot has put it: within an epoch, which then is not begun again.
    hooks : Hooks
    batches : Batches
    """
    network, parameters, gradients, place = state.network, state.parameters, state.gradients, state.place
    # Lists to go through here: a call for each moment is a third of what seven callbacks that do nothing cost a step.
    begins, computed, ends = (hooks.at(f"on_{moment}") for moment in ("batch_begin", "gradients_computed", "batch_end"))
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
            state.loss, _ = network.loss_and_gradients(parameters, *state.batch, place.masks, gradients)
            state.row["loss"] = state.loss
            place.total += state.loss * len(state.batch.targets)
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
        state.row = {"event": "epoch", "epoch": state.epoch, "iteration": state.iteration}
        state.row["epoch_loss"] = place.total / len(state.inputs)
        if state.validation is not None:
            state.row["validation_loss"] = network.loss(parameters, *state.validation)
        try:
            stop = hooks.call("on_epoch_end", state)
        finally:
            state.history.append(state.row)
        if stop:
            return
