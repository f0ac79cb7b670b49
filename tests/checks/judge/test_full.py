"""Full coverage, against the table of verdicts: what is FAIL, what is not, and what says that it cannot tell."""

import itertools
import pickle

import numpy as np
import pytest

from checks import Cause, Verdict, check_gradients

WAYS = list(itertools.product(["full", "directions"], ["central", "complex"]))
SEEDS = range(3)


def verdicts(loss, gradients, parameters, seeds=SEEDS, **options):
    """Check in both coverages, with both derivatives, and along several directions."""
    return {
        (coverage, derivative, seed): check_gradients(
            loss,
            gradients,
            parameters,
            coverage=coverage,
            derivative=derivative,
            rng=np.random.default_rng(seed),
            **options,
        )
        for coverage, derivative in WAYS
        for seed in (seeds if coverage == "directions" else [0])
    }


def positive_part(x):
    """Give max(x, 0), real or complex."""
    return np.where(np.real(x) > 0, x, 0) if np.iscomplexobj(x) else np.maximum(x, 0.0)


def refuse(loss):
    """Make a loss that takes real numbers only."""
    return lambda x: float(loss(x))


SMOOTH = np.array([0.7, -1.3, 0.4, 2.1, -0.6, 1.1, 0.9, -0.2, 1.6, 0.5, -1.9])  # beside one kink, eleven other entries
# name: (part of the loss that has a kink at 0, its slopes on the left and on the right of 0)
KINKS = {
    "abs": (lambda t: positive_part(t) + positive_part(-t), -1.0, 1.0),
    "np.abs": (np.abs, -1.0, 1.0),
    "relu": (positive_part, 0.0, 1.0),
    "hinge": (lambda t: positive_part(1.0 - (t + 1.0)), -1.0, 0.0),
    "maximum of two lines": (lambda t: np.maximum(0.5 * t, 3.0 * t), 0.5, 3.0),
    "steep on one side": (lambda t: 1e3 * positive_part(t), 0.0, 1e3),
}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("refusing", [False, True])
@pytest.mark.parametrize("kind", KINKS)
def test_any_subgradient_at_a_kink_is_no_mistake(kind, refusing, share):
    part, left, right = KINKS[kind]

    def loss(x):
        return part(x[0]) + (x[1:] ** 3).sum()

    gradient = np.concatenate([[left + share * (right - left)], 3.0 * SMOOTH**2])
    point = np.concatenate([[0.0], SMOOTH])
    reports = verdicts(refuse(loss) if refusing else loss, gradient, point)
    assert Verdict.FAIL not in {report.verdict for report in reports.values()}
    full = reports["full", "central", 0]
    assert full.verdict is Verdict.PASS
    # One side's slope is right here, and so is what the complex step takes for it; what lies between is set aside.
    assert full.kinks == (1 if share == 0.5 else 0) or (kind == "abs" and not refusing)


def test_of_several_entries_at_kinks_every_one_is_set_aside():
    def loss(x):
        return np.abs(x[:3]).sum() + (x[3:] ** 3).sum()

    smooth = np.tile(SMOOTH, 3)
    gradient, point = np.concatenate([np.zeros(3), 3.0 * smooth**2]), np.concatenate([np.zeros(3), smooth])
    report = check_gradients(refuse(loss), gradient, point, derivative="central")
    assert (report.verdict, report.kinks) == (Verdict.PASS, 3)


@pytest.mark.parametrize("beyond", [-0.5, 1.5])
@pytest.mark.parametrize("refusing", [False, True])
@pytest.mark.parametrize("kind", ["abs", "relu", "hinge"])
def test_a_gradient_outside_the_slopes_of_both_sides_fails(kind, refusing, beyond):
    part, left, right = KINKS[kind]

    def loss(x):
        return part(x[0]) + (x[1:] ** 3).sum()

    width = 4.0 * (right - left)  # clear of the margin that mixtures of several kinks are given
    gradient = np.concatenate([[left + np.sign(beyond) * width], 3.0 * SMOOTH**2])
    for way, report in verdicts(refuse(loss) if refusing else loss, gradient, np.concatenate([[0.0], SMOOTH])).items():
        assert report.verdict is Verdict.FAIL, way
        assert report.culprits[0].worst_index == (0,)


