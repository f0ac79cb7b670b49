"""Functions that other people wrote: gradients known on paper never fail there, and wrong ones never pass."""

import numpy as np
import pytest

from checks import Cause, Verdict, check_gradients

X = np.array([0.3, 0.7, 1.1])
SEEDS = (0, 3, 11)
both = pytest.mark.parametrize("coverage", ["full", "directions"])


def check(loss, gradient, point, coverage="full", seed=0, **options):
    return check_gradients(loss, gradient, point, coverage=coverage, rng=np.random.default_rng(seed), **options)


def real(loss):
    """Refuse complex numbers, as compiled code does."""

    def only(x):
        if np.iscomplexobj(x):
            raise TypeError("real only")
        return loss(x)

    return only


def with_entry(vector, place, value):
    changed = np.array(vector, dtype=float)
    changed.reshape(-1)[place] = value
    return changed


#: What people get wrong, each of the right gradient.
MISTAKES = {
    "a hundredth more": lambda g: 1.01 * g,
    "doubled": lambda g: 2.0 * g,
    "sign": lambda g: -g,
    "one entry zero": lambda g: with_entry(g, int(np.argmax(np.abs(g))), 0.0),
}


# Losses that cancel: scikit-learn and torch forums (log of 1 - p), pytorch's tanh flows, scipy's cdist, scipy#6364.


def saturated(seed):
    rng = np.random.default_rng(seed)
    point = np.array([rng.uniform(22.0, 24.0), 0.3])

    def p(w):
        return 1.0 / (1.0 + np.exp(-w))

    return lambda w: -np.log(1.0 - p(w)).sum(), p, point


def log_of_tanh(seed):
    point = np.array([np.random.default_rng(seed).uniform(7.0, 11.0), 2.0, 0.3])
    return lambda x: np.log(1.0 - np.tanh(x) ** 2).sum(), lambda x: -2.0 * np.tanh(x), point


def small_angles(seed):
    rng = np.random.default_rng(seed)
    rows, point = 1e-4 * rng.normal(size=(7, 3)), rng.normal(size=3)

    def gradient(w):
        z = rows @ w
        return rows.T @ (np.cos(z / 2.0) * np.sign(z)) / np.sqrt(2.0) / 7.0

    return lambda w: np.mean(np.sqrt(1.0 - np.cos(rows @ w))), gradient, point


def distances(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(7, 3))
    point = rows[0] + 1e-3 * rng.normal(size=3)

    def gradient(w):
        apart = w - rows
        return (apart / np.sqrt((apart * apart).sum(1))[:, None]).mean(0)

    return lambda w: np.mean(np.sqrt(w @ w + (rows * rows).sum(1) - 2.0 * rows @ w)), gradient, point


def gaussian_process(seed, noise=1e-3, n=5):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 1))
    targets = np.sin(inputs[:, 0]) + noise * rng.normal(size=n)
    squares = (inputs - inputs.T) ** 2

    def loss(t):
        factor = np.linalg.cholesky(t[0] ** 2 * np.exp(-0.5 * squares / t[1] ** 2) + t[2] ** 2 * np.eye(n))
        weights = np.linalg.solve(factor.T, np.linalg.solve(factor, targets))
        return 0.5 * targets @ weights + np.log(np.diag(factor)).sum()

    def gradient(t):
        near = np.exp(-0.5 * squares / t[1] ** 2)
        inverse = np.linalg.inv(t[0] ** 2 * near + t[2] ** 2 * np.eye(n))
        weights = inverse @ targets
        parts = (2.0 * t[0] * near, t[0] ** 2 * near * squares / t[1] ** 3, 2.0 * t[2] * np.eye(n))
        return np.array([0.5 * np.trace((inverse - np.outer(weights, weights)) @ part) for part in parts])

    return loss, gradient, np.array([1.0, 1.0, noise])


CANCELLING = {
    "log(1 - sigmoid)": saturated,
    "log(1 - tanh²)": log_of_tanh,
    "sqrt(1 - cos)": small_angles,
    "a² + b² - 2ab": distances,
    "Gaussian process": gaussian_process,
}


@both
@pytest.mark.parametrize("make", CANCELLING.values(), ids=CANCELLING)
def test_a_right_gradient_of_a_loss_that_cancels_does_not_fail_and_no_wrong_one_passes(make, coverage):
    for seed in SEEDS:
        loss, gradient, point = make(seed)
        assert check(loss, gradient, point, coverage, seed).verdict is not Verdict.FAIL
        for mistake in MISTAKES.values():
            found = check(loss, lambda w, m=mistake, g=gradient: m(g(w)), point, coverage, seed)
            assert found.verdict is not Verdict.PASS


@both
@pytest.mark.parametrize("make", [log_of_tanh, small_angles, distances])
def test_where_a_step_can_show_it_the_mistake_fails(make, coverage):
    loss, gradient, point = make(1)
    for mistake in (MISTAKES["doubled"], MISTAKES["sign"]):
        assert check(loss, lambda w, m=mistake: m(gradient(w)), point, coverage).verdict is Verdict.FAIL


def single_precision(seed):
    rng = np.random.default_rng(seed)
    rows, targets = rng.normal(size=(7, 3)).astype("f4"), rng.normal(size=7).astype("f4")

    def loss(w):
        return float(((rows @ w.astype("f4") - targets) ** 2).mean()) + 0.01 * float((w**2).sum())

    def gradient(w):
        return 2.0 * rows.T.astype(float) @ (rows.astype(float) @ w - targets) / 7.0 + 0.02 * w

    return loss, gradient, rng.normal(size=3)


