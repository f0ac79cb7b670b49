"""Threshold: from which probability on a payment is called fraud, chosen on rows that judge nothing afterwards."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TINY = 1e-12  # probability below which, and as far from 1, log-odds are those of rounding


@dataclass(frozen=True)
class Rows:
    """Rows that a cut is chosen or judged on, each array of shape (n_rows,)."""

    probabilities: Array
    targets: Array  # 1.0 for fraud
    missed: Array | float = 0.0  # cost of the row if it is a fraud that passes, in whatever unit
    alarm: Array | float = 0.0  # cost of the row if it is honest and called fraud, in the same unit
    days: float = math.nan  # from the first of them to the last

    def cost(self, called: NDArray[np.bool_]) -> float:
        """Give what it costs to call these rows fraud, and no others."""
        fraud = self.targets == 1.0
        return float(np.sum((fraud & ~called) * self.missed) + np.sum((~fraud & called) * self.alarm))


@dataclass(frozen=True)
class Threshold:
    """A cut, and why it is where it is; infinity where nothing is called fraud."""

    cut: float
    rule: str  # in words, after "chosen on the validation rows for"

    def __str__(self) -> str:
        """Show the cut, one close to 1 with all its nines."""
        return f"{self.cut:.3g}" if not 0.999 < self.cut < 1.0 else f"{self.cut:.9f}".rstrip("0")


@dataclass(frozen=True)
class Rule:
    """What a cut is chosen for; `limit` is the least precision, the largest share of alarms, or their number a day."""

    by: Literal["precision", "cost", "share", "number"]
    limit: float = math.nan

    def __str__(self) -> str:
        """Say it, after "for"."""
        return {
            "precision": f"a precision of at least {self.limit:.4g}",
            "cost": "the lowest cost",
            "share": f"at most {100 * self.limit:.4g} % of alarms",
            "number": f"at most {self.limit:.6g} alarms a day",
        }[self.by]

    def chosen(self, rows: Rows) -> Threshold:
        """Choose the cut on these rows: of those that the rule allows the one that finds the most frauds."""
        order = np.argsort(-rows.probabilities, kind="stable")
        probabilities, fraud = rows.probabilities[order], rows.targets[order] == 1.0
        ends = np.flatnonzero(np.append(np.diff(probabilities) != 0.0, True))  # equal ones are called alike
        alarms, found = ends + 1, np.cumsum(fraud)[ends]
        if self.by == "cost":
            missed, alarm = (np.broadcast_to(cost, fraud.shape)[order] for cost in (rows.missed, rows.alarm))
            saved = np.cumsum(fraud * missed - ~fraud * alarm)[ends]
            best = int(np.argmax(saved)) if saved.size and saved.max() > 0.0 else None
        else:
            allowed = found >= self.limit * alarms if self.by == "precision" else alarms <= self._most(rows)
            best = _last_of_most(found, alarms, np.flatnonzero(allowed), many=self.by != "precision")
        return Threshold(math.inf if best is None else _below(probabilities, int(ends[best])), str(self))

    def _most(self, rows: Rows) -> float:
        return self.limit * (len(rows.targets) if self.by == "share" else rows.days)


def _below(probabilities: Array, last: int) -> float:
    """Give the cut in the middle, in log-odds, between the last row that is called and the next: other rows vary."""
    called = float(probabilities[last])
    if last + 1 == len(probabilities):
        return called
    following = float(probabilities[last + 1])
    odds = [np.clip(p, TINY, 1.0 - TINY) / (1.0 - np.clip(p, TINY, 1.0 - TINY)) for p in (called, following)]
    middle = float(np.sqrt(odds[0] * odds[1]))
    cut = middle / (1.0 + middle)
    return cut if following < cut <= called else called


def _last_of_most(found: Any, alarms: Any, allowed: Any, *, many: bool) -> int | None:
    """Give the allowed cut that finds most: with as many alarms as there may be, or with as few as it takes."""
    if not allowed.size or (not many and not found[allowed].max()):
        return None
    most = allowed[found[allowed] == found[allowed].max()]
    return int(most[-1] if many else most[np.argmin(alarms[most])])