@pytest.mark.parametrize("step", [1e-3, 1e-7, 1e-9])
def test_a_kink_away_from_zero_is_a_kink_at_every_step(step):
    def loss(x):
        return positive_part(x[0] - 1.0) + (x[1:] ** 3).sum()

    gradient, point = np.concatenate([[0.25], 3.0 * SMOOTH**2]), np.concatenate([[1.0], SMOOTH])
    report = check_gradients(loss, gradient, point, step=step)
    assert (report.verdict, report.kinks) == (Verdict.PASS, 1)


@pytest.mark.parametrize("refusing", [False, True])
@pytest.mark.parametrize("distance", [1e-6, -1e-6, 1e-7, -1e-7])
def test_beside_a_kink_a_right_gradient_passes_and_one_that_is_1_percent_off_fails(distance, refusing):
    def loss(x):
        return 3.0 * positive_part(x[4] - (SMOOTH[4] + distance)) + 0.5 * x[4] + (x**2).sum()

    right = 2.0 * SMOOTH
    right[4] += 0.5 + (3.0 if distance < 0 else 0.0)
    wrong = right.copy()
    wrong[4] *= 1.01
    own = refuse(loss) if refusing else loss
    for way, report in verdicts(own, right, SMOOTH).items():
        assert report.verdict is Verdict.PASS, (way, str(report))
    for way, report in verdicts(own, wrong, SMOOTH).items():
        assert report.verdict is Verdict.FAIL, (way, str(report))
        assert report.culprits[0].worst_index == (4,)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9, 1e12])
def test_a_large_constant_in_the_loss_hides_nothing_from_the_complex_step(offset):
    def loss(x):
        return offset + (x**3).sum()

    assert {r.verdict for r in verdicts(loss, 3.0 * SMOOTH**2, SMOOTH).values()} == {Verdict.PASS}
    assert {r.verdict for r in verdicts(loss, 6.0 * SMOOTH**2, SMOOTH).values()} == {Verdict.FAIL}


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9, 1e12])
def test_a_large_constant_in_a_loss_of_real_numbers_gives_no_false_verdict(offset):
    def loss(x):
        return float(offset + (x**3).sum())

    right, wrong = verdicts(loss, 3.0 * SMOOTH**2, SMOOTH), verdicts(loss, 6.0 * SMOOTH**2, SMOOTH)
    assert Verdict.FAIL not in {report.verdict for report in right.values()}
    assert Verdict.PASS not in {report.verdict for report in wrong.values()}


@pytest.mark.parametrize("scale", [1e-8, 1e-10, 1e-12])
@pytest.mark.parametrize("refusing", [False, True])
def test_tiny_gradients_near_a_minimum_give_no_false_verdict(scale, refusing):
    minimum = SMOOTH - scale

    def loss(x):
        return 0.3 + 0.5 * ((x - minimum) ** 2).sum()

    right = SMOOTH - minimum
    own = refuse(loss) if refusing else loss
    for way, report in verdicts(own, right, SMOOTH).items():
        assert report.verdict is not Verdict.FAIL, way
        assert refusing or report.verdict is Verdict.PASS, (way, str(report))
    for way, report in verdicts(own, 2.0 * right, SMOOTH).items():
        assert report.verdict is not Verdict.PASS, way
        assert refusing or report.verdict is Verdict.FAIL, (way, str(report))


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("refusing", [False, True])
def test_badly_scaled_parameters_are_checked_each_on_its_own_scale(separate, refusing):
    small, large = np.array([1e-8, -3e-8, 2e-8]), np.array([1e8, -3e8, 2e8, 5e8, 7e8])

    def value(s, t):
        return ((s / 1e-8) ** 3).sum() + ((t / 1e8) ** 3).sum()

    def slopes(s, t):
        return 3.0 * (s / 1e-8) ** 2 / 1e-8, 3.0 * (t / 1e8) ** 2 / 1e8

    if separate:
        point = {"small": small, "large": large}
        ds, dt = slopes(small, large)
        right, wrong = {"small": ds, "large": dt}, {"small": ds, "large": 1.01 * dt}

        def loss(p):
            return value(p["small"], p["large"])
    else:
        point = np.concatenate([small, large])
        ds, dt = slopes(small, large)
        right, wrong = np.concatenate([ds, dt]), np.concatenate([1.01 * ds, dt])

        def loss(p):
            return value(p[:3], p[3:])

    own = refuse(loss) if refusing else loss
    for way, report in verdicts(own, right, point).items():
        assert report.verdict is not Verdict.FAIL, (way, str(report))
        assert refusing or report.verdict is Verdict.PASS, (way, str(report))
    for way, report in verdicts(own, wrong, point).items():
        assert report.verdict is not Verdict.PASS, (way, str(report))
        assert refusing or report.verdict is Verdict.FAIL, (way, str(report))


