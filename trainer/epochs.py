"""Epochs: the only training loop in the project."""

from trainer.batches import Batches
from trainer.callbacks import TrainState
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
    begins, ends = hooks.any("on_batch_begin"), hooks.any("on_batch_end")
    for epoch in range(max(1, state.epoch), state.n_epochs + 1):
        if epoch != state.epoch:
            state.epoch = epoch
            place.begin_epoch()
            if hooks.call("on_epoch_begin", state):
                return
        for state.batch in batches.epoch(place.order, skip=place.batches):
            state.iteration += 1
            state.row = {"event": "iteration", "epoch": state.epoch, "iteration": state.iteration}
            if begins and hooks.call("on_batch_begin", state):
                return
            state.loss, _ = network.loss_and_gradients(parameters, *state.batch, place.masks, gradients)
            state.row["loss"] = state.loss
            place.total += state.loss * len(state.batch.targets)
            try:
                stop = hooks.call("on_gradients_computed", state)
            finally:  # on disk before anybody can raise over it
                state.history.append(state.row)
            if stop:
                return
            state.optimizer.update(parameters.vector, gradients.vector, state.optimizer_state)
            place.batches += 1
            if ends and hooks.call("on_batch_end", state):
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
