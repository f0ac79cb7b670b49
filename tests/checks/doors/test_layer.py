"""check_layer: classroom layers with a cache, right and wrong, and caches that a second forward spoils."""

import numpy as np
import pytest
from scipy import special
from sklearn.neural_network._base import ACTIVATIONS, DERIVATIVES

from checks import Verdict, check_layer

rng = np.random.default_rng(0)
X, W, B = rng.normal(size=(5, 3)), rng.normal(size=(3, 7)), rng.normal(size=7)


def forward(x, w, b):
    z = x @ w + b
    ACTIVATIONS["tanh"](z)  # in place
    return z, (x, w, z)


def backward(g, cache):
    x, w, y = cache
    flow = np.array(g)
    DERIVATIVES["tanh"](y, flow)
    return flow @ w.T, x.T @ flow, flow.sum(axis=0)


def test_scikit_learns_own_derivatives_pass(how):
    report = check_layer(forward, backward, (X, W, B), **how)
    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["x", "w", "b"]


def test_a_mistake_is_found(mistake, how):
    report = check_layer(forward, lambda *given: mistake(backward(*given)), (X, W, B), **how)
    assert [tensor.name for tensor in report.culprits] == ["x"]
    assert "comes from output" in report.culprits[0].evidence
    assert "where backward says" in report.culprits[0].evidence


KEPT = {}


def keeping(x):
    KEPT["y"] = special.expit(x)
    return KEPT["y"], None


class Buffered:
    """A layer that computes into the same array each time."""

    def __init__(self):
        self.y = np.empty(X.shape)

    def forward(self, x):
        special.expit(x, out=self.y)
        return self.y.copy(), self.y


@pytest.mark.parametrize(
    ("forward", "cached"), [(keeping, lambda cache: KEPT["y"]), (Buffered().forward, lambda cache: cache)]
)
def test_a_cache_that_a_second_forward_spoils_is_found_and_named(forward, cached, how):
    def backward(g, cache):
        y = cached(cache)
        return (g * y * (1.0 - y),)

    report = check_layer(forward, backward, X, **how)
    assert report.verdict is Verdict.FAIL
    assert "a second forward, which spoils the cache" in " ".join(str(report).split())
    both = check_layer(forward, lambda g, cache: (2.0 * backward(g, cache)[0],), X, **how)
    assert both.culprits[0].mistake.factor == pytest.approx(2.0)  # what is wrong anyway comes first


def test_a_layer_that_refuses_other_inputs_is_checked_nonetheless(how):
    def forward(x):
        if not np.allclose(x.real, X, atol=0.2):
            raise ValueError("out of range")
        return x**3, x

    assert check_layer(forward, lambda g, x: 3.0 * g * x**2, X, **how).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("forward", "backward", "message"),
    [
        (lambda x: x, lambda g, cache: g, r"forward gives no pair. Expected \(output, cache\). Received ndarray"),
        (None, lambda g, cache: g, "forward is no function"),
        (lambda x: (x, x), 3, "backward is no function. Expected one. Received int"),
    ],
)
def test_what_is_no_layer_is_refused(forward, backward, message):
    with pytest.raises(TypeError, match=message):
        check_layer(forward, backward, X)
