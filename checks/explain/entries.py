"""Entries: both gradients of one tensor, entry by entry."""

from dataclasses import dataclass

import numpy as np

from checks.measure.difference import euclidean
from checks.measure.layout import Array


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
