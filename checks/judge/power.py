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


def random_direction(rng: np.random.Generator, size: int) -> Array:
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
