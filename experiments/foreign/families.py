"""Families: functions of public reports, told anew, each with its gradient in closed form, at many points.

- *rates*: losses that cancel, or are staircases finer than the eye, at 40 points each, and one that is neither;
- *bends*: smooth losses that bend within 1e-5 of the point, with one entry of the gradient wrong by a factor;
- *Gaussian process*: a marginal likelihood by Cholesky, where LAPACK drops the imaginary part of a diagonal;
- *kinds*: one function each for what a checker can get wrong, with the verdict that is right there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from checks.measure.layout import Array
from experiments.foreign.sample import Gradients, Loss, Sample, Tensors, Unit, real

PART = "families"
SEEDS, QUICK_SEEDS = 40, 2  # points of each rate and scale
PROCESSES, QUICK_PROCESSES = 100, 4  # points of the Gaussian process for each of the noises
NOISES = (1e-2, 1e-3, 1e-4)
FACTORS = (1.0001, 1.01, 1.5, 2.0, 0.5, 0.0)  # by which the first entry is wrong near a bend
NEAR = (1e-6, 3e-6, 1e-7, 1e-8)  # how near the bend is
PEERS = ("torch slow", "torch fast")


@dataclass(frozen=True)
class Rate:
    """A loss over rows of numbers: its value, and the gradient of every row's term."""

    value: Callable[[Array], Any]
    rows: Callable[[Array], Any]
    point: Array


def units(seed: int, *, quick: bool) -> list[Unit]:
    """Give a unit for every rate at a scale, every bend, every noise of the process, and one for the kinds."""
    rates = [f"rate {name} {scale:g}" for name, (_, scales) in RATES.items() for scale in scales]
    bends = [f"bend {name}" for name in BENDS]
    processes = [f"process {noise:g}" for noise in NOISES]
    return [Unit(PART, key, seed, quick) for key in (*rates, *(bends[::3] if quick else bends), *processes, "kinds")]


def samples(unit: Unit) -> Iterator[Sample]:
    """Give the samples of a unit."""
    what, _, key = unit.key.partition(" ")
    if what == "rate":
        name, _, scale = key.rpartition(" ")
        for number in range(QUICK_SEEDS if unit.quick else SEEDS):
            rate = RATES[name][0](np.random.default_rng([unit.seed, number]), float(scale))
            yield _of_rows(f"{unit.key} #{number}", rate)
    elif what == "bend":
        yield from _bends(key)
    elif what == "process":
        for number in range(QUICK_PROCESSES if unit.quick else PROCESSES):
            yield _process(f"{unit.key} #{number}", number + 1000 * unit.seed, float(key))
    else:
        yield from _kinds()


def _of_rows(name: str, rate: Rate) -> Sample:
    def gradients(last: int | None, tensors: Tensors) -> Tensors:
        return {"w": rate.rows(tensors["w"])[:last].sum(axis=0)}

    return _sample(name, rate.value, partial(gradients, None), rate.point, lacking=partial(gradients, -1))


def _sample(name: str, value: Callable[[Array], Any], gradients: Gradients, point: Array, **more: Any) -> Sample:
    return Sample(PART, name, lambda tensors: value(tensors["w"]), gradients, {"w": point}, **more)


def _rows(rng: np.random.Generator, scale: float) -> tuple[Array, Array]:
    return rng.normal(size=(8, 3)) * scale, rng.normal(size=3)


def _cross_entropy(rng: np.random.Generator, scale: float) -> Rate:
    """Give the cross-entropy as courses write it, log(1 - p) with p rounded near 1 (FluxML/Flux.jl#914)."""
    (inputs, w), targets = _rows(rng, scale), rng.integers(0, 2, 8).astype(float)

    def value(w: Array) -> Any:
        p = 1.0 / (1.0 + np.exp(-(inputs @ w)))
        return -np.mean(targets * np.log(p) + (1.0 - targets) * np.log(1.0 - p))

    return Rate(value, lambda w: inputs * ((1.0 / (1.0 + np.exp(-(inputs @ w))) - targets) / 8)[:, None], w)


def _log_tanh(rng: np.random.Generator, scale: float) -> Rate:
    """Give the log-Jacobian of a squashed policy, log(1 - tanh²) (rail-berkeley/rlkit#37)."""
    inputs, w = _rows(rng, scale)
    return Rate(
        lambda w: np.mean(np.log(1.0 - np.tanh(inputs @ w) ** 2)),
        lambda w: inputs * (-2.0 * np.tanh(inputs @ w) / 8)[:, None],
        w,
    )


