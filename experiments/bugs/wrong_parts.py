"""Parts of a network whose forward is right and whose backward is wrong, while a switch is on."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer import Callback, L2Penalty, Layer, TrainState, WeightedBinaryCrossEntropy
from trainer.network.layers import Backward
from trainer.network.parameters import Array


class BugSwitch(Callback):
    """Switches a planted mistake on at iteration `after`, 0 from the start; stands first in the list of callbacks."""

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self.active = after <= 1  # without a training run, nobody else sets it

    def on_batch_begin(self, state: TrainState) -> None:
        """Switch on when it is time."""
        self.active = state.iteration >= self.after


class WrongLayer(Layer):
    """A layer whose forward is right and whose backward is followed, or replaced, by a mistake."""

    def __init__(self, layer: Layer, switch: BugSwitch, mistake: "LayerMistake") -> None:
        self.layer = layer
        self.shapes = layer.shapes
        self.elementwise = layer.elementwise
        self.switch = switch
        self.mistake = mistake

    def forward(
        self, parameters: Mapping[str, Array], inputs: Array, rng: np.random.Generator | None
    ) -> tuple[Array, Backward]:
        """Run the right forward; its backward goes wrong while the switch is on."""
        outputs, backward = self.layer.forward(parameters, inputs, rng)

        def wrong_backward(output_gradient: Array, gradients: Mapping[str, Array]) -> Array | None:
            if not self.switch.active:
                return backward(output_gradient, gradients)
            given = output_gradient.copy()  # a backward may overwrite what it is given
            right = backward(output_gradient, gradients)
            return self.mistake(Pass(self.layer, parameters, inputs, outputs, given, right, gradients, rng))

        return outputs, wrong_backward


@dataclass(frozen=True)
class Pass:
    """What a wrong backward can get hold of, after the right one has run."""

    layer: Layer
    parameters: Mapping[str, Array]
    inputs: Array
    outputs: Array
    given: Array  # the gradient that flowed in
    right: Array | None  # the input gradient as it should be
    gradients: Mapping[str, Array]  # the layer's own, right so far, to be spoilt in place
    rng: np.random.Generator | None

    @property
    def dW(self) -> Array:
        """Gradient of the layer's weights."""
        return self.gradients[next(iter(self.layer.shapes))]

    @property
    def db(self) -> Array:
        """Gradient of the layer's bias."""
        return self.gradients[list(self.layer.shapes)[1]]


LayerMistake = Callable[[Pass], Array | None]  # gives the input gradient
LossSpoiler = Callable[[Array, Array, Array, float], Array]
PenaltySpoiler = Callable[[Mapping[str, Array], Mapping[str, Array], float], None]


class WrongCriterion(WeightedBinaryCrossEntropy):
    """A loss whose value is right and whose gradient is spoilt."""

    def __init__(self, right: WeightedBinaryCrossEntropy, switch: BugSwitch, spoil: LossSpoiler) -> None:
        super().__init__(right.positive_weight)
        self.right, self.switch, self.spoil = right, switch, spoil

    def value_and_gradient(self, logits: Array, targets: Array) -> tuple[float, Array]:
        """Give the right value and, while the switch is on, ``spoil(gradient, logits, targets, weight)``."""
        value, gradient = self.right.value_and_gradient(logits, targets)
        if self.switch.active:
            gradient = self.spoil(gradient, logits, targets, self.positive_weight).astype(gradient.dtype)
        return value, gradient


class WrongPenalty(L2Penalty):
    """A penalty whose value is right and whose gradient is spoilt: the last step of backprop, after the data term."""

    def __init__(self, right: L2Penalty, switch: BugSwitch, spoil: PenaltySpoiler) -> None:
        super().__init__(right.strength)
        self.right, self.switch, self.spoil = right, switch, spoil

    def add_gradient(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array], names: Any) -> None:
        """Add the right gradient, then ``spoil(parameters, gradients, strength)`` while the switch is on."""
        right = copy.copy(self.right)  # which may spoil another gradient: mistakes can be stacked
        right.strength = self.strength
        right.add_gradient(parameters, gradients, names)
        if self.switch.active:
            self.spoil(parameters, gradients, self.strength)
