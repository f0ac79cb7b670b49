"""Judgement: one figure of a campaign, what it must be, and whether it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Judgement:
    """One row of the table.

    Attributes
    ----------
    figure : str
        What is measured.
    measured, required : str
        As they are shown.
    met : bool
    numbers : dict
        Everything that was counted, plain data.
    failures : list of str
        What went wrong, one description each, if anything did.
    """

    figure: str
    measured: str
    required: str
    met: bool
    numbers: dict[str, Any]
    failures: list[str] = field(default_factory=list)


def table(rows: Sequence[Judgement]) -> str:
    """Lay them out as a Markdown table."""
    lines = ["| figure | measured | must be | ok |", "|---|---|---|---|"]
    lines += [f"| {row.figure} | {row.measured} | {row.required} | {'yes' if row.met else '**no**'} |" for row in rows]
    return "\n".join(lines)
