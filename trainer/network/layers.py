"""Layers: forward and backward side by side; the cache of a forward pass lives in its backward.

A layer holds no numbers of its own, only names, sizes and rates. Every forward accepts leading axes
``(..., n_rows, n_units)``, float32, float64 and complex parameters (for the complex-step derivative);
backward is for real arrays of shape ``(n_rows, n_units)``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from trainer.argument import FRACTION, checked_number
from trainer.network.parameters import Array, Arrays, Rng

SMALL = 65_536  # entries of a matrix of which a copy, or a constant beside it, is worth its while: half a megabyte

Backward = Callable[[Array, Arrays], Array | None]


class Layer(ABC):
    """One step of a network.

    Attributes
    ----------
    shapes : mapping of str to tuple of int
        Name and shape of each parameter; empty for a layer without parameters.
    elementwise : bool
        Whether each output depends only on the input at the same place: then a sweep may move many entries at once.
    """

    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    elementwise: bool = False

    def initial_parameters(self, rng: "np.random.Generator") -> Mapping[str, Array | float]:
        """Return the first values of its parameters, by name; what is not there begins at zero, as `Linear`'s biases.

        Parameters
        ----------
        rng : numpy.random.Generator
            That of the network's initial parameters.
        """
        return {}

    @abstractmethod
    def forward(self, parameters: Arrays, inputs: Array, rng: Rng) -> tuple[Array, Backward]:
        """Return the outputs, and the function that propagates a gradient back through this very pass.

        Parameters
        ----------
        parameters : mapping of str to ndarray
        inputs : ndarray of shape (..., n_rows, n_units)
            Never modified.
        rng : numpy.random.Generator or None
            Source of random masks; None means evaluation, and then nothing is drawn.

        Returns
        -------
        outputs : ndarray of shape (..., n_rows, n_outputs)
        backward : function
            ``backward(output_gradient, gradients)`` writes the gradient of each parameter into ``gradients[name]`` and
            returns the input gradient, or None if nobody needs it. It may overwrite `output_gradient`. Both gradients
            have the shape of the array they belong to.
        """


class Linear(Layer):
    """Every output a weighted sum of the inputs, plus a bias.

    Parameters
    ----------
    number : int
        Names the parameters: 1 gives ``"W1"`` and ``"b1"``.
    n_inputs, n_units : int
        Width of the inputs and of the outputs.
    needs_input_gradient : bool, default=True
        False for the first layer of a network: nobody reads the gradient of the data.

    Notes
    -----
    ``y = x @ W.T + b`` with W of shape (n_units, n_inputs), that is ``y[r,i] = sum_j x[r,j] W[i,j] + b[i]``.
    With ``g = dJ/dy`` the chain rule gives ``dJ/dW[i,j] = sum_r g[r,i] x[r,j]``, so ``dW = g.T @ x``;
    ``dJ/db[i] = sum_r g[r,i]``, so ``db = ones @ g``; ``dJ/dx[r,j] = sum_i g[r,i] W[i,j]``, so ``dx = g @ W``.
    """

    def __init__(self, number: int, n_inputs: int, n_units: int, *, needs_input_gradient: bool = True) -> None:
        self.weight = f"W{number}"
        self.bias = f"b{number}"
        self.shapes = {self.weight: (n_units, n_inputs), self.bias: (n_units,)}
        self.needs_input_gradient = needs_input_gradient

    def forward(self, parameters: Arrays, inputs: Array, rng: Rng) -> tuple[Array, Backward]:
        """Return ``inputs @ W.T + b``."""
        W, b = parameters[self.weight], parameters[self.bias]

        def backward(output_gradient: Array, gradients: Arrays) -> Array | None:
            np.matmul(output_gradient.T, inputs, out=gradients[self.weight])
            # A product with ones: a quarter of the time of a sum over axis 0.
            np.matmul(_constant(1, len(inputs), inputs.dtype), output_gradient, out=gradients[self.bias])
            if not self.needs_input_gradient:
                return None
            # One unit: the product is an outer one, and broadcasting is twice as fast as BLAS.
            return output_gradient * W if len(W) == 1 else output_gradient @ W

        return affine(inputs, W, b), backward


class ReLU(Layer):
    """The positive part of every entry.

    ``y = max(x, 0)``, so ``dy/dx`` is 1 where ``x > 0`` and 0 elsewhere; at the kink it is 0 by choice, a valid
    subgradient. ``x > 0`` exactly where ``y > 0``, so the output is all that is kept. A complex x branches on its
    real part.
    """

    elementwise = True

    def forward(self, parameters: Arrays, inputs: Array, rng: Rng) -> tuple[Array, Backward]:
        """Return ``max(inputs, 0)``."""
        if inputs.dtype.kind == "c":
            outputs = inputs * (inputs.real > 0)
        elif inputs.ndim == 2 and inputs.size <= SMALL:  # zeros, not the scalar 0: numpy's vectorised loop, no cast
            outputs = np.maximum(inputs, _constant(0, inputs.shape, inputs.dtype))
        else:  # vectorised too, whatever the order in memory, and no zeros to keep
            outputs = inputs.clip(0, np.inf)

        def backward(output_gradient: Array, gradients: Arrays) -> Array:
            # Made a number first: the product need not convert it on the way, a quarter faster.
            output_gradient *= (outputs > 0).astype(outputs.dtype)
            return output_gradient

        return outputs, backward


class Tanh(Layer):
    """The hyperbolic tangent of every entry: ``y = tanh(x)`` has ``dy/dx = 1 - y**2``."""

    elementwise = True

    def forward(self, parameters: Arrays, inputs: Array, rng: Rng) -> tuple[Array, Backward]:
        """Return ``tanh(inputs)``."""
        outputs = np.tanh(inputs)

        def backward(output_gradient: Array, gradients: Arrays) -> Array:
            slope = np.multiply(outputs, outputs)
            np.subtract(1, slope, out=slope)
            return np.multiply(output_gradient, slope, out=output_gradient)

        return outputs, backward


class Dropout(Layer):
    """Sets a random share of the entries to zero in training, and does nothing in evaluation.

    Parameters
    ----------
    rate : float in [0, 1)
        Share of the entries that are dropped.

    Raises
    ------
    TypeError, ValueError
        If `rate` is no number, or outside [0, 1).

    Notes
    -----
    Inverted dropout: ``y = x * m`` with ``m = 0`` with probability `rate` and ``1 / (1 - rate)`` otherwise, so that
    ``E[y] = x`` and evaluation needs no factor. The mask is a constant of the pass: ``dy/dx = m``. It has the shape of
    the last two axes and is shared by the leading ones. (Srivastava et al., Dropout, JMLR 15, 2014, section 10.)
    A unit takes 16 random bits, so the rate is a multiple of 1/65,536, the nearest, in ``1 / (1 - rate)`` too. Bits are
    the same in every precision: a pass can be replayed in another one.
    """

    elementwise = True

    def __init__(self, rate: float) -> None:
        self.rate: float = checked_number(rate, "dropout rate", *FRACTION)

    def forward(self, parameters: Arrays, inputs: Array, rng: Rng) -> tuple[Array, Backward]:
        """Return ``inputs * mask``, or `inputs` themselves without a generator."""
        if rng is None:
            return inputs, lambda output_gradient, gradients: output_gradient
        shape, (dropped, passed) = inputs.shape[-2:], bits_of(self.rate)
        numbers = np.arange(1, -(-shape[0] * shape[1] // LANES) + 1, dtype=np.uint64)
        words = random_word(np.uint64(rng.bit_generator.random_raw()), numbers)
        bits = words.view(np.uint16)[: shape[0] * shape[1]].reshape(shape)
        mask: Array = (bits >= dropped).astype(inputs.real.dtype)
        mask *= passed

        def backward(output_gradient: Array, gradients: Arrays) -> Array:
            return np.multiply(output_gradient, mask, out=output_gradient)

        return inputs * mask, backward


LANES = 4  # units that share a random word of 64 bits, 16 each, in the order of memory
GAMMA, MIX_1, MIX_2 = (np.uint64(constant) for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
SHIFT_1, SHIFT_2, SHIFT_3 = (np.uint64(bits) for bits in (30, 27, 31))


def random_word(seed: Any, number: Any) -> Any:
    """Return the random words of these numbers, from 1; all are uint64, and `trainer.compiled` compiles this.

    SplitMix64: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014. Every
    word is made by itself, so a processor makes several at once: a generator's own are three times as slow.
    """
    word = seed + number * GAMMA
    word = (word ^ (word >> SHIFT_1)) * MIX_1
    word = (word ^ (word >> SHIFT_2)) * MIX_2
    return word ^ (word >> SHIFT_3)


def bits_of(rate: float) -> tuple[int, float]:
    """Return below which value of its 16 bits a unit is dropped, and what it is multiplied with where it is not."""
    dropped = min(round(rate * 65_536), 65_535)
    return dropped, 65_536 / (65_536 - dropped)


def affine(inputs: Array, W: Array, b: Array) -> Array:
    """Return ``inputs @ W.T + b`` for inputs with any leading axes."""
    # With leading axes, one large product and not many small ones.
    rows = inputs if inputs.ndim == 2 else inputs.reshape(-1, inputs.shape[-1])
    # BLAS is a quarter faster where the second factor lies row by row in memory, and a small copy costs little.
    weight = np.ascontiguousarray(W.T) if W.size <= SMALL else W.T
    if weight.dtype.kind == "c" and rows.dtype.kind != "c" and weight.flags.c_contiguous:
        # A real product of twice the width, real and imaginary parts side by side: half of a complex product.
        outputs: Array = (rows @ weight.view(weight.real.dtype)).view(weight.dtype)
    else:
        outputs = rows @ weight
    if outputs.dtype == b.dtype:
        outputs += b
    else:  # only one of the two is complex
        outputs = outputs + b
    return outputs if inputs.ndim == 2 else outputs.reshape(*inputs.shape[:-1], len(W))


@lru_cache(maxsize=16)
def _constant(value: int, shape: int | tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    constant = np.full(shape, value, dtype)
    constant.flags.writeable = False
    return constant
