"""The examination of one slope: every cause on its own, and when the complex step is believed."""

import itertools

import numpy as np
import pytest

from checks import Cause, Verdict, check_gradients
from checks.judge.examine import confirm_complex, examine
from checks.measure.layout import Layout
from checks.measure.objective import Objective

WAYS = list(itertools.product(["full", "directions"], ["central", "complex"]))


def objective(loss, point):
    layout = Layout(point)
    return Objective(loss, layout, layout.flatten(point, "parameters"))


def finding(loss, point, claimed, tolerance=1e-8, step=1e-5):
    point = np.asarray(point, dtype=float)
    direction = np.zeros(point.size)
    direction[0] = 1.0
    return examine(objective(loss, point), direction, claimed, tolerance, step)


def real(loss):
    return lambda x: float(loss(x))


REST = [0.7, -1.3, 0.4]


@pytest.mark.parametrize("wrap", [real, lambda loss: loss], ids=["real only", "complex"])
@pytest.mark.parametrize(
    ("loss", "first", "claimed", "cause"),
    [
        (lambda x: (x**3).sum(), 2.0, 12.0, Cause.AGREES),
        (lambda x: (x**3).sum(), 2.0, 12.01, Cause.WRONG),
        (lambda x: (x**3).sum(), 2.0, -12.0, Cause.WRONG),
        (lambda x: (x**3).sum(), 2.0, 0.0, Cause.WRONG),
        (lambda x: np.exp(10.0 * x).sum(), 1.0, 10.0 * np.exp(10.0), Cause.AGREES),
        (lambda x: np.maximum(x, 0.0).sum(), 0.0, 0.25, Cause.KINK),
        (lambda x: np.maximum(x, 0.0).sum(), 0.0, -7.0, Cause.WRONG),
        (lambda x: np.maximum(x, 0.0).sum(), 1e-6, 1.0, Cause.AGREES),
        (lambda x: np.maximum(x, 0.0).sum(), 1e-6, 0.99, Cause.WRONG),
    ],
)
def test_each_cause(wrap, loss, first, claimed, cause):
    found = finding(wrap(loss), [first, *REST], claimed, tolerance=1e-6 * abs(claimed) + 1e-9)
    assert found.cause is cause, found
    assert found.evidence


def test_rounding_is_named_where_it_hides_the_answer():
    found = finding(lambda x: float(1e12 + (x**3).sum()), [2.0, *REST], 12.03)
    assert found.cause is Cause.ROUNDING
    assert "rounding" in found.evidence
    assert abs(found.value - 12.0) <= found.bound  # which holds


def test_a_loss_not_finite_at_any_step_is_named():
    here = np.array([2.0, *REST])

    def loss(x):
        return 1.0 if np.array_equal(x, here) else float("nan")

    assert finding(loss, here, 12.0).cause is Cause.NOT_FINITE


def test_the_finding_is_in_the_units_of_the_direction_whatever_its_length():
    for length in (1e-6, 1.0, 1e6):
        for first in (0.5, 300.0):
            direction = np.array([length, 0.0])
            own = objective(real(lambda x: (x**3).sum()), np.array([first, 1.0]))
            slope = 3.0 * first**2 * length
            found = examine(own, direction, 1.5 * slope, 1e-7 * slope, 1e-5)
            assert found.cause is Cause.WRONG
            assert found.value == pytest.approx(slope, rel=1e-6)


