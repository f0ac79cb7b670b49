"""What several tensors share is one mistake, told once and where it enters."""

import numpy as np
import pytest

from checks import Verdict, check_gradients
from checks.explain.diagnosis import diagnose
from checks.explain.entries import Suspect
from checks.explain.mistake import Hints, Kind, Mistake
from checks.explain.shared import flow_into, listed, partners

NAMES = ["W1", "b1", "W2", "b2", "W3", "b3"]
SHAPES = {"W1": (7, 5), "b1": (5,), "W2": (5, 3), "b2": (3,), "W3": (3, 1), "b3": (1,)}


def suspect(name, change, seed=0, noise=1e-12):
    rng = np.random.default_rng([seed, *name.encode()])
    numerical = rng.normal(size=SHAPES.get(name, (5,)))
    gradient = np.asarray(change(numerical, rng), dtype=float)
    shape = numerical.shape
    return Suspect(gradient, numerical, np.full(shape, noise), np.zeros(shape, bool), name, rng.normal(size=shape))


def told(factors, exercised=NAMES, hints=None):
    """Diagnose tensors that are scaled; give the sentence of each."""
    failing = [suspect(name, lambda n, rng, f=factors[name]: f * n) for name in reversed(NAMES) if name in factors]
    mistakes = diagnose(failing, 1e-7, hints or Hints(), exercised)
    return {name: mistake.sentence for name, mistake in mistakes.items()}


def test_one_factor_in_all_tensors_is_one_mistake_at_the_output():
    sentences = told(dict.fromkeys(NAMES, 1 / 6))
    assert set(sentences.values()) == {
        "Every tensor is 0.1667 × the numerical gradient. Scaled by 1 / 6, one factor in all of them: it enters in the "
        "loss or in what flows out of it, dZ3: look for a mean where the loss has a sum, or a factor that only the "
        "loss has."
    }


def test_one_factor_in_a_layer_and_all_before_it_enters_in_what_flows_into_that_layer():
    sentence = told(dict.fromkeys(["W1", "b1"], 1 / 6))["b1"]
    assert sentence.startswith(
        "W1 and b1 are both 0.1667 × the numerical gradient. Scaled by 1 / 6, one factor in both"
    )
    assert "it enters in dZ1, since W2, b2, W3 and b3 are right: look at the derivative of the activation" in sentence
    deeper = told(dict.fromkeys(["W1", "b1", "W2", "b2"], 3.0))
    assert len(set(deeper.values())) == 1
    assert "it enters in dZ2, since W3 and b3 are right" in deeper["b2"]


def test_a_factor_that_does_not_flow_on_is_in_the_lines():
    weights = told(dict.fromkeys(["W1", "W2", "W3"], 0.2))["W3"]
    assert "b1, b2 and b3 have another or none: look at the lines that compute W1, W2 and W3." in weights
    all_but_one = told({name: 0.2 for name in NAMES if name != "b3"})["W3"]
    assert "b3 has another or none: look at the lines that compute them." in all_but_one
    layer = told(dict.fromkeys(["W3", "b3"], 0.2))["b3"]
    assert "W1, b1, W2 and b2 have another or none: look at the lines that compute W3 and b3." in layer


def test_two_factors_are_two_mistakes():
    sentences = told({"b3": 2.0, "W3": 2.0, "b1": 5.0, "W1": 5.0})
    assert "W3 and b3 are both 2 ×" in sentences["W3"]
    assert "W1 and b1 are both 5 ×" in sentences["b1"]
    assert "it enters in dZ1, or follows from what is wrong in W3 and b3" in sentences["b1"]
    apart = told({"W2": 2.0, "b1": 4.0})
    assert apart["W2"].startswith("W2: backprop is 2.000 ×")
    assert apart["b1"].startswith("b1: backprop is 4.000 ×")


def test_without_the_other_tensors_nothing_is_said_of_them():
    sentence = told(dict.fromkeys(["W1", "b1"], 2.0), exercised=None)["W1"]
    assert "it enters in dZ1, or in the loss where no layer follows" in sentence
    assert "right" not in sentence