INPUTS = np.random.default_rng(1).standard_normal((7, 5))
TARGETS = np.random.default_rng(2).standard_normal(7)


def squares(weights):
    return 0.5 * np.mean((INPUTS @ weights - TARGETS) ** 2)


def squares_gradient(weights):
    return INPUTS.T @ (INPUTS @ weights - TARGETS) / 7


COARSE = {
    "float32 throughout": lambda w: (
        np.float32(0.5) * np.mean((INPUTS.astype(np.float32) @ w.astype(np.float32) - TARGETS.astype(np.float32)) ** 2)
    ),
    "float32 at the end": lambda w: np.float32(squares(w).real),
    "rounded to eight digits": lambda w: round(float(squares(w)), 8),
    "rounded to ten digits": lambda w: round(float(squares(w)), 10),
    "a large number added and taken away": lambda w: (1e6 + squares(w)) - 1e6,
}


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("distance", [1.0, 1e-3])
@pytest.mark.parametrize("kind", COARSE)
def test_a_loss_of_lower_precision_never_fails_a_right_gradient(kind, distance, scale):
    rng = np.random.default_rng(0)
    minimum = np.linalg.lstsq(INPUTS, TARGETS, rcond=None)[0]
    for seed in range(3):  # a direction of its own at each point
        weights = minimum + distance * rng.standard_normal(5)
        reports = verdicts(
            lambda w: COARSE[kind](w) * scale, lambda w: scale * squares_gradient(w), weights, seeds=[seed]
        )
        for way, report in reports.items():
            assert report.verdict is not Verdict.FAIL, (way, str(report))


def test_a_loss_in_single_precision_passes_at_the_precision_it_allows_and_is_named_as_what_it_is():
    report = check_gradients(COARSE["float32 throughout"], squares_gradient, np.ones(5))
    assert report.verdict is Verdict.PASS
    assert 1e-7 < report.tensors["parameters"].precision < 1e-3
    assert "single precision" in str(report)
    assert "PASS to " in str(report)
    for factor in (1.01, 0.99, 2.0):
        wrong = check_gradients(COARSE["float32 throughout"], lambda w, k=factor: k * squares_gradient(w), np.ones(5))
        assert wrong.verdict is Verdict.FAIL


def test_a_random_loss_is_undecided_and_called_not_deterministic():
    draws = np.random.default_rng(0)

    def loss(x):  # dropout left on, over more units than two masks could agree in
        return (x**2).sum() + (np.arange(77.0) * (draws.random(77) > 0.3)).sum() * x[0]

    reports = verdicts(loss, lambda x: 2.0 * x, np.arange(1.0, 6.0))
    for way, report in reports.items():
        assert (report.verdict, report.cause) == (Verdict.UNDECIDED, Cause.NOT_DETERMINISTIC), way
        assert "dropout" in str(report)


