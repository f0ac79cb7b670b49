"""Mistakes of the gradient that is applied: between backprop and update, or on one path of backprop alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from checks.measure.layout import Array
from trainer import Callback, CompiledNetwork, Network, TrainState

#: Of one number: exponent bits from the lowest on, mantissa bits from the highest down, and the type to flip them in.
BITS = {"float64": (52, 11, np.uint64), "float32": (23, 8, np.uint32)}
MANTISSA = 12

#: ``change(gradients, inputs, rng, call)`` spoils what backprop gave at that call.
Change = Callable[[Any, Array, Any, int], None]


class Spoils(Callback):
    """Changes the gradient between backprop and update, from one iteration on."""

    def __init__(self, how: Callable[[Array], object], begins: int) -> None:
        self.how = how
        self.begins = begins

    def on_gradients_computed(self, state: TrainState) -> None:
        """Spoil it."""
        if state.iteration >= self.begins:
            self.how(state.gradients.vector)


class Stale(Callback):
    """Puts one tensor's gradient of the iteration before in the place of this one's."""

    def __init__(self, begins: int) -> None:
        self.begins = begins
        self._last: Array | None = None

    def on_gradients_computed(self, state: TrainState) -> None:
        """Keep it for the next iteration, and use the last one's."""
        gradient = state.gradients["W2"]
        now = gradient.copy()
        if state.iteration >= self.begins and self._last is not None:
            gradient[...] = self._last
        self._last = now


def _one_doubled(vector: Array) -> None:
    vector[vector.size // 2] *= 2.0


def _flipped(dtype: str, bit: int) -> Callable[[Array], None]:
    def flip(vector: Array) -> None:
        place = int(np.argmax(np.abs(vector)))
        vector.view(BITS[dtype][2])[place] ^= BITS[dtype][2](1 << bit)

    return flip


def between(dtype: str, begins: int) -> dict[str, Callback]:
    """Give a callback for every mistake between backprop and update."""
    hows: dict[str, Callable[[Array], object]] = {
        "doubled": lambda vector: vector.__imul__(2),
        "sign": lambda vector: vector.__imul__(-1),
        "zero": lambda vector: vector.fill(0),
        "one entry doubled": _one_doubled,
    }
    low, n_exponent, _ = BITS[dtype]
    hows |= {f"exponent bit {bit}": _flipped(dtype, low + bit) for bit in range(n_exponent)}
    hows |= {f"mantissa bit {bit}": _flipped(dtype, low - 1 - bit) for bit in range(MANTISSA)}
    return {name: Spoils(how, begins) for name, how in hows.items()} | {"one tensor stale": Stale(begins)}


@dataclass(frozen=True)
class Path:
    """A mistake of backprop on one path alone."""

    change: Change
    dtype: str | None = None  # in which it shows, or both
    meets: int = 1  # the first iteration at which a check every 5 iterations can meet it


def _doubled(when: Callable[[Array, Any, int], bool]) -> Change:
    def change(gradients: Any, inputs: Array, rng: Any, call: int) -> None:
        if when(inputs, rng, call):
            gradients["W2"][...] *= 2

    return change


#: Batches are of 64 rows and, the last of every epoch, of 40; a check looks every 5 iterations and at new sizes.
PATHS: dict[str, Path] = {
    "a constant number of rows": Path(lambda g, x, r, c: g.vector.__imul__(len(x) / 64), meets=5),  # by fewer rows
    "the smaller last batch": Path(_doubled(lambda x, r, c: len(x) == 40), meets=16),
    "float32": Path(_doubled(lambda x, r, c: x.dtype == np.float32), dtype="float32"),
    "float64": Path(_doubled(lambda x, r, c: x.dtype == np.float64), dtype="float64"),
    "a generator of masks": Path(_doubled(lambda x, r, c: r is not None)),
    "every second call": Path(_doubled(lambda x, r, c: c % 2 == 1)),
    "every third call": Path(_doubled(lambda x, r, c: c % 3 == 1)),
    "every fifth call": Path(_doubled(lambda x, r, c: c % 5 == 1)),
}


def spoilt(network: Network, change: Change) -> Network:
    """Give a network of the same class and arguments whose backprop is spoilt."""
    kind = type(network)

    class Spoilt(kind):  # type: ignore[misc, valid-type]
        calls = 0

        def loss_and_gradients(
            self, parameters: Any, inputs: Any, targets: Any, rng: Any = None, out: Any = None
        ) -> Any:
            loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng, out)
            self.calls += 1
            change(gradients, inputs, rng, self.calls)
            return loss, gradients

    return made_like(network, Spoilt)


def accumulating(network: Network) -> Network:
    """Give a network that adds its gradients to what stands in the storage that it is lent."""
    kind = type(network)

    class Accumulating(kind):  # type: ignore[misc, valid-type]
        def loss_and_gradients(
            self, parameters: Any, inputs: Any, targets: Any, rng: Any = None, out: Any = None
        ) -> Any:
            before = None if out is None else out.vector.copy()
            loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng, out)
            if before is not None:
                gradients.vector[...] += before
            return loss, gradients

    return made_like(network, Accumulating)


def made_like(network: Network, kind: type[Network]) -> Network:
    """Make another network with the same arguments."""
    names = ("activation", "dropout", "l2", "positive_weight")
    return kind(network.layer_sizes, **{name: getattr(network, name) for name in names})


def with_error(network: Network, tensor: str, share: float, how: str, *, only: str | None = None) -> Network:
    """Give a network one tensor of whose gradient is off by a share of its norm, in one precision only if wished."""
    rng = np.random.default_rng(0)
    size = int(np.prod(network.shapes[tensor]))
    spread = rng.standard_normal(size)

    def change(gradients: Any, inputs: Array, generator: Any, call: int) -> None:
        gradient = gradients[tensor]
        if only is not None and gradient.dtype != only:
            return
        error = gradient.ravel() if how == "scaled" else spread
        if how == "one entry":
            error = np.zeros(size)
            error[size // 2] = 1.0
        norm = np.linalg.norm(error)
        if norm > 0.0:
            gradient += (share * np.linalg.norm(gradient) / norm * error).reshape(gradient.shape).astype(gradient.dtype)

    return spoilt(network, change)


def networks(*, compiled: bool) -> dict[str, Network]:
    """Give correct networks of several kinds, on ten columns."""
    kind = CompiledNetwork if compiled else Network
    made = {
        "plain": kind((10, 8, 1)),
        "deep": kind((10, 7, 5, 3, 1), l2=1e-3),
        "dropout": kind((10, 16, 8, 1), dropout=0.3, l2=1e-4),
        "weighted": kind((10, 13, 5, 1), positive_weight=7.0),
    }
    return made if compiled else made | {"tanh": kind((10, 9, 5, 1), activation="tanh", dropout=0.2)}