def test_signs_zeros_and_factors_with_a_name_are_shared_too():
    assert "Wrong sign, one mistake in all of them" in told(dict.fromkeys(NAMES, -1.0))["b3"]
    assert "W1 and b1 are both left out by backprop" in told({"W1": 0.0, "b1": 0.0})["b1"]
    hints = Hints({33.0: "33, the number of rows"})
    assert "Scaled by 1 / 33, the number of rows, one factor" in told(dict.fromkeys(NAMES, 1 / 33), hints=hints)["W2"]


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_single_number_is_scaled_where_another_tensor_has_the_same_factor(coverage):
    def check(of_w, of_b):
        slope = np.array([1.0, 0.0])
        return check_gradients(
            lambda p: p["w"] @ slope + p["b"],
            lambda p: {"w": of_w * slope, "b": of_b},
            {"w": np.array([0.34, 0.56]), "b": 0.54},
            coverage=coverage,
            rng=np.random.default_rng(0),
        )

    alike = check(0.7744, 0.7744)
    assert {t.mistake.kind for t in alike.culprits} == {Kind.SCALED}
    assert alike.culprits[0].mistake.sentence.startswith(
        "w and b are both 0.7744 × the numerical gradient. Scaled by 0.7744, one factor in both"
    )
    assert "Also wrong: w; by the same mistake." in str(alike)
    unlike = check(0.7744, 0.6)
    assert Kind.SCALED not in {t.mistake.kind for t in unlike.culprits}
    assert "the other entry agrees" in unlike.culprits[1].mistake.sentence


def test_numbers_a_hair_from_one_share_nothing_by_being_close_to_one():
    failing = [suspect("b3", lambda n, rng: 1.0004 * n), suspect("W3", lambda n, rng: 1.0001 * n)]
    mistakes = diagnose(failing, 1e-7, Hints(), NAMES)
    assert not any("one factor" in mistake.sentence for mistake in mistakes.values())


def test_the_layer_of_a_dotted_name_is_its_module():
    names = ["0.weight", "0.bias", "2.weight", "2.bias", "scale"]
    assert partners("2.bias", names) == ["2.weight"]
    assert partners("scale", names) == []
    assert flow_into("2.bias", names) == "what flows into 2.weight and 2.bias"
    assert flow_into("W12", names) == "dZ12"


def test_many_names_are_cut_short():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"


def softmax_net(seed, epsilon, steps, width=0.5, n_rows=21, n_classes=3):
    """Give loss and gradients of a small net: the loss has an epsilon in its logarithm, the gradient has not."""
    rng = np.random.default_rng(seed)
    X, t = rng.normal(size=(n_rows, 4)), rng.integers(0, n_classes, n_rows)
    point = {"W1": width * rng.normal(size=(4, 5)), "b1": np.zeros(5)}
    point |= {"W2": width * rng.normal(size=(5, n_classes)), "b2": np.zeros(n_classes)}

    def forward(p):
        h = np.tanh(X @ p["W1"] + p["b1"])
        e = np.exp(h @ p["W2"] + p["b2"])
        return h, e / e.sum(1, keepdims=True)

    def gradients(p):
        h, s = forward(p)
        d = (s - np.eye(n_classes)[t]) / n_rows
        dz = d @ p["W2"].T * (1 - h * h)
        return {"W1": X.T @ dz, "b1": dz.sum(0), "W2": h.T @ d, "b2": d.sum(0)}

    for _ in range(steps):
        own = gradients(point)
        point = {name: value - 0.5 * own[name] for name, value in point.items()}
    return lambda p: -np.log(forward(p)[1][np.arange(n_rows), t] + epsilon).mean(), gradients, point


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize(("epsilon", "steps", "width"), [(1e-7, 0, 0.01), (1e-7, 0, 0.5), (1e-6, 30, 0.5)])
def test_an_epsilon_in_the_loss_is_called_that(epsilon, steps, width, coverage):
    for seed in range(5):
        loss, gradients, point = softmax_net(seed, epsilon, steps, width)
        report = check_gradients(loss, gradients, point, coverage=coverage, rng=np.random.default_rng(seed))
        assert report.verdict is Verdict.FAIL
        assert {tensor.mistake.kind for tensor in report.culprits} == {Kind.EPSILON}
        assert "an epsilon or a clip in the loss" in report.culprits[0].mistake.sentence
        assert len({tensor.mistake.sentence for tensor in report.culprits}) == 1


