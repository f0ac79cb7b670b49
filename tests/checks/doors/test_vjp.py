"""check_vjp: backward passes that scipy, numpy and torch vouch for pass, and every mistake in them is found."""

import functools

import numpy as np
import pytest

from checks import Verdict, check_vjp

rng = np.random.default_rng(0)
X, W, B = rng.normal(size=(5, 3)), rng.normal(size=(3, 7)), rng.normal(size=7)


def affine(x, w, b):
    return np.tanh(x @ w + b)


def backward(g, x, w, b):
    flow = g * (1.0 - np.tanh(x @ w + b) ** 2)
    return flow @ w.T, x.T @ flow, flow.sum(axis=0)


def test_a_right_one_passes_and_says_what_that_excludes(vjp_case, how):
    function, vjp, inputs = vjp_case
    report = check_vjp(function, vjp, inputs, **how)
    assert report.verdict is Verdict.PASS
    assert {tensor.confidence for tensor in report.tensors.values()} == {0.99}
    assert max(tensor.excluded for tensor in report.tensors.values()) < 1e-5
    assert "Excludes with 99% probability" in str(report)


def test_a_mistake_is_found(vjp_case, mistake, how):
    function, vjp, inputs = vjp_case
    report = check_vjp(function, lambda *given: mistake(vjp(*given)), inputs, **how)
    assert report.verdict is Verdict.FAIL
    first = next(iter(report.tensors)).partition(".real")[0]
    assert {tensor.name.partition(".")[0] for tensor in report.culprits} == {first.partition(".")[0]}
    assert "comes from output" in report.culprits[0].evidence


def test_input_entry_and_output_entry_are_named(how):
    def wrong(g, x, w, b):
        flow = g * (1.0 - np.tanh(x @ w + b) ** 2)
        spoilt = flow.copy()
        spoilt[4, 2] *= 1.01
        return flow @ w.T, x.T @ spoilt, flow.sum(axis=0)

    report = check_vjp(affine, wrong, (X, W, B), **how)
    assert [tensor.name for tensor in report.culprits] == ["w"]
    assert report.culprits[0].worst_index[1] == 2
    assert "; it comes from output[4, 2]" in report.culprits[0].evidence


def test_several_outputs_have_the_same_say_whatever_their_units(how):
    def function(x):
        return {"large": 1e8 * np.sin(x), "small": [np.cos(x), x[0] ** 3]}

    def vjp(g, x, factor=1.0):
        flow = 1e8 * np.cos(x) * g["large"] - factor * np.sin(x) * g["small"][0]
        flow[0] += 3.0 * x[0] ** 2 * g["small"][1]
        return flow

    assert check_vjp(function, vjp, X[:, 0], **how).verdict is Verdict.PASS
    report = check_vjp(function, functools.partial(vjp, factor=1.01), X[:, 0], **how)
    assert report.verdict is Verdict.FAIL
    assert "comes from output.small[0][" in report.culprits[0].evidence


def test_an_output_that_rounding_alone_moves_is_not_blown_up(how):
    def function(x):
        centred = x - x.mean(axis=0)
        return {"centred": centred, "sum": centred.sum()}  # which is zero

    def vjp(g, x, factor=1.0):
        flow = g["centred"] + g["sum"]
        return factor * (flow - flow.mean(axis=0))

    report = check_vjp(function, vjp, X, **how)
    assert report.verdict is Verdict.PASS
    assert report.tensors["x"].precision == 0.0
    wrong = check_vjp(function, functools.partial(vjp, factor=1.01), X, **how)
    assert wrong.culprits[0].mistake.factor == pytest.approx(1.01)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (np.ones_like, "the VJP gives the same for any cotangent: it does not use it."),
        (np.abs, "the VJP is not linear in the cotangent"),
        (lambda g: g + 1e-3, "the VJP is not linear in the cotangent"),
        (lambda g: np.clip(g, -1.0, 1.0), "the VJP is not linear in the cotangent"),
    ],
    ids=["not used", "its size", "something added", "clipped"],
)
def test_a_cotangent_that_is_not_used_as_it_should_be_is_named(spoil, sentence, how):
    report = check_vjp(affine, lambda g, *inputs: backward(spoil(g), *inputs), (X, W, B), **how)
    assert report.verdict is Verdict.FAIL
    assert sentence in " ".join(str(report).split())
    assert "backprop is" not in str(report)


def test_a_factor_is_told_of_the_vjp_and_not_of_backprop():
    report = check_vjp(affine, lambda *given: (2.0 * backward(*given)[0], *backward(*given)[1:]), (X, W, B))
    assert report.culprits[0].mistake.factor == pytest.approx(2.0)
    assert "the VJP is 2.000 ×" in " ".join(str(report).split())