@both
def test_a_float32_forward_with_a_float64_penalty_is_not_taken_for_the_penalty_alone(coverage):  # mixed precision
    for seed in SEEDS:
        loss, gradient, point = single_precision(seed)
        assert check(loss, gradient, point, coverage, seed).verdict is not Verdict.FAIL
        wrong = [lambda w: 0.02 * w, *(lambda w, m=m, g=gradient: m(g(w)) for m in MISTAKES.values())]
        for claimed in wrong:
            assert check(loss, claimed, point, coverage, seed).verdict is not Verdict.PASS
        for claimed in (wrong[0], *wrong[2:]):
            assert check(loss, claimed, point, coverage, seed).verdict is Verdict.FAIL


# Losses that bend close to the point: physics codes with 1/r, smoothed absolute values, steep gates.
BENDS = {
    "1 / x": (lambda x: (1.0 / x).sum(), lambda x: -1.0 / x**2),
    "cbrt": (lambda x: np.cbrt(x).sum(), lambda x: 1.0 / (3.0 * np.cbrt(x) ** 2)),
    "sqrt(x² + 1e-16)": (lambda x: np.sqrt(x**2 + 1e-16).sum(), lambda x: x / np.sqrt(x**2 + 1e-16)),
    "tanh(1e6 x)": (
        lambda x: np.tanh(1e6 * x).sum(),
        lambda x: 1e6 / np.cosh(np.minimum(1e6 * x, 300.0)) ** 2,
    ),
}


@pytest.mark.parametrize("wrap", [real, lambda loss: loss], ids=["real only", "complex"])
@pytest.mark.parametrize("beside", [1e-6, 1e-7])
@pytest.mark.parametrize(("loss", "gradient"), BENDS.values(), ids=BENDS)
def test_a_bend_within_a_millionth_is_no_kink_and_half_or_twice_the_slope_there_fails(loss, gradient, beside, wrap):
    point = np.array([beside, *np.linspace(0.5, 12.0, 6)])
    right = check(wrap(loss), gradient, point)
    assert right.verdict is not Verdict.FAIL
    assert right.cause is not Cause.KINK
    for factor in (2.0, 0.5, 0.0, -1.0):
        factors = with_entry(np.ones(7), 0, factor)
        assert check(wrap(loss), lambda x, f=factors: f * gradient(x), point).verdict is Verdict.FAIL
    slight = with_entry(np.ones(7), 0, 1.01)
    assert check(wrap(loss), lambda x: slight * gradient(x), point).verdict is not Verdict.PASS


@both
@pytest.mark.parametrize("wrap", [real, lambda loss: loss], ids=["real only", "complex"])
@pytest.mark.parametrize("size", [1e-200, 1e-165, 1e-52, 1e-15, 1.0, 1e155, 1e200])
def test_the_verdict_does_not_hang_on_the_unit_of_the_loss(size, wrap, coverage):  # likelihoods, unit systems
    def loss(x):
        return size * np.sin(x).sum()

    assert check(wrap(loss), lambda x: size * np.cos(x), X, coverage).verdict is Verdict.PASS
    for mistake in MISTAKES.values():
        assert check(wrap(loss), lambda x, m=mistake: m(size * np.cos(x)), X, coverage).verdict is Verdict.FAIL


@both
def test_a_tensor_whose_gradient_is_tiny_beside_the_other_passes_and_is_never_passed_wrong(coverage):
    def loss(p):
        return np.sin(p["a"]).sum() + 1e-28 * np.sin(p["b"]).sum()

    def gradient(p, factor=1.0):
        return {"a": factor * np.cos(p["a"]), "b": 1e-28 * np.cos(p["b"])}

    point = {"a": X, "b": np.array([1.3, 1.7, 2.1, 0.4, -1.0])}
    assert check(loss, gradient, point, coverage).verdict is Verdict.PASS
    assert check(loss, lambda p: gradient(p, 1.01), point, coverage).verdict is Verdict.FAIL


# Operations that drop or mirror the imaginary part: np.vdot, np.conj, .real (scipy.optimize users, quantum codes).


def residual(offset):
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(11, 3)), rng.normal(size=11)

    def loss(w):
        apart = rows @ w - targets
        return np.vdot(apart, apart) + offset

    return loss, lambda w: 2.0 * rows.T @ (rows @ w - targets)


@both
@pytest.mark.parametrize("offset", [0.0, 1e8, 1e12])
def test_a_complex_step_that_an_offset_hides_from_confirmation_is_not_believed(offset, coverage):
    vdot = (*residual(offset), np.ones(3))
    conj = (lambda v: offset + (np.sqrt((v * np.conj(v)).real) * v).sum(), lambda v: 2.0 * np.abs(v), X)
    for loss, gradient, point in (vdot, conj):
        wrong = [lambda w, m=mistake, g=gradient: m(g(w)) for mistake in MISTAKES.values()]
        right, *found = (check(loss, claimed, point, coverage).verdict for claimed in (gradient, *wrong))
        assert right is not Verdict.FAIL
        assert Verdict.PASS not in found
        if offset == 0.0:
            assert (right, set(found)) == (Verdict.PASS, {Verdict.FAIL})
