"""Payments: the rows of a run with what is known of them beside the inputs: what errors cost, and when they were."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datasets import FraudData, Preparation, Split
from datasets.preparing.columns import Number, Standard, numbers_of
from datasets.preparing.money import Mark
from datasets.preparing.prepare import times_of
from datasets.wording import listed, shown
from experiments.command import UsageError
from experiments.fraud.settings import COSTS, Settings, price, spelled
from experiments.model.threshold import Array, Rows

if TYPE_CHECKING:
    import pandas

SPANS = 10  # of a time that is no date


@dataclass(frozen=True, eq=False)
class Payments:
    """A table in its three parts, how its rows were prepared, and of every row of it costs and time."""

    data: FraudData
    preparation: Preparation
    missed: Array | float = 0.0
    alarm: Array | float = 0.0
    times: NDArray[Any] | None = None  # datetime64, or numbers of an unknown unit
    time: str = ""  # name of that column

    @classmethod
    def synthetic(cls, data: FraudData, settings: Settings) -> "Payments":
        """Make it of rows that are inputs already."""
        rows = data.train.inputs
        columns = zip(data.feature_names, rows.min(axis=0).tolist(), rows.max(axis=0).tolist(), strict=True)
        preparation = Preparation(
            tuple(Number(name, 0.0, Standard(0.0, 1.0), low, high) for name, low, high in columns), ()
        )
        missed, alarm = (price(getattr(settings, name) or "0") or 0.0 for name in COSTS)
        return cls(data, preparation, missed, alarm)

    @classmethod
    def of_table(cls, data: FraudData, frame: "pandas.DataFrame", settings: Settings) -> "Payments":
        """Make it of a table that was prepared; a `UsageError` says which option does not go with it."""
        if not isinstance(data.preparation, Preparation):
            raise TypeError(f"The rows have no preparation. Expected those of prepare. Received {data.preparation!r}.")
        times = None if settings.split_by is None else times_of(frame[settings.split_by])
        by_day = settings.alerts is not None and not settings.alerts.endswith("%")
        if by_day and (times is None or times.dtype.kind != "M"):
            raise UsageError(
                f"--alerts cannot count by the day. Expected a share such as 0.5%, or dates in {settings.split_by}. "
                "Received numbers there."
            )
        marks = {number.name: number.mark for number in data.preparation.numbers}
        missed, alarm = (_cost(frame, name, getattr(settings, name), marks) for name in COSTS)
        return cls(data, data.preparation, missed, alarm, times, settings.split_by or "")

    def rows(self, split: Split, probabilities: Array) -> Rows:
        """Give the rows of a part with what a network says of them."""
        of = slice(None) if split.rows is None else split.rows
        missed, alarm = (cost if isinstance(cost, float) else cost[of] for cost in (self.missed, self.alarm))
        days = np.nan
        if self.times is not None and self.times.dtype.kind == "M":
            days = float(np.ptp(self.times[of]) / np.timedelta64(1, "D"))
        return Rows(probabilities, split.targets, missed, alarm, days)

    def spans(self, split: Split) -> dict[str, NDArray[np.bool_]]:
        """Say which rows of a part are of which week, or of which tenth of a time without dates; one alone is none."""
        if self.times is None or split.rows is None:
            return {}
        times = self.times[split.rows]
        if times.dtype.kind == "M":
            days = times.astype("datetime64[D]")
            weeks = days - (days.astype(np.int64) + 3) % 7  # Mondays; 1970-01-01 was a Thursday
            spans = {f"week of {week}": weeks == week for week in np.unique(weeks)}
        else:
            edges = np.linspace(times.min(), times.max(), SPANS + 1)
            place = np.searchsorted(edges[1:-1], times, side="right")
            name = shown(self.time, 20)
            spans = {
                f"{name} {edges[number]:.6g} to {edges[number + 1]:.6g}": place == number for number in np.unique(place)
            }
        return spans if len(spans) > 1 else {}


def _cost(frame: "pandas.DataFrame", name: str, cost: str | None, marks: Mapping[str, Mark]) -> Array | float:
    if cost is None:
        return 0.0
    number = price(cost)
    if number is not None and cost not in frame.columns:
        return number
    if cost not in frame.columns:
        raise UsageError(
            f"{spelled(name)} names no column. Expected a number, or one of {listed(map(str, frame.columns))}. "
            f"Received {shown(cost)!r}."
        )
    try:
        costs = numbers_of(frame[cost], marks.get(cost, ".")).to_numpy()
    except (TypeError, ValueError):
        costs = np.array([np.nan])
    bad = ~((costs >= 0.0) & (costs < np.inf))
    if bad.any():
        row = int(bad.argmax())
        raise UsageError(
            f"The column {shown(cost)!r} is no cost. Expected finite numbers of at least 0 in every row. "
            f"Received {shown(str(frame[cost].iloc[row]), 40)!r} in row {row + 1:,}."
        )
    return np.asarray(costs)
