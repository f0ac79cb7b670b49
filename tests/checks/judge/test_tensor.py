"""The full check of one tensor: several entries at kinks, rounding in one after the other, a gradient of zero."""

import numpy as np
import pytest

from checks import Cause, Verdict, check_gradients

REST = np.array([0.3, -0.2, -1.0])
both = pytest.mark.parametrize("coverage", ["full", "directions"])


def largest(x):
    """Give the largest entry, of complex ones that with the largest real part, and of these the imaginary one."""
    return x[np.lexsort((x.imag, x.real))[-1]]


@pytest.mark.parametrize("derivative", ["central", "complex"])
def test_of_tied_maxima_that_all_get_the_whole_gradient_each_is_right_alone_and_all_together_are_wrong(derivative):
    point = np.concatenate([np.full(5, 0.5), REST])
    report = check_gradients(
        lambda x: largest(x) + (x[5:] ** 3).sum(),
        np.concatenate([np.ones(5), 3.0 * REST**2]),
        point,
        derivative=derivative,
    )
    assert report.verdict is Verdict.FAIL
    assert report.culprits[0].worst_index[0] < 5


def test_entries_that_take_opposite_sides_of_one_kink_are_wrong_though_each_and_their_sum_are_not():
    sides = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    report = check_gradients(
        lambda x: np.abs(x[:6].sum()) + x[6] ** 3, np.append(sides, 0.03), np.append(np.zeros(6), 0.1)
    )
    assert report.verdict is Verdict.FAIL
    one_side = check_gradients(
        lambda x: np.abs(x[:6].sum()) + x[6] ** 3, np.append(np.ones(6), 0.03), np.append(np.zeros(6), 0.1)
    )
    assert one_side.verdict is Verdict.PASS


def test_where_rounding_hides_one_entry_after_the_other_the_rest_are_not_examined_one_by_one():
    evaluations, targets = [], np.array([1.0, 0.0, 1.0])
    for size in (41, 82):
        rows = np.random.default_rng(0).normal(size=(3, size))
        point = np.linalg.lstsq(rows, [35.9, -26.0, 35.2])[0]  # p - y is a few last places of 1

        def loss(w, rows=rows):
            z = rows @ w
            return np.mean(np.log1p(np.exp(np.where(targets == 1.0, -z, z))))

        report = check_gradients(loss, rows.T @ (1.0 / (1.0 + np.exp(-(rows @ point))) - targets) / 3.0, point)
        assert (report.verdict, report.cause) == (Verdict.UNDECIDED, Cause.ROUNDING)
        evaluations.append(report.evaluations)
    assert evaluations[1] - evaluations[0] < 4 * 41  # an examination takes ten times as many


@pytest.mark.parametrize("mixture", [(-1.0, 1.0), (2.0, 2.0)])
@both
def test_a_gradient_that_takes_another_side_at_each_of_two_kinks_is_no_mistake(mixture, coverage):
    def positive_part(x):
        return np.where(x.real > 0.0, x, 0.0)

    report = check_gradients(  # along one line, the slopes are 0 and 1
        lambda x: 2.0 * positive_part(x[0] + x[1]) - positive_part(x[0] - x[1]) + (x[2:] ** 3).sum(),
        np.append(mixture, 3.0 * REST**2),
        np.append([0.0, 0.0], REST),
        coverage=coverage,
        rng=np.random.default_rng(0),
    )
    assert (report.verdict, report.cause) == (Verdict.UNDECIDED, Cause.KINK)


@both
@pytest.mark.parametrize(
    ("offset", "verdict"), [(1e11, Verdict.FAIL), (1e12, Verdict.FAIL), (1e13, Verdict.FAIL), (3e13, Verdict.UNDECIDED)]
)
def test_a_gradient_of_zero_where_only_a_long_step_rises_above_the_rounding_is_not_passed(offset, verdict, coverage):
    point = {"a": np.zeros(3), "b": np.array([0.7, -1.3])}
    report = check_gradients(
        lambda p: float(offset + p["a"].sum() + 1e3 * p["b"].sum()),
        {"a": np.zeros(3), "b": np.full(2, 1e3)},
        point,
        coverage=coverage,
        rng=np.random.default_rng(0),
    )
    assert report.tensors["a"].verdict is verdict
