"""Differences and norms: NaN wins, and no size of the numbers changes what they say."""

import math

import numpy as np
import pytest

from checks import Cause, Verdict, check_gradients, relative_difference
from checks.measure.difference import euclidean, largest

POINT = np.random.default_rng(0).standard_normal(7)


def test_nan_is_the_largest_wherever_it_stands():
    assert largest([0.5, 3.0, 1.0]) == 3.0
    assert largest([]) == 0.0
    assert math.isnan(largest([math.nan, 3.0]))
    assert math.isnan(largest([3.0, math.nan, 5.0]))
    assert largest([3.0, math.inf]) == math.inf


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e-150, 1.0, 1e150, 1e160, 1e307])
def test_a_norm_and_a_difference_are_the_same_whatever_the_unit(size):
    vector = size * np.array([3.0, -4.0, 0.0])
    assert euclidean(vector) == pytest.approx(5.0 * size, rel=1e-14)
    assert relative_difference(vector, 2.0 * vector) == pytest.approx(1.0 / 3.0, rel=1e-14)
    assert relative_difference(vector, vector) == 0.0


def test_what_is_not_finite_stays_so():
    assert math.isnan(euclidean(np.array([1.0, math.nan])))
    assert euclidean(np.array([1.0, -math.inf])) == math.inf
    assert euclidean(np.zeros(0)) == euclidean(np.zeros(3)) == 0.0
    assert math.isnan(relative_difference([1.0, math.nan], [1.0, 2.0]))


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("size", [1e-140, 1e160])
def test_a_doubled_gradient_is_wrong_where_its_squares_overflow_or_vanish(coverage, size):
    def loss(x):
        return size * (x * x).sum()

    report = check_gradients(loss, lambda x: 4.0 * size * x, POINT, coverage=coverage)
    assert report.verdict is not Verdict.PASS
    assert report.difference == pytest.approx(1.0 / 3.0, rel=1e-6) or size < 1.0
    assert check_gradients(loss, lambda x: 2.0 * size * x, POINT, coverage=coverage).verdict is Verdict.PASS


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_one_huge_entry_is_a_wrong_gradient_and_no_overflow(coverage):
    gradient = 2.0 * POINT
    gradient[3] = 1e307
    report = check_gradients(lambda x: (x * x).sum(), gradient, POINT, coverage=coverage)
    assert (report.verdict, report.cause) == (Verdict.FAIL, Cause.WRONG)
