"""Growth: what a check and a training step cost as the network grows: time, and memory in units of the parameters."""

import gc
import math
import statistics
import tracemalloc
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np

from datasets import Split
from experiments.figures import Figure, compared
from experiments.peers import check
from experiments.speed.checkers import exercise_gradient, probe_of, torch_gradcheck
from experiments.speed.rivals import BATCH, rivals
from experiments.speed.timing import Run, quartiles, side_by_side, stopwatch
from trainer import Network

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
OWN = ("backproof", "numpy alone")
FASTEST_OF_TORCH = ("torch functional fused",)
PEERS_AT_MOST = 10_000  # parameters up to which the quadratic peers are run: at 100,000 each takes many minutes


@dataclass(frozen=True)
class Point:
    """One network of a growth curve; memory is in units of the parameters' own size in float64."""

    n_parameters: int
    seconds: dict[str, float]  # median of each contestant; "passes" is one forward and one backward pass
    memory: float = math.nan  # peak of the check, the parameters included
    activations: float = math.nan  # what one complex forward pass holds of the rows, before and after each activation


def directions(data: Split, largest: int, repetitions: int) -> list[Point]:
    """Check along one direction, in networks of 10³ parameters to `largest`."""
    points = []
    for wanted, widths in WIDTHS.items():
        if not 1_000 <= wanted <= largest:
            continue
        probe = probe_of(data, ROWS, (30, *widths, 1))
        ours = partial(check, probe, "directions", np.random.default_rng(0), complex_confirmed=True)
        runs: dict[str, Run] = {"backproof": ours, "passes": partial(probe.gradients, probe.parameters)}
        if find_spec("torch"):
            runs["torch fast"] = torch_gradcheck(probe, fast_mode=True)
        seconds = _medians(runs, repetitions if wanted < 1_000_000 else 3)
        n = probe.network.n_parameters
        points.append(Point(n, seconds, _peak(ours) / (8 * n) + 1, 16 * ROWS * 2 * sum(widths) / (8 * n)))
    return points


def full(data: Split, largest: int, repetitions: int) -> list[Point]:
    """Check every coordinate, in networks of 10² parameters to `largest`."""
    points = []
    for wanted, widths in WIDTHS.items():
        if wanted > largest:
            continue
        probe = probe_of(data, ROWS, (30, *widths, 1))
        runs: dict[str, Run] = {"backproof": partial(check, probe, "full", complex_confirmed=True)}
        if wanted <= PEERS_AT_MOST:
            runs["exercise"] = partial(exercise_gradient, probe)
            if find_spec("torch"):
                runs["torch slow"] = torch_gradcheck(probe, fast_mode=False)
        seconds = _medians(runs, repetitions if wanted < PEERS_AT_MOST else 1)
        points.append(Point(probe.network.n_parameters, seconds))
    return points


def training(data: Split, largest: int, repetitions: int, longest: int = 60) -> list[Point]:
    """Train in float32, for `longest` epochs at most, networks of 10³ parameters to `largest`: seconds a step."""
    points = []
    inputs, targets = (array[: 8 * BATCH].astype(np.float32) for array in (data.inputs, data.targets))
    for wanted, widths in WIDTHS.items():
        if not 1_000 <= wanted <= largest:
            continue
        epochs = min(longest, 2 + 1_000_000 // wanted)
        runs = rivals(inputs, targets, epochs, (30, *widths, 1))
        runs = {name: run for name, run in runs.items() if not name.startswith("torch") or name in FASTEST_OF_TORCH}
        seconds = side_by_side(runs, repetitions if wanted < 1_000_000 else 2, pause=0.05)
        steps, n = epochs * -(-len(inputs) // BATCH), Network((30, *widths, 1)).n_parameters
        points.append(Point(n, {name: statistics.median(values) / steps for name, values in seconds.items()}))
    return points


def exponent(points: list[Point]) -> float:
    """Fit ``seconds = c · n**exponent`` by least squares in logarithms, over the last three points."""
    n = [math.log(point.n_parameters) for point in points[-3:]]
    return statistics.linear_regression(n, [math.log(point.seconds["backproof"]) for point in points[-3:]]).slope


def figures(along: list[Point], every: list[Point], steps: list[Point]) -> list[Figure]:
    """Sum the curves up."""
    cost = [point.seconds["backproof"] / point.seconds["passes"] for point in along]
    worst = max(point.memory - point.activations for point in along[len(along) // 2 :])
    span = f"{along[0].n_parameters:.0e} to {along[-1].n_parameters:.0e} parameters"
    faster = [
        min(s for name, s in point.seconds.items() if name not in OWN) / point.seconds["backproof"] for point in steps
    ]
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
        compared(
            f"training, float32, {span}: steps/s against the fastest of the others, at the largest",
            (faster[-1], min(faster), max(faster)),
            note="; ".join(
                f"{p.n_parameters}: " + ", ".join(f"{name} {1e3 * s:.3g} ms" for name, s in p.seconds.items())
                for p in steps
            ),
        ),
    ]


def _milliseconds(points: list[Point]) -> str:
    return ", ".join(f"{point.n_parameters}: {1e3 * point.seconds['backproof']:.3g} ms" for point in points)


def _medians(runs: dict[str, Run], repetitions: int) -> dict[str, float]:
    medians = {}
    for name, run in runs.items():
        run()
        medians[name] = statistics.median(stopwatch(run) for _ in range(repetitions))
    return medians


def _peak(run: Run) -> float:
    """Return the bytes that a check has allocated at its peak, beyond what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
