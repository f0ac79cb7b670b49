"""Models that other people wrote: ties, dead parameters, masked entries, domains that end, objects that keep arrays."""

import numpy as np
import pytest

from checks import Cause, GradientCheckError, Verdict, assert_gradients, check_gradients

COVERAGES = ["full", "directions"]
both = pytest.mark.parametrize("coverage", COVERAGES)


def check(loss, gradient, point, coverage="full", seed=0, **options):
    return check_gradients(loss, gradient, point, coverage=coverage, rng=np.random.default_rng(seed), **options)


def test_the_middle_of_an_absolute_value_is_left_open_as_a_kink():  # l1 penalties at zero weights
    found = check(lambda v: np.abs(v).sum(), np.sign, np.zeros(1))
    assert (found.verdict, found.cause) == (Verdict.UNDECIDED, Cause.KINK)


@pytest.mark.parametrize(
    ("gradient", "verdict"),
    [
        ([2.0, 0.0, 0.0, 0.0], Verdict.PASS),
        ([0.0, 2.0, 0.0, 0.0], Verdict.PASS),
        ([2.0, 2.0, 0.0, 0.0], Verdict.FAIL),
    ],
)
def test_of_tied_maxima_one_gets_the_gradient_and_not_each_the_whole_of_it(gradient, verdict):  # CS231n max-pooling
    found = check(lambda x: 2.0 * x.max(), np.array([gradient]), np.array([[1.0, 1.0, 0.0, 0.2]]))
    assert found.verdict is verdict


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [
        (1.0, Verdict.PASS),
        (3.0, Verdict.PASS),
        (2.0, Verdict.UNDECIDED),
        (7.0, Verdict.FAIL),
        (-3.0, Verdict.FAIL),
    ],
)
@both
def test_at_a_scalar_kink_both_sides_pass_between_is_open_and_well_outside_fails(
    slope, verdict, coverage
):  # jax-gcm#813
    found = check(lambda t: np.where(t < 1.0, t, 1.0 + 3.0 * (t - 1.0)), lambda t: slope, 1.0, coverage)
    assert found.verdict is verdict


@pytest.mark.parametrize(("factor", "fails"), [(1.0, False), (0.0, False), (-1.0, True), (2.0, True)])
def test_clip_at_its_bound_has_the_slope_of_the_inside_or_none(factor, fails):  # NanoComp/meep#2060
    def loss(x):
        return ((np.clip(x, 0, 1) - 0.3) ** 2).sum()

    found = check(loss, lambda x: factor * 2.0 * (x - 0.3), np.zeros(7))
    assert (found.verdict is Verdict.FAIL) is fails


class Normalised:
    """A layer with a bias before batch-norm, where it has no effect (CS231n assignment 2)."""

    def __init__(self, seed=2):
        rng = np.random.default_rng(seed)
        self.rows, self.targets = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
        self.point = {"W": rng.normal(size=(5, 3)), "b": rng.normal(size=3)}

    def forward(self, p):
        sums = self.rows @ p["W"] + p["b"]
        scale = 1.0 / np.sqrt(((sums - sums.mean(0)) ** 2).mean(0) + 1e-5)
        return (sums - sums.mean(0)) * scale, scale

    def loss(self, p):
        return ((self.forward(p)[0] - self.targets) ** 2).sum()

    def gradient(self, p):
        normed, scale = self.forward(p)
        flow = 2.0 * (normed - self.targets)
        back = scale * (flow - flow.mean(0) - normed * (flow * normed).mean(0))
        return {"W": self.rows.T @ back, "b": back.sum(0)}


@both
def test_a_bias_before_batch_norm_passes_as_having_no_effect(coverage):
    net = Normalised()
    for seed in range(5):
        found = check(net.loss, net.gradient, net.point, coverage, seed)
        assert found.verdict is Verdict.PASS
        assert 0.0 <= found.difference <= 1.0
    found = check(net.loss, net.gradient, net.point, coverage)
    assert found.tensors["b"].cause is Cause.NO_EFFECT
    assert "no effect: b" in str(found)
    rng = np.random.default_rng(0)
    assert assert_gradients(net.loss, net.gradient, net.point, coverage=coverage, rng=rng).not_exercised == ["b"]


