"""The ladder read: what one slope at many steps says, of functions whose slope at 0 is known on paper."""

import math

import numpy as np
import pytest

from checks.judge.ladder import ALL, Ladder, Rung, best_reading, kink, read
from checks.measure.layout import Layout
from checks.measure.objective import Objective
from checks.verdict import Cause

EPS = float(np.finfo(np.float64).eps)

SMOOTH = {
    "sine": (lambda t: 2.0 + math.sin(3.0 * t), 3.0),
    "exponential": (lambda t: math.exp(t) - 5.0 * t, -4.0),
    "pole close by": (lambda t: 1.0 / (t + 3e-5), -1.0 / 9e-10),
    "bend close by": (lambda t: math.sqrt((t + 1e-6) ** 2 + 1e-12), math.sqrt(0.5)),
    "large": (lambda t: 1e200 * math.sin(t + 0.5), 1e200 * math.cos(0.5)),
    "small": (lambda t: 1e-200 * math.sin(t + 0.5), 1e-200 * math.cos(0.5)),
}
smooth = pytest.mark.parametrize(("function", "slope"), SMOOTH.values(), ids=SMOOTH)


def rung(function, step, noise=None):
    plus, here, minus = function(step), function(0.0), function(-step)
    noise = 4.0 * EPS * max(abs(plus), abs(minus), abs(here)) if noise is None else noise
    return Rung(step, (here - minus) / step, (plus - here) / step, noise / step, plus == minus == here)


def rungs(function, steps=ALL, noise=None):
    return [rung(function, step, noise) for step in sorted(steps, reverse=True)]


def single(value):
    return float(np.float32(value))


@smooth
def test_the_best_reading_holds_the_slope_within_its_error_and_is_sharp(function, slope):
    best = best_reading(rungs(function))
    assert abs(best.value - slope) <= best.error
    assert best.error <= 1e-5 * abs(slope)


def test_the_best_reading_is_one_that_finer_rungs_do_not_contradict():
    steep = 1e6  # a tanh that is over within a millionth: coarse rungs agree with each other on a slope of 2
    best = best_reading(rungs(lambda t: 2.0 * t + 1e-3 * math.tanh(steep * t)))
    assert abs(best.value - (2.0 + 1e-3 * steep)) <= best.error
    assert best.step < 1e-6


def test_one_rung_alone_reads_nothing_and_says_nothing():
    one = rungs(math.sin, [1e-5])
    assert best_reading(one) is None
    for claimed in (1.0, 2.0):
        assert read(one, claimed, 1e-7).cause is Cause.NOT_FINITE
    assert best_reading([]) is None


def test_of_readings_that_contradict_each_other_nothing_is_known_and_nothing_is_called_wrong():
    rng = np.random.default_rng(5)
    for _ in range(23):
        rough = [Rung(step, *rng.normal(size=2) / step, 1e-9) for step in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)]
        found = read(rough, 1.0, 1e-7)
        assert found.cause in (Cause.ROUNDING, Cause.AGREES)
        assert found.bound > 1e2  # far more than the claim


@pytest.mark.parametrize("height", [1.0, 1e-3, -4e5])
def test_a_gap_that_stays_is_a_kink(height):
    found = kink(rungs(lambda t: 2.0 * t + t * t + height * max(t, 0.0)))
    assert found.right - found.left == pytest.approx(height, rel=1e-3)
    assert found.step < 1e-3


@smooth
def test_a_gap_that_shrinks_with_the_step_is_no_kink(function, slope):
    assert kink(rungs(function)) is None


@pytest.mark.parametrize("beside", [1e-3, 3e-6, -2e-7])
def test_a_kink_beside_the_point_closes_below_its_distance(beside):
    seen = rungs(lambda t: 3.0 * t + abs(t - beside))
    assert kink(seen) is None
    slope = 3.0 - math.copysign(1.0, beside)
    assert read(seen, slope, 1e-6).cause is Cause.AGREES
    for wrong in (3.0, 3.0 + math.copysign(1.0, beside), 1.01 * slope):
        assert read(seen, wrong, 1e-6).cause is Cause.WRONG


def test_a_bend_two_decades_above_the_steps_at_which_a_gap_stays_does_not_close_it():
    gaps = {1e-2: 30.0, 1e-3: 1.0, 1e-4: 1.0, 1e-5: 1.0}
    rungs = [Rung(step, 0.0, gap, 1e-9) for step, gap in gaps.items()]
    assert kink(rungs) in rungs[1:]


def test_the_slopes_at_a_kink_are_read_where_neighbouring_steps_agree_best_however_coarse():
    shifts = {3e-2: 0.0, 1e-2: 1e-3, 3e-3: 0.2, 1e-3: 0.5, 1e-4: 0.1, 1e-5: 0.6}  # what noise does to both slopes
    rungs = [Rung(step, shift, 1.0 + shift, 1e-9) for step, shift in shifts.items()]
    assert kink(rungs) is rungs[0]


def test_a_gap_seen_at_coarse_steps_alone_is_no_kink_of_the_point():
    assert kink(rungs(lambda t: abs(t) + t, [1e-1, 1e-2, 1e-3, 3e-3])) is None


@smooth
def test_the_right_slope_agrees_and_a_wrong_one_is_wrong(function, slope):
    seen = rungs(function)
    assert read(seen, slope, 1e-7 * abs(slope)).cause is Cause.AGREES
    for factor in (1.01, 2.0, -1.0, 0.0):
        found = read(seen, factor * slope, 1e-7 * abs(slope))
        assert found.cause is Cause.WRONG
        assert abs(found.value - slope) <= found.bound
        assert not found.at_kink


