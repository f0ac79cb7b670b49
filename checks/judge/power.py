"""The power of a pass: how large an error can hide from random directions, or behind rounding."""

import math

import numpy as np

from checks.measure.layout import Array

#: Probability with which an error is excluded.
CONFIDENCE = 0.99
#: A direction's coordinates are independent and uniform within ±sqrt(3), so that their variance is 1.
WIDTH = math.sqrt(12.0)
#: The slope of an error of norm 1 along such a direction has a density of at most this, whatever the error's shape.
DENSITY = math.sqrt(2.0) / WIDTH


def random_direction(rng: "np.random.Generator", size: int) -> Array:
    """Draw coordinates of variance 1.

    Uniform ones cost a fifth of normal ones to draw, and hide no more (see `excluded_error`): a single wrong entry
    less (0.58 against 0.80 · tau / error), two equal ones hardly more (0.82), an error that is spread the same.
    """
    direction: Array = rng.random(size)
    direction -= 0.5
    direction *= WIDTH
    return direction


def excluded_error(slope_error: float, reach: float, checks: int = 1) -> float:
    """Say how large an error can hide behind readings along random directions: its norm, with 99 % probability.

    ``slope_error`` is what was left between the two slopes, rounding bound included, in ``checks`` fresh directions
    whose coordinates in the tensor have the standard deviation ``reach``.
    """
    # An error e shows along d as e·d. Its density is symmetric and falls from 0 outwards, since that of d is
    # log-concave; and at 0 it is at most sqrt(2) / (sqrt(12)·reach·||e||), because no section through the centre of a
    # unit cube is larger than sqrt(2). So it stays below slope_error in all fresh directions with probability at most
    # (0.82 · slope_error / (reach·||e||))**checks; set that to 1 %. (Ball, Cube slicing in R^n, Proceedings of the
    # AMS 97(3), 1986.)
    return slope_error / (reach * reading_below((1.0 - CONFIDENCE) ** (1.0 / checks)))


def reading_below(probability: float) -> float:
    """Give what an error of norm 1 reads more than, along a direction of reach 1, but for this probability."""
    return probability / (2.0 * DENSITY)


def excluded_through(excluded: float, confidence: float) -> float:
    """Say what remains excluded of a Jacobian where one random cotangent, drawn as a direction is, stood for its rows.

    ``excluded`` and ``confidence`` are what a check of ``u · f`` excludes. An error E of the Jacobian is one of size
    |E·u| there, so that each coordinate hides as it does from a direction; after a random direction d, it reads d·E·u.
    """
    if confidence == 1.0:
        return excluded_error(excluded, 1.0)
    return excluded * reading_below(1.0 - CONFIDENCE) / TWICE


def _below_twice(probability: float) -> float:
    """Give what an error of norm 1 and rank 1 reads more than, along two random directions, but for this probability.

    Both factors X and Y stay below s with P <= c·s, c = 0.82. So P(X·Y <= t) <= z + z·log(1/z), where z = c²·t.
    """
    low, high = 0.0, probability
    for _ in range(60):
        z = (low + high) / 2.0
        low, high = (low, z) if z - z * math.log(z) > probability else (z, high)
    return low / (2.0 * DENSITY) ** 2


TWICE = _below_twice(1.0 - CONFIDENCE)
