"""Compiled: a network and an optimizer that do their work in one compiled function each, by numba (extra `fast`)."""

from collections.abc import Mapping, Sequence
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from threadpoolctl import ThreadpoolController

from trainer.network.layers import bits_of
from trainer.network.network import Network
from trainer.network.parameters import Array, Arrays, Parameters, Rng
from trainer.network.sweep import checked_steps
from trainer.optimizers import Adam, OptimizerState

UNMASKED: tuple[Array, tuple[int, float]] = np.empty(0, np.uint64), (0, 1.0)
PART = 400_000  # parameters that take Adam several times as long as a thread takes to start, which is 0.1 ms


class CompiledNetwork(Network):
    """A ReLU network whose loss and gradients are one compiled function.

    It is the same network: parameters, probabilities and everything else are those of `Network`'s layers, and so is
    `loss`. So a gradient check holds the compiled way back against the layers' way forward, written by another hand.
    The sweeps of a full check are compiled, too, and the check holds them against `loss` in one entry of every
    tensor. All results agree with the layers' to rounding. Where a layer or the criterion was replaced, the layers do
    the work.

    Parameters
    ----------
    layer_sizes : sequence of int
        As in `Network`.
    **options
        As in `Network`; the activation is ``"relu"``.

    Raises
    ------
    ImportError
        If numba is missing.
    TypeError, ValueError
        As in `Network`, and if the activation is another one.

    Notes
    -----
    The first call on a machine compiles, which takes some seconds for each precision; later processes load the result.
    """

    def __init__(self, layer_sizes: Sequence[int], **options: Any) -> None:
        super().__init__(layer_sizes, **options)
        if self.activation != "relu":
            raise ValueError(f"Only ReLU is compiled. Expected activation 'relu'. Received {self.activation!r}.")
        _kernels()
        self._sizes = np.array(self.layer_sizes)
        self._own = [self.criterion, *self.layers]

    def loss_and_gradients(
        self, parameters: Arrays, inputs: Array, targets: Array, rng: Rng = None, out: Parameters | None = None
    ) -> tuple[float, Parameters]:
        """Return `loss` and its gradient with respect to every parameter, by back-propagation."""
        point = self._packed(parameters)
        dtype = np.result_type(point.dtype, inputs.dtype)
        if not self._fits(inputs, targets, dtype) or (out is not None and out.shapes != self.shapes):
            return super().loss_and_gradients(parameters, inputs, targets, rng, out)
        gradients = Parameters(self.shapes, dtype=point.dtype) if out is None else out
        written = gradients.vector if gradients.vector.dtype == dtype else np.empty(self.n_parameters, dtype)
        seeds, dropout = self._masks(rng)
        rows, labels = _plain(inputs, dtype), _plain(targets, dtype)
        weight = float(self.criterion.positive_weight)
        point = point.astype(dtype, copy=False)
        loss = _kernels().loss_and_gradients(point, written, self._sizes, rows, labels, seeds, *dropout, weight)
        if written is not gradients.vector:
            gradients.vector[...] = written
        loss += self.penalty.value(parameters, self.weights).real
        self.penalty.add_gradient(parameters, gradients, self.weights)
        return loss, gradients

    def coordinate_losses(
        self, parameters: Arrays, inputs: Array, targets: Array, steps: Mapping[str, ArrayLike], rng: Rng = None
    ) -> dict[str, Array]:
        """Return the `loss` with each entry of some parameters moved alone, by each of its `steps`, as in `Network`."""
        moves, point = checked_steps(self.shapes, steps), self._packed(parameters)
        dtype = np.result_type(point.dtype, inputs.dtype, *moves.values())
        is_plain = type(self).loss is Network.loss and (rng is None or not self.dropout)
        if not (is_plain and dtype == np.float64 and self._fits(inputs, targets, dtype)):
            return super().coordinate_losses(parameters, inputs, targets, moves, rng)
        from trainer.compiled import sweep_kernels  # numba is an extra

        linear = [layer.shapes for layer in self.layers if layer.shapes]
        # Three layers and more behind the one that moves are products again, in which BLAS is better than loops.
        near = range(max(0, len(linear) - 3), len(linear))
        layers = [number for number in near if moves.keys() & linear[number].keys()]
        swept = {name: moves.pop(name) for number in layers for name in linear[number] if name in moves}
        rest = super().coordinate_losses(parameters, inputs, targets, moves, rng) if moves else {}
        if not swept:
            return rest
        storage = [Parameters(self.shapes) for _ in next(iter(swept.values()))]
        for name, several in swept.items():
            for step, own in zip(several, storage, strict=True):
                own[name][...] = step
        rows, labels = _plain(inputs, dtype), _plain(targets, dtype)
        weights = 1 + (self.criterion.positive_weight - 1) * labels
        vectors = np.array([own.vector for own in storage])
        losses = sweep_kernels.moved_losses(point, self._sizes, rows, labels, weights, vectors, np.array(layers))
        for vector, own in zip(losses, storage, strict=True):
            own.vector[...] = vector
        penalty = self.penalty.value(parameters, self.weights).real
        found = {name: np.array([own[name] for own in storage]) + penalty for name in swept}  # the others hold nothing
        for name in found.keys() & set(self.weights):
            found[name] += self.penalty.change(parameters[name], swept[name])
        return found | rest

    def _packed(self, parameters: Arrays) -> Array:
        """Give the parameters as one vector, in the order of the shapes."""
        if isinstance(parameters, Parameters) and parameters.shapes == self.shapes:
            return parameters.vector
        vector = np.concatenate([np.ravel(parameters[name]) for name in self.shapes])
        return Parameters(self.shapes, vector).vector  # which refuses another number of them

    def _fits(self, inputs: Array, targets: Array, dtype: np.dtype[np.generic]) -> bool:
        """Say whether the compiled function may have them: it believes what it is told, and numpy has better errors."""
        shapes_fit = inputs.ndim == 2 and inputs.shape[1] == self.layer_sizes[0] and targets.shape == inputs.shape[:1]
        is_as_made = [self.criterion, *self.layers] == self._own
        return shapes_fit and len(inputs) > 0 and dtype.char in "fd" and is_as_made

    def _masks(self, rng: Rng) -> tuple[Array, tuple[int, float]]:
        """Draw the seeds of all masks, which the layers would draw one after the other; also give what masks them."""
        if rng is None or not self.dropout:
            return UNMASKED
        return rng.bit_generator.random_raw(len(self.layer_sizes) - 2), bits_of(self.dropout)


