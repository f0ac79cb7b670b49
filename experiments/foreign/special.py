"""Special: scipy's special functions, whose derivatives are known in closed form, and its functions to be optimized.

Each function is summed over a few arguments at a time with fixed random weights: ordinary ones, small ones, large ones,
and ones at the edge of where it lives. Arguments at which it or its derivative leaves the range of floats are left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from checks.measure.layout import Array
from experiments.foreign.sample import Sample, Tensors, Unit, seeded

PART = "special"
QUICK = 5  # the quick campaign takes every so many-th function
LARGEST = 1e100  # values and slopes beyond it are left out

#: Arguments by where a function lives.
LINE = (
    (-1.3, -0.4, 0.3, 0.9, 2.1),
    (-3.7, 2.9, 0.05),
    (1e-3, -2e-5, 3e-8),
    (-6.1, 4.3, 5.7),
    (12.0, -15.0, 25.0),
)
POSITIVE = (
    (0.3, 0.9, 2.1, 3.7),
    (1e-2, 1e-4, 3e-3),
    (2e-6, 1e-8, 0.7),
    (8.3, 14.0, 21.5),
    (60.0, 120.0, 1e3),
)
UNIT = (
    (0.1, 0.35, 0.6, 0.85),
    (1e-3, 2e-5, 0.5),
    (3e-8, 1e-10, 0.2),
    (0.99, 0.9999, 0.7),
    (1.0 - 1e-5, 0.4, 1.0 - 1e-6),
)
INSIDE = ((-0.8, -0.3, 0.2, 0.7), (1e-4, -3e-7, 0.1), (0.999, -0.9999, 0.5), (1.0 - 1e-6, 0.3, -0.6))


@dataclass(frozen=True)
class Function:
    """A function of one argument, or of several, its derivative in each, and arguments to try."""

    value: Callable[..., Any]
    slopes: tuple[Callable[..., Any], ...]
    arguments: tuple[tuple[Any, ...], ...]


def units(seed: int, *, quick: bool) -> list[Unit]:
    """Give a unit for every function."""
    keys = list(_functions())
    return [Unit(PART, key, seed, quick) for key in (keys[::QUICK] if quick else keys)]


def samples(unit: Unit) -> Iterator[Sample]:
    """Give a sample for every set of arguments at which value and slopes are ordinary floats."""
    function = _functions()[unit.key]
    for number, given in enumerate(function.arguments):
        several = given if isinstance(given[0], tuple) else (given,)
        point = {f"x{place}": np.array(each, dtype=np.float64) for place, each in enumerate(several)}
        yield from _sample(function, f"{unit.key} #{number}", point, seeded(unit.seed, f"{unit.key} {number}"))
        if unit.quick and number == 1:
            return


def _sample(function: Function, name: str, point: Tensors, rng: np.random.Generator) -> Iterator[Sample]:
    with np.errstate(all="ignore"):
        found = [function.value(*point.values()), *(slope(*point.values()) for slope in function.slopes)]
    if not all(np.isfinite(each).all() and np.max(np.abs(each)) < LARGEST for each in found):
        return
    weights = rng.uniform(0.5, 2.0, size=np.shape(found[0])) * rng.choice((-1.0, 1.0), size=np.shape(found[0]))

    def loss(tensors: Tensors) -> Any:
        return (weights * function.value(*tensors.values())).sum()

    def gradients(used: Array, tensors: Tensors) -> Tensors:
        return {
            key: used * slope(*tensors.values())
            for (key, _), slope in zip(tensors.items(), function.slopes, strict=True)
        }

    fewer = np.array(weights)
    fewer.reshape(-1)[-1] = 0.0
    lacking = partial(gradients, fewer) if weights.size > 1 else None
    yield Sample(PART, name, loss, partial(gradients, weights), point, lacking=lacking)


@cache
def _functions() -> dict[str, Function]:
    """Give all functions by name."""
    return {name: Function(*row) for name, row in (_plain() | _bessel() | _several() | _optimized()).items()}


def _one(value: Callable[[Any], Any], slope: Callable[[Any], Any], arguments: Any) -> tuple[Any, Any, Any]:
    return value, (slope,), arguments


def _plain() -> dict[str, tuple[Any, Any, Any]]:
    """Give the functions of one argument."""
    from scipy import special as s

    root = np.sqrt(np.pi)
    normal = np.sqrt(2.0 * np.pi)
    return {
        "erf": _one(s.erf, lambda x: 2 / root * np.exp(-(x**2)), LINE),
        "erfc": _one(s.erfc, lambda x: -2 / root * np.exp(-(x**2)), LINE),
        "erfcx": _one(s.erfcx, lambda x: 2 * x * s.erfcx(x) - 2 / root, LINE[:4]),
        "erfi": _one(s.erfi, lambda x: 2 / root * np.exp(x**2), LINE),
        "erfinv": _one(s.erfinv, lambda x: root / 2 * np.exp(s.erfinv(x) ** 2), INSIDE),
        "erfcinv": _one(s.erfcinv, lambda x: -root / 2 * np.exp(s.erfcinv(x) ** 2), UNIT),
        "dawsn": _one(s.dawsn, lambda x: 1 - 2 * x * s.dawsn(x), LINE),
        "wofz, real part": _one(lambda x: s.wofz(x).real, lambda x: -2 * x * np.exp(-(x**2)), LINE),
        "wofz, imaginary part": _one(lambda x: s.wofz(x).imag, lambda x: 2 / root - 2 * x * s.wofz(x).imag, LINE),
        "ndtr": _one(s.ndtr, lambda x: np.exp(-(x**2) / 2) / normal, LINE),
        "log_ndtr": _one(s.log_ndtr, lambda x: np.exp(-(x**2) / 2 - s.log_ndtr(x)) / normal, LINE),
        "ndtri": _one(s.ndtri, lambda x: normal * np.exp(s.ndtri(x) ** 2 / 2), UNIT),
        "expit": _one(s.expit, lambda x: s.expit(x) * s.expit(-x), LINE),
        "log_expit": _one(s.log_expit, lambda x: s.expit(-x), LINE),
        "logit": _one(s.logit, lambda x: 1 / (x * (1 - x)), UNIT),
        "entr": _one(s.entr, lambda x: -np.log(x) - 1, POSITIVE),
        "gamma": _one(s.gamma, lambda x: s.gamma(x) * s.psi(x), POSITIVE),
        "rgamma": _one(s.rgamma, lambda x: -s.rgamma(x) * s.psi(x), POSITIVE),
        "gammaln": _one(s.gammaln, s.psi, POSITIVE),
        "loggamma": _one(s.loggamma, s.psi, POSITIVE),
        "psi": _one(s.psi, lambda x: s.polygamma(1, x), POSITIVE),
        "polygamma 1": _one(lambda x: s.polygamma(1, x), lambda x: s.polygamma(2, x), POSITIVE),
        "polygamma 3": _one(lambda x: s.polygamma(3, x), lambda x: s.polygamma(4, x), POSITIVE),
        "zeta(2, q)": _one(lambda q: s.zeta(2.0, q), lambda q: -2 * s.zeta(3.0, q), POSITIVE),
        "zeta(3.5, q)": _one(lambda q: s.zeta(3.5, q), lambda q: -3.5 * s.zeta(4.5, q), POSITIVE),
        "exp1": _one(s.exp1, lambda x: -np.exp(-x) / x, POSITIVE),
        "expi": _one(s.expi, lambda x: np.exp(x) / x, POSITIVE),
        "expn 2": _one(lambda x: s.expn(2, x), lambda x: -s.expn(1, x), POSITIVE),
        "expn 4": _one(lambda x: s.expn(4, x), lambda x: -s.expn(3, x), POSITIVE),
        "spence": _one(s.spence, lambda x: np.log(x) / (1 - x), POSITIVE),
        "fresnel S": _one(lambda x: s.fresnel(x)[0], lambda x: np.sin(np.pi * x**2 / 2), LINE),
        "fresnel C": _one(lambda x: s.fresnel(x)[1], lambda x: np.cos(np.pi * x**2 / 2), LINE),
        "sici, sine": _one(lambda x: s.sici(x)[0], _sine, LINE),
        "sici, cosine": _one(lambda x: s.sici(x)[1], lambda x: np.cos(x) / x, POSITIVE),
        "shichi, sine": _one(lambda x: s.shichi(x)[0], lambda x: np.sinh(x) / x, LINE),
        "shichi, cosine": _one(lambda x: s.shichi(x)[1], lambda x: np.cosh(x) / x, POSITIVE),
        "ellipk": _one(s.ellipk, lambda m: (s.ellipe(m) / (1 - m) - s.ellipk(m)) / (2 * m), (UNIT[0], *UNIT[3:])),
        "ellipe": _one(s.ellipe, lambda m: (s.ellipe(m) - s.ellipk(m)) / (2 * m), (UNIT[0], *UNIT[3:])),
        "ellipkinc": _one(lambda x: s.ellipkinc(x, 0.4), lambda x: 1 / np.sqrt(1 - 0.4 * np.sin(x) ** 2), LINE),
        "ellipeinc": _one(lambda x: s.ellipeinc(x, 0.4), lambda x: np.sqrt(1 - 0.4 * np.sin(x) ** 2), LINE),
        "lambertw": _one(lambda x: s.lambertw(x).real, lambda x: 1 / (x + np.exp(s.lambertw(x).real)), POSITIVE),
        "wrightomega": _one(s.wrightomega, lambda x: s.wrightomega(x) / (1 + s.wrightomega(x)), LINE),
        "exprel": _one(s.exprel, lambda x: (np.exp(x) * (x - 1) + 1) / x**2, (LINE[0], LINE[1][:2], LINE[3])),
        "expm1": _one(s.expm1, np.exp, LINE),
        "log1p": _one(s.log1p, lambda x: 1 / (1 + x), (*INSIDE, *POSITIVE)),
        "cosm1": _one(s.cosm1, lambda x: -np.sin(x), LINE),
        "cbrt": _one(s.cbrt, lambda x: 1 / (3 * s.cbrt(x) ** 2), LINE),
        "exp2": _one(s.exp2, lambda x: np.log(2) * s.exp2(x), LINE),
        "exp10": _one(s.exp10, lambda x: np.log(10) * s.exp10(x), LINE),
        "sindg": _one(s.sindg, lambda x: np.pi / 180 * s.cosdg(x), LINE),
        "tandg": _one(s.tandg, lambda x: np.pi / 180 * (1 + s.tandg(x) ** 2), LINE),
        "owens_t": _one(
            lambda h: s.owens_t(h, 0.7),
            lambda h: -np.exp(-(h**2) / 2) / (2 * normal) * s.erf(0.7 * h / np.sqrt(2)),
            LINE,
        ),
        "pseudo_huber": _one(lambda r: s.pseudo_huber(1.5, r), lambda r: r / np.sqrt(1 + (r / 1.5) ** 2), LINE),
        "huber": _one(lambda r: s.huber(1.5, r), lambda r: np.clip(r, -1.5, 1.5), LINE),
        "boxcox 0.3": _one(lambda x: s.boxcox(x, 0.3), lambda x: x ** (0.3 - 1), POSITIVE),
        "voigt at 0": _one(
            lambda x: s.voigt_profile(x, 0.8, 0.0), lambda x: -x / 0.8**2 * s.voigt_profile(x, 0.8, 0.0), LINE
        ),
    }


def _sine(x: Any) -> Any:
    return np.sin(x) / x


def _bessel() -> dict[str, tuple[Any, Any, Any]]:
    """Give Bessel's functions and their kin, and orthogonal polynomials."""
    from scipy import special as s

    rows = {
        "j0": _one(s.j0, lambda x: -s.j1(x), LINE),
        "j1": _one(s.j1, lambda x: (s.j0(x) - s.jv(2, x)) / 2, LINE),
        "y0": _one(s.y0, lambda x: -s.y1(x), POSITIVE),
        "y1": _one(s.y1, lambda x: (s.y0(x) - s.yn(2, x)) / 2, POSITIVE),
        "i0": _one(s.i0, s.i1, LINE),
        "i0e": _one(s.i0e, lambda x: s.i1e(x) - np.sign(x) * s.i0e(x), LINE),
        "i1": _one(s.i1, lambda x: (s.i0(x) + s.iv(2, x)) / 2, LINE),
        "k0": _one(s.k0, lambda x: -s.k1(x), POSITIVE),
        "k0e": _one(s.k0e, lambda x: s.k0e(x) - s.k1e(x), POSITIVE),
        "k1": _one(s.k1, lambda x: -(s.k0(x) + s.kv(2, x)) / 2, POSITIVE),
        "jv 2.5": _one(lambda x: s.jv(2.5, x), lambda x: s.jvp(2.5, x), POSITIVE),
        "yv 1.5": _one(lambda x: s.yv(1.5, x), lambda x: s.yvp(1.5, x), POSITIVE),
        "iv 0.5": _one(lambda x: s.iv(0.5, x), lambda x: s.ivp(0.5, x), POSITIVE),
        "kv 2.5": _one(lambda x: s.kv(2.5, x), lambda x: s.kvp(2.5, x), POSITIVE),
        "ive 1.5": _one(
            lambda x: s.ive(1.5, x), lambda x: (s.ive(0.5, x) + s.ive(2.5, x)) / 2 - s.ive(1.5, x), POSITIVE
        ),
        "struve 0": _one(lambda x: s.struve(0, x), lambda x: 2 / np.pi - s.struve(1, x), LINE),
        "modstruve 0": _one(lambda x: s.modstruve(0, x), lambda x: 2 / np.pi + s.modstruve(1, x), LINE),
        "ber": _one(s.ber, s.berp, LINE),
        "bei": _one(s.bei, s.beip, LINE),
        "ker": _one(s.ker, s.kerp, POSITIVE),
        "kei": _one(s.kei, s.keip, POSITIVE),
        "hyp0f1": _one(lambda z: s.hyp0f1(1.7, z), lambda z: s.hyp0f1(2.7, z) / 1.7, LINE),
        "hyp1f1": _one(lambda z: s.hyp1f1(0.7, 1.9, z), lambda z: 0.7 / 1.9 * s.hyp1f1(1.7, 2.9, z), LINE),
        "hyp2f1": _one(
            lambda z: s.hyp2f1(0.7, 1.1, 1.9, z), lambda z: 0.7 * 1.1 / 1.9 * s.hyp2f1(1.7, 2.1, 2.9, z), INSIDE
        ),
        "hermite 5": _one(lambda x: s.eval_hermite(5, x), lambda x: 10 * s.eval_hermite(4, x), LINE),
        "chebyt 6": _one(lambda x: s.eval_chebyt(6, x), lambda x: 6 * s.eval_chebyu(5, x), LINE),
        "laguerre 4": _one(lambda x: s.eval_laguerre(4, x), lambda x: -s.eval_genlaguerre(3, 1.0, x), LINE),
        "gegenbauer 3": _one(
            lambda x: s.eval_gegenbauer(3, 0.8, x), lambda x: 1.6 * s.eval_gegenbauer(2, 1.8, x), LINE
        ),
        "legendre 4": _one(lambda x: s.eval_legendre(4, x), lambda x: 2.5 * s.eval_jacobi(3, 1.0, 1.0, x), LINE),
    }
    for number, name in ((0, "airy A"), (2, "airy B")):
        rows[name] = _one(partial(_airy, number), partial(_airy, number + 1), LINE[:4])
    for name, function in (
        ("spherical_jn", s.spherical_jn),
        ("spherical_yn", s.spherical_yn),
        ("spherical_in", s.spherical_in),
        ("spherical_kn", s.spherical_kn),
    ):
        rows[name] = _one(partial(_spherical, function), partial(_spherical, function, derivative=True), POSITIVE)
    return rows