@pytest.mark.parametrize("refusing", [False, True])
def test_all_zero_weights_pass_and_are_called_not_exercised(case, refusing):
    network = case((7, 5, 3, 1), activation="tanh")
    zeros = {name: np.zeros_like(value) for name, value in network.parameters.items()}
    loss = network.refusing if refusing else network.loss
    for way, report in verdicts(loss, network.gradients, zeros).items():
        assert report.verdict is Verdict.PASS, way
        idle = {name for name, tensor in report.tensors.items() if tensor.cause is Cause.NOT_EXERCISED}
        assert idle == {"W1", "b1", "W2", "b2", "W3"}, way  # only the last bias moves the loss
        assert report.tensors["b3"].verdict is Verdict.PASS


def test_a_dead_layer_is_called_not_exercised_with_a_count(case):
    network = case((7, 5, 3, 1))
    network.parameters["b1"] -= 100.0
    network.parameters["b2"][:] = 0.5
    report = check_gradients(network.loss, network.gradients, network.parameters)
    assert report.verdict is Verdict.PASS
    assert report.not_exercised == ["W1", "b1", "W2"]
    assert report.tensors["W1"].untouched == 35


def test_a_dead_unit_leaves_a_pass_and_the_report_counts_its_entries(case):
    network = case((7, 5, 3, 1))
    network.parameters["b1"][2] = -100.0
    report = check_gradients(network.loss, network.gradients, network.parameters)
    alive = {"W1", "b1"} & {name for name, tensor in report.tensors.items() if tensor.verdict is Verdict.PASS}
    assert alive == {"W1", "b1"}
    assert report.tensors["W1"].untouched >= 7
    assert f"W1: {report.tensors['W1'].untouched} of 35 entries are zero in both and were not exercised" in str(report)


@pytest.mark.parametrize("refusing", [False, True])
def test_saturated_outputs_give_no_false_verdict(case, refusing):
    network = case((7, 5, 3, 1))
    network.parameters["W3"] *= 400.0
    loss = network.refusing if refusing else network.loss
    for way, report in verdicts(loss, network.gradients, network.parameters).items():
        assert report.verdict is not Verdict.FAIL, (way, str(report))


@pytest.mark.parametrize("refusing", [False, True])
@pytest.mark.parametrize("relative", [1e-6, 1e-3, 1.0])
def test_one_wrong_entry_is_found_wherever_it_is(case, relative, refusing):
    network = case((5, 7, 3, 1), l2=1e-2, activation="tanh")
    rng = np.random.default_rng(3)
    right = network.gradients(network.parameters)
    for name, value in right.items():
        index = tuple(int(rng.integers(size)) for size in value.shape)
        wrong = {own: array.copy() for own, array in right.items()}
        wrong[name][index] += relative * np.linalg.norm(value)
        report = check_gradients(network.refusing if refusing else network.loss, wrong, network.parameters)
        assert [tensor.name for tensor in report.culprits] == [name]
        assert report.culprits[0].worst_index == index


def test_the_line_between_pass_and_fail_is_the_threshold(cubes):
    # gradient·(1 + d) lies d / 2 apart from the right one, in units of the sum of both norms.
    loss, gradients = cubes
    for relative, verdict in ((1.9e-7, Verdict.PASS), (2.1e-7, Verdict.FAIL)):
        report = check_gradients(
            loss, lambda x, d=relative: gradients(x, 1.0 + d), SMOOTH, derivative="complex", threshold=1e-7
        )
        assert report.verdict is verdict
        assert report.difference == pytest.approx(relative / 2.0, rel=1e-3)


def test_too_many_kinks_are_undecided_rather_than_a_pass():
    report = check_gradients(lambda x: np.abs(x).sum() + (x**2).sum(), lambda x: 0.5 * np.ones(7), np.zeros(7))
    assert (report.verdict, report.cause) == (Verdict.UNDECIDED, Cause.KINK)
    assert report.kinks == 7


