"""The coarse verdict as a check gives it: a loss in float16 inside, by numpy, and its exact gradient as a function."""

import numpy as np
import pytest

from checks import Verdict, check_gradients
from checks.explain.mistake import Kind

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