# Forwards that do not take complex numbers, or drop the imaginary part, each with what the report must say.
REFUSALS = {
    "np.logaddexp": (
        lambda w: np.logaddexp(0.0, w).sum(),
        lambda w: 1.0 / (1.0 + np.exp(-w)),
        "`np.logaddexp` does not take complex numbers",
    ),
    "float": (lambda w: sum(float(v) ** 2 for v in w), lambda w: 2.0 * w, "casts complex numbers to real ones"),
    "math.exp": (
        lambda w: sum(__import__("math").exp(v) for v in w),
        np.exp,
        "complex",
    ),
    ".real": (lambda w: (w.real**2).sum(), lambda w: 2.0 * w, "returned a real number.*drops the imaginary part"),
    "float buffer": (
        lambda w: np.add.reduce(np.square(w, out=np.empty(w.size), casting="unsafe")),
        lambda w: 2.0 * w,
        "drops the imaginary part",
    ),
    "astype": (lambda w: (w.astype(np.float64) ** 2).sum(), lambda w: 2.0 * w, "casts complex numbers to real ones"),
    "conjugate": (lambda w: (w * np.conj(w)).sum() + w.sum() * 0, lambda w: 2.0 * w, "not analytic"),
    "norm": (lambda w: np.linalg.norm(w) + (w**2).sum(), lambda w: w / np.linalg.norm(w) + 2.0 * w, "not analytic"),
    "np.abs": (lambda w: (w**2).sum() + 0.1 * np.abs(w).sum(), lambda w: 2.0 * w + 0.1 * np.sign(w), "not analytic"),
}
WEIGHTS = np.array([0.7, -1.3, 0.4, 2.1, -0.6])


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
def test_a_forward_without_complex_step_is_decided_by_central_differences_and_the_report_says_why(
    kind, coverage, derivative
):
    loss, gradients, why = REFUSALS[kind]

    def real_where_real(w):  # w * conj(w) is complex with zero imaginary part only for complex w
        return loss(w)

    for factor, verdict in ((1.0, Verdict.PASS), (1.01, Verdict.FAIL)):
        report = check_gradients(
            real_where_real,
            lambda w, f=factor: f * gradients(w),
            WEIGHTS,
            coverage=coverage,
            derivative=derivative,
            rng=np.random.default_rng(0),
        )
        assert report.verdict is verdict, str(report)
        if derivative == "complex" or verdict is Verdict.FAIL:
            text = " ".join(str(report).split())
            assert "no complex step: " in text
            assert "central differences decided" in text
            pytest.importorskip("re")
            import re

            assert re.search(why, text), text


@pytest.mark.parametrize("zeros", [0, 1, 4])
@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
def test_a_wrong_gradient_that_agrees_with_the_wrong_complex_slope_still_fails(coverage, derivative, zeros):
    # np.abs drops the slope of the L1 term for complex numbers; so does the gradient, which forgot the term.
    weights = np.array([0.7, -1.3, 0.4, 2.1, -0.6, 1.1, 0.9])
    weights[:zeros] = 0.0  # as sparse weights have them; there the L1 term has its kinks

    def loss(p):
        return (p["W"] ** 3).sum() + 0.1 * np.abs(p["W"]).sum() + (p["v"] ** 3).sum() + 0.1 * np.abs(p["v"]).sum()

    point = {"W": weights, "v": np.array([0.3, -0.8, 1.2])}
    forgotten = {name: 3.0 * value**2 for name, value in point.items()}
    report = check_gradients(
        loss, forgotten, point, coverage=coverage, derivative=derivative, rng=np.random.default_rng(2)
    )
    assert report.verdict is Verdict.FAIL, str(report)


def test_a_complex_step_that_differs_from_central_differences_is_not_used_again():
    own = objective(lambda w: (w**2).sum() + np.abs(w).sum(), WEIGHTS)
    assert not confirm_complex(own, 1e-5)
    assert "not analytic" in own.complex_refusal
    before = own.evaluations
    assert not confirm_complex(own, 1e-5)
    assert own.evaluations == before


def test_an_analytic_loss_is_confirmed_even_where_it_has_kinks_at_the_point():
    own = objective(lambda w: (np.where(w.real > 0, w, 0.0) + w**2).sum(), np.zeros(7))
    assert confirm_complex(own, 1e-5)
    assert own.complex_refusal is None


@pytest.mark.parametrize("share", [1e-8, 1e-12])
def test_a_right_gradient_survives_a_complex_step_that_is_wrong_where_rounding_hides_the_slope(share):
    # In b the complex step drops half the slope, and central differences are too coarse for the threshold.
    point = {"a": np.arange(1.0, 4.0), "b": np.array([0.3, 0.4, 0.5])}

    def loss(p):
        return (p["a"] ** 2).sum() + share * (np.abs(p["b"]) + p["b"]).sum()

    right = {"a": 2.0 * point["a"], "b": 2.0 * share * np.ones(3)}
    for coverage, derivative in WAYS:
        for seed in range(2):
            rng = np.random.default_rng(seed)
            report = check_gradients(loss, right, point, coverage=coverage, derivative=derivative, rng=rng)
            assert report.verdict is not Verdict.FAIL, str(report)


ROWS = np.array([[1.0, 0.7, -0.4], [0.3, -1.2, 0.8], [-0.9, 0.4, 0.5]])
TARGETS = np.array([1.0, 0.0, 1.0])
SATURATED = np.linalg.solve(ROWS, [35.9, -26.0, 35.2])  # p - y is one or two last places of 1 in the first and the last


def entropy(w):
    z = ROWS @ w
    return np.mean(np.log1p(np.exp(np.where(TARGETS == 1, -z, z))))


def by_rows(w):
    z = ROWS @ w
    return np.where(TARGETS == 1, -1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))) / 3


