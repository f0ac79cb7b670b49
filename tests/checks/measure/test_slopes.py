"""Slopes: both ways of measuring against derivatives known on paper, and bounds that hold."""

import numpy as np
import pytest

from checks import numerical_gradient
from checks.judge.ladder import Ladder
from checks.measure.layout import Layout
from checks.measure.objective import Objective
from checks.measure.slopes import central_slope, central_sweep, complex_noise, complex_slope, complex_sweep

FUNCTIONS = {
    "cubes": (lambda x: (x**3).sum(), lambda x: 3.0 * x**2),
    "exponentials": (lambda x: np.exp(x).sum(), np.exp),
    "sines": (lambda x: np.sin(3.0 * x).sum(), lambda x: 3.0 * np.cos(3.0 * x)),
    "softplus": (lambda x: np.log1p(np.exp(x)).sum(), lambda x: 1.0 / (1.0 + np.exp(-x))),
    "product": (np.prod, lambda x: np.prod(x) / x),
}


def objective(loss, point):
    layout = Layout(point)
    return Objective(loss, layout, layout.flatten(point, "parameters"))


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_both_slopes_match_the_derivative_within_their_bounds(kind):
    loss, derivative = FUNCTIONS[kind]
    rng = np.random.default_rng(0)
    for _ in range(50):
        point, direction = rng.standard_normal(7), rng.standard_normal(7)
        truth = derivative(point) @ direction
        central = central_slope(objective(loss, point), direction, 1e-5)
        exact = complex_slope(objective(loss, point), direction)
        truncation = 1e-10 * 100.0 * np.linalg.norm(direction) ** 3 * max(1.0, np.exp(np.abs(point).max()))
        assert abs(central.value - truth) <= central.bound + truncation
        assert abs(exact.value - truth) <= exact.bound + 1e-14 * np.abs(derivative(point) * direction).sum()


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_sweeps_give_every_coordinate_of_the_named_tensor(kind):
    loss, derivative = FUNCTIONS[kind]
    rng = np.random.default_rng(1)
    point = {"W1": rng.standard_normal((5, 3)), "b1": 100.0 * rng.random(3) / 50.0}
    own = objective(lambda p: loss(p["W1"].ravel()) + 2.0 * loss(p["b1"]), point)
    for name, factor in (("W1", 1.0), ("b1", 2.0)):
        truth = factor * derivative(point[name].ravel())
        for values, bounds in (central_sweep(own, name, 1e-6)[:2], complex_sweep(own, name)):
            assert values.shape == bounds.shape == (point[name].size,)
            np.testing.assert_allclose(values, truth, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(complex_sweep(own, name)[0], truth, rtol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("step", [1e-4, 1e-6, 1e-8])
def test_the_rounding_bound_holds_and_is_not_a_thousand_times_too_large(offset, step):
    # A linear loss has no truncation error: all of the error is rounding.
    rng = np.random.default_rng(2)
    errors, bounds = [], []
    for _ in range(200):
        point, direction, slope = rng.standard_normal(7), rng.standard_normal(7), rng.standard_normal(7)
        own = objective(lambda x, a=slope: offset + (a * x).sum(), point)
        measured = central_slope(own, direction, step)
        errors.append(abs(measured.value - slope @ direction))
        bounds.append(measured.bound + 64.0 * np.finfo(float).eps / step * (offset == 0.0))
    errors, bounds = np.array(errors), np.array(bounds)
    assert np.all(errors <= bounds)
    assert np.median(errors / bounds) > 1e-3


def test_the_numerical_gradient_is_the_classic_formula_in_the_structure_given():
    def loss(p):
        return (p["W"] ** 4).sum() + p["s"] ** 3

    parameters = {"W": np.arange(1.0, 16.0).reshape(5, 3), "s": 2.0}
    step = 1e-3
    approximation = numerical_gradient(loss, parameters, step)
    W = parameters["W"]
    # ((w + h)^4 - (w - h)^4) / 2h = 4 w³ + 4 w h², ((s + h)³ - (s - h)³) / 2h = 3 s² + h²
    np.testing.assert_allclose(approximation["W"], 4.0 * W**3 + 4.0 * W * step**2, rtol=1e-7)
    np.testing.assert_allclose(approximation["s"], 12.0 + step**2, rtol=1e-9)
    assert approximation["W"].shape == (5, 3)
    assert np.shape(numerical_gradient(lambda x: x * x, 3.0)) == ()
    assert [part.shape for part in numerical_gradient(lambda p: p[0].sum(), [np.ones((5, 3)), np.ones(7)])] == [
        (5, 3),
        (7,),
    ]


def test_the_ladder_leaves_out_steps_at_which_the_loss_is_not_finite():
    own = objective(lambda x: -np.log(x).sum(), np.array([1e-5, 2.0]))
    ladder = Ladder(own, np.array([1.0, 0.0]))
    ladder.climb((1e-4, 1e-6, 1e-7))
    assert [rung.step for rung in ladder.rungs] == pytest.approx([1e-6, 1e-7])
    for rung in ladder.rungs:
        assert rung.central == pytest.approx(-1e5, rel=0.01)
        assert rung.left < rung.central < rung.right


def test_complex_noise_says_how_far_rounding_the_parameters_moves_the_slope():
    # At 1e8 the last place is 1.5e-8, and sin has the slope cos, which moves by as much.
    steep = objective(lambda x: np.sin(x).sum(), np.array([1e8, 0.5]))
    flat = objective(lambda x: (x * x).sum(), np.array([1.0, 0.5]))
    along = np.array([1.0, 0.0])
    assert 1e-9 < complex_noise(steep, along, np.cos(1e8)) < 1e-6
    assert complex_noise(flat, along, 2.0) < 1e-13
