"""Directions: what a check costs, that every check draws a fresh one, and that the stated power is the real one."""

import itertools
import math

import numpy as np
import pytest

from checks import Cause, Verdict, check_gradients
from checks.judge.power import TWICE, excluded_error, random_direction, reading_below

WAYS = ["central", "complex"]


def check(case, gradients, rng, loss=None, **options):
    return check_gradients(loss or case.loss, gradients, case.parameters, coverage="directions", rng=rng, **options)


@pytest.mark.parametrize(("derivative", "confirmed", "evaluations"), [("central", False, 2), ("complex", True, 1)])
def test_a_pass_costs_one_or_two_evaluations_and_one_more_at_the_point(case, derivative, confirmed, evaluations):
    network = case((30, 16, 8, 1), n_rows=65, l2=1e-4)
    for seed in range(20):
        report = check(
            network,
            network.gradients,
            np.random.default_rng(seed),
            derivative=derivative,
            complex_confirmed=confirmed,
        )
        assert report.verdict is Verdict.PASS
        assert report.evaluations == evaluations + 1  # for models that keep what they are handed


def test_the_complex_step_is_confirmed_once_and_the_report_says_so(case):
    network = case()
    first = check(network, network.gradients, np.random.default_rng(0))
    again = check(network, network.gradients, np.random.default_rng(0), complex_confirmed=first.complex_confirmed)
    assert first.complex_confirmed
    assert first.evaluations > again.evaluations == 2
    refused = check(network, network.gradients, np.random.default_rng(0), loss=network.refusing)
    assert not refused.complex_confirmed


def directions_seen(network, rng, n_checks):
    """Collect the points at which a central check asks for the loss; the direction is half their difference."""
    points = []

    def loss(parameters):
        points.append(np.concatenate([value.ravel() for value in parameters.values()]))
        return network.loss(parameters)

    for _ in range(n_checks):
        check(network, network.gradients(network.parameters), rng, loss=loss, derivative="central")
    # The third call of each check is at the point.
    return [plus - minus for plus, minus, _ in itertools.batched(points, 3)] if hasattr(itertools, "batched") else [
        plus - minus for plus, minus in zip(points[::3], points[1::3], strict=True)
    ]  # fmt: skip


def test_every_check_draws_a_fresh_direction_through_all_the_parameters(case):
    network = case()
    seen = directions_seen(network, np.random.default_rng(0), 5)
    assert len(seen) == 5
    for one, other in itertools.combinations(seen, 2):
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert abs(cosine) < 5.0 / np.sqrt(one.size)
    assert all(np.all(one != 0.0) for one in seen)