@pytest.mark.parametrize(
    ("claimed", "cause"),
    [
        (1.0, Cause.AGREES),
        (3.0, Cause.AGREES),
        (2.0, Cause.KINK),
        (1.3, Cause.KINK),
        (0.9, Cause.WRONG),
        (3.3, Cause.WRONG),
        (0.0, Cause.WRONG),
        (-3.0, Cause.WRONG),
    ],
)
def test_at_a_kink_each_side_agrees_between_is_a_kink_and_beyond_is_wrong(claimed, cause):
    found = read(rungs(lambda t: 2.0 + t + 2.0 * max(t, 0.0)), claimed, 1e-7)
    assert found.cause is cause
    assert found.at_kink


def test_what_is_hidden_behind_noise_is_rounding_and_said_to_a_bound_that_holds():
    rng = np.random.default_rng(7)
    noisy = rungs(lambda t: math.sin(t) + 1e-4 * rng.uniform(-1.0, 1.0), noise=5e-4)
    found = read(noisy, 1.01, 1e-7)
    assert found.cause is Cause.ROUNDING
    assert abs(found.value - 1.0) <= found.bound
    assert read(noisy, 20.0, 1e-7).cause is Cause.WRONG


def test_fine_rungs_on_one_stair_of_a_staircase_are_no_evidence():
    noise = float(np.spacing(np.float32(2.0)))
    seen = rungs(lambda t: single(2.0 + 0.7 * math.sin(t + 0.1)), noise=5.0 * noise)
    assert any(each.flat for each in seen)
    slope = 0.7 * math.cos(0.1)
    assert read(seen, slope, 1e-2).cause is Cause.AGREES
    assert read(seen, 0.0, 1e-7).cause is Cause.WRONG
    assert read(seen, 2.0 * slope, 1e-7).cause is Cause.WRONG


def test_a_loss_that_no_step_moves_has_slope_zero():
    seen = rungs(lambda t: 4.25)
    assert all(each.flat for each in seen)
    assert read(seen, 0.0, 0.0).cause is Cause.AGREES
    assert read(seen, 1e-3, 1e-7).cause is Cause.WRONG


@pytest.mark.parametrize("sizes", [(0.3, -1.1), (700.0, 5.0)])
def test_a_ladder_leaves_out_the_steps_at_which_the_loss_is_not_finite(sizes):
    point = np.array(sizes)
    layout = Layout(point)

    def loss(x):
        return float(np.sin(x[0]) + x[1]) if abs(x[0] - sizes[0]) < 1e-3 * max(1.0, sizes[0]) else math.nan

    ladder = Ladder(Objective(loss, layout, point), np.array([2.0, 0.0]))
    ladder.climb(ALL)
    assert max(each.step for each in ladder.rungs) < 1e-3
    assert read(ladder.rungs, 2.0 * math.cos(sizes[0]), 1e-6).cause is Cause.AGREES


def test_a_step_is_climbed_once_and_read_from_coarse_to_fine():
    asked = []
    point = np.array([0.5, 2.0, -3.0])
    layout = Layout(point)

    def loss(x):
        asked.append(x.copy())
        return float((x**2).sum())

    ladder = Ladder(Objective(loss, layout, point), np.array([1.0, 0.0, 0.0]))
    ladder.climb([1e-5, 1e-3, 1.05e-5, 1e-3])
    assert len(asked) == 5  # both sides of both steps, and the point
    assert [each.step for each in ladder.rungs] == [1e-3, 1e-5]


def test_a_kink_far_away_ends_no_run_of_steps_between_it_and_the_finest_that_agree_at_the_point():
    gaps = {1e-1: 40.0, 1e-2: 1.0, 1e-3: 1.0, 1e-4: 1.0, 1e-5: 1.0, 1e-6: 1.0, 1e-7: 1.0}
    shifts = {1e-5: 0.2, 1e-6: 0.1, 1e-7: 0.4}  # what noise does to both slopes
    rungs = [Rung(step, shifts.get(step, 0.0), gap + shifts.get(step, 0.0), 1e-9) for step, gap in gaps.items()]
    assert kink(rungs) in rungs[1:3]


def test_where_one_step_alone_leaves_the_stair_nothing_is_known_and_no_step_is_the_best():
    found = read([Rung(1e-1, 1.0, 1.0, 1e-9), *(Rung(step, 0.0, 0.0, 1e-9, True) for step in (1e-2, 1e-3))], 0.5, 1e-7)
    assert (found.cause, found.step) == (Cause.ROUNDING, 0.0)
    assert math.isnan(found.value)


def test_the_steps_from_which_a_mismatch_stays_are_named():
    found = read(rungs(lambda t: 3.0 * t, [1e-1, 1e-3, 1e-5], noise=1e-9), 4.0, 1e-7)
    assert found.cause is Cause.WRONG
    assert found.evidence.startswith("from step 1e-01 to 1e-05 the mismatch stays")


def test_a_rung_is_flat_where_the_loss_is_the_same_to_the_last_bit_on_both_sides():
    point = np.array([0.2, -1.0])
    ladder = Ladder(Objective(lambda x: float(np.floor(100.0 * x[0] + 0.5)), Layout(point), point), np.array([1.0, 0]))
    ladder.climb([1e-1, 1e-2, 1e-3, 1e-5])
    assert [each.flat for each in ladder.rungs] == [False, False, True, True]