def test_inputs_without_a_float_stand_still_and_need_no_gradient(how):
    def gather(table, rows, mode):
        assert rows.dtype.kind == "i"
        assert mode == "plain"
        return table[rows]

    def vjp(g, table, rows, mode):
        gradient = np.zeros_like(table)
        np.add.at(gradient, rows, g)
        return gradient, None, None

    inputs = (X, np.array([0, 2, 2, 4]), "plain")
    report = check_vjp(gather, vjp, inputs, **how)
    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["table"]
    assert check_vjp(gather, lambda *given: vjp(*given)[:1], inputs, **how).verdict is Verdict.PASS

    def without_add(g, table, rows, mode):
        gradient = np.zeros_like(table)
        gradient[rows] += g  # a row that is taken twice counts once
        return gradient, None, None

    assert check_vjp(gather, without_add, inputs, **how).verdict is Verdict.FAIL


def test_neither_inputs_nor_cotangents_are_shared_with_whom_they_are_handed_to():
    x = X.copy()

    def rude(x):
        x *= 2.0
        return np.sin(x)

    def vjp(g, x):
        x *= 2.0
        g *= 2.0 * np.cos(x)
        return g

    assert check_vjp(rude, vjp, x).verdict is Verdict.PASS
    np.testing.assert_array_equal(x, X)


def test_a_one_number_function_has_nothing_to_combine():
    report = check_vjp(lambda x: np.sum(x**3), lambda g, x: 3.0 * g * x**2, X)
    assert report.verdict is Verdict.PASS
    assert {tensor.confidence for tensor in report.tensors.values()} == {1.0}


def test_the_report_of_any_door_raises_in_one_line(how):
    assert check_vjp(affine, backward, (X, W, B), **how).raise_unless_pass().verdict is Verdict.PASS
    with pytest.raises(AssertionError, match="Gradient check: FAIL"):
        check_vjp(affine, lambda *given: (*backward(*given)[:2], 0 * B), (X, W, B), **how).raise_unless_pass()


STRANGE = [
    ({"function": 3}, "got no function"),
    ({"vjp": None}, "vjp is no function"),
    ({"inputs": (1, 2, 3)}, "no input holds a float"),
    ({"inputs": ()}, "no input holds a float"),
    ({"vjp": lambda g, *inputs: g}, "gives no tuple. Expected one for each of x, w, b"),
    (
        {"vjp": lambda g, *inputs: inputs[:2]},
        "wrong number of gradients. Expected one for each of x, w, b.* 2",
    ),
    ({"vjp": lambda g, *inputs: (None, *inputs[1:])}, "the gradient of x is None"),
    (
        {"vjp": lambda g, *inputs: inputs[::-1]},
        r"of x have the wrong shape. Expected \(5, 3\). Received \(7,\)",
    ),
    ({"function": lambda x, w, b: None}, "outputs hold no number"),
    ({"function": lambda x, w, b: "text"}, "output is not made of real numbers"),
    ({"coverage": "half"}, "coverage is unknown"),
    ({"terms": {}}, "there is no such option here. Expected some of coverage, .* Received 'terms'"),
]


@pytest.mark.parametrize(("strange", "message"), STRANGE, ids=[message for _, message in STRANGE])
def test_what_does_not_fit_is_refused_with_what_was_expected_and_received(strange, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        check_vjp(**{"function": affine, "vjp": backward, "inputs": (X, W, B)} | strange)
    assert "Expected" in str(caught.value)
    assert "Received" in str(caught.value)


def test_torch_agrees_about_complex_cotangents(how):
    torch = pytest.importorskip("torch")
    z, w = rng.normal(size=5) + 1j * rng.normal(size=5), rng.normal(size=(3, 5))

    def function(z, w):
        return w @ (z * z.conj() * z)

    def vjp(g, z, w):
        leaves = [torch.tensor(part, requires_grad=True) for part in (z, w)]
        out = leaves[1].to(torch.complex128) @ (leaves[0] * leaves[0].conj() * leaves[0])
        return [part.numpy() for part in torch.autograd.grad(out, leaves, torch.tensor(g))]

    assert check_vjp(function, vjp, (z, w), **how).verdict is Verdict.PASS
    wrong = check_vjp(function, lambda *given: [part.conj() for part in vjp(*given)], (z, w), **how)
    assert [tensor.name for tensor in wrong.culprits] == ["z.imag"]