def test_the_same_generator_state_gives_the_same_directions(case):
    network = case()
    rng = np.random.default_rng(7)
    directions_seen(network, rng, 2)
    resumed = np.random.default_rng()
    resumed.bit_generator.state = rng.bit_generator.state
    for one, other in zip(directions_seen(network, rng, 3), directions_seen(network, resumed, 3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_generator_no_two_checks_share_a_direction(case):
    network = case()
    one, other = (directions_seen(network, None, 1)[0] for _ in range(2))
    assert not np.array_equal(one, other)


def spoilt(network, mistake):
    """Give the gradient with one of the mistakes that a single fixed direction of torch's fast mode misses."""
    right = network.gradients(network.parameters)
    flat = np.abs(right["W2"]).ravel()
    median = np.unravel_index(np.argsort(flat)[flat.size // 2], right["W2"].shape)
    tiny = np.unravel_index(np.flatnonzero(flat == flat[flat > 0].min())[0], right["W2"].shape)
    largest = np.unravel_index(np.argmax(flat), right["W2"].shape)
    if mistake == "L2 term of one layer forgotten":
        right["W2"] -= network.network.l2 * network.parameters["W2"]
    elif mistake == "largest entry off by 1 %":
        right["W2"][largest] *= 1.01
    elif mistake == "median entry off by 1 %":
        right["W2"][median] *= 1.01
    elif mistake == "median entry zero":
        right["W2"][median] = 0.0
    elif mistake == "tiny entry with the wrong sign":
        right["W2"][tiny] *= -1.0
    elif mistake == "bias never computed":
        right["b1"][:] = 0.0
    elif mistake == "everything doubled":
        right = {name: 2.0 * value for name, value in right.items()}
    return right


MISTAKES = [
    "L2 term of one layer forgotten",
    "largest entry off by 1 %",
    "median entry off by 1 %",
    "median entry zero",
    "tiny entry with the wrong sign",
    "bias never computed",
    "everything doubled",
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_within_three_checks_whatever_the_seed(case, mistake):
    for seed in range(6 if mistake == "everything doubled" else 20):  # the last takes a diagnosis of every tensor
        network = case((12, 9, 5, 1), n_rows=33, seed=seed, l2=1e-3)
        wrong, rng = spoilt(network, mistake), np.random.default_rng(seed)
        reports = [check(network, wrong, rng) for _ in range(3)]
        failed = [report for report in reports if report.verdict is Verdict.FAIL]
        assert failed, (seed, str(reports[0]))
        expected = {"bias never computed": "b1", "everything doubled": "b3"}.get(mistake, "W2")
        assert failed[0].culprits[0].name == expected


def test_a_right_gradient_passes_along_every_direction(case):
    for seed in range(10):
        network = case((12, 9, 5, 1), n_rows=33, seed=seed, l2=1e-3, positive_weight=3.0)
        rng = np.random.default_rng(seed)
        for derivative in WAYS:
            for _ in range(10):
                assert check(network, network.gradients, rng, derivative=derivative).verdict is Verdict.PASS


SHAPES = {
    "one entry": [1.0],
    "two equal entries": [1.0, -1.0],
    "five entries": [5.0, -4.0, 3.0, 2.0, 1.0],
    "spread": [1.0, -1.0] * 20,
}


@pytest.mark.parametrize("checks", [1, 2, 5, 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_excluded_error_hides_from_all_directions_with_probability_1_percent_at_most(shape, checks):
    error = np.array(SHAPES[shape])
    reach, reading = 0.7, 3e-9
    error *= excluded_error(reading, reach, checks) / np.linalg.norm(error)
    rng = np.random.default_rng(0)
    trials = 40_000
    directions = reach * random_direction(rng, trials * checks * error.size).reshape(trials, checks, -1)
    missed = np.mean(np.all(np.abs(directions @ error) <= reading, axis=1))
    assert missed <= 0.01 + 5.0 * math.sqrt(0.01 * 0.99 / trials)
    if checks == 1:  # and the bound is no larger than it has to be: two equal entries reach it
        assert missed >= 0.006
        assert shape != "two equal entries" or missed == pytest.approx(0.01, abs=5.0 * math.sqrt(0.01 * 0.99 / trials))


def test_for_one_direction_the_miss_probability_is_the_largest_section_of_a_cube():
    # P(miss) = 2 · sqrt(2) / sqrt(12) · tau / (reach · ||e||); a normal direction would have 0.80 in place of 0.82.
    assert 0.8165 * 1.0 / excluded_error(1.0, 1.0) == pytest.approx(0.01, rel=1e-4)
    assert reading_below(0.8165) == pytest.approx(1.0, rel=1e-4)


def test_an_error_of_rank_one_hides_behind_two_directions_in_1_percent_at_most_and_hardly_less():
    # The worst case of the bound: both factors along the diagonal of two coordinates, where a cube is thickest.
    rng = np.random.default_rng(0)
    first, second = (random_direction(rng, 600_000).reshape(2, -1).sum(axis=0) / math.sqrt(2.0) for _ in range(2))
    assert 0.008 < np.mean(np.abs(first * second) <= TWICE) <= 0.01


def test_a_direction_has_coordinates_of_variance_1_and_mean_0():
    direction = random_direction(np.random.default_rng(0), 100_000)
    assert direction.mean() == pytest.approx(0.0, abs=5.0 / math.sqrt(100_000))
    assert direction.var() == pytest.approx(1.0, rel=0.02)
    assert np.abs(direction).max() < math.sqrt(3.0)


@pytest.mark.parametrize("derivative", WAYS)
def test_an_error_of_the_excluded_size_would_have_read_more_in_99_percent(derivative):
    # The claim of a pass, against the checker itself: plant errors of the size that a pass with the right
    # gradient excludes, in random shapes, and count how often the reading is no larger than it was then.
    rng = np.random.default_rng(1)
    point = {"a": rng.standard_normal((5, 7)), "b": rng.standard_normal(3)}

    def loss(p):
        return (p["a"] ** 3).sum() + (p["b"] ** 3).sum()

    right = {name: 3.0 * value**2 for name, value in point.items()}
    options = {"coverage": "directions", "derivative": derivative, "complex_confirmed": True, "threshold": 0.5}
    hidden = trials = 0
    for _ in range(400):
        state = rng.bit_generator.state
        clean = check_gradients(loss, right, point, rng=rng, **options).tensors["a"]
        assert clean.verdict is Verdict.PASS
        size = clean.excluded * clean.gradient_norm
        error = rng.standard_normal((5, 7))
        wrong = right | {"a": right["a"] + size * error / np.linalg.norm(error)}
        fresh = np.random.default_rng()
        fresh.bit_generator.state = state
        planted = check_gradients(loss, wrong, point, rng=fresh, **options).tensors["a"]
        # A reading and its bound are the excluded error times `reading_below` 1 %.
        hidden += abs(planted.gradient - planted.numerical) <= size * reading_below(0.01) * reach(
            derivative, point, right
        )
        trials += 1
    assert hidden / trials <= 0.01 + 4.0 * math.sqrt(0.01 * 0.99 / trials)


def reach(derivative, point, right):
    """Give the standard deviation of the direction's coordinates in ``a``, as the docstring of the reach has it."""
    if derivative == "complex":
        return 1.0 / np.linalg.norm(right["a"])
    size = sum(value.size for value in point.values())
    return max(1.0, np.sqrt(np.mean(point["a"] ** 2))) / np.sqrt(size)


@pytest.mark.parametrize("refusing", [False, True])
@pytest.mark.parametrize("derivative", WAYS)
@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
def test_where_rounding_exceeds_the_threshold_a_single_reading_is_no_pass(offset, derivative, refusing):
    point = np.linspace(0.5, 2.0, 7)

    def loss(x):
        value = offset + (x**3).sum()
        return float(value) if refusing else value

    for seed in range(10):
        rng = np.random.default_rng(seed)
        options = {"coverage": "directions", "derivative": derivative, "rng": rng}
        report = check_gradients(loss, lambda x: 3.0 * x**2, point, **options)
        if report.verdict is Verdict.PASS:
            assert report.difference <= report.threshold, str(report)
        assert report.verdict is not Verdict.FAIL


def test_several_readings_that_do_not_settle_are_no_crash():
    # Readings hold arrays; taking one out of a list by equality raised for the second.
    inputs = np.random.default_rng(1).standard_normal((7, 5))

    def loss(w):
        return (1e6 + 0.5 * np.mean((inputs @ w) ** 2).real) - 1e6

    for seed in range(10):
        report = check_gradients(
            loss,
            lambda w: inputs.T @ (inputs @ w) / 7,
            np.arange(1.0, 6.0),
            coverage="directions",
            rng=np.random.default_rng(seed),
        )
        assert report.verdict is not Verdict.FAIL


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_complex_step_refused_on_the_way_does_not_end_the_check(factor):
    # np.abs drops a slope only of the tensor with the small gradient; the whole direction does not show it.
    point = {"a": np.arange(1.0, 4.0), "b": np.array([0.3, 0.4, 0.5])}

    def loss(p):
        return (p["a"] ** 2).sum() + 1e-6 * (np.abs(p["b"]) + p["b"]).sum()

    gradient = {"a": 2.0 * point["a"], "b": factor * 2e-6 * np.ones(3)}
    for seed in range(10):
        report = check_gradients(loss, gradient, point, coverage="directions", rng=np.random.default_rng(seed))
        assert report.verdict is not (Verdict.FAIL if factor == 1.0 else Verdict.PASS), str(report)
        assert factor != 1.0 or "not analytic" in " ".join(report.notes)


def test_a_gradient_never_computed_at_all_fails(case):
    network = case()
    nothing = {name: np.zeros_like(value) for name, value in network.parameters.items()}
    for derivative in WAYS:
        report = check(network, nothing, np.random.default_rng(0), derivative=derivative)
        assert report.verdict is Verdict.FAIL
        assert report.culprits[0].name == "b3"


@pytest.mark.parametrize("derivative", WAYS)
def test_an_error_of_five_thresholds_is_found_by_a_single_check_in_97_percent(case, derivative):
    # P(miss) = 0.80 · share of the threshold that is not looked into / 5 = 0.3 %, were it not for rounding.
    network = case((7, 5, 3, 1), activation="tanh")
    right = network.gradients(network.parameters)
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        error = rng.standard_normal(right["W1"].shape)
        wrong = right | {"W1": right["W1"] + 1e-6 * np.linalg.norm(right["W1"]) * error / np.linalg.norm(error)}
        report = check(network, wrong, rng, derivative=derivative, complex_confirmed=derivative == "complex")
        found += report.verdict is Verdict.FAIL and report.culprits[0].name == "W1"
    assert found >= 97 if derivative == "complex" else found >= 90


def test_a_gradient_of_zero_on_the_tread_of_a_stair_is_left_open_where_a_longer_step_crosses_to_the_next():
    point, verdicts = {"a": np.zeros(2), "b": np.array([0.7, -1.3, 0.4])}, []
    for seed in range(9):
        report = check_gradients(
            lambda p: np.floor(37.0 * p["a"].real + 0.5).sum() / 37.0 + (p["b"] ** 3).sum(),
            {"a": np.zeros(2), "b": 3.0 * point["b"] ** 2},
            point,
            coverage="directions",
            rng=np.random.default_rng(seed),
        )
        verdicts.append(report.tensors["a"].verdict)
    assert verdicts.count(Verdict.UNDECIDED) >= 4
    assert Verdict.FAIL not in verdicts


@pytest.mark.parametrize("derivative", WAYS)
def test_a_gradient_of_zero_at_the_bottom_of_a_valley_is_at_a_kink_and_not_unexercised(derivative):
    point = {"a": np.zeros(3), "b": np.array([0.7, -1.3])}
    report = check_gradients(
        lambda p: np.abs(p["a"]).sum() + (p["b"] ** 3).sum(),
        {"a": np.zeros(3), "b": 3.0 * point["b"] ** 2},
        point,
        coverage="directions",
        derivative=derivative,
        rng=np.random.default_rng(0),
    )
    assert report.tensors["a"].cause is Cause.KINK


def test_a_loss_that_is_finite_at_the_point_alone_is_not_said_to_be_infinite_there_and_the_other_way_round():
    point = np.array([0.0, 0.7, -1.3, 0.4])

    def verdict(loss, evidence):
        report = check_gradients(
            loss, 3.0 * point, point, coverage="directions", derivative="central", rng=np.random.default_rng(0)
        )
        assert report.verdict is Verdict.UNDECIDED
        assert evidence in str(report)

    verdict(lambda x: 0.3 if np.array_equal(x, point) else math.nan, "not finite beside the point")
    verdict(lambda x: math.inf if np.array_equal(x, point) else float(x @ x), "the loss itself is inf")
