"""Record: what one run left behind, as data that a page or a picture is made from."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from checks import GradientReport, Verdict
from experiments.runs.judging import Curve
from experiments.runs.results import Results
from trainer.network.parameters import Array
from trainer.storage.codec import from_plain

MAY_LACK = {"rounding": math.nan, "cause": "", "worst": ""}  # in a row of the history


@dataclass(frozen=True)
class Check:
    """One gradient check, as the history has it."""

    iteration: int
    loss: float
    difference: float
    threshold: float
    rounding: float
    verdict: Verdict
    cause: str
    worst: str

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"the threshold is {self.threshold}")


@dataclass(frozen=True)
class Record:
    """What a run left behind; None or empty where it was cut short."""

    settings: Mapping[str, Any]  # and "versions"
    losses: Array  # iteration and loss of every update
    epochs: Array  # iteration, loss over the epoch, and validation loss or NaN
    checks: list[Check] = field(default_factory=list)
    outcome: str = "unfinished"
    metrics: Results | None = None
    proof: str | None = None
    report: GradientReport | None = None  # of the last check, which after a halt is the failing one
    curve: Curve | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], **rest: Any) -> Self:
        """Make it from the rows of a history, and whatever else there is."""
        losses, epochs, checks = [], [], []
        for row in rows:
            if row["event"] == "iteration":
                losses.append((int(row["iteration"]), float(row["loss"])))
                if "verdict" in row:
                    checks.append(from_plain(Check, MAY_LACK | dict(row), "check"))
            elif row["event"] == "epoch":
                validation = row.get("validation_loss")
                numbers = row["iteration"], row["epoch_loss"], math.nan if validation is None else validation
                epochs.append([float(number) for number in numbers])
        return cls(
            settings,
            np.array(losses, dtype=np.float64).reshape(-1, 2),
            np.array(epochs, dtype=np.float64).reshape(-1, 3),
            checks,
            **rest,
        )
