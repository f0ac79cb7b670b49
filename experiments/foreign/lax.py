"""Lax: functions of jax.lax and jax.numpy in float64, with the gradients that jax.grad gives."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np

from checks.measure.layout import Array
from experiments.foreign.sample import Sample, Tensors, Unit, real, seeded

PART = "lax"
QUICK = 16  # the quick campaign takes every so many-th function

#: A function of jax's arrays, and where to check it, one array for each of its arguments.
Function: TypeAlias = tuple[Callable[..., Any], Callable[[np.random.Generator], tuple[Array, ...]]]


def units(seed: int, *, quick: bool) -> list[Unit]:
    """Give a unit for every function."""
    keys = list(_functions())
    return [Unit(PART, key, seed, quick) for key in (keys[::QUICK] if quick else keys)]


def samples(unit: Unit) -> Iterator[Sample]:
    """Give the one sample of a function, made scalar by fixed random weights."""
    import jax

    jax.config.update("jax_enable_x64", True)
    function, draw = _functions()[unit.key]
    rng = seeded(unit.seed, unit.key)
    point = {f"x{place}": array for place, array in enumerate(draw(rng))}
    shape = jax.eval_shape(function, *point.values()).shape
    weights = rng.standard_normal(shape)
    fewer = weights.copy()
    fewer.reshape(-1)[-1] = 0.0

    def scalar(used: Array, arguments: tuple[Any, ...]) -> Any:
        return (used * function(*arguments)).sum()

    value, slopes = jax.jit(scalar), jax.jit(jax.grad(scalar, argnums=1))

    def gradients(used: Array, tensors: Tensors) -> Tensors:
        found = slopes(used, tuple(tensors.values()))
        return {name: np.array(one) for name, one in zip(tensors, found, strict=True)}

    def loss(tensors: Tensors) -> float:
        return float(value(weights, tuple(tensors.values())))

    lacking = partial(gradients, fewer) if weights.size > 1 else None
    yield Sample(PART, unit.key, real(loss), partial(gradients, weights), point, lacking=lacking)


def _normal(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    return lambda rng: tuple(rng.standard_normal(shape) for shape in shapes)


def _uniform(low: float, high: float, *shapes: tuple[int, ...]) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    return lambda rng: tuple(rng.uniform(low, high, shape) for shape in shapes)


@cache
def _functions() -> dict[str, Function]:
    """Give all functions by name."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    def of_entries(function: Callable[[Any], Any], low: float, high: float) -> Function:
        return function, _uniform(low, high, (7,))

    def positive(a: Any) -> Any:
        return a @ a.T + 3.0 * jnp.eye(a.shape[0])

    def scanned(a: Any) -> Any:
        return lax.scan(lambda state, x: (jnp.tanh(0.9 * state + x), state), 0.3, a)[1]

    def looped(a: Any) -> Any:
        return lax.fori_loop(0, 5, lambda _, v: jnp.sin(v) + 0.1 * v, a)

    image, filters = (2, 3, 6, 5), (4, 3, 3, 2)
    return {
        "acosh": of_entries(lax.acosh, 1.1, 6.0),
        "asin": of_entries(lax.asin, -0.95, 0.95),
        "asinh": of_entries(lax.asinh, -3.0, 3.0),
        "atan2": (lax.atan2, _normal((5,), (5,))),
        "atanh": of_entries(lax.atanh, -0.95, 0.95),
        "bessel_i0e": of_entries(lax.bessel_i0e, 0.1, 9.0),
        "bessel_i1e": of_entries(lax.bessel_i1e, -9.0, 9.0),
        "cbrt": of_entries(lax.cbrt, 0.05, 9.0),
        "digamma": of_entries(lax.digamma, 0.2, 9.0),
        "erf": of_entries(lax.erf, -3.0, 3.0),
        "erfc": of_entries(lax.erfc, -2.0, 5.0),
        "erf_inv": of_entries(lax.erf_inv, -0.99, 0.99),
        "expm1": of_entries(lax.expm1, -1.0, 4.0),
        "igamma": (lambda x: lax.igamma(jnp.full(x.shape, 2.5), x), _uniform(0.1, 9.0, (7,))),
        "igammac": (lambda x: lax.igammac(jnp.full(x.shape, 0.7), x), _uniform(0.1, 9.0, (7,))),
        "lgamma": of_entries(lax.lgamma, 0.2, 30.0),
        "log1p": of_entries(lax.log1p, -0.9, 9.0),
        "logistic": of_entries(lax.logistic, -9.0, 9.0),
        "pow": (lax.pow, _uniform(0.3, 3.0, (5,), (5,))),
        "rsqrt": of_entries(lax.rsqrt, 1e-3, 5.0),
        "tan": of_entries(lax.tan, -1.3, 1.3),
        "betainc": (
            lambda x: lax.betainc(jnp.full(x.shape, 2.5), jnp.full(x.shape, 0.7), x),
            _uniform(0.05, 0.95, (7,)),
        ),
        "max, min and clamp": (lambda x, y: lax.max(x, y) * lax.clamp(-1.0, x, 1.0), _normal((7,), (7,))),
        "cumsum": (lax.cumsum, _normal((7,))),
        "cumprod": (lax.cumprod, _normal((7,))),
        "cumlogsumexp": (lax.cumlogsumexp, _normal((7,))),
        "dot_general": (
            lambda a, b: lax.dot_general(a, b, (((2,), (1,)), ((0,), (0,)))),
            _normal((2, 3, 5), (2, 5, 4)),
        ),
        "conv": (lambda a, b: lax.conv(a, b, (1, 2), "SAME"), _normal(image, filters)),
        "reduce_window, max": (
            lambda a: lax.reduce_window(a, -jnp.inf, lax.max, (1, 2, 2), (1, 1, 1), "VALID"),
            _normal((2, 5, 4)),
        ),
        "reduce_window, sum": (
            lambda a: lax.reduce_window(a, 0.0, lax.add, (1, 3, 2), (1, 2, 1), "SAME"),
            _normal((2, 5, 4)),
        ),
        "gather": (lambda a: a[jnp.array([3, 0, 0, 5])], _normal((7, 3))),
        "scatter-add": (lambda a, b: a.at[jnp.array([1, 4, 1])].add(b**2), _normal((7,), (3,))),
        "dynamic_update_slice": (lambda a, b: lax.dynamic_update_slice(a * a, b, (2,)), _normal((7,), (3,))),
        "sort": (lambda a: lax.sort(a) ** 2, _normal((7,))),
        "top_k": (lambda a: lax.top_k(a, 3)[0], _normal((7,))),
        "scan": (scanned, _normal((7,))),
        "fori_loop": (looped, _normal((7,))),
        "cond": (lambda a: lax.cond(a[0] > 0, jnp.sin, jnp.cos, a), _normal((7,))),
        "cholesky": (lambda a: jnp.linalg.cholesky(positive(a)), _normal((4, 4))),
        "slogdet": (lambda a: jnp.linalg.slogdet(positive(a))[1], _normal((4, 4))),
        "solve": (jnp.linalg.solve, _normal((4, 4), (4, 3))),
        "eigh, values": (lambda a: jnp.linalg.eigh(a + a.T)[0], _normal((4, 4))),
        "svd, values": (lambda a: jnp.linalg.svd(a, compute_uv=False), _normal((4, 3))),
        "logsumexp": (lambda a: jax.nn.logsumexp(a, axis=1), _normal((5, 3))),
        "softmax": (jax.nn.softmax, _normal((5, 3))),
        "gelu": of_entries(jax.nn.gelu, -4.0, 4.0),
    }