def _single(rng: np.random.Generator, scale: float, *, rounded: bool) -> Rate:
    """Give a float32 forward pass under a penalty in float64 (PaddlePaddle/Paddle#4283 and many others)."""
    inputs = rng.normal(size=(8, 3)).astype(np.float32) * np.float32(scale)
    w, targets = rng.normal(size=3), rng.normal(size=8).astype(np.float32)

    def value(w: Array) -> Any:
        error = inputs @ w.astype(np.float32) - targets
        return float((error**2).mean()) + 0.01 * (w**2).sum()

    def rows(w: Array) -> Any:
        wide = inputs.astype(float)
        return wide * (2.0 * (wide @ w - targets) / 8)[:, None] + 0.02 * w / 8

    return Rate(value, rows, w.astype(np.float32).astype(float) if rounded else w)


def _mixture(rng: np.random.Generator, scale: float) -> Rate:
    """Give the log-likelihood of a mixture by plain exp and log, with the usual 1e-8 inside."""
    inputs, w = _rows(rng, scale)

    def rows(w: Array) -> Any:
        z = inputs @ w
        bell = np.exp(-(z**2) / 2)
        return inputs * (-z * bell / (bell + 1e-8) / 8)[:, None]

    return Rate(lambda w: np.mean(np.log(np.exp(-((inputs @ w) ** 2) / 2) + 1e-8)), rows, w)


def _chord(rng: np.random.Generator, scale: float) -> Rate:
    """Give small angles by sqrt(1 - cos), as distances on a sphere are taken (gboeing/osmnx#131)."""
    inputs, w = _rows(rng, 1e-4 * scale)

    def rows(w: Array) -> Any:
        z = inputs @ w
        return inputs * (np.cos(z / 2) * np.sign(z) / np.sqrt(2) / 8)[:, None]

    return Rate(lambda w: np.mean(np.sqrt(1.0 - np.cos(inputs @ w))), rows, w)


def _distances(rng: np.random.Generator, scale: float) -> Rate:
    """Give distances by a² + b² - 2ab, one of them short (pytorch/pytorch#42479)."""
    others = rng.normal(size=(8, 3)) * scale
    w = others[0] + rng.normal(size=3) * 1e-3

    def rows(w: Array) -> Any:
        apart = w - others
        return apart / np.sqrt((apart * apart).sum(axis=1))[:, None] / 8

    return Rate(lambda w: np.mean(np.sqrt(w @ w + (others * others).sum(axis=1) - 2.0 * others @ w)), rows, w)


def _stable(rng: np.random.Generator, scale: float) -> Rate:
    """Give the cross-entropy of logits, which does not cancel: the one among them that is well."""
    (inputs, w), targets = _rows(rng, scale), rng.integers(0, 2, 8).astype(float)

    def rows(w: Array) -> Any:
        return inputs * ((1.0 / (1.0 + np.exp(-(inputs @ w))) - targets) / 8)[:, None]

    return Rate(lambda w: np.mean(np.logaddexp(0.0, inputs @ w) - targets * (inputs @ w)), rows, w)


RATES: dict[str, tuple[Callable[[np.random.Generator, float], Rate], tuple[float, ...]]] = {
    "cross-entropy by log(1 - p)": (_cross_entropy, (3, 5, 8)),
    "log(1 - tanh²)": (_log_tanh, (2, 4, 6)),
    "float32 inside": (partial(_single, rounded=False), (1, 10)),
    "float32 inside, point in float32": (partial(_single, rounded=True), (1, 10)),
    "log-likelihood of a mixture": (_mixture, (1, 3)),
    "sqrt(1 - cos)": (_chord, (1, 100)),
    "distances by a² + b² - 2ab": (_distances, (1, 100)),
    "cross-entropy of logits": (_stable, (3, 8, 30)),
}

