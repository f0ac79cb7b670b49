"""The coarse verdict as a check gives it: a loss in float16 inside, by numpy, and its exact gradient as a function."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from checks import Cause, Verdict, check_gradients
from checks.explain.mistake import Kind
from checks.judge import coarse
from checks.measure.objective import Objective

both = pytest.mark.parametrize("coverage", ["full", "directions"])
MISTAKES = {
    "doubled": (lambda g: 2.0 * g, Kind.SCALED),
    "sign": (lambda g: -g, Kind.SIGN),
    "a tenth of it": (lambda g: 0.1 * g, Kind.SCALED),
}


def half_precision(seed, n_rows=17, size=5):
    rng = np.random.default_rng(seed)
    rows, targets = rng.normal(size=(n_rows, size)), rng.normal(size=n_rows)

    def loss(w):
        apart = rows.astype(np.float16) @ w.astype(np.float16) - targets.astype(np.float16)
        return float(np.mean(apart**2))

    return loss, lambda w: 2.0 / n_rows * rows.T @ (rows @ w - targets), rng.normal(size=size)


@both
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_right_gradient_passes_and_what_that_excludes_is_said(seed, coverage):
    loss, gradient, point = half_precision(seed)
    found = check_gradients(loss, gradient, point, coverage=coverage, rng=np.random.default_rng(seed))
    assert found.verdict is Verdict.PASS
    (row,) = found.tensors.values()
    assert 0.0 < row.precision < 0.1
    assert "excludes a scale error above" in row.evidence
    assert "excludes a scale error above" in str(found)


@both
@pytest.mark.parametrize(("mistake", "kind"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_fails_and_is_named(mistake, kind, coverage):
    for seed in (0, 1):
        loss, gradient, point = half_precision(seed)
        wrong = check_gradients(
            loss, lambda w, g=gradient: mistake(g(w)), point, coverage=coverage, rng=np.random.default_rng(seed)
        )
        assert wrong.verdict is Verdict.FAIL
        (row,) = wrong.culprits
        assert row.mistake.kind is kind


@both
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_a_gradient_given_as_numbers_that_is_right_is_left_open_and_a_wrong_one_does_not_pass(seed, coverage):
    loss, gradient, point = half_precision(seed)
    for factor, verdicts in ((1.0, {Verdict.UNDECIDED}), (2.0, {Verdict.UNDECIDED, Verdict.FAIL})):
        claimed = factor * gradient(point)
        found = check_gradients(loss, claimed, point, coverage=coverage, rng=np.random.default_rng(seed))
        assert found.verdict in verdicts


def in_single_precision(seed, n_rows=33, sizes=(7, 6, 4, 1)):
    """A ReLU network with its loss and gradient, all in float32: at steps that rise above its rounding lie kinks."""
    rng = np.random.default_rng(seed)
    single, n = np.float32, len(sizes) - 1
    rows, targets = rng.normal(size=(n_rows, sizes[0])).astype(single), (rng.random(n_rows) < 0.3).astype(single)
    point = {}
    for k in range(n):
        point[f"W{k}"] = rng.normal(size=(sizes[k], sizes[k + 1])) * np.sqrt(2.0 / sizes[k])
        point[f"b{k}"] = rng.normal(size=sizes[k + 1]) * 0.1

    def forward(p):
        p = {name: part.astype(single) for name, part in p.items()}
        flows = [rows]
        for k in range(n):
            z = flows[-1] @ p[f"W{k}"] + p[f"b{k}"]
            flows.append(z if k == n - 1 else np.maximum(z, single(0)))
        return p, flows

    def loss(p):
        margins = forward(p)[1][-1][:, 0]
        return float(np.mean(np.logaddexp(single(0), margins) - targets * margins))

    def gradient(p):
        p, flows = forward(p)
        shares = single(1) / (single(1) + np.exp(-flows[-1][:, 0]))
        flow, found = ((shares - targets) / single(n_rows))[:, None], {}
        for k in reversed(range(n)):
            found |= {f"W{k}": flows[k].T @ flow, f"b{k}": flow.sum(axis=0)}
            flow = (flow @ p[f"W{k}"].T) * (flows[k] > 0)
        return found

    return loss, gradient, point


@both
@pytest.mark.parametrize("seed", range(4))
def test_a_right_gradient_in_single_precision_passes_though_kinks_lie_within_the_steps(seed, coverage):
    loss, gradient, point = in_single_precision(seed)
    found = check_gradients(loss, gradient, point, coverage=coverage, rng=np.random.default_rng(seed))
    assert found.verdict is Verdict.PASS, str(found)
    assert all(row.precision < 9e-3 for row in found.tensors.values())
    assert max(row.precision for row in found.tensors.values()) > 1e-5


@both
@pytest.mark.parametrize("factor", [1.002, -1.0, 0.0])
def test_a_mistake_in_single_precision_fails_down_to_two_thousandths(factor, coverage):
    for seed in range(2):
        loss, gradient, point = in_single_precision(seed)
        wrong = check_gradients(
            loss,
            lambda p, g=gradient: g(p) | {"W1": factor * g(p)["W1"]},
            point,
            coverage=coverage,
            rng=np.random.default_rng(seed),
        )
        assert [row.name for row in wrong.culprits] == ["W1"]


@both
def test_a_pass_in_single_precision_states_no_precision_far_below_what_it_is_off(coverage):
    for seed in range(2):
        loss, gradient, point = in_single_precision(seed)
        found = check_gradients(
            loss,
            lambda p, g=gradient: {name: 1.0004 * part for name, part in g(p).items()},
            point,
            coverage=coverage,
            rng=np.random.default_rng(seed),
        )
        passed = [row.precision for row in found.tensors.values() if row.verdict is Verdict.PASS]
        assert all(precision > 0.75 * 4e-4 for precision in passed)


@pytest.mark.parametrize(
    ("cause", "precision", "found", "at", "takes"),
    [
        (Cause.AGREES, 2e-3, Verdict.PASS, 1e-3, True),
        (Cause.AGREES, 2e-3, Verdict.PASS, 5e-3, False),
        (Cause.AGREES, 2e-3, Verdict.UNDECIDED, 1e-3, False),
        (Cause.AGREES, 2e-3, Verdict.FAIL, 1.0, True),
        (Cause.AGREES, 1e-4, Verdict.FAIL, 1.0, False),  # sharp enough: segments are not asked
        (Cause.ROUNDING, 0.0, Verdict.PASS, 5e-3, True),
        (Cause.ROUNDING, 0.0, Verdict.PASS, 5e-2, False),
    ],
)
def test_what_segments_say_counts_where_they_tell_more_than_slopes(monkeypatch, cause, precision, found, at, takes):
    loss, gradient, point = half_precision(0)
    (row,) = check_gradients(loss, gradient, point).tensors.values()
    by_slopes = replace(row, cause=cause, precision=precision)
    by_segments = replace(row, verdict=found, precision=at)
    monkeypatch.setattr(coarse, "may_tell", lambda objective: True)
    monkeypatch.setattr(coarse, "coarse_report", lambda *asked: (by_segments, None))
    report, _ = coarse.sharper(by_slopes, SimpleNamespace(is_staircase=True), row.name, np.random.default_rng(0))
    assert report is (by_segments if takes else by_slopes)


@pytest.mark.parametrize(("share", "is_seen"), [(1.0, True), (0.0, False)])
def test_a_mismatch_at_the_point_alone_is_not_seen_around_it(share, is_seen):
    loss, gradient, point = half_precision(0)
    objective = Objective.of(loss, point, lambda w: (1.0 + share) * gradient(w))
    assert coarse.is_seen_around(objective, np.ones(5), 0.01) is is_seen


def softmax_in_half_precision(seed, lost=0, dead=0):
    """Rows of a softmax in float16, times fixed numbers; the way back leaves out ``lost`` columns, as a mask may.

    ``dead`` columns go through a ReLU that is off: there a gradient of zero is right.
    """
    rng = np.random.default_rng(seed)
    cotangent, point = rng.normal(size=(7, 13)).astype(np.float16), rng.normal(size=(7, 13))
    is_dead = np.arange(13) < dead
    point[:, is_dead] = -np.abs(point[:, is_dead]) - 0.1

    def softmax(x):
        narrow = x.astype(np.float16).astype(np.float32)
        powers = np.exp(np.where(is_dead & (narrow < 0.0), 0.0, narrow))
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float16)

    def loss(x):
        return 2.0 + float((softmax(x).astype(np.float64) * cotangent).sum())

    def gradient(x):
        s = softmax(x).astype(np.float32)
        found = s * (cotangent - (s * cotangent).sum(axis=1, keepdims=True))
        found[:, 13 - lost :] = 0.0
        found[is_dead & (x < 0.0)] = 0.0
        return found.astype(np.float16)

    return loss, gradient, point


@both
def test_entries_that_the_way_back_leaves_at_zero_are_moved_on_their_own_and_named(coverage):
    for seed in range(3):
        found = check_gradients(
            *softmax_in_half_precision(seed, lost=1), coverage=coverage, rng=np.random.default_rng(seed)
        )
        assert found.verdict is Verdict.FAIL
        (row,) = found.culprits
        assert row.worst_index[1] == 12
        assert row.mistake.kind is Kind.ONE_UNIT
        assert "column 12 only and zero there (7 of 91 entries)" in row.mistake.sentence


@both
def test_entries_that_are_zero_since_a_unit_is_off_are_no_mistake(coverage):
    for seed in range(5):
        found = check_gradients(
            *softmax_in_half_precision(seed, dead=3), coverage=coverage, rng=np.random.default_rng(seed)
        )
        assert found.verdict is not Verdict.FAIL, str(found)


def test_in_single_precision_segments_are_drawn_until_a_thousandth_is_excluded():
    loss, gradient, point = in_single_precision(2)
    objective = Objective.of(loss, point, gradient)
    assert objective.noise > 0.0
    assert objective.is_staircase
    for name in point:
        found = coarse.judge_coarsely(objective, name, np.random.default_rng(2))
        assert found.verdict is Verdict.PASS
        assert found.excluded_scale <= 1e-3


@both
def test_a_tensor_that_moves_nothing_beside_one_in_low_precision_is_not_exercised(coverage):
    loss, gradient, point = half_precision(0)
    found = check_gradients(
        lambda p: loss(p["w"]),
        lambda p: {"w": gradient(p["w"]), "unused": np.zeros(3)},
        {"w": point, "unused": np.ones(3)},
        coverage=coverage,
        rng=np.random.default_rng(0),
    )
    assert found.verdict is Verdict.PASS
    assert found.not_exercised == ["unused"]
    assert found.tensors["unused"].difference == 0.0