@both
@pytest.mark.parametrize("mistake", [1.01, 2.0, -1.0, 0.0])
def test_beside_a_parameter_without_effect_a_mistake_still_fails(mistake, coverage):
    net = Normalised()

    def wrong(p):
        right = net.gradient(p)
        return {"W": mistake * right["W"], "b": right["b"]}

    found = check(net.loss, wrong, net.point, coverage)
    assert found.tensors["W"].verdict is Verdict.FAIL
    assert found.tensors["b"].verdict is not Verdict.FAIL


@both
def test_a_gradient_for_a_parameter_without_effect_fails(coverage):
    net = Normalised()

    def wrong(p):
        return net.gradient(p) | {"b": np.array([0.0, 1e-3, 0.0])}

    assert check(net.loss, wrong, net.point, coverage).tensors["b"].verdict is Verdict.FAIL


def unused(p):
    return (p["used"] ** 3).sum() + 0.0 * p["idle"].sum()


def of_unused(p):
    return {"used": 3.0 * p["used"] ** 2, "idle": 0.0 * p["idle"]}


HALF = {"used": np.array([0.5, -1.2, 2.0]), "idle": np.ones((2, 5))}


@both
def test_a_tensor_of_which_nothing_was_exercised_passes_and_is_named(coverage):
    found = check(unused, of_unused, HALF, coverage)
    assert found.verdict is Verdict.PASS
    assert found.tensors["idle"].cause is Cause.NOT_EXERCISED
    assert "not exercised: idle" in str(found)
    assert assert_gradients(unused, of_unused, HALF, coverage=coverage).not_exercised == ["idle"]


@both
def test_assert_gradients_raises_for_what_was_not_exercised_if_asked_and_always_if_that_is_all(coverage):
    with pytest.raises(GradientCheckError, match="nothing was exercised in idle"):
        assert_gradients(unused, of_unused, HALF, coverage=coverage, not_exercised="raise")
    with pytest.raises(GradientCheckError):
        assert_gradients(lambda x: 0.0 * x.sum(), np.zeros_like, np.ones(5), coverage=coverage)
    with pytest.raises(ValueError, match="not_exercised is unknown"):
        assert_gradients(unused, of_unused, HALF, not_exercised="warn")


def softmax(v):
    powers = np.exp(v - v[np.isfinite(v)].max())
    return powers / powers.sum()


WORTH = np.array([1.0, 2.0, 3.0, -0.5])
MASKED = {
    "masked logits": (
        lambda v: softmax(v) @ WORTH,
        lambda v: softmax(v) * (WORTH - softmax(v) @ WORTH),
        np.array([1.0, 2.0, -np.inf, 0.3]),
    ),
    "nansum": (
        lambda v: np.nansum(v**3),
        lambda v: np.where(np.isnan(v), 0.0, 3.0 * v**2),
        np.array([1.0, np.nan, 2.0, -0.7]),
    ),
}


@both
@pytest.mark.parametrize(("loss", "gradient", "point"), MASKED.values(), ids=MASKED)
def test_parameters_that_the_loss_masks_are_left_where_they_are_and_the_others_checked(loss, gradient, point, coverage):
    right = check(loss, gradient, point, coverage)
    assert right.verdict is Verdict.PASS
    assert "1 of 4 parameters are NaN or infinite, and were not moved" in right.notes
    for first, last in ((2.0, 1.0), (1.0, -1.0), (1.0, 0.0)):
        wrong = np.array([first, 1.0, 1.0, last]) * gradient(point)
        assert check(loss, wrong, point, coverage).verdict is Verdict.FAIL


class OutsideError(RuntimeError):
    pass


@both
def test_whatever_a_loss_raises_beside_the_point_it_is_outside_its_domain_there(coverage):
    def loss(v):
        if v[0].real < 1e-9:
            raise OutsideError("negative")
        return np.sqrt(v).sum()

    def gradient(v):
        return 0.5 / np.sqrt(v)

    point = np.array([5e-6, 1.0, 3.0])
    assert check(loss, gradient, point, coverage).verdict is Verdict.PASS
    assert check(loss, lambda v: 2.0 * gradient(v), point, coverage).verdict is not Verdict.PASS


