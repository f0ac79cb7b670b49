"""The noise of a function: drawn by the test, so that it is known; and what is smooth, bent or kinked is none."""

import math

import numpy as np
import pytest

from checks.measure.noise import VALUES, bits_of, jump, noise_around, noise_away, noise_of_steps, scatter

EPS = float(np.finfo(np.float64).eps)

KINKED = {
    "|t|": abs,
    "a kink beside": lambda t: 3.0 + abs(t - 0.013),
    "relu": lambda t: 1.0 + max(t, 0.0) + 2.0 * t,
    "1 / t near its pole": lambda t: 1.0 / (t + 1e-6),
    "a bend at 0": lambda t: math.sqrt(t * t + 1e-16),
    "a steep bend at 0": lambda t: 2.0 + math.tanh(1e6 * t),
}
SMOOTH = {
    "sine": lambda t: 3.0 + math.sin(t + 0.4),
    "exponential": lambda t: math.exp(2.0 * t),
    "cubic": lambda t: 5.0 + t - 2.0 * t**3,
}


def single(value):
    return float(np.float32(value))


def uniform(seed, half_width):
    return np.random.default_rng(seed).uniform(-half_width, half_width, VALUES)


@pytest.mark.parametrize("half_width", [1e-3, 1e-9, 1e-12])
def test_the_scatter_of_uniform_noise_is_its_standard_deviation_within_a_factor_two(half_width):
    places = np.arange(VALUES)
    found = []
    for seed in range(51):
        found.append(scatter(1.0 + 0.3 * half_width * places + uniform(seed, half_width)))
    truth = half_width / math.sqrt(3.0)
    assert truth / 2.0 < np.median(found) < truth * 2.0
    assert np.mean(np.array(found) > 0.0) > 0.8  # hardly ever does noise look smooth


def test_the_scatter_is_in_the_units_of_the_values_over_the_whole_range_of_floats():
    values = 1.0 + uniform(3, 1e-4)
    here = scatter(values)
    assert here > 0.0
    for size in (1e300, 1e-300):
        assert scatter(size * values) == pytest.approx(size * here, rel=1e-6)


@pytest.mark.parametrize("values", [[2.0] * VALUES, [0.0] * VALUES, [1.0, math.nan] * 4, [1.0, math.inf] * 4])
def test_nothing_scatters_in_constants_or_in_what_is_not_finite(values):
    assert scatter(values) == 0.0


@pytest.mark.parametrize("smooth", SMOOTH.values(), ids=SMOOTH)
def test_values_of_a_smooth_function_scatter_by_last_places_at_most(smooth):
    for spacing in (1e-2, 1e-4, 1e-6):
        values = [smooth(place * spacing) for place in range(VALUES)]
        assert scatter(values) <= 2.0 * EPS * max(np.abs(values))


@pytest.mark.parametrize("slope", [1.0, -7.0])
def test_the_stairs_of_single_precision_are_found_within_a_factor(slope):
    unit = float(np.spacing(np.float32(3.0)))
    truth = unit / math.sqrt(12.0)  # of a rounding error that is uniform over one stair
    for seed in range(5):
        found = noise_away(lambda t: single(3.0 + 0.1 * slope * math.sin(t)), np.random.default_rng(seed), 3)
        assert truth / 4.0 < found < 1.5 * unit


def test_what_is_lost_under_a_large_constant_is_noise():
    unit = float(np.spacing(1e9))
    found = noise_away(lambda t: (1e9 + math.sin(t)) - 1e9 + 2.0, np.random.default_rng(1), 3)
    assert unit / 12.0 < found < unit * 2.0


@pytest.mark.parametrize("function", (KINKED | SMOOTH).values(), ids=KINKED | SMOOTH)
def test_neither_a_kink_nor_a_bend_nor_a_smooth_function_has_noise_beyond_last_places(function):
    sizes = [abs(function(t)) for t in (-0.1, -1e-3, 1e-3, 0.1, 0.0)]
    for seed in range(5):
        assert noise_away(function, np.random.default_rng(seed), 3) <= 8.0 * EPS * max(sizes)


def test_a_function_that_is_defined_on_one_side_alone_is_looked_at_there():
    found = noise_away(lambda t: single(2.0 + t + t * t) if t > 0.0 else math.nan, np.random.default_rng(2), 3)
    unit = float(np.spacing(np.float32(2.0)))
    assert unit / math.sqrt(12.0) / 4.0 < found < 1.5 * unit


@pytest.mark.parametrize("height", [1e-7, -0.25, 30.0])
@pytest.mark.parametrize("place", [0.313, -0.0071])
def test_a_jump_is_found_with_its_height_from_either_end(height, place):
    def function(t):
        return 1.0 + 2.0 * t + (height if t > place else 0.0)

    for ends in ((-0.5, 0.7), (0.7, -0.5)):
        assert jump(function, *ends, slope=2.0) == pytest.approx(abs(height), rel=1e-6)


@pytest.mark.parametrize("function", (KINKED | SMOOTH).values(), ids=KINKED | SMOOTH)
@pytest.mark.parametrize("ends", [(1e-3, 0.05), (-0.07, -2e-3), (-3e-7, 5e-7)])
def test_of_a_kink_or_a_smooth_function_nothing_is_left_that_jumps(function, ends):
    low, high = sorted((function(ends[0]), function(ends[1])))
    assert jump(function, *ends) <= 1e-9 * (high - low) + 1e3 * EPS * max(abs(low), abs(high))


def test_a_jump_below_what_counts_is_none():
    def function(t):
        return 1.0 + (1e-6 if t > 0.03 else 0.0)

    assert jump(function, 0.0, 0.1, least=1e-5) == 0.0
    assert jump(function, 0.0, 0.1, least=1e-7) == pytest.approx(1e-6, rel=1e-6)


def test_the_noise_of_steps_is_that_of_rounding_and_not_of_the_jumps_that_a_gradient_has():
    unit = float(np.spacing(np.float32(1.5)))
    noisy = noise_of_steps(lambda t: single(1.5 + 0.3 * math.sin(t)) + (1.0 if t > 0.004 else 0.0))
    assert 0.0 < noisy < 2.0 * unit
    assert noise_of_steps(lambda t: 2.5) == 0.0
    assert noise_of_steps(lambda t: 1.5 + math.sin(t)) <= 4.0 * EPS


@pytest.mark.parametrize(("dtype", "bits"), [(np.float16, 11), (np.float32, 24), (np.float64, 53)])
def test_the_bits_that_numbers_need_are_those_of_their_precision(dtype, bits):
    values = np.random.default_rng(4).normal(size=13).astype(dtype).astype(float)
    assert bits_of(values) == bits
    assert bits_of(np.array([*values, 0.0, math.nan, math.inf])) == bits
    assert bits_of(np.array([0.0, math.nan])) == 0


def test_stairs_of_half_precision_too_wide_to_be_crossed_are_seen_by_their_bits():
    def function(t):
        return float(np.float16(100.0 + 0.001 * t))  # never leaves the stair, which is a sixteenth wide

    found = noise_around(function, function(0.0), np.random.default_rng(1))
    assert found >= 0.03