def _airy(number: int, x: Any) -> Any:
    from scipy.special import airy

    return airy(x)[number]


def _spherical(function: Callable[..., Any], x: Any, *, derivative: bool = False) -> Any:
    return function(2, x, derivative=derivative)


def _several() -> dict[str, tuple[Any, Any, Any]]:
    """Give the functions of two arguments, or of one beside parameters."""
    from scipy import special as s

    pairs = tuple((first, second) for first in POSITIVE[:4] for second in (first[::-1],))

    def density(a: float, b: float, x: Any) -> Any:
        return np.exp(s.xlogy(a - 1, x) + s.xlog1py(b - 1, -x) - s.betaln(a, b))

    return {
        "xlogy": (s.xlogy, (lambda x, y: np.log(y), lambda x, y: x / y), pairs),
        "xlog1py": (s.xlog1py, (lambda x, y: np.log1p(y), lambda x, y: x / (1 + y)), pairs),
        "rel_entr": (s.rel_entr, (lambda x, y: np.log(x / y) + 1, lambda x, y: -x / y), pairs),
        "kl_div": (s.kl_div, (lambda x, y: np.log(x / y), lambda x, y: 1 - x / y), pairs),
        "beta": (
            s.beta,
            (
                lambda a, b: s.beta(a, b) * (s.psi(a) - s.psi(a + b)),
                lambda a, b: s.beta(a, b) * (s.psi(b) - s.psi(a + b)),
            ),
            pairs,
        ),
        "betaln": (s.betaln, (lambda a, b: s.psi(a) - s.psi(a + b), lambda a, b: s.psi(b) - s.psi(a + b)), pairs),
        "binom": (
            s.binom,
            (
                lambda n, k: s.binom(n, k) * (s.psi(n + 1) - s.psi(n - k + 1)),
                lambda n, k: s.binom(n, k) * (s.psi(n - k + 1) - s.psi(k + 1)),
            ),
            (((5.3, 8.1, 12.7), (2.2, 3.4, 4.1)), ((40.5, 70.2), (1e-3, 11.0))),
        ),
        "gammainc 2.5": _one(
            lambda x: s.gammainc(2.5, x), lambda x: np.exp(1.5 * np.log(x) - x - s.gammaln(2.5)), POSITIVE
        ),
        "gammaincc 0.4": _one(
            lambda x: s.gammaincc(0.4, x), lambda x: -np.exp(-0.6 * np.log(x) - x - s.gammaln(0.4)), POSITIVE
        ),
        "betainc 2.5, 0.7": _one(lambda x: s.betainc(2.5, 0.7, x), partial(density, 2.5, 0.7), UNIT),
        "betainc 0.4, 3": _one(lambda x: s.betainc(0.4, 3.0, x), partial(density, 0.4, 3.0), UNIT),
        "chdtr 5": _one(
            lambda x: s.chdtr(5, x),
            lambda x: np.exp(1.5 * np.log(x) - x / 2 - 2.5 * np.log(2) - s.gammaln(2.5)),
            POSITIVE,
        ),
        "stdtr 4": _one(
            lambda t: s.stdtr(4, t),
            lambda t: np.exp(s.gammaln(2.5) - s.gammaln(2.0)) / np.sqrt(4 * np.pi) * (1 + t**2 / 4) ** -2.5,
            LINE,
        ),
        "logsumexp": (
            lambda x: np.atleast_1d(s.logsumexp(x)),
            (lambda x: s.softmax(x),),
            LINE,
        ),
    }  # fmt: skip


def _optimized() -> dict[str, tuple[Any, Any, Any]]:
    """Give the functions that scipy.optimize has with their gradients: Rosenbrock's, and its slope along a vector."""
    from scipy.optimize import rosen, rosen_der, rosen_hess_prod

    along = np.array([0.7, -1.1, 0.4, 1.9, -0.3])
    points = (
        (1.3, 0.7, 0.8, 1.9, 1.2),
        (1.0, 1.0, 1.0, 1.0, 1.001),
        (-30.0, 44.0, 12.0, 0.5, -7.0),
        (1e-6, -1e-7, 1e-5, 2e-6, 0.3),
    )
    return {
        "rosen": (lambda x: np.atleast_1d(rosen(x)), (rosen_der,), points),
        "rosen_der": (lambda x: np.atleast_1d(along @ rosen_der(x)), (lambda x: rosen_hess_prod(x, along),), points),
    }