class CompiledAdam(Adam):
    """Adam in one compiled pass: the numbers of `Adam`, bit for bit, so that each resumes the other's runs.

    Parameters
    ----------
    *arguments, **options
        As in `Adam`.

    Raises
    ------
    ImportError
        If numba is missing.
    """

    kind = "Adam"  # to a checkpoint

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _kernels()

    def update(self, vector: Array, gradient: Array, state: OptimizerState) -> None:
        """Apply the formula to every entry."""
        first, second = state.moments["first"], state.moments["second"]
        epsilon, rate = self.begin(vector, state)
        gradient = self.clipped(gradient, state)
        settings = self.beta_1, self.beta_2, epsilon, rate
        share = vector.size if vector.size <= PART else max(PART, -(-vector.size // _n_threads()))
        parts = [slice(start, start + share) for start in range(0, vector.size, share)]
        jobs = [(vector[part], gradient[part], first[part], second[part], *settings) for part in parts]
        others = [Thread(target=_kernels().adam, args=job) for job in jobs[1:]]
        for thread in others:
            thread.start()
        _kernels().adam(*jobs[0])
        for thread in others:
            thread.join()


def _n_threads() -> int:
    """Say how many threads numpy's and scipy's products may use now: as many may Adam."""
    return max((library.num_threads for library in _libraries()), default=1)


@cache
def _libraries() -> list[Any]:
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _plain(array: Array, dtype: DTypeLike) -> Array:
    """Give an array as the compiled function knows it, so that it is not compiled again for another kind."""
    array = np.ascontiguousarray(array, dtype)
    return array if array.flags.writeable else array.copy()


@cache
def _kernels() -> Any:
    """Import what is compiled, for those who ask for it."""
    try:
        from trainer.compiled import kernels
    except (ImportError, RuntimeError) as error:  # the latter where numba finds no place to keep what it compiles
        expected = "numba installed, as by pip install -e '.[fast]'"
        raise ImportError(f"There is no compiler. Expected {expected}. Received {error}.") from error
    return kernels
