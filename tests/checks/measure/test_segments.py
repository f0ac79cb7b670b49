"""Segments: what is claimed along them is exact, and precision and reach are found out."""

import math

import numpy as np
import pytest

from checks.measure.noise import bits_of
from checks.measure.objective import Objective
from checks.measure.segments import AT_MOST, COST, FIRST, LONGEST, TRIAL, Segments, columns, weighted


def segments_of(loss, gradients, point, name=None, seed=0):
    objective = Objective.of(loss, point, gradients)
    name = name or next(iter(objective.layout.slices))
    return Segments(objective, objective.gradient_at, name, np.random.default_rng(seed))


def test_what_is_claimed_is_the_integral_of_the_gradient_for_polynomials():
    made = segments_of(lambda p: (p**6).sum(), lambda p: 6.0 * p**5, np.array([0.3, -0.7, 1.1]))
    made.draw(12)
    claimed, measured, bends = columns(made.made)
    assert claimed.size == 12
    assert np.allclose(claimed, measured, rtol=1e-12, atol=1e-13)
    assert np.max(np.abs(bends)) > 1e-4


def test_only_the_tensor_is_moved_along_a_segment_and_all_are_between_them():
    seen = []

    def loss(p):
        seen.append({name: part.copy() for name, part in p.items()})
        return float(p["a"].sum() + p["b"].sum())

    point = {"a": np.array([1.0, 2.0]), "b": np.array([0.5, 0.0, -3.0])}
    made = segments_of(loss, lambda p: {"a": np.ones(2), "b": np.ones(3)}, point, "b")
    made.draw(3)
    for start, end in zip(seen[0::2], seen[1::2], strict=True):
        assert np.array_equal(start["a"], end["a"])
        assert not np.array_equal(start["b"], end["b"])
    assert not np.array_equal(seen[0]["a"], seen[2]["a"])


def test_it_counts_what_it_takes_and_never_takes_too_much():
    made = segments_of(lambda p: (p**2).sum(), lambda p: 2.0 * p, np.array([0.3, -0.7]))
    before = made.objective.evaluations
    made.draw(7)
    assert made.evaluations == made.objective.evaluations - before == 7 * COST
    made.draw(1000)
    assert made.evaluations == AT_MOST
    assert made.is_spent


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([1.0, -0.75, 0.0], 8),
        ([float(np.float16(0.1)), 3.0], 11),
        ([float(np.float32(0.1))], 24),
        ([0.1, 1.0], 53),
        ([0.0, math.nan], 0),
        ([2.0**-24, math.inf], 8),
    ],
)
def test_the_precision_of_numbers_is_told_by_their_bits(values, bits):
    assert bits_of(np.array(values)) == bits


def test_the_roundoff_is_that_of_the_coarsest_tensor():
    def gradients(p):
        return {"a": np.float16(p["a"]).astype(float), "b": p["b"], "c": 0.0 * p["c"]}

    point = {"a": np.array([0.1, 0.2]), "b": np.array([0.3]), "c": np.ones(2)}
    made = segments_of(lambda p: 0.1 * (p["a"].sum() + p["b"].sum()), gradients, point, "b")
    assert made.roundoff == made.grain == 0.0
    made.draw(2)
    assert made.roundoff == 2.0**-11
    assert 0.0 < made.grain < 1e-15


def test_curvature_makes_segments_shorter_and_noise_makes_them_longer():
    point = np.array([0.3, -0.7, 1.1])
    sharp = segments_of(lambda p: np.sin(40.0 * p).sum(), lambda p: 40.0 * np.cos(40.0 * p), point)
    sharp.choose_reach()
    assert sharp.reach < FIRST
    rng = np.random.default_rng(0)
    noisy = segments_of(lambda p: p.sum() + 0.1 * rng.normal(), np.ones_like, point)
    noisy.choose_reach()
    assert FIRST < noisy.reach <= LONGEST
    calm = segments_of(lambda p: p.sum(), np.ones_like, point)
    calm.choose_reach()
    assert calm.reach == FIRST
    assert len(calm.made) == TRIAL


def test_the_noise_that_is_measured_is_that_of_a_move():
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        made = segments_of(lambda p, rng=rng: np.cos(p).sum() + 0.01 * rng.normal(), lambda p: -np.sin(p), np.ones(3))
        found.append(made.noise / (0.01 * math.sqrt(2.0)))
    assert 1.0 < np.median(found) < 2.0
    assert min(found) > 0.3
    assert segments_of(lambda p: np.cos(p).sum(), lambda p: -np.sin(p), np.ones(3)).noise < 1e-4


def test_entries_that_are_not_finite_are_not_moved():
    seen = []

    def loss(p):
        seen.append(p.copy())
        return float(p[np.isfinite(p)].sum())

    point = np.array([1.0, -np.inf, 2.0, np.nan])
    made = segments_of(loss, lambda p: np.where(np.isfinite(p), 1.0, np.nan), point)
    made.draw(8)
    claimed, measured, _ = columns(made.made)
    assert np.allclose(claimed, measured)
    assert claimed.size == 8
    assert all(np.array_equal(p[[1, 3]], point[[1, 3]], equal_nan=True) for p in seen)


def test_a_segment_on_which_something_is_not_finite_tells_nothing():
    made = segments_of(lambda p: np.log(p).sum(), lambda p: 1.0 / p, np.array([0.001, 1.0]))
    made.draw(12)
    claimed, measured, _ = columns(made.made)
    assert 0 < claimed.size < 12
    assert np.isfinite(claimed + measured).all()


def test_segments_with_a_kink_count_less():
    made = segments_of(lambda p: np.abs(p).sum(), np.sign, np.array([0.01, 2.0]))
    made.draw(16)
    counted = weighted(made.made, 1e-3)
    for before, after in zip(made.made, counted, strict=True):
        weight = after.step[np.argmax(np.abs(before.step))] / np.max(np.abs(before.step), initial=0.0)
        assert abs(weight) == pytest.approx(1.0) if abs(before.bend) < 1e-12 else abs(weight) < 1.0
