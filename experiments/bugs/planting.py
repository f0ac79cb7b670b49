"""Planting: how a mistake gets into a copy of a network, whose code is not edited: one of its parts is replaced."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from checks.explain.mistake import Kind
from experiments.bugs.wrong_parts import (
    BugSwitch,
    LayerMistake,
    LossSpoiler,
    Pass,
    WrongCriterion,
    WrongLayer,
    WrongPenalty,
)
from trainer import Layer, Linear, Network
from trainer.network.parameters import Array

LineSpoiler = Callable[[Array, Array, float], Array]
Part = type[Layer] | tuple[type[Layer], ...]
Tensors = Callable[[Network, int], frozenset[str]]
Plant = Callable[[Network, int, BugSwitch], None]


@dataclass(frozen=True)
class Bug:
    """A mistake with a name."""

    name: str
    description: str
    kinds: frozenset[Kind]  # what a diagnosis may call it
    needs: str  # what it needs to be a mistake at all, in words
    layers: Callable[[Network], list[int]]  # numbers of the Linear layers it can be planted at
    tensors: Tensors  # where the first wrong gradient in the order of backprop is
    apply: Plant  # plants it in a copy, at a layer


def linear_layers(network: Network) -> list[int]:
    """Give the numbers of the Linear layers, from 1."""
    return list(range(1, len(network.layer_sizes)))


def tensors_at(letters: str, shift: int = 0) -> Tensors:
    """Name tensors of a Linear layer, or of one before it."""
    return lambda network, layer: frozenset(f"{letter}{layer + shift}" for letter in letters)


def wrapping(mistake: LayerMistake, part: Part = Linear) -> Plant:
    """Plant a mistake in the Linear layer of a number, or in the first part of another kind after it."""

    def apply(network: Network, layer: int, switch: BugSwitch) -> None:
        start = [i for i, own in enumerate(network.layers) if isinstance(own, Linear)][layer - 1]
        at = next(i for i in range(start, len(network.layers)) if isinstance(network.layers[i], part))
        network.layers[at] = WrongLayer(network.layers[at], switch, mistake)

    return apply


def line(
    name: str,
    description: str,
    spoil: LineSpoiler,
    *kinds: Kind,
    tensor: str = "W",
    needs: str = "a layer of more than one unit and input",
    where: Callable[[Network, int], bool] = lambda network, layer: True,
) -> Bug:
    """Describe a mistake in the line that computes one whole gradient: ``spoil(gradient, parameter, l2)``."""

    def apply(network: Network, layer: int, switch: BugSwitch) -> None:
        own = f"{tensor}{layer}"

        def spoil_one(parameters: Mapping[str, Array], gradients: Mapping[str, Array], strength: float) -> None:
            gradients[own][...] = spoil(gradients[own].copy(), parameters[own], strength)

        network.penalty = WrongPenalty(network.penalty, switch, spoil_one)

    def layers(network: Network) -> list[int]:
        return [layer for layer in linear_layers(network) if where(network, layer)]

    return Bug(name, description, frozenset(kinds), needs, layers, tensors_at(tensor), apply)


def data_line(name: str, description: str, spoil: Callable[[Pass], None], *kinds: Kind, tensor: str = "W") -> Bug:
    """Describe a mistake in the data part of one gradient of a Linear layer, before the regulariser is added."""

    def mistake(passed: Pass) -> Array | None:
        spoil(passed)
        return passed.right

    needs = "a Linear layer"
    return Bug(name, description, frozenset(kinds), needs, linear_layers, tensors_at(tensor), wrapping(mistake))


def flow(
    name: str,
    description: str,
    mistake: LayerMistake,
    *kinds: Kind,
    part: Part = Linear,
    needs: str = "a layer before it",
    where: Callable[[Network, int], bool] = lambda network, layer: True,
) -> Bug:
    """Describe a mistake in what a layer passes back; the first wrong tensors are those of the layer before."""
    is_linear = part is Linear

    def possible(network: Network) -> list[int]:
        inner = linear_layers(network)[1:] if is_linear else linear_layers(network)[:-1]
        has_part = is_linear or any(isinstance(own, part) for own in network.layers)
        return [layer for layer in inner if has_part and where(network, layer)]

    tensors = tensors_at("Wb", -1 if is_linear else 0)
    return Bug(name, description, frozenset(kinds), needs, possible, tensors, wrapping(mistake, part))


def loss(
    name: str,
    description: str,
    spoil: LossSpoiler,
    *kinds: Kind,
    needs: str = "any network",
    where: Callable[[Network], bool] = lambda network: True,
) -> Bug:
    """Describe a mistake in the gradient of the loss: ``spoil(gradient, logits, targets, positive_weight)``."""

    def apply(network: Network, layer: int, switch: BugSwitch) -> None:
        network.criterion = WrongCriterion(network.criterion, switch, spoil)

    def last(network: Network) -> list[int]:
        return linear_layers(network)[-1:] if where(network) else []

    return Bug(name, description, frozenset(kinds), needs, last, tensors_at("Wb"), apply)