#: Smooth losses that bend near 0: value, derivative, and whether they take real numbers only. Near a bend a step has to
#: be short against the parameter, not against 1 (microsoft/ADBench#68).
BENDS: dict[str, tuple[Callable[[Array], Any], Callable[[Array], Any], bool]] = {
    "cbrt": (lambda v: np.cbrt(v).sum(), lambda v: 1.0 / (3.0 * np.cbrt(v) ** 2), False),
    "1/x, real": (lambda v: (1.0 / v).sum(), lambda v: -1.0 / v**2, True),
    "1/x": (lambda v: (1.0 / v).sum(), lambda v: -1.0 / v**2, False),
    "sqrt|x|": (lambda v: np.sqrt(np.abs(v)).sum(), lambda v: np.sign(v) / (2.0 * np.sqrt(np.abs(v))), False),
    "log|x|": (lambda v: np.log(np.abs(v)).sum(), lambda v: 1.0 / v, False),
    "x·sqrt|x|": (lambda v: (v * np.sqrt(np.abs(v))).sum(), lambda v: 1.5 * np.sqrt(np.abs(v)), False),
    "x·log|x|": (lambda v: (v * np.log(np.abs(v))).sum(), lambda v: np.log(np.abs(v)) + 1.0, False),
    "sqrt(x² + 1e-12)": (lambda v: np.sqrt(v**2 + 1e-12).sum(), lambda v: v / np.sqrt(v**2 + 1e-12), True),
    "sqrt(x² + 1e-16)": (lambda v: np.sqrt(v**2 + 1e-16).sum(), lambda v: v / np.sqrt(v**2 + 1e-16), True),
    "tanh(1e6·x)": (lambda v: np.tanh(1e6 * v).sum(), lambda v: 1e6 / np.cosh(np.minimum(1e6 * v, 300.0)) ** 2, True),
    "softplus(1e6·x)/1e6": (
        lambda v: np.logaddexp(0.0, 1e6 * v).sum() / 1e6,
        lambda v: 1.0 / (1.0 + np.exp(-np.clip(1e6 * v, -500, 500))),
        True,
    ),
}


def _bends(name: str) -> Iterator[Sample]:
    value, derivative, is_real = BENDS[name]

    def gradients(factor: float, tensors: Tensors) -> Tensors:
        slopes = derivative(tensors["w"])
        return {"w": np.r_[factor * slopes[:1], slopes[1:]]}

    def loss(tensors: Tensors) -> Any:
        return value(tensors["w"])

    mistakes = {f"first entry ×{factor:g}": partial(gradients, factor) for factor in FACTORS}
    for near in NEAR:
        point = {"w": np.r_[near, np.linspace(0.5, 12.0, 14)]}
        taken: Loss = real(loss) if is_real else loss
        yield Sample(PART, f"bend {name} {near:g}", taken, partial(gradients, 1.0), point, mistakes=mistakes)


