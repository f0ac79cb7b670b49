"""Entries: both gradients of one tensor, or of all, entry by entry."""

from dataclasses import dataclass

import numpy as np

from checks.measure.difference import euclidean
from checks.measure.layout import Array, Layout


@dataclass(frozen=True, eq=False)
class Entries:
    """The gradient under test beside the measured one, each an array of the tensor's shape."""

    gradient: Array
    numerical: Array  # NaN where nothing was measured
    bounds: Array  # on the rounding of the measured one
    aside: Array  # bool: set aside because the loss has a kink there

    @property
    def known(self) -> Array:
        """Mask of the entries that were measured and not set aside."""
        known: Array = np.isfinite(self.numerical) & ~self.aside
        return known

    @property
    def error(self) -> Array:
        """``gradient - numerical``, zero where it is not known."""
        return np.where(self.known, self.gradient - self.numerical, 0.0)

    def wrong(self, threshold: float) -> Array:
        """Mask of the entries that are wrong by more than their share of the threshold and rounding."""
        known = self.known
        scale = euclidean(self.gradient[known]) + euclidean(self.numerical[known])
        share = threshold * scale / np.sqrt(known.sum())
        beyond: Array = known & (np.abs(self.error) > share + np.where(known, self.bounds, 0.0))
        return beyond


@dataclass(frozen=True, eq=False)
class Suspect(Entries):
    """A failing tensor, for its diagnosis."""

    name: str
    parameter: Array
    alone: bool = False  # whether halving showed that one entry only is wrong


@dataclass(frozen=True, eq=False)
class AllEntries:
    """Both gradients of all tensors, end to end: what is to be known of each is made when somebody asks."""

    layout: Layout
    gradient: Array
    numerical: Array
    bounds: Array

    def entries(self) -> list[Entries]:
        """Give the entries of each tensor."""
        whole = self.gradient, self.numerical, self.bounds, np.zeros(self.gradient.size, dtype=bool)
        shapes = self.layout.shapes.values()
        return [
            Entries(*(part.reshape(shape) for part in parts))
            for shape, *parts in zip(shapes, *map(self._parts, whole), strict=True)
        ]

    def worst_index(self) -> list[tuple[int, ...]]:
        """Say where both lie furthest apart."""
        return [self.layout.index(*place) for place in zip(self.layout.shapes, self._worst(), strict=True)]

    def at_worst(self, vector: Array) -> list[float]:
        """Take from another vector what it has there."""
        return [float(part[place]) for part, place in zip(self._parts(vector), self._worst(), strict=True)]

    def untouched(self) -> list[int]:
        """Count the entries that are zero in both."""
        return [int(np.sum(part)) for part in self._parts((self.gradient == 0.0) & (self.numerical == 0.0))]

    def _worst(self) -> list[int]:
        return [int(np.argmax(part)) for part in self._parts(np.abs(self.gradient - self.numerical))]

    def _parts(self, vector: Array) -> list[Array]:
        return [vector[place] for place in self.layout.slices.values()]