def test_correct_relu_networks_never_fail_at_any_stage(case):
    rng = np.random.default_rng(0)
    for seed in range(8):
        network = case((5, 7, 3, 1), n_rows=33, seed=seed, l2=1e-3 * (seed % 2), positive_weight=1.0 + seed % 3)
        for steps in (0, 150, 1500):
            for _ in range(steps):
                for name, slope in network.gradients(network.parameters).items():
                    network.parameters[name] -= 0.2 * slope
            for loss in (network.loss, network.refusing):
                for coverage, derivative in WAYS:
                    report = check_gradients(
                        loss, network.gradients, network.parameters, coverage=coverage, derivative=derivative, rng=rng
                    )
                    assert report.verdict is not Verdict.FAIL, str(report)
                    assert loss == network.refusing or report.verdict is Verdict.PASS, str(report)


@pytest.mark.parametrize("distance", [3e-8, -3e-8, 2e-8])
@pytest.mark.parametrize("derivative", ["central", "complex"])
def test_without_complex_numbers_a_kink_very_close_hides_no_mistake(derivative, distance):
    # At the smallest step, 1e-8, the kink is out of reach, and the slope there contradicts the gradient.
    rng = np.random.default_rng(3)
    for _ in range(10):
        point = rng.standard_normal(11)
        bend = point[4] + distance

        def loss(x, bend=bend):
            return float(3.0 * positive_part(x[4] - bend) + 0.5 * x[4] + (x**2).sum())

        wrong = 2.0 * point
        wrong[4] = 0.99 * (wrong[4] + 0.5 + (3.0 if distance < 0 else 0.0)) + 0.03
        report = check_gradients(loss, wrong, point, derivative=derivative)
        assert report.verdict is Verdict.FAIL, str(report)


def test_a_bump_narrower_than_the_usual_steps_is_not_taken_for_flat():
    # x·exp(-(x / w)²) has the slope 1 at 0, and every step far above w reads zero on both sides.
    def loss(x):
        return float(x[0] * np.exp(-((x[0] / 1e-7) ** 2)) + (x[1:] ** 3).sum())

    point = np.concatenate([[0.0], SMOOTH])
    for way, report in verdicts(loss, np.concatenate([[1.0], 3.0 * SMOOTH**2]), point).items():
        assert report.verdict is not Verdict.FAIL, (way, str(report))


@pytest.mark.parametrize("refusing", [False, True])
def test_a_loss_that_is_nan_beside_the_point_hides_no_mistake(refusing):
    point = np.array([1e-6, 2.0, 0.3, 1e-7, 5.0])

    def loss(x):
        return -np.log(x).sum()

    own = refuse(loss) if refusing else loss
    for way, report in verdicts(own, -1.0 / point, point).items():
        assert report.verdict is Verdict.PASS, (way, str(report))
    for way, report in verdicts(own, -1.01 / point, point).items():
        assert report.verdict is Verdict.FAIL, (way, str(report))


def test_tensors_that_pass_together_are_reported_as_those_that_pass_one_by_one(monkeypatch):
    rng = np.random.default_rng(0)
    point = {"W": rng.standard_normal((5, 7)), "b": 1e-3 * rng.standard_normal(3), "c": np.array(0.4)}
    point["W"][2, 3] = 0.0

    def gradients(p):
        return {name: 3.0 * value**2 for name, value in p.items()}

    together = check_gradients(lambda p: sum((value**3).sum() for value in p.values()), gradients, point, step=1e-4)
    monkeypatch.setattr("checks.judge.full._passed_together", lambda *given: None)
    alone = check_gradients(lambda p: sum((value**3).sum() for value in p.values()), gradients, point, step=1e-4)
    assert together.verdict is alone.verdict is Verdict.PASS
    for one, other in zip(together.tensors.values(), alone.tensors.values(), strict=True):
        for name, value in vars(other).items():
            if name == "entries":
                for part in vars(value):
                    np.testing.assert_array_equal(getattr(one.entries, part), getattr(value, part))
            else:
                assert getattr(one, name) == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)
    assert pickle.loads(pickle.dumps(together)).to_dict() == together.to_dict()
