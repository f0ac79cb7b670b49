"""The outcome: what a tensor passes as, by the norms of its two gradients and what hides between them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from checks.judge.outcome import COARSE, COARSEST, NOTHING, Outcome, not_finite, outcome
from checks.measure.layout import Layout
from checks.measure.objective import Objective
from checks.verdict import Cause, Verdict

THRESHOLD = 1e-7
AGREES, OPEN = (Verdict.PASS, Cause.AGREES), (Verdict.UNDECIDED, Cause.ROUNDING)
NOT_EXERCISED, NO_EFFECT = (Verdict.PASS, Cause.NOT_EXERCISED), (Verdict.PASS, Cause.NO_EFFECT)


def of(claimed, measured, blur, rest=0.0, is_staircase=False, threshold=THRESHOLD):
    """Give the outcome of a tensor beside others whose gradients have the norm ``rest``."""
    objective = SimpleNamespace(gradient=np.array([claimed, rest]), is_staircase=is_staircase)
    return outcome(claimed, measured, blur, objective, threshold)


@pytest.mark.parametrize("size", [1e-250, 1.0, 1e250])
@pytest.mark.parametrize(
    ("claimed", "measured", "blur", "rest", "expected"),
    [
        (0.0, 0.0, 0.0, 5.0, NOT_EXERCISED),
        (0.0, 0.0, 0.0, 0.0, NOT_EXERCISED),
        (3.0, 3.0, 0.0, 5.0, AGREES),
        (3.0, 3.0, 1.9e-7 * 3.0, 5.0, AGREES),
        (3.0, 3.0, 0.9 * COARSE * 3.0, 5.0, AGREES),
        (3.0, 3.0, 1.1 * COARSE * 3.0, 5.0, OPEN),
        (3.0, 3.0, math.inf, 5.0, OPEN),
        (0.5 * NOTHING, 0.0, 0.9e-7, 1.0, NO_EFFECT),
        (0.5 * NOTHING, 0.0, 1.1e-7, 1.0, OPEN),  # so much of the whole gradient may be missing
        (0.5 * NOTHING, 1.1e-7, 0.0, 1.0, AGREES),  # the slopes were told exactly, and agree up to a blur of nothing
        (0.0, 1e-9, 1e-9, 1.0, NO_EFFECT),
        (0.0, 1e-9, 1e-9, 0.0, OPEN),  # beside nothing at all, that is not nothing
        (2.0 * NOTHING, 0.0, 0.9e-7, 1.0, OPEN),  # large enough for backprop to have made it of something
    ],
)
def test_the_outcome_is_told_by_shares_and_in_any_unit(claimed, measured, blur, rest, expected, size):
    found = of(size * claimed, size * measured, size * blur, size * rest)
    assert (found.verdict, found.cause) == expected


@pytest.mark.parametrize(
    ("share", "is_staircase", "expected"),
    [
        (0.9 * COARSE, False, AGREES),
        (2e-4, False, OPEN),
        (2e-4, True, AGREES),
        (0.9 * COARSEST, True, AGREES),
        (1.1 * COARSEST, True, OPEN),
    ],
)
def test_a_staircase_passes_at_the_precision_that_it_allows_which_is_told(share, is_staircase, expected):
    found = of(7.0, 7.0, share * 7.0, is_staircase=is_staircase)
    assert (found.verdict, found.cause) == expected
    assert found.precision == (pytest.approx(share) if expected is AGREES else 0.0)


def test_what_the_threshold_allows_needs_no_precision():
    assert of(2.0, 2.0, 0.3, threshold=0.1) == Outcome(Verdict.PASS, Cause.AGREES)


def test_no_outcome_passes_with_more_hidden_than_one_percent_of_the_gradient():
    for blur in np.geomspace(1e-12, 1e3, 61):
        for is_staircase in (False, True):
            found = of(1.0, 1.0, blur, is_staircase=is_staircase)
            assert found.verdict is (Verdict.UNDECIDED if blur > 1e-2 else found.verdict)


def judged(loss, gradient, point):
    layout = Layout(point)
    return not_finite(
        Objective(loss, layout, layout.flatten(point, "parameters"), layout.flatten(gradient, "gradients"))
    )


def test_a_gradient_that_is_not_finite_where_the_loss_is_fails_and_the_other_tensors_are_left_open():
    point = {"a": np.ones((2, 3)), "b": np.ones(5)}
    found = judged(lambda p: 1.0, {"a": np.ones((2, 3)), "b": [1.0, 2.0, np.nan, 4.0, 5.0]}, point)
    assert (found.tensors["b"].verdict, found.tensors["b"].worst_index) == (Verdict.FAIL, (2,))
    assert found.tensors["a"].verdict is Verdict.UNDECIDED
    assert math.isnan(found.tensors["a"].gradient_norm)  # nothing was measured in it
    assert [suspect.name for suspect in found.failing] == ["b"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_where_the_loss_is_not_either_is_left_open(value):
    found = judged(lambda p: value, {"a": [np.nan, 1.0, 1.0]}, {"a": np.ones(3)})
    assert [row.verdict for row in found.tensors.values()] == [Verdict.UNDECIDED]
    assert not found.failing


def test_what_is_finite_is_not_judged_here_even_if_its_squares_overflow():
    assert judged(lambda p: 1.0, {"a": [1e300, -1e300, 0.0]}, {"a": np.full(3, 1e200)}) is None
