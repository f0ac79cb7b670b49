"""Structures: whatever people keep parameters in is taken apart by path, and comes back as it was."""

import copy
from collections import namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest

from checks import Verdict, check_gradients
from checks.measure.layout import Layout


@dataclass(frozen=True)
class Affine:
    """A layer as people write it, with settings beside its arrays."""

    W: np.ndarray
    b: np.ndarray | None = None
    activation: str = "tanh"
    stride: int = 2
    rate: float = field(default=0.5, metadata={"static": True})


Pair = namedtuple("Pair", "w b")
rng = np.random.default_rng(0)
W, B, V, C = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=(3, 7)), rng.normal(size=7)

NESTED = {
    "pairs in a list": ([(W, B), (V, C)], ["[0][0]", "[0][1]", "[1][0]", "[1][1]"]),
    "two lists in a tuple": (([W, V], [B, C]), ["[0][0]", "[0][1]", "[1][0]", "[1][1]"]),
    "dicts in a dict": ({"l1": {"W": W, "b": B}, "l2": {"W": V}}, ["l1.W", "l1.b", "l2.W"]),
    "a list in a dict": ({"layers": [{"W": W}, {"W": V, "b": C}]}, ["layers[0].W", "layers[1].W", "layers[1].b"]),
    "dataclasses": ({"layers": [Affine(W, B), Affine(V)]}, ["layers[0].W", "layers[0].b", "layers[1].W"]),
    "named tuples": ([Pair(W, 2.0), Pair(V, C)], ["[0].w", "[0].b", "[1].w", "[1].b"]),
    "a bare named tuple": (Pair(1.0, 2.0), ["w", "b"]),
    "a bare dataclass": (Affine(W, B), ["W", "b"]),
    "nothing where a bias would be": ({"W": W, "b": None}, ["W"]),
    "complex ones": ({"a": W, "z": W + 1j * W}, ["a", "z.real", "z.imag"]),
}


def same(one, other):
    assert type(one) is type(other) or np.ndim(one) == np.ndim(other) == 0
    if isinstance(one, dict):
        assert list(one) == list(other)
        return all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Affine):
        return same(vars(one), vars(other))
    return np.array_equal(one, other)


@pytest.mark.parametrize(("structure", "names"), NESTED.values(), ids=NESTED)
def test_a_structure_is_named_by_path_and_comes_back_as_it_was(structure, names):
    before = copy.deepcopy(structure)
    layout = Layout(structure)
    assert list(layout.slices) == names
    vector = layout.flatten(structure, "parameters")
    back = layout.unflatten(vector)
    assert same(back, structure)
    np.testing.assert_array_equal(layout.flatten(back, "gradients"), vector)
    assert same(structure, before)


def test_lists_of_numbers_are_arrays_as_ever():
    assert list(Layout([1.0, 2.0]).shapes.values()) == [(2,)]
    assert Layout({"a": [[1, 2, 3], [4, 5, 6]], "b": (1.0, 2.0)}).shapes == {"a": (2, 3), "b": (2,)}
    assert list(Layout([[1.0, 2.0], [3.0]]).shapes.values()) == [(2,), (1,)]
    assert Layout([W, 2.0]).shapes == {"[0]": (5, 3), "[1]": ()}


@pytest.mark.parametrize(
    ("parameters", "gradients", "message"),
    [
        (
            {"l": {"W": W, "b": B}},
            {"l": {"W": W, "b": None}},
            r"the gradient of l.b is None. Expected an array .*\(3,\)",
        ),
        (
            {"l": {"W": W, "b": B}},
            {"l": None},
            r"of l have another structure.*\['W', 'b'\]. Received NoneType",
        ),
        ({"l": {"W": W, "b": B}}, {"l": {"W": W}}, "gradients of l lack 'b'"),
        ([(W, B)], [(W,)], r"gradients of \[0\] have the wrong length. Expected 2 arrays. Received 1"),
        ([(W, B)], [(W, V)], r"gradients of \[0\]\[1\] have the wrong shape. Expected \(3,\). Received \(3, 7\)"),
        (Affine(W, B), {"W": W}, "gradients have another structure.*a dataclass with.*Received dict"),
        (W, {"W": W}, "gradients have another structure.*an array. Received dict"),
        (W, None, "the gradient is None"),
        ({"a.b": B, "a": {"b": B}}, None, "'a.b' twice"),
        ({"z": W, "z.real": W}, None, None),
        ({"z": W + 0j, "z.real": W}, None, "'z.real' twice"),
        ({"layer": object()}, None, "layer is not made of real numbers.*Received object, dtype object"),
        ({"W": np.ma.masked_array(B)}, None, "W is a MaskedArray. Expected a plain array"),
    ],
)
def test_what_does_not_fit_is_refused_by_path(parameters, gradients, message):
    if message is None:
        assert Layout(parameters).size
        return
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        Layout(parameters).flatten(gradients, "gradients")
    assert "Expected" in str(caught.value)
    assert "Received" in str(caught.value)