def test_a_line_that_is_off_by_a_hair_is_scaled_and_one_with_other_errors_is_no_epsilon():
    line = diagnose([suspect("W2", lambda n, rng: (1.0 + 1e-6) * n)], 1e-7, Hints(), NAMES)["W2"]
    assert line.kind is Kind.SCALED
    sparse = [suspect(name, lambda n, rng: n + 1e-6 * (rng.random(n.shape) < 0.3)) for name in ("W2", "W1")]
    assert Kind.EPSILON not in {m.kind for m in diagnose(sparse, 1e-9, Hints(), NAMES).values()}


@pytest.mark.parametrize("precision", [np.float16, np.float32])
def test_numbers_of_a_lower_precision_are_called_that(precision):
    mistake = diagnose([suspect("W1", lambda n, rng: n.astype(precision))], 1e-9, Hints(), NAMES)["W1"]
    assert mistake.kind is Kind.LINE
    assert f"W1: backprop gives numbers of {precision.__name__}, off by no more than rounding" in mistake.sentence


@pytest.mark.parametrize(("factor", "words"), [(2.0, "2.0 ×"), (-1.0, "-1.0 ×"), (1 / 3, "Scaled by 1 / 3")])
def test_a_factor_that_somebody_would_write_is_named_through_noise(factor, words):
    for seed in range(20):
        noisy = suspect("W2", lambda n, rng: factor * (n + 0.02 * rng.uniform(-1.0, 1.0, n.shape)), seed, noise=0.02)
        mistake = diagnose([noisy], 1e-7, Hints(), NAMES)["W2"]
        assert mistake.factor == factor
        assert words in mistake.sentence
        assert "within the noise of the loss" in mistake.sentence
    near = suspect("W1", lambda n, rng: 1.05 * factor * (n + 0.02 * rng.uniform(-1.0, 1.0, n.shape)), noise=0.02)
    assert diagnose([near], 1e-7, Hints(), NAMES)["W1"].factor != factor
    sharp = suspect("W2", lambda n, rng: factor * (n + 0.02 * rng.uniform(-1.0, 1.0, n.shape)), noise=1e-6)
    assert diagnose([sharp], 1e-7, Hints(), NAMES)["W2"].factor is None  # what is left is no noise


def test_two_coefficients_do_not_explain_three_entries():
    kinds = set()
    for seed in range(30):
        flow = suspect("b2", lambda n, rng: n + 1e-2 * (rng.normal() * n + rng.normal() * rng.normal(size=3)), seed)
        zero_sum = flow.numerical - flow.numerical.mean()
        error = (flow.gradient - flow.numerical) - (flow.gradient - flow.numerical).mean()
        own = flow.parameter - flow.parameter.mean()  # as of a softmax: two dimensions, two coefficients
        made = Suspect(zero_sum + error, zero_sum, flow.bounds, flow.aside, "b2", own)
        kinds.add(diagnose([made], 1e-7, Hints(), NAMES)["b2"].kind)
    assert Kind.SCALED not in kinds


def test_the_rows_are_asked_where_only_single_entries_share_a_factor():
    def explain(names):
        return Mistake(Kind.CLASS, "the class weight") if names == ["b3", "W3"] else None

    def single(name, factor):
        numerical = np.zeros(SHAPES[name])
        numerical.flat[0] = 1.7
        parts = numerical, np.full(numerical.shape, 1e-12), np.zeros(numerical.shape, bool)
        return Suspect(factor * numerical, *parts, name, np.ones(numerical.shape))

    failing = [single("b3", 0.437), single("W3", 0.437)]
    assert diagnose(failing, 1e-7, Hints(explain=explain), NAMES)["b3"].kind is Kind.CLASS
    assert diagnose(failing, 1e-7, Hints(explain=lambda names: None), NAMES)["b3"].kind is Kind.SCALED
    assert diagnose(failing[:1], 1e-7, Hints(explain=explain), NAMES)["b3"].kind is Kind.LINE


def test_a_gradient_that_is_a_tiny_multiple_is_not_called_never_computed():
    tiny = diagnose([suspect("W2", lambda n, rng: 6.5e-5 * n, noise=0.0)], 1e-7, Hints(), NAMES)["W2"]
    assert (tiny.kind, tiny.factor) == (Kind.SCALED, pytest.approx(6.5e-5))
    assert "6.5e-05 × the numerical gradient in all 15 entries. Scaled by 6.5e-05" in tiny.sentence
    garbage = diagnose([suspect("W2", lambda n, rng: 1e-9 * rng.normal(size=n.shape), noise=0.0)], 1e-7, Hints())["W2"]
    assert garbage.kind is Kind.NEVER_COMPUTED
