"""Random programs, their derivatives by autograd: no false alarm, and every mistake is found, one a check in turn.

`BACKPROOF_FUNCTIONS=200 pytest -s tests/checks/doors/test_random_functions.py` is the campaign; the suite takes one.
"""

import collections
import functools
import itertools
import os

import numpy as np
import pytest
from scipy import linalg

from checks import Verdict, check_hessian, check_jacobian, check_jvp, check_layer, check_vjp

autograd = pytest.importorskip("autograd")
np_ = pytest.importorskip("autograd.numpy")
special = pytest.importorskip("autograd.scipy.special")
flatten = pytest.importorskip("autograd.misc").flatten
COUNT = int(os.environ.get("BACKPROOF_FUNCTIONS", "1"))

UNARY = {
    "tanh": np_.tanh,
    "sine": np_.sin,
    "relu": lambda x: np_.maximum(x, 0.0),
    "softplus": lambda x: np_.log(1.0 + np_.exp(x)),
    "absolute": lambda x: np_.sqrt(np_.abs(x) + 0.1),
    "bell": lambda x: np_.exp(-(x**2)),
    "cubes": lambda x: x**3 / (1.0 + x**2),
    "running sum": lambda x: np_.cumsum(x, axis=-1),
    "softmax": lambda x: np_.exp(x) / np_.sum(np_.exp(x), axis=-1, keepdims=True),
    "normed": lambda x: (x - np_.mean(x, axis=0)) / np_.sqrt(np_.var(x, axis=0) + 0.1),
    "clipped": lambda x: np_.clip(x, -0.8, 0.9),
    "turned": lambda x: x[:, ::-1] * x,
    "spectrum": lambda x: np_.abs(np_.fft.fft(x, axis=-1)) ** 2,
    "erf": special.erf,
    "log-gamma": lambda x: special.gammaln(x**2 + 0.5),
}
OUTPUTS = {
    "array": lambda x: x,
    "rows": lambda x: np_.log(np_.sum(np_.exp(np_.tanh(x)), axis=1)),
    "pair": lambda x: autograd.builtins.tuple((np_.max(x, axis=0), 1e3 * x**2, np_.sum(x))),
    "inverse": lambda x: np_.linalg.inv(np_.eye(x.shape[0]) + np_.dot(x, x.T) / x.size),
    "factor": lambda x: np_.linalg.cholesky(np_.eye(x.shape[1]) + np_.dot(x.T, x) / x.size),
}


def program(rng):
    """Draw a function of a matrix, weights and a bias, with a point."""
    a, b, c = rng.choice((2, 3, 5), 3)
    (first, second), output = rng.choice(list(UNARY), 2), rng.choice(list(OUTPUTS))

    def function(x, w, b):
        return OUTPUTS[output](UNARY[second](UNARY[first](np_.dot(x, w)) * b + 0.3 * np_.sum(x)))

    point = rng.normal(size=(a, b)), rng.normal(size=(b, c)) / np.sqrt(b), rng.normal(size=c)
    return f"{first}, {second}, {output}", function, point


def doors(function, point):
    """Give every door with a right derivative, as a function of what is done to its result."""
    flat, unravel = flatten(point)

    def vector(x):
        return flatten(function(*unravel(x)))[0]

    def scalar(x):
        return np_.sum(np_.sin(vector(x) / 100.0))

    def pulled(g, *inputs):
        return autograd.make_vjp(lambda every: function(*every))(inputs)[0](g)

    def pushed(inputs, tangents):
        moved = cached(flatten(inputs)[0].tobytes()) @ flatten(tangents)[0]
        return flatten(function(*inputs))[1](moved)

    cached = functools.lru_cache(1)(lambda point: matrix(np.frombuffer(point)))
    matrix, slope, curvature = autograd.jacobian(vector), autograd.grad(scalar), autograd.hessian(scalar)
    product = autograd.hessian_vector_product(scalar)

    def layer(spoil, **how):
        def forward(x, w, b):
            return function(x, w, b), (x, w, b)

        return check_layer(forward, lambda g, cache: spoil(pulled(g, *cache)), point, **how)

    return {
        "layer": layer,
        "vjp": lambda spoil, **how: check_vjp(function, lambda *all: spoil(pulled(*all)), point, **how),
        "jvp": lambda spoil, **how: check_jvp(function, lambda *both: spoil(pushed(*both)), point, **how),
        "jacobian": lambda spoil, **how: check_jacobian(vector, lambda x: spoil(matrix(x)), flat, **how),
        "hessian": lambda spoil, **how: check_hessian(slope, lambda x: spoil(curvature(x)), flat, **how),
        "product": lambda spoil, **how: check_hessian(slope, lambda x, v: spoil(product(x, v)), flat, **how),
    }


def spoiling(spoil, seen):
    """Spoil what is given, and note whether that has changed it by more than rounding."""

    def call(found):
        wrong = spoil(found)
        one, other = flatten(found)[0], flatten(wrong)[0]
        seen.append(linalg.norm(one - other) > 1e-5 * linalg.norm(one))
        return wrong

    return call


def test_no_right_derivative_fails_and_every_wrong_one_does(spoilers, capsys):
    counts, bad = collections.Counter(), []
    for number in range(COUNT):
        title, function, point = program(np.random.default_rng(number))
        given = doors(function, point)
        for turn, (name, coverage) in enumerate(itertools.product(given, ("full", "directions"))):
            how = {"coverage": coverage, "rng": np.random.default_rng(number)}
            verdict = given[name](lambda found: found, **how).verdict
            counts[name, coverage, "right", verdict.value] += 1
            bad += [(number, title, name, coverage, "false alarm")] if verdict is Verdict.FAIL else []
            mistake, seen = list(spoilers)[(number + turn) % len(spoilers)], []  # one each, in turn
            if verdict is Verdict.PASS:
                verdict = given[name](spoiling(spoilers[mistake], seen), **how).verdict
                if any(seen):
                    counts[name, coverage, "wrong", verdict.value] += 1
                    bad += [(number, title, name, coverage, mistake)] if verdict is not Verdict.FAIL else []
    if "BACKPROOF_FUNCTIONS" in os.environ:
        with capsys.disabled():
            print("", *(f"{' '.join(key)}: {count}" for key, count in sorted(counts.items())), *bad, sep="\n")
    assert not bad
