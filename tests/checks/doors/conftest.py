"""Functions with derivatives that scipy, numpy or scikit-learn give, and the mistakes that people make in them."""

import numpy as np
import pytest
from scipy import linalg, special

rng = np.random.default_rng(0)


def solve(A, b):
    return linalg.solve(A, b)


def solve_vjp(g, A, b):
    flow = linalg.solve(A.T, g)
    return -np.outer(flow, linalg.solve(A, b)), flow


def convolve(image, kernel):
    from scipy import signal  # here, for it takes most of a second

    return signal.convolve2d(image, kernel, mode="full")


def convolve_vjp(g, image, kernel):
    from scipy import signal

    return signal.correlate2d(g, kernel, mode="valid"), signal.correlate2d(g, image, mode="valid")


def entropy(params, labels):
    z = params["layers"][0]["W"] @ params["x"]
    return {"loss": special.logsumexp(z, axis=0) - z[labels, np.arange(z.shape[1])], "p": special.softmax(z, axis=0)}


def entropy_vjp(g, params, labels):
    W, x = params["layers"][0]["W"], params["x"]
    p = special.softmax(W @ x, axis=0)
    flow = g["loss"] * (p - np.eye(len(p))[:, labels]) + p * (g["p"] - (g["p"] * p).sum(axis=0))
    return {"layers": [{"W": flow @ x.T}], "x": W.T @ flow}, None


def spectrum(z):
    return np.fft.fft(z)


def spectrum_vjp(g, z):
    return len(z) * np.fft.ifft(g)


NETS = {"layers": [{"W": rng.normal(size=(5, 3))}], "x": rng.normal(size=(3, 7))}
#: The function, its VJP, and its inputs.
VJPS = {
    "a linear solve": (solve, solve_vjp, (rng.normal(size=(5, 5)) + 3 * np.eye(5), rng.normal(size=5))),
    "a convolution": (convolve, convolve_vjp, (rng.normal(size=(7, 5)), rng.normal(size=(3, 2)))),
    "a structure": (entropy, entropy_vjp, (NETS, np.array([0, 4, 2, 2, 1, 3, 0]))),
    "complex numbers": (spectrum, spectrum_vjp, rng.normal(size=7) + 1j * rng.normal(size=7)),
}


def changed(gradient, change):
    """Change the first array of a gradient, however nested."""
    if isinstance(gradient, dict):
        first = next(iter(gradient))
        return gradient | {first: changed(gradient[first], change)}
    if isinstance(gradient, list | tuple):
        return type(gradient)([changed(gradient[0], change), *gradient[1:]])
    return change(gradient)


def one_entry(array):
    array = np.array(array)
    array.flat[array.size // 2] *= 1.01
    return array


#: What people do to an array of derivatives.
MISTAKES = {
    "1 % too much": lambda a: 1.01 * np.asarray(a),
    "one entry": one_entry,
    "another order": lambda a: np.reshape(np.asarray(a).T if a.ndim > 1 else a[::-1], a.shape),
    "a mean for a sum": lambda a: np.asarray(a) / len(a),
    "a wrong sign": lambda a: -np.asarray(a),
    "a missing term": lambda a: np.asarray(a) - 0.1 * np.mean(np.abs(a)),
}


@pytest.fixture(params=VJPS)
def vjp_case(request):
    """Give a function with its VJP and inputs."""
    return VJPS[request.param]


@pytest.fixture(params=MISTAKES)
def mistake(request):
    """Give a function that spoils the first array of a gradient."""
    return lambda gradient: changed(gradient, MISTAKES[request.param])


@pytest.fixture(params=["full", "directions"])
def how(request):
    """Give the options of a check: a coverage, and where its directions come from."""
    return {"coverage": request.param, "rng": np.random.default_rng(1)}


@pytest.fixture
def spoilers():
    """Give all functions that spoil the first array of a gradient, by name."""
    return {name: lambda found, change=change: changed(found, change) for name, change in MISTAKES.items()}
