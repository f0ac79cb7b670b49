"""Random programs of jax, of which jax gives every derivative: no false alarm, and every mistake is found.

`BACKPROOF_FUNCTIONS=200 pytest -s tests/checks/doors/test_random_functions.py` is the campaign; the suite takes one.
"""

import collections
import itertools
import os

import numpy as np
import pytest
from scipy import linalg

from checks import Verdict, check_hessian, check_jacobian, check_jvp, check_layer, check_vjp

jax = pytest.importorskip("jax")
ravel = pytest.importorskip("jax.flatten_util").ravel_pytree
COUNT = int(os.environ.get("BACKPROOF_FUNCTIONS", "1"))
SIZES = (1, 2, 3, 5, 7)

np_ = jax.numpy
UNARY = {
    "tanh": np_.tanh,
    "sine": np_.sin,
    "gelu": jax.nn.gelu,
    "relu": jax.nn.relu,
    "softplus": jax.nn.softplus,
    "absolute": lambda x: np_.sqrt(np_.abs(x) + 0.1),
    "bell": lambda x: np_.exp(-(x**2)),
    "cubes": lambda x: x**3 / (1.0 + x**2),
    "running sum": lambda x: np_.cumsum(x, axis=-1),
    "sorted": lambda x: np_.sort(x, axis=0),
    "softmax": lambda x: jax.nn.softmax(x, axis=-1),
    "normed": lambda x: (x - x.mean(axis=0)) / np_.sqrt(x.var(axis=0) + 0.1),
    "clipped": lambda x: np_.clip(x, -0.8, 0.9),
    "turned": lambda x: np_.flip(x, axis=-1) * x,
    "spectrum": lambda x: np_.abs(np_.fft.fft(x, axis=-1)) ** 2,
    "erf": jax.scipy.special.erf,
    "log-gamma": lambda x: jax.scipy.special.gammaln(x**2 + 0.5),
}
OUTPUTS = {
    "array": lambda x: x,
    "rows": lambda x: jax.scipy.special.logsumexp(x, axis=1),
    "pair": lambda x: {"top": x.max(axis=0), "rest": [1e3 * x**2, x.sum()]},
    "inverse": lambda x: np_.linalg.inv(np_.eye(x.shape[0]) + x @ x.T / x.size),
    "factor": lambda x: np_.linalg.cholesky(np_.eye(x.shape[1]) + x.T @ x / x.size),
}


def program(rng):
    """Draw a function of a matrix, weights and a bias, with a point."""
    a, b, c = rng.choice(SIZES[1:], 3)
    first, second = rng.choice(list(UNARY), 2)
    output = rng.choice(list(OUTPUTS))

    def function(x, w, b):
        return OUTPUTS[output](UNARY[second](UNARY[first](x @ w) * b + 0.3 * x.sum()))

    point = rng.normal(size=(a, b)), rng.normal(size=(b, c)) / np.sqrt(b), rng.normal(size=c)
    return f"{first}, {second}, {output}", jax.jit(function), point


def as_numpy(structure):
    return jax.tree.map(np.asarray, structure)


def doors(function, point):
    """Give every door with a right derivative, as a function of what is done to its result."""
    pulled = jax.jit(lambda g, *inputs: jax.vjp(function, *inputs)[1](g))
    pushed = jax.jit(lambda inputs, tangents: jax.jvp(function, inputs, tangents)[1])
    flat, unravel = ravel(point)

    def vector(x):
        return ravel(function(*unravel(x)))[0]

    def scalar(x):
        return np_.sum(np_.sin(vector(x)))

    matrix, slope = jax.jit(jax.jacrev(vector)), jax.jit(jax.grad(scalar))
    curvature, product = jax.jit(jax.hessian(scalar)), jax.jit(lambda x, v: jax.jvp(jax.grad(scalar), (x,), (v,))[1])
    vector, flat = jax.jit(vector), np.asarray(flat)

    def layer(spoil, **how):
        def forward(*inputs):
            return function(*inputs), inputs

        return check_layer(forward, lambda g, cache: spoil(as_numpy(pulled(g, *cache))), point, **how)

    return {
        "layer": layer,
        "vjp": lambda spoil, **how: check_vjp(function, lambda *all: spoil(as_numpy(pulled(*all))), point, **how),
        "jvp": lambda spoil, **how: check_jvp(function, lambda *both: spoil(as_numpy(pushed(*both))), point, **how),
        "jacobian": lambda spoil, **how: check_jacobian(vector, lambda x: spoil(np.asarray(matrix(x))), flat, **how),
        "hessian": lambda spoil, **how: check_hessian(slope, lambda x: spoil(np.asarray(curvature(x))), flat, **how),
        "product": lambda spoil, **how: check_hessian(slope, lambda x, v: spoil(as_numpy(product(x, v))), flat, **how),
    }


def spoiling(spoil, seen):
    """Spoil what is given, and note whether that has changed it by more than rounding."""

    def call(found):
        wrong = spoil(found)
        one, other = (np.concatenate([np.ravel(part) for part in jax.tree.leaves(each)]) for each in (found, wrong))
        seen.append(linalg.norm(one - other) > 1e-5 * linalg.norm(one))
        return wrong

    return call


def test_no_right_derivative_fails_and_every_wrong_one_does(spoilers):
    counts, bad = collections.Counter(), []
    with jax.enable_x64(True):
        for number in range(COUNT):
            title, function, point = program(np.random.default_rng(number))
            given = doors(function, point)
            for name, coverage in itertools.product(given, ("full", "directions")):
                door = given[name]
                how = {"coverage": coverage, "rng": np.random.default_rng(number)}
                verdict = door(lambda found: found, **how).verdict
                counts[name, coverage, "right", verdict.value] += 1
                bad += [(number, title, name, coverage, "false alarm")] if verdict is Verdict.FAIL else []
                for mistake, spoil in spoilers.items() if verdict is Verdict.PASS else ():
                    seen = []
                    verdict = door(spoiling(spoil, seen), **how).verdict
                    if any(seen):
                        counts[name, coverage, "wrong", verdict.value] += 1
                        bad += [(number, title, name, coverage, mistake)] if verdict is not Verdict.FAIL else []
    print("", *(f"{' '.join(key)}: {count}" for key, count in sorted(counts.items())), *bad, sep="\n")
    assert not bad
