"""Resumption: lets a run go on where an earlier one ended."""

import copy
from dataclasses import replace

from trainer.callbacks.base import Callback, TrainState
from trainer.network.parameters import Parameters
from trainer.optimizers import OptimizerState


class Resumption(Callback):
    """Puts back parameters, what the optimizer remembers, and the count of iterations; first in the list.

    Parameters
    ----------
    state : TrainState
        Of the earlier run; only what is named above is kept, not its rows.
    """

    def __init__(self, state: TrainState) -> None:
        self.parameters: Parameters = state.parameters
        self.optimizer_state: OptimizerState = state.optimizer_state
        self.iteration = state.iteration

    def on_train_begin(self, state: TrainState) -> None:
        """Begin where the earlier run ended; copies, so that a run that fails costs nothing."""
        state.parameters.vector[...] = self.parameters.vector
        state.optimizer_state = replace(self.optimizer_state, moments=copy.deepcopy(self.optimizer_state.moments))
        state.iteration = self.iteration
        state.n_iterations += self.iteration