def _process(name: str, seed: int, noise: float) -> Sample:
    """Give the marginal likelihood of a Gaussian process by Cholesky, as its user wrote it (scipy/scipy#6364)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(8, 1))
    y = np.sin(x[:, 0]) + noise * rng.normal(size=8)
    squares = (x - x.T) ** 2

    def covariance(t: Array) -> Any:
        return t[0] ** 2 * np.exp(-0.5 * squares / t[1] ** 2) + t[2] ** 2 * np.eye(8)

    def value(t: Array) -> Any:
        lower = np.linalg.cholesky(covariance(t))
        alpha = np.linalg.solve(lower.T, np.linalg.solve(lower, y))
        return 0.5 * y @ alpha + np.log(np.diag(lower)).sum()

    def gradients(terms: int, tensors: Tensors) -> Tensors:
        t = tensors["w"]
        inverse = np.linalg.inv(covariance(t))
        alpha = inverse @ y
        bell = np.exp(-0.5 * squares / t[1] ** 2)
        parts = (2 * t[0] * bell, t[0] ** 2 * bell * squares / t[1] ** 3, 2 * t[2] * np.eye(8))
        inner = inverse - np.outer(alpha, alpha) if terms == 2 else inverse
        return {"w": np.array([0.5 * np.trace(inner @ part) for part in parts])}

    point = np.array([1.0, 1.0, noise])
    return _sample(name, value, partial(gradients, 2), point, lacking=partial(gradients, 1))


def _kinds() -> Iterator[Sample]:
    """Give one function of each kind, and the verdict that is right of it."""
    x = np.array([0.3, 0.7, 1.1])
    doubled = 2.0

    def one(
        name: str,
        value: Callable[[Array], Any],
        slope: Callable[[Array], Any],
        point: Array,
        right: str = "PASS",
        factor: float = 1.0,
    ) -> Sample:
        mistakes = {"doubled": lambda tensors: {"w": factor * slope(tensors["w"])}} if factor != 1.0 else {}
        right_one: Gradients = lambda tensors: {"w": slope(tensors["w"])}  # noqa: E731
        return _sample(f"kind {name}", value, right_one, point, mistakes=mistakes, exposes=right)

    for start in (np.array([24.0]), np.array([22.0, 0.3])):
        yield one(
            f"-log(1 - sigmoid), {start[0]:g} of {start.size}",
            lambda w: -np.log(1 - 1 / (1 + np.exp(-w))).sum(),
            lambda w: 1 / (1 + np.exp(-w)),
            start,
            "not FAIL",
        )
    for unit in (1e155, 1e200, 1e-15, 1e-16, 1e-52, 1e-165, 1e-200):
        yield one(
            f"sin in units of {unit:g}",
            partial(_scaled, unit, lambda v: np.sin(v).sum()),
            partial(_scaled, unit, np.cos),
            x,
            factor=doubled,
        )
    for offset, (name, value) in product(
        (0.0, 1e6, 1e8, 1e10, 1e12),
        (
            ("|w - 1|² by vdot", lambda w: np.vdot(w - 1, w - 1)),
            ("x·|x| by conj", lambda w: (np.sqrt((w * np.conj(w)).real) * w).sum()),
        ),
    ):
        slope = (lambda w: 2 * (w - 1)) if "vdot" in name else (lambda w: 2 * np.abs(w))
        yield one(f"{name}, offset {offset:g}", partial(_above, offset, value), slope, x, "not FAIL")
    u = np.array([1.0, 2.0, 3.0])

    def softmax(v: Array) -> Any:
        share = np.exp(v - v.max())
        return share / share.sum()

    masked = np.array([1.0, 2.0, -np.inf])
    yield one(
        "masked logits (-inf)",
        lambda v: softmax(v) @ u,
        lambda v: softmax(v) * (u - softmax(v) @ u),
        masked,
        "not FAIL",
    )
    yield one(
        "nansum", lambda v: np.nansum(v**2), lambda v: np.where(np.isnan(v), 0, 2 * v), np.array([1.0, np.nan, 2.0]),
        "not FAIL",
    )  # fmt: skip
    yield one("|x| at 0", lambda v: np.abs(v).sum(), np.sign, np.zeros(1), "not FAIL")
    yield one("x² at 0", lambda v: (v**2).sum(), lambda v: 2 * v, np.zeros(1), "not FAIL")
    yield one(
        "the first of tied maxima", lambda v: 2 * v.max(), _first_largest, np.array([1.0, 1.0, 0.0, 0.2]), "not FAIL"
    )
    yield one(
        "every tied maximum", lambda v: 2 * v.max(), lambda v: 2.0 * (v == v.max()), np.array([1.0, 1.0, 0.0, 0.2]),
        "not PASS",
    )  # fmt: skip
    yield one("sqrt that raises below 1e-9", _edge, lambda v: 0.5 / np.sqrt(v), np.array([5e-6, 1.0]), "PASS")
    yield _batch_norm()


def _scaled(unit: float, function: Callable[[Array], Any], v: Array) -> Any:
    return unit * function(v)


def _above(offset: float, function: Callable[[Array], Any], v: Array) -> Any:
    return function(v) + offset


def _first_largest(v: Array) -> Any:
    return 2.0 * (np.arange(v.size) == np.argmax(v))


def _edge(v: Array) -> Any:
    if v[0].real < 1e-9:
        raise RuntimeError("outside the domain")
    return np.sqrt(v).sum()


def _batch_norm() -> Sample:
    """Give a bias before batch-norm: its gradient is 0 in theory and 1e-17 in floats (CS231n's networks have it)."""
    rng = np.random.default_rng(2)
    inputs, targets = rng.normal(size=(6, 5)), rng.normal(size=(6, 4))

    def forward(tensors: Tensors) -> tuple[Array, Array]:
        a = inputs @ tensors["W"] + tensors["b"]
        a = a - a.mean(axis=0)
        inverse = 1.0 / np.sqrt((a * a).mean(axis=0) + 1e-5)
        return a * inverse, inverse

    def gradients(tensors: Tensors) -> Tensors:
        normal, inverse = forward(tensors)
        flow = 2.0 * (normal - targets)
        flow = inverse * (flow - flow.mean(axis=0) - normal * (flow * normal).mean(axis=0))
        return {"W": inputs.T @ flow, "b": flow.sum(axis=0)}

    point = {"W": rng.normal(size=(5, 4)), "b": np.zeros(4)}
    return Sample(
        PART,
        "kind bias before batch-norm",
        lambda tensors: ((forward(tensors)[0] - targets) ** 2).sum(),
        gradients,
        point,
        mistakes={},
        exposes="PASS",
    )