def by_textbook(w):
    return (1 / (1 + np.exp(-(ROWS @ w))) - TARGETS) / 3


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("loss", [entropy, lambda w: float(entropy(w))], ids=["complex", "real"])
def test_the_cancellation_in_p_minus_y_of_a_saturated_output_is_rounding_and_a_mistake_there_is_none(loss, coverage):
    def verdict(gradient):
        return check_gradients(loss, gradient, SATURATED, coverage=coverage, rng=np.random.default_rng(0)).verdict

    assert verdict(lambda w: ROWS.T @ by_rows(w)) is Verdict.PASS
    assert verdict(lambda w: ROWS.T @ by_textbook(w)) is Verdict.UNDECIDED
    for wrong in (
        lambda w: 1.01 * (ROWS.T @ by_rows(w)),
        lambda w: 1.01 * (ROWS.T @ by_textbook(w)),
        lambda w: ROWS[::2].T @ by_rows(w)[::2],
        lambda w: ROWS.T @ by_rows(w) * [1.0, 2.0, 1.0],
        lambda w: -(ROWS.T @ by_rows(w)),
    ):
        assert verdict(wrong) is Verdict.FAIL


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_mistake_in_a_gradient_far_below_a_last_place_of_one_is_no_rounding(coverage):
    for size in (1e-20, 1e-52):
        for wrong in (lambda w: 1.01 * w, lambda w: w * [1.0, 0.0, 1.0, 1.0, 1.0], lambda w: -w):
            report = check_gradients(
                lambda w, size=size: 0.5 * size * (w @ w), lambda w, wrong=wrong, size=size: size * wrong(w),
                np.arange(1.0, 6.0), coverage=coverage, rng=np.random.default_rng(0),
            )  # fmt: skip
            assert report.verdict is Verdict.FAIL


OFFSET = np.array([0.7, -1.3, 0.4, 2.1])


@pytest.mark.parametrize("size", [1.0, 1e3])
@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_mistake_that_an_offset_hides_from_differences_is_found_by_the_complex_step(coverage, size):
    report = check_gradients(
        lambda x: size * (1e11 + (x**3).sum()),
        lambda x: (1.0 + 1e-5) * size * 3.0 * x**2,
        OFFSET,
        coverage=coverage,
        rng=np.random.default_rng(0),
    )
    assert report.verdict is Verdict.FAIL
    (culprit,) = report.culprits
    slope = size * 3.0 * OFFSET[culprit.worst_index] ** 2
    assert culprit.numerical == pytest.approx(slope, rel=1e-13)


def test_of_a_mistake_that_differences_show_too_the_sharper_slope_is_reported():
    report = check_gradients(lambda x: 1e8 + (x**3).sum(), lambda x: 6.0 * x**2, OFFSET, derivative="central")
    (culprit,) = report.culprits
    assert culprit.numerical == pytest.approx(3.0 * OFFSET[culprit.worst_index] ** 2, rel=1e-13)


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_complex_step_that_overflows_where_the_loss_does_not_is_no_witness(coverage):
    def sigmoid(x):
        with np.errstate(all="ignore"):
            return 1.0 / (1.0 + np.exp(-x))

    for factor, verdict in ((1.0, Verdict.PASS), (1.01, Verdict.FAIL)):
        report = check_gradients(
            lambda x: sigmoid(x).sum(),
            lambda x, f=factor: f * sigmoid(x) * (1.0 - sigmoid(x)),
            np.array([-800.0, 0.7, -1.3, 0.4]),  # exp(800) and its imaginary part are infinite
            coverage=coverage,
            complex_confirmed=True,
            rng=np.random.default_rng(0),
        )
        assert report.verdict is verdict


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_of_a_gradient_given_as_numbers_no_more_is_taken_for_rounding_where_parameters_are_large(coverage):
    point = np.array([1000.0, 700.0, 1300.0])
    for factor, verdict in ((1.0, Verdict.PASS), (1.1, Verdict.FAIL)):
        report = check_gradients(
            lambda x: 1e-14 * x.sum(),
            np.full(3, factor * 1e-14),
            point,
            coverage=coverage,
            rng=np.random.default_rng(0),
        )
        assert report.verdict is verdict


@pytest.mark.parametrize(("claimed", "says_so"), [(1e-6, True), (3e-9, False)])
def test_a_loss_that_does_not_move_is_said_not_to_depend_only_where_the_claim_would_move_it(claimed, says_so):
    found = finding(lambda x: 1e6, [0.5, *REST], claimed, tolerance=1e-14)  # a last place of the loss is 1e-10
    assert (found.cause is Cause.NO_DEPENDENCE) is says_so
