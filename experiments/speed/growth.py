"""Growth: what a check costs as the network grows: time, and memory in units of the parameters."""

import gc
import math
import statistics
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from checks.training.probe import Probe
from datasets.fraud import Split
from experiments.figures import Figure, compared
from experiments.speed.checkers import check, exercise_gradient, probe_of, torch_gradcheck
from experiments.speed.timing import quartiles, stopwatch

WIDTHS = {  # of the two hidden layers; the third is the reference network of the tables
    100: (3, 3),
    1_000: (19, 19),
    4_097: (64, 32),
    10_000: (85, 85),
    100_000: (301, 301),
    1_000_000: (985, 985),
    10_000_000: (3_147, 3_147),
}
REFERENCE = 4_097
ROWS = 64
PEERS_AT_MOST = 10_000  # parameters up to which the quadratic peers are run: at 100,000 each takes many minutes


@dataclass(frozen=True)
class Point:
    """One network of a growth curve.

    Attributes
    ----------
    n_parameters : int
    seconds : dict of str to float
        Median time of each contestant; ``"passes"`` is one forward and one backward pass.
    memory : float
        Peak of the check in units of the parameters' own size in float64, themselves included.
    activations : float
        What one complex forward pass holds of the rows, before and after each activation, in the same units.
    """

    n_parameters: int
    seconds: dict[str, float]
    memory: float = math.nan
    activations: float = math.nan


def directions(data: Split, largest: int, repetitions: int) -> list[Point]:
    """Check along one direction, in networks of 10³ parameters to `largest`."""
    points = []
    for wanted, widths in WIDTHS.items():
        if not 1_000 <= wanted <= largest:
            continue
        probe = probe_of(data, ROWS, (30, *widths, 1))
        rng = np.random.default_rng(0)
        runs: dict[str, Callable[[], object]] = {
            "backproof": lambda probe=probe, rng=rng: check(probe, "directions", rng),  # type: ignore[misc]
            "passes": lambda probe=probe: probe.gradients(probe.parameters),  # type: ignore[misc]
        }
        if find_spec("torch"):
            runs["torch fast"] = torch_gradcheck(probe, fast_mode=True)
        count = repetitions if wanted < 1_000_000 else 3
        seconds = {name: _median(run, count) for name, run in runs.items()}
        n = probe.network.n_parameters
        points.append(Point(n, seconds, _peak(probe, rng) / (8 * n) + 1, 16 * ROWS * 2 * sum(widths) / (8 * n)))
    return points


def full(data: Split, largest: int, repetitions: int) -> list[Point]:
    """Check every coordinate, in networks of 10² parameters to `largest`."""
    points = []
    for wanted, widths in WIDTHS.items():
        if wanted > largest:
            continue
        probe = probe_of(data, ROWS, (30, *widths, 1))
        runs: dict[str, Callable[[], object]] = {"backproof": lambda probe=probe: check(probe, "full")}  # type: ignore[misc]
        if wanted <= PEERS_AT_MOST:
            runs["exercise"] = lambda probe=probe: exercise_gradient(probe)  # type: ignore[misc]
            if find_spec("torch"):
                runs["torch slow"] = torch_gradcheck(probe, fast_mode=False)
        count = repetitions if wanted < PEERS_AT_MOST else 1
        points.append(Point(probe.network.n_parameters, {name: _median(run, count) for name, run in runs.items()}))
    return points


def exponent(points: list[Point], name: str = "backproof") -> float:
    """Fit ``seconds = c · n**exponent`` by least squares in logarithms, over the upper half of the points."""
    own = [point for point in points if name in point.seconds][-3:]
    n, seconds = ([math.log(value) for value in values] for values in zip(*_pairs(own, name), strict=True))
    return statistics.linear_regression(n, seconds).slope


def figures(along: list[Point], every: list[Point]) -> list[Figure]:
    """Sum the two curves up."""
    cost = [point.seconds["backproof"] / point.seconds["passes"] for point in along]
    worst = max(point.memory - point.activations for point in along[len(along) // 2 :])
    span = f"{along[0].n_parameters:.0e} to {along[-1].n_parameters:.0e} parameters"
    memory = ", ".join(f"{p.n_parameters}: {p.memory:.2f} (activations {p.activations:.2f})" for p in along)
    return [
        compared(
            f"`directions`, {span}: check against one forward and one backward pass, at the largest",
            (cost[-1], min(cost), max(cost)),
            lower=True,
            note=_milliseconds(along),
        ),
        compared(
            "`directions`: peak memory over the parameters', activations of the probe aside",
            quartiles([worst]),
            4.0,
            lower=True,
            note=memory,
        ),
        compared(
            f"`full`, {every[0].n_parameters} to {every[-1].n_parameters} parameters: exponent of the time in n",
            quartiles([exponent(every)]),
            lower=True,
            unit="",
            note=_milliseconds(every),
        ),
    ]


def _milliseconds(points: list[Point]) -> str:
    return ", ".join(f"{point.n_parameters}: {1e3 * point.seconds['backproof']:.3g} ms" for point in points)


def _pairs(points: list[Point], name: str) -> list[tuple[float, float]]:
    return [(point.n_parameters, point.seconds[name]) for point in points]


def _median(run: Callable[[], object], repetitions: int) -> float:
    run()
    return statistics.median(stopwatch(run) for _ in range(repetitions))


def _peak(probe: Probe, rng: np.random.Generator) -> float:
    """Return the bytes that a check has allocated at its peak, beyond what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        check(probe, "directions", rng)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
