"""A sample: one function of somebody else at one point, with its right gradient."""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from checks.measure.layout import Array

Tensors: TypeAlias = dict[str, Array]
Loss: TypeAlias = Callable[[Tensors], Any]
Gradients: TypeAlias = Callable[[Tensors], Tensors]


class MissingExtraError(ImportError):
    """A package that a part needs is not installed; the message says what to install."""


@dataclass(frozen=True)
class Unit:
    """A piece of work that one process does: all the samples of one key in one part."""

    part: str
    key: str
    seed: int
    quick: bool


@dataclass(frozen=True)
class Sample:
    """A scalar function of named arrays at a point, and its right gradient as far as its authors say."""

    part: str
    name: str
    loss: Loss
    gradients: Gradients
    point: Tensors
    lacking: Gradients | None = None  #: the gradient with one term dropped, where the loss has several
    native: Mapping[str, Callable[[], bool]] = field(default_factory=dict)  #: its authors' checkers, on their own terms
    refused: Callable[[], str] = str  #: why its authors' own tests leave it out; empty where they do not
    mistakes: Mapping[str, Gradients] | None = None  #: the mistakes to plant; None for those that are always planted
    exposes: str = ""  #: the verdicts that are right for it, where that is not PASS: "not FAIL", "FAIL", …

    @cached_property
    def flat(self) -> "Flat":
        """Give the same in one vector, as the peers want it."""
        return Flat(self.loss, self.gradients, self.point)


class Flat:
    """A loss and a gradient over named arrays as functions of one flat float64 vector."""

    def __init__(self, loss: Loss, gradients: Gradients, point: Tensors) -> None:
        self._loss, self._gradients = loss, gradients
        self._shapes = {name: value.shape for name, value in point.items()}
        self.point = self.vector(point)

    def vector(self, tensors: Tensors) -> Array:
        """Lay arrays end to end."""
        return np.concatenate([np.ravel(np.asarray(tensors[name], dtype=np.float64)) for name in self._shapes])

    def tensors(self, vector: Array) -> Tensors:
        """Cut a vector into arrays again; they are copies."""
        taken, start = {}, 0
        for name, shape in self._shapes.items():
            size = math.prod(shape)
            taken[name] = np.array(vector[start : start + size]).reshape(shape)
            start += size
        return taken

    def loss(self, vector: Array) -> float:
        """Evaluate the loss."""
        return float(self._loss(self.tensors(np.asarray(vector, dtype=np.float64))))

    def gradient(self, vector: Array) -> Array:
        """Evaluate the gradient."""
        return self.vector(self._gradients(self.tensors(np.asarray(vector, dtype=np.float64))))


def real(loss: Loss) -> Loss:
    """Give the loss as code that takes no complex numbers, and says so."""

    def checked(tensors: Tensors) -> Any:
        if any(np.iscomplexobj(value) for value in tensors.values()):
            raise TypeError("the function is real. Expected float64 arrays. Received complex ones.")
        return loss(tensors)

    return checked


def seeded(seed: int, name: str) -> np.random.Generator:
    """Give a generator that hangs on the campaign's seed and a name alone, so that any subset repeats the whole."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
