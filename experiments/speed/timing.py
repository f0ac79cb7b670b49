"""Timing: contestants run in turn, so that whatever else the machine does falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Run = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One row of the table: a number measured side by side with what it is compared with.

    Attributes
    ----------
    figure : str
        What is compared.
    value : float
        Median over the repetitions; in units of `unit`.
    low, high : float
        Quartiles of the repetitions.
    floor, aim : float or None
        What the project asks for, and what it hopes for.
    better : {"higher", "lower"}
    unit : {"×", "", "%"}
        A factor, a bare number, a share in per cent, or megabytes.
    detail : str
        What the sides took.
    """

    figure: str
    value: float
    low: float
    high: float
    floor: float | None
    aim: float | None = None
    better: Literal["higher", "lower"] = "higher"
    unit: Literal["×", "", "%", "MB"] = "×"
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the floor is reached; None where there is none."""
        return self._reaches(self.floor)

    @property
    def aim_met(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        return self._reaches(self.aim)

    def _reaches(self, goal: float | None) -> bool | None:
        if goal is None:
            return None
        return self.value >= goal if self.better == "higher" else self.value <= goal


def side_by_side(runs: Mapping[str, Run], repetitions: int) -> dict[str, list[float]]:
    """Run every contestant once unmeasured, then all of them in turn, again and again.

    Returns
    -------
    dict of str to list of float
        Seconds of each repetition.
    """
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
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


def table(rows: list[Row]) -> str:
    """Lay rows out as a Markdown table."""
    lines = ["| figure | measured | quartiles | floor | met | aim | met |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        sign = "≥" if row.better == "higher" else "≤"
        value, low, high = (_number(number, row.unit) for number in (row.value, row.low, row.high))
        goals = [
            f"{sign} {_number(goal, row.unit)} | {_WORDS[met]}" if goal is not None else "— | "
            for goal, met in ((row.floor, row.met), (row.aim, row.aim_met))
        ]
        lines.append(f"| {row.figure} | **{value}** | {low} to {high} | {' | '.join(goals)} |")
    return "\n".join(lines)


_WORDS = {True: "yes", False: "**no**", None: ""}


def _number(number: float, unit: str) -> str:
    return f"{number:.3g}{' ' if unit else ''}{unit}"
