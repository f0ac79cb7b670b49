"""Regression through the origin: quantiles, calibration, and entries that are off on their own."""

import math

import numpy as np
import pytest

from checks.measure.regression import EntryFits, Fit, students


@pytest.mark.parametrize("freedom", [4, 11, 30, 57])
def test_students_quantiles_are_students_or_wider(freedom):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    for chance in (0.3, 0.01, 1e-3, 1e-8):
        share = students(chance, freedom) / stats.t.isf(chance / 2.0, freedom)
        assert 0.99 < share < (1.3 if freedom < 10 else 1.05)


def test_the_factor_lies_in_its_interval_as_often_as_it_says():
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(4000):
        claimed = rng.normal(size=13)
        fit = Fit.of(claimed, 1.7 * claimed + 0.3 * rng.normal(size=13))
        outside += abs(fit.factor - 1.7) > fit.width(0.05)
    assert 0.02 < outside / 4000 < 0.055


def test_noise_that_grows_with_the_move_makes_the_interval_wider():
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(2000):
        claimed = rng.normal(size=31)
        fit = Fit.of(claimed, claimed * (1.7 + rng.normal(size=31)))
        outside += abs(fit.factor - 1.7) > fit.width(0.01)
    assert outside / 2000 < 0.025


def test_noise_is_never_less_than_the_least_that_is_known():
    claimed = np.array([1.0, -2.0, 3.0])
    assert Fit.of(claimed, claimed).noise == 0.0
    fit = Fit.of(claimed, claimed, 0.5)
    assert fit.noise == pytest.approx(0.5)
    assert fit.error == pytest.approx(0.5 / math.sqrt(14.0))


def test_nothing_claimed_or_one_reading_tells_nothing():
    for claimed in (np.zeros(5), np.ones(1), np.empty(0)):
        fit = Fit.of(claimed, np.ones(claimed.size))
        assert math.isnan(fit.factor)
        assert fit.error == math.inf


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_moves_of_any_size_are_fitted(scale):
    claimed = scale * np.array([1.0, -2.0, 3.0, 0.5])
    fit = Fit.of(claimed, 2.0 * claimed)
    assert fit.factor == pytest.approx(2.0)


def test_an_entry_that_is_off_on_its_own_is_told_from_a_common_factor():
    rng = np.random.default_rng(0)
    steps, gradient, error = rng.normal(size=(53, 7)), rng.normal(size=7), np.zeros(7)
    error[3] = 0.4
    fits = EntryFits.of(steps @ gradient, steps @ (1.1 * gradient + error) + 0.01 * rng.normal(size=53), steps)
    assert np.argmax(np.abs(fits.errors) / fits.uncertain) == 3
    assert fits.errors[3] == pytest.approx(0.4, abs=0.05)
    assert abs(fits.errors[3] - 0.4) < 5.0 * fits.uncertain[3]
    assert np.all(np.abs(np.delete(fits.errors, 3)) < 5.0 * np.delete(fits.uncertain, 3))


def test_an_entry_that_is_all_of_the_gradient_has_no_error_of_its_own():
    steps = np.random.default_rng(0).normal(size=(11, 2))
    fits = EntryFits.of(steps[:, 0], steps[:, 0], steps)
    assert math.isnan(fits.errors[0])
    assert abs(fits.errors[1]) < 1e-12
