"""Regression through the origin of what was measured on what is claimed, with Student's quantiles."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from checks.measure.difference import euclidean
from checks.measure.layout import Array

#: Least share that is left of a residual beside one far reading, which draws the line to itself.
LEFT = 1e-3
#: Least share of an entry's steps that a common factor leaves for an error of its own to show.
OWN = 1e-6


@dataclass(frozen=True)
class Fit:
    """``measured = factor · claimed``, and how sure that is."""

    factor: float
    error: float  # standard error of the factor
    noise: float  # standard deviation of what is left
    freedom: int  # degrees of it

    @classmethod
    def of(cls, claimed: Array, measured: Array, least_noise: float = 0.0) -> Self:
        """Fit. Where noise grows with the reading, so does the error (HC3, MacKinnon and White, 1985)."""
        top = float(np.max(np.abs(claimed), initial=0.0))
        if top == 0.0 or claimed.size < 2:
            return cls(math.nan, math.inf, math.inf, 1)
        x, y = claimed / top, measured / top
        squares = float(x @ x)
        factor = float(x @ y) / squares
        left = y - factor * x
        noise = max(euclidean(left) / math.sqrt(x.size - 1), least_noise / top)
        uneven = euclidean(x * left / np.maximum(1.0 - x * x / squares, LEFT)) / squares
        return cls(factor, max(noise / math.sqrt(squares), uneven), noise * top, x.size - 1)

    def width(self, chance: float) -> float:
        """Give the half width of the interval outside of which the factor lies by this chance."""
        return students(chance, self.freedom) * self.error


@dataclass(frozen=True)
class EntryFits:
    """For each entry, the error of its own that it seems to have beside a common factor; NaN where none can be told."""

    errors: Array
    uncertain: Array  # standard errors
    steps: Array  # root mean squares, of what a common factor leaves of them
    freedom: int

    @classmethod
    def of(cls, claimed: Array, measured: Array, steps: Array) -> Self:
        """Fit an error for every entry, one entry at a time, each with a factor for all the entries."""
        squares = float(claimed @ claimed)
        own = steps - np.outer(claimed, claimed @ steps / squares)
        weights = np.sum(own * own, axis=0)
        weights = np.where(weights > OWN * np.sum(steps * steps, axis=0), weights, np.nan)
        left = measured - claimed * (float(claimed @ measured) / squares)
        errors = left @ own / weights
        rest = left[:, None] - own * errors
        freedom = max(claimed.size - 2, 1)
        variance = np.sum(rest * rest, axis=0) / freedom
        uneven = np.sum(np.square(own * rest / np.maximum(1.0 - own * own / weights, LEFT)), axis=0) / weights**2
        uncertain = np.sqrt(np.maximum(variance / weights, uneven))
        return cls(errors, uncertain, np.sqrt(weights / claimed.size), freedom)


@lru_cache
def students(chance: float, freedom: int) -> float:
    """Give the two-sided quantile of Student's t (Wallace, Annals of Mathematical Statistics 30(4), 1959)."""
    from statistics import NormalDist  # loads fractions and decimals, for a loss in low precision only

    normal = -NormalDist().inv_cdf(chance / 2.0) * (8.0 * freedom + 3.0) / (8.0 * freedom + 1.0)
    return math.sqrt(freedom * math.expm1(normal * normal / freedom))