@both
@pytest.mark.parametrize("raised", [MemoryError("full"), OSError("no file"), KeyboardInterrupt()])
def test_what_says_nothing_of_the_loss_comes_out(raised, coverage):
    def loss(v):
        if not np.array_equal(v, [1.0, 2.0, 3.0]):
            raise raised
        return v.sum()

    with pytest.raises(type(raised)):
        check(loss, np.ones_like, np.array([1.0, 2.0, 3.0]), coverage)


@both
@pytest.mark.parametrize("raised", [RuntimeError, ValueError, OutsideError])
def test_what_a_loss_raises_at_the_point_itself_comes_out(raised, coverage):
    def loss(v):
        raise raised("at the point")

    with pytest.raises(raised, match="at the point"):
        check(loss, np.ones_like, np.ones(3), coverage)


@both
def test_a_loss_that_ignores_its_parameters_is_told_to(coverage):  # layers that hold the arrays of another dict
    own = {"W": np.full((3, 2), 0.37), "b": np.ones(2)}

    def loss(p):
        return np.sin(own["W"]).sum() + np.sin(own["b"]).sum()

    found = check(loss, lambda p: {name: np.cos(value) for name, value in own.items()}, dict(own), coverage)
    assert {(row.verdict, row.cause) for row in found.tensors.values()} == {(Verdict.UNDECIDED, Cause.NO_DEPENDENCE)}
    assert "it does not depend on the parameters it is given" in str(found)
    assert not found.culprits


class Classifier:
    """A model object that keeps what it is handed, as those of CS231n do."""

    def __init__(self, seed=13):
        rng = np.random.default_rng(seed)
        self.rows, self.labels = rng.normal(size=(7, 5)), rng.integers(0, 3, 7)
        self.params = {"W": rng.normal(size=(5, 3)), "b": rng.normal(size=3)}

    def at(self, p, factor=1.0, limit=np.inf):
        self.params = p
        sums = self.rows @ p["W"] + p["b"]
        if sums.real.max() > limit:
            raise MemoryError
        logs = sums - np.log(np.exp(sums).sum(1, keepdims=True))
        flow = np.exp(logs)
        flow[np.arange(7), self.labels] -= 1.0
        gradient = {"W": factor * self.rows.T @ flow / 7.0, "b": factor * flow.sum(0) / 7.0}
        return -logs[np.arange(7), self.labels].mean(), gradient


def assert_untouched(model, before):
    for name, value in before.items():
        assert model.params[name].dtype == np.float64
        np.testing.assert_array_equal(model.params[name], value)


@both
@pytest.mark.parametrize("derivative", ["central", "complex"])
@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 0.0])
def test_after_a_check_a_model_that_keeps_its_parameters_stands_where_it_stood(factor, derivative, coverage):
    model = Classifier()
    before = {name: value.copy() for name, value in model.params.items()}
    for _ in range(2):  # the same model can be checked again
        found = check(
            lambda p: model.at(p)[0],
            lambda p: model.at(p, factor)[1],
            model.params,
            coverage,
            derivative=derivative,
        )
        assert found.verdict is (Verdict.PASS if factor == 1.0 else Verdict.FAIL)
        assert_untouched(model, before)


@both
def test_after_an_exception_the_model_stands_where_it_stood_too(coverage):
    model = Classifier()
    before = {name: value.copy() for name, value in model.params.items()}
    limit = float((model.rows @ before["W"] + before["b"]).max())
    with pytest.raises(MemoryError):
        check(lambda p: model.at(p, limit=limit)[0], lambda p: model.at(p)[1], model.params, coverage)
    assert_untouched(model, before)


@both
def test_a_loss_that_is_rounded_to_three_digits_does_not_fail_with_a_gradient_of_zero(coverage):
    assert check(lambda x: np.round(x, 3).sum(), np.zeros_like, np.array([0.3, -0.7]), coverage).verdict != "FAIL"


@pytest.mark.parametrize("step", [1e-101, 1e-300, 1.1e3, 1e300])
def test_an_absurd_step_is_refused_in_one_line(step):
    with pytest.raises(ValueError, match=r"step is out of range\. Expected .*\. Received .*\.$") as refused:
        check(lambda x: x**2, lambda x: 2.0 * x, 3.0, step=step)
    assert "\n" not in str(refused.value)
