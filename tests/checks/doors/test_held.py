"""held_by: models that hold their parameters are checked in two lines, and left as they were."""

import copy

import numpy as np
import pytest

from checks import Verdict, check_gradients, held_by

rng = np.random.default_rng(0)
X, Y, T = rng.normal(size=(6, 5)), rng.integers(0, 3, 6), rng.normal(size=(6, 3))


class Softmax:
    """A model as CS231n has it: a dict of parameters, and a method for loss and gradients."""

    def __init__(self, dtype=np.float64):
        self.params = {"W": rng.normal(size=(5, 3)).astype(dtype), "b": np.zeros(3, dtype)}

    def loss(self, factor=1.0):
        z = X @ self.params["W"] + self.params["b"]
        z = z - z.real.max(axis=1, keepdims=True)
        logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        flow = np.exp(logp)
        flow[np.arange(6), Y] -= 1.0
        return -logp[np.arange(6), Y].mean(), {"W": X.T @ flow / 6 * factor, "b": flow.sum(axis=0) / 6}


class Affine:
    """A layer object that holds arrays, and leaves gradients behind."""

    def __init__(self, W, b):
        self.W, self.b = W, b
        self.dW, self.db = np.zeros_like(W), None

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, g):
        self.dW[...] = self.x.T @ g
        self.db = g.sum(axis=0)
        return g @ self.W.T


class Tanh:
    """A layer without parameters."""

    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, g):
        return g * (1.0 - self.y**2)


class Net:
    """Layers that share their arrays with a dict, as in a well-known book."""

    def __init__(self):
        self.params = {
            "W1": rng.normal(size=(5, 7)),
            "b1": np.zeros(7),
            "W2": rng.normal(size=(7, 3)),
            "b2": np.ones(3),
        }
        p = self.params
        self.layers = [Affine(p["W1"], p["b1"]), Tanh(), Affine(p["W2"], p["b2"])]

    def loss(self):
        y = X
        for layer in self.layers:
            y = layer.forward(y)
        self.error = y - T
        return 0.5 * (self.error**2).sum()

    def backward(self, factor=1.0):
        self.loss()
        flow = factor * self.error
        for layer in self.layers[::-1]:
            flow = layer.backward(flow)

    def gradient(self):
        self.backward()
        return {f"{name}{n}": getattr(self.layers[2 * n - 2], f"d{name}") for n in (1, 2) for name in "Wb"}


def test_a_model_with_a_dict_is_checked_in_two_lines_and_left_alone(how):
    model = Softmax()
    arrays, before = dict(model.params), copy.deepcopy(model.params)

    held = held_by(model, "params")
    report = check_gradients(held(model.loss), True, held.parameters, **how)

    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["W", "b"]
    wrong = check_gradients(held(lambda: model.loss(1.01)), True, held.parameters, **how)
    assert [tensor.name for tensor in wrong.culprits] == ["W"]
    assert all(model.params[name] is array for name, array in arrays.items())
    assert all(np.array_equal(model.params[name], before[name]) for name in before)


def test_layers_are_checked_in_two_lines_and_left_alone_gradients_included(how):
    net = Net()
    net.backward()
    before = copy.deepcopy([vars(layer) for layer in net.layers])

    held = held_by(net.layers, W="dW", b="db")
    report = check_gradients(held(net.loss), held.gradients(net.backward), held.parameters, **how)

    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["[0].W", "[0].b", "[2].W", "[2].b"]
    wrong = check_gradients(held(net.loss), held.gradients(lambda: net.backward(2.0)), held.parameters, **how)
    assert wrong.culprits[0].mistake.factor == pytest.approx(2.0)
    for layer, was in zip(net.layers, before, strict=True):
        for name in was.keys() & {"W", "b", "dW", "db"}:
            np.testing.assert_array_equal(vars(layer)[name], was[name])


def test_arrays_that_a_dict_shares_with_layers_are_written_to_in_place(how):
    net = Net()
    held = held_by(net, "params")
    report = check_gradients(held(net.loss), held(net.gradient), held.parameters, **how)
    assert report.verdict is Verdict.PASS
    assert net.layers[0].W is net.params["W1"]


def test_arrays_of_single_precision_are_replaced_while_a_check_lasts():
    model = Softmax(np.float32)
    held = held_by(model, "params")
    report = check_gradients(held(model.loss), True, held.parameters)
    assert report.verdict is Verdict.PASS
    assert report.tensors["W"].precision == 0.0
    assert {value.dtype for value in model.params.values()} == {np.dtype(np.float32)}


def test_a_model_is_put_back_when_its_loss_raises():
    model = Softmax()
    before = copy.deepcopy(model.params)

    def breaks():
        raise RuntimeError("no loss today")

    with pytest.raises(RuntimeError, match="no loss today"):
        held_by(model, "params")(breaks)({name: value + 1.0 for name, value in model.params.items()})
    assert all(np.array_equal(model.params[name], before[name]) for name in before)


def test_several_attributes_slots_and_layers_by_name_are_taken(how):
    class Slotted:
        __slots__ = ("b", "w")

        def __init__(self):
            self.w, self.b = np.arange(3.0), 0.5

    def loss(one):
        return np.sum(one.w**3) * one.b

    def gradients(one):
        return {"w": 3.0 * one.w**2 * one.b, "b": np.sum(one.w**3)}

    one = Slotted()
    held = held_by(one, "w", "b")
    call = {"function": held(lambda: loss(one)), "gradients": held(lambda: gradients(one))}
    assert check_gradients(call["function"], call["gradients"], held.parameters, **how).verdict is Verdict.PASS
    named = held_by({"first": one}, "w", "b")
    report = check_gradients(
        named(lambda: loss(one)), named(lambda: {"first": gradients(one)}), named.parameters, **how
    )
    assert list(report.tensors) == ["first.w", "first.b"]
    assert report.verdict is Verdict.PASS
    assert (one.w.tolist(), one.b) == ([0.0, 1.0, 2.0], 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: held_by(Softmax()), "held_by got no names. Expected .* Received none"),
        (lambda: held_by(Softmax(), "weights"), "nothing holds 'weights'. Expected .* Received Softmax"),
        (lambda: held_by([], "W"), "nothing holds 'W'. Expected .* Received none"),
        (
            lambda: held_by(Softmax(), "params").gradients(print),
            "where gradients are left is not known. Expected W='dW'",
        ),
    ],
)
def test_what_holds_nothing_is_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
