"""Rows one by one: mistakes that look alike in their sum are told apart."""

import numpy as np
import pytest

from checks.explain.mistake import Kind
from checks.training.probe import explain_by_rows

INPUTS = np.random.default_rng(0).standard_normal((24, 5))
CLASSES = (np.arange(24) % 3 == 0).astype(float)
WEIGHT = np.random.default_rng(1).standard_normal((3, 5))
PARAMETERS = {"b1": np.array([0.1, -0.2, 0.3])}


def outputs(parameters, row):
    """Give max(W x + b, 0) of one row; its loss is the sum of squares, halved."""
    return np.maximum(WEIGHT @ INPUTS[row] + parameters["b1"], 0.0)


def row_case(spoil):
    """Give each row's loss, and its gradient in b1 spoilt: ``spoil(gradient, row, active)``."""

    def case(row):
        def loss(p):
            given = WEIGHT @ INPUTS[row] + p["b1"]
            return 0.5 * (np.where(given.real > 0, given, 0.0) ** 2).sum()

        def gradients(p):
            active = outputs(p, row) > 0
            return {"b1": spoil(outputs(p, row) * active, row, active)}

        return loss, gradients

    return case


def explain(spoil):
    return explain_by_rows(row_case(spoil), CLASSES, PARAMETERS, ["b1", "W1"])


@pytest.mark.parametrize(("legitimate", "fraud"), [(1.0, 0.5), (2.0, 1.0), (1.0, 9.0), (-1.0, 1.0)])
def test_a_factor_for_each_class_is_the_class_weight(legitimate, fraud):
    mistake = explain(lambda g, row, active: g * (fraud if CLASSES[row] else legitimate))
    assert mistake.kind is Kind.CLASS
    assert f"{legitimate:.4g} × the numerical gradient where the target is 0" in mistake.sentence
    assert f"{fraud:.4g} × where it is 1" in mistake.sentence


def test_a_gradient_that_passes_inactive_units_is_the_mask():
    mistake = explain(lambda g, row, active: g + 0.01 * ~active)
    assert mistake.kind is Kind.ACTIVATION
    assert "wrong only where a unit is inactive" in mistake.sentence
    assert "activation of layer 1" in mistake.sentence


@pytest.mark.parametrize(
    "spoil",
    [
        lambda g, row, active: g,
        lambda g, row, active: 2.0 * g,
        lambda g, row, active: g * (1.0 + row),
        lambda g, row, active: g + 0.3,
    ],
    ids=["right", "one factor for both classes", "another factor for each row", "wrong everywhere"],
)
def test_anything_else_is_not_explained(spoil):
    assert explain(spoil) is None


def test_only_a_bias_shows_what_flows_in():
    assert explain_by_rows(row_case(lambda g, row, active: 2.0 * g), CLASSES, {"W1": WEIGHT}, ["W1"]) is None
