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


@dataclass(frozen=True)
class Bug:
    """A mistake with a name."""

    name: str
    description: str
    kinds: frozenset[Kind]  # what a diagnosis may call it
    needs: str  # what it needs to be a mistake at all, in words
    layers: Callable[[Network], list[int]]  # numbers of the Linear layers it can be planted at
    tensors: Callable[[Network, int], frozenset[str]]  # where the first wrong gradient in the order of backprop is
    apply: Callable[[Network, int, BugSwitch], None]  # plants it in a copy, at a layer


def linear_layers(network: Network) -> list[int]:
    """Give the numbers of the Linear layers, from 1."""
    return list(range(1, len(network.layer_sizes)))


def wrap(network: Network, layer: int, switch: BugSwitch, mistake: LayerMistake, part: Part = Linear) -> None:
    """Wrap the Linear layer of this number, or the first part of another kind after it."""
    start = [i for i, own in enumerate(network.layers) if isinstance(own, Linear)][layer - 1]
    at = next(i for i in range(start, len(network.layers)) if isinstance(network.layers[i], part))
    network.layers[at] = WrongLayer(network.layers[at], switch, mistake)


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

    return Bug(
        name,
        description,
        frozenset(kinds),
        needs,
        lambda network: [layer for layer in linear_layers(network) if where(network, layer)],
        lambda network, layer: frozenset({f"{tensor}{layer}"}),
        apply,
    )


def data_line(name: str, description: str, spoil: Callable[[Pass], None], *kinds: Kind, tensor: str = "W") -> Bug:
    """Describe a mistake in the data part of one gradient of a Linear layer, before the regulariser is added."""

    def mistake(passed: Pass) -> Array | None:
        spoil(passed)
        return passed.right

    return Bug(
        name,
        description,
        frozenset(kinds),
        "a Linear layer",
        linear_layers,
        lambda network, layer: frozenset({f"{tensor}{layer}"}),
        lambda network, layer, switch: wrap(network, layer, switch, mistake),
    )


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

    def tensors(network: Network, layer: int) -> frozenset[str]:
        before = layer - 1 if is_linear else layer
        return frozenset({f"W{before}", f"b{before}"})

    return Bug(
        name,
        description,
        frozenset(kinds),
        needs,
        possible,
        tensors,
        lambda n, layer, switch: wrap(n, layer, switch, mistake, part),
    )


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

    def tensors(network: Network, layer: int) -> frozenset[str]:
        return frozenset({f"W{layer}", f"b{layer}"})

    return Bug(name, description, frozenset(kinds), needs, last, tensors, apply)
