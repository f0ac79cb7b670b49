"""The difference of two gradients: dimensionless, whatever the scale; and the largest, of which NaN is one."""

import itertools
import math

import numpy as np
import pytest

from checks import relative_difference
from checks.measure.difference import largest


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e-170, 1e-150, 1e-100, 1e100, 1e155, 1e300])
def test_it_is_that_of_the_formula_at_any_scale_that_a_float_has(scale):
    one, other = np.array([3.0, -4.0, 0.0]), np.array([3.0, 4.0, 0.0])
    assert relative_difference(scale * one, scale * other) == pytest.approx(8.0 / 10.0, rel=1e-9)
    assert relative_difference(scale * one, -scale * one) == pytest.approx(1.0, rel=1e-9)
    assert relative_difference(scale * one, scale * one) == 0.0
    assert relative_difference(scale * one, 0.0 * one) == pytest.approx(1.0, rel=1e-9)


def test_it_is_zero_where_both_are_and_not_known_where_one_is_not_finite():
    assert relative_difference(np.zeros(5), np.zeros(5)) == relative_difference(np.zeros(0), np.zeros(0)) == 0.0
    with np.errstate(invalid="ignore"):
        for value in (np.nan, np.inf):
            assert math.isnan(relative_difference(np.array([1.0, value]), np.array([1.0, 2.0])))
            assert math.isnan(relative_difference(np.array([value]), np.array([value])))


@pytest.mark.parametrize("values", [[1e-9, 3e-7, 2e-8], [5.0], [0.0, math.inf, 7.0], []])
def test_the_largest_is_the_largest_in_any_order(values):
    for order in itertools.permutations(values):
        assert largest(order) == max(values, default=0.0)
        assert largest(iter(order)) == max(values, default=0.0)


@pytest.mark.parametrize(
    "values", [[math.nan], [math.nan, 1.0, 2.0], [math.nan, math.inf, 0.0], [np.float64("nan"), 3.0]]
)
def test_nan_wins_wherever_it_stands(values):
    for order in itertools.permutations(values):
        assert math.isnan(largest(order))
