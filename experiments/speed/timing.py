"""Timing: contestants run in turn, so that whatever else the machine does falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping

Run = Callable[[], object]


def side_by_side(runs: Mapping[str, Run], repetitions: int, pause: float = 0.0) -> dict[str, list[float]]:
    """Run every contestant once unmeasured, then all of them in turn, again and again; give the seconds of each.

    A `pause` before each lets the threads of the one before fall asleep, which otherwise spin for a while.
    """
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            time.sleep(pause)
            seconds[name].append(stopwatch(run))
    return seconds


def stopwatch(run: Run) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return median, lower and upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return median, low, high


def ratios(above: list[float], below: list[float]) -> tuple[float, float, float]:
    """Return median and quartiles of the ratio, repetition by repetition: neighbours in time saw the same machine."""
    return quartiles([a / b for a, b in zip(above, below, strict=True)])