def test_a_gradient_may_use_classic_names_on_every_level():
    layout = Layout({"l1": {"W1": W, "b1": B}, "v": V})
    given = {"l1": {"dW1": W, "db1": B}, "v": V}
    np.testing.assert_array_equal(layout.flatten(given, "gradients"), np.concatenate([W.ravel(), B, V.ravel()]))


def forward(layers, x):
    for layer in layers:
        x = np.tanh(x @ layer["W"] + layer["b"])
    return x


def backprop(p, x):
    """Differentiate the sum of squares over a list of tanh layers by hand."""
    ways = [x]
    for layer in p["layers"]:
        ways.append(np.tanh(ways[-1] @ layer["W"] + layer["b"]))
    flow, found = 2.0 * ways[-1], []
    for layer, before, after in zip(p["layers"][::-1], ways[-2::-1], ways[:0:-1], strict=True):
        flow = flow * (1.0 - after**2)
        found.insert(0, {"W": before.T @ flow, "b": flow.sum(0)})
        flow = flow @ layer["W"].T
    return {"layers": found}


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_mistake_in_a_nested_structure_is_named_by_its_path(coverage):
    x = rng.normal(size=(4, 5))
    parameters = {"layers": [{"W": W, "b": B}, {"W": V, "b": C}]}

    def loss(p):
        return (forward(p["layers"], x) ** 2).sum()

    def wrong(p):
        gradients = backprop(p, x)
        gradients["layers"][0]["W"][3, 1] *= 1.01
        return gradients

    assert check_gradients(loss, lambda p: backprop(p, x), parameters, coverage=coverage).verdict is Verdict.PASS
    report = check_gradients(loss, wrong, parameters, coverage=coverage)
    assert [tensor.label for tensor in report.culprits] == ["layers[0].W[3, 1]"]


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_complex_parameters_are_checked_by_the_convention_that_is_stated(coverage):
    x, z = rng.normal(size=(5, 3)) + 1j * rng.normal(size=(5, 3)), {"z": B + 1j * B[::-1], "r": 0.7}

    def loss(p):
        return float(np.sum(np.abs(x @ p["z"]) ** 2) * p["r"])

    def gradients(p):  # d|Az|²/dRe + i·d|Az|²/dIm
        return {"z": 2.0 * p["r"] * x.conj().T @ (x @ p["z"]), "r": np.sum(np.abs(x @ p["z"]) ** 2)}

    report = check_gradients(loss, gradients, z, coverage=coverage)
    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["z.real", "z.imag", "r"]
    assert any("dJ/dRe + i·dJ/dIm" in note and "conjugate" in note for note in report.notes)
    other = check_gradients(loss, lambda p: {**gradients(p), "z": gradients(p)["z"].conj()}, z, coverage=coverage)
    assert [tensor.name for tensor in other.culprits] == ["z.imag"]
    halved = check_gradients(loss, lambda p: {**gradients(p), "z": gradients(p)["z"] / 2}, z, coverage=coverage)
    assert {tensor.name for tensor in halved.culprits} == {"z.real", "z.imag"}


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_true_stands_for_a_gradient_that_comes_with_the_loss(coverage):
    def both(p):
        return (p["w"] ** 3).sum(), {"dw": 3.0 * p["w"] ** 2}

    assert check_gradients(both, True, {"w": B}, coverage=coverage).verdict is Verdict.PASS
    with pytest.raises(TypeError, match=r"a tuple of 2. Expected a float: hand over its first element.*gradients=True"):
        check_gradients(both, lambda p: p, {"w": B}, coverage=coverage)
    with pytest.raises(TypeError, match=r"the loss gives no pair. Expected the loss and its gradient.* Received"):
        check_gradients(lambda p: 1.0, True, {"w": B}, coverage=coverage)
