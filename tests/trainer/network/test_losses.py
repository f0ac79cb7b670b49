"""The losses: their values by another formula, their gradients by two kinds of slope, their extremes."""

import numpy as np
import pytest

from trainer import L2Penalty, WeightedBinaryCrossEntropy
from trainer.network.losses import sigmoid

LOGITS = np.array([-2.5, 0.3, 1.7, -0.4, 0.0])
TARGETS = np.array([0.0, 1.0, 0.0, 1.0, 1.0])


def relative_difference(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


@pytest.mark.parametrize("positive_weight", [1.0, 3.5])
def test_the_value_is_the_weighted_negative_log_likelihood(positive_weight):
    p = 1 / (1 + np.exp(-LOGITS))
    expected = -positive_weight * TARGETS * np.log(p) - (1 - TARGETS) * np.log(1 - p)
    criterion = WeightedBinaryCrossEntropy(positive_weight)
    np.testing.assert_allclose(criterion.per_row(LOGITS, TARGETS), expected, rtol=1e-14)
    assert criterion.value(LOGITS, TARGETS) == pytest.approx(expected.mean(), rel=1e-14)
    assert criterion.value_and_gradient(LOGITS, TARGETS)[0] == pytest.approx(expected.mean(), rel=1e-14)


@pytest.mark.parametrize("kind", ["complex", "central"])
@pytest.mark.parametrize("positive_weight", [1.0, 3.5])
def test_the_gradient_is_the_slope_of_the_value_in_every_logit(positive_weight, kind):
    criterion = WeightedBinaryCrossEntropy(positive_weight)
    _, gradient = criterion.value_and_gradient(LOGITS, TARGETS)
    numeric = []
    for unit in np.eye(5):
        if kind == "complex":
            numeric.append(criterion.value(LOGITS + 1e-30j * unit, TARGETS).imag / 1e-30)
        else:
            plus, minus = (criterion.value(LOGITS + h * unit, TARGETS) for h in (1e-6, -1e-6))
            numeric.append((plus - minus) / 2e-6)
    # at z = 0 the complex branch takes the left formula, whose slope 1/2 is the same
    assert relative_difference(gradient, np.array(numeric)) < (1e-14 if kind == "complex" else 1e-9)


def test_a_real_loss_is_a_float_and_a_complex_one_a_complex():
    criterion = WeightedBinaryCrossEntropy()
    assert type(criterion.value(LOGITS, TARGETS)) is float
    assert type(criterion.value(LOGITS.astype(np.float32), TARGETS)) is float
    assert type(criterion.value(LOGITS + 0j, TARGETS)) is complex
    assert criterion.value(LOGITS + 0j, TARGETS).real == pytest.approx(criterion.value(LOGITS, TARGETS))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_extreme_logits_are_finite_and_exact(dtype):
    logits = np.array([800, 800, -800, -800], dtype)
    targets = np.array([1.0, 0.0, 1.0, 0.0])
    losses = WeightedBinaryCrossEntropy(3.0).per_row(logits, targets)
    assert losses.dtype == dtype
    np.testing.assert_array_equal(losses, [0, 800, 2400, 0])
    if dtype != np.complex128:
        value, gradient = WeightedBinaryCrossEntropy(3.0).value_and_gradient(logits, targets)
        assert value == 800
        np.testing.assert_array_equal(gradient, np.array([0, 1, -3, 0]) / 4)
        np.testing.assert_array_equal(sigmoid(logits), [1, 1, 0, 0])


def test_a_confident_row_keeps_its_relative_precision():
    # log(1 + exp(-40)) = exp(-40) to 1e-18; 1 - sigmoid(40) would be 0
    logits = np.array([-40.0])
    value, gradient = WeightedBinaryCrossEntropy().value_and_gradient(logits, np.array([0.0]))
    assert value == pytest.approx(np.exp(-40), rel=1e-15)
    assert gradient[0] == pytest.approx(np.exp(-40), rel=1e-15)


def test_nan_stays_nan():
    value, gradient = WeightedBinaryCrossEntropy().value_and_gradient(np.array([np.nan, 1.0]), np.zeros(2))
    assert np.isnan(value)
    assert np.isnan(gradient[0])
    assert np.isfinite(gradient[1])


def test_leading_axes_of_logits_are_independent():
    criterion = WeightedBinaryCrossEntropy(2.0)
    stack = np.stack([LOGITS, -LOGITS, 3 * LOGITS])
    for logits, losses in zip(stack, criterion.per_row(stack, TARGETS), strict=True):
        np.testing.assert_array_equal(losses, criterion.per_row(logits, TARGETS))


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_float32_stays_float32_even_with_float64_targets(weight):
    criterion = WeightedBinaryCrossEntropy(weight)
    logits = LOGITS.astype(np.float32)
    assert criterion.per_row(logits, TARGETS).dtype == np.float32
    assert criterion.value_and_gradient(logits, TARGETS)[1].dtype == np.float32


def test_the_arguments_are_not_written_to():
    logits, targets = LOGITS.copy(), TARGETS.copy()
    criterion = WeightedBinaryCrossEntropy(2.0)
    criterion.per_row(logits, targets)
    criterion.value_and_gradient(logits, targets)
    np.testing.assert_array_equal(logits, LOGITS)
    np.testing.assert_array_equal(targets, TARGETS)


def test_the_penalty_by_hand():
    # 0.3 / 2 * (1 + 4 + 9) = 2.1, the bias left out
    parameters = {"W1": np.array([[1.0, -2.0, 3.0]]), "b1": np.array([100.0])}
    assert L2Penalty(0.3).value(parameters, ["W1"]) == pytest.approx(2.1, rel=1e-15)
    gradients = {"W1": np.ones((1, 3)), "b1": np.ones(1)}
    L2Penalty(0.3).add_gradient(parameters, gradients, ["W1"])
    np.testing.assert_allclose(gradients["W1"], [[1.3, 0.4, 1.9]], rtol=1e-15)
    np.testing.assert_array_equal(gradients["b1"], [1.0])


def test_the_penalty_is_analytic_in_complex_weights():
    weight = np.array([[0.7, -1.3, 0.2]])
    for index in np.ndindex(weight.shape):
        moved = weight + 0j
        moved[index] += 1e-30j
        slope = L2Penalty(0.3).value({"W1": moved}, ["W1"]).imag / 1e-30
        assert slope == pytest.approx(0.3 * weight[index], rel=1e-14)


@pytest.mark.parametrize("step", [0.25, 1e-30j])
def test_the_change_of_the_penalty_is_the_difference_of_two_values(step):
    weight = np.array([[0.7, -1.3, 0.2]])
    penalty = L2Penalty(0.3)
    for index in np.ndindex(weight.shape):
        moved = weight + 0 * step
        moved[index] += step
        difference = penalty.value({"W1": moved}, ["W1"]) - penalty.value({"W1": weight}, ["W1"])
        assert penalty.change(weight, step)[index] == pytest.approx(difference, rel=1e-14)


def test_a_strength_of_zero_costs_and_changes_nothing():
    gradients = {"W1": np.full(3, 2.0)}
    penalty = L2Penalty(0.0)
    penalty.add_gradient({"W1": np.full(3, np.nan)}, gradients, ["W1"])
    np.testing.assert_array_equal(gradients["W1"], 2.0)
    assert penalty.value({"W1": np.full(3, np.nan)}, ["W1"]) == 0
    assert penalty.change(np.ones(3), 1.0) == 0


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_positive_weight_that_is_none_is_refused(weight):
    with pytest.raises(ValueError, match=r"Invalid positive_weight. Expected .* Received"):
        WeightedBinaryCrossEntropy(weight)


@pytest.mark.parametrize("strength", [-1e-9, float("inf"), float("nan")])
def test_a_negative_or_endless_penalty_is_refused(strength):
    with pytest.raises(ValueError, match=r"Invalid L2 strength. Expected .* Received"):
        L2Penalty(strength)
