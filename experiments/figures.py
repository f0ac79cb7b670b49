"""Figures: what a campaign has measured, what that must be and whether it is, and what all of it depends on."""

import json
import os
import platform
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from checks.training import violation
from experiments.screen import show

PACKAGES = ("numpy", "scikit-learn", "scipy", "numba", "torch", "jax", "autograd", "hypothesis", "matplotlib")
WORDS = {True: "yes", False: "**no**"}


@dataclass(frozen=True)
class Figure:
    """One row of the table; where there is an aim beyond what is required, that is judged too."""

    name: str
    measured: str
    required: str = ""  # empty where it is only shown
    met: bool | None = None
    aim_met: bool | None = None
    spread: str = ""
    note: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)  # everything that was counted, plain data
    failures: list[str] = field(default_factory=list)  # one description each


def compared(
    name: str,
    quartiles: tuple[float, float, float],
    floor: float | None = None,
    aim: float | None = None,
    *,
    lower: bool = False,
    unit: str = "×",
    note: str = "",
) -> Figure:
    """Hold a median, which stands before its quartiles, against a floor and an aim; `lower` is better, or higher."""
    value, low, high = quartiles
    met, aim_met = (None if goal is None else value <= goal if lower else value >= goal for goal in (floor, aim))
    asked = [f"{'≤' if lower else '≥'} {_shown(goal, unit)}" for goal in (floor, aim) if goal is not None]
    numbers = {"value": value, "low": low, "high": high, "floor": floor, "aim": aim, "unit": unit}
    spread = f"{_shown(low, unit)} to {_shown(high, unit)}"
    return Figure(name, _shown(value, unit), ", aim ".join(asked), met, aim_met, spread, note, numbers)


def _shown(number: float, unit: str) -> str:
    return f"{number:.3g} {unit}".rstrip()


def table(figures: Sequence[Figure]) -> str:
    """Lay figures out as a Markdown table, without the columns that would be empty."""
    rows = [("figure", "measured", "quartiles", "must be", "met")]
    for figure in figures:
        met = ", aim ".join(WORDS[answer] for answer in (figure.met, figure.aim_met) if answer is not None)
        rows.append((figure.name, figure.measured, figure.spread, figure.required, met))
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    lines = ["| " + " | ".join(row) + " |" for row in zip(*columns, strict=True)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def campaign_parser(name: str, description: str, quick: str) -> ArgumentParser:
    """Give the parser of a campaign, with the options that all of them have."""
    parser = ArgumentParser(f"python -m experiments.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write everything that was counted there")
    return parser


def new_file(text: str) -> Path:
    """Read the name of a file that can be written once all is measured."""
    path = Path(text)
    if not path.resolve().parent.is_dir():
        raise ArgumentTypeError(f"the file is in no folder. Expected an existing folder. Received {path.parent}.")
    return path


def present(
    figures: Sequence[Figure], details: Sequence[str], file: Path | None, said: dict[str, Any], **kept: Any
) -> int:
    """Show figures, and what they depend on; keep that in a file, and give the exit code: 1 where one is not met."""
    known = {"date": date.today().isoformat(), "versions": versions(), **said}
    shown = ", ".join(f"{name} {value}" for name, value in known.items())
    show("\n".join([table(figures), "", *details, "", shown]))
    if file is not None:
        result = known | {"figures": [asdict(figure) for figure in figures]} | kept
        file.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 1 if any(figure.met is False for figure in figures) else 0


def versions() -> dict[str, str]:
    """Name what figures depend on: what checks depend on, the processor, and the packages that may be compared with."""
    found = violation.versions() | {"system": f"{platform.system()} {platform.release()}"}
    found |= {"processor": _processor(), "cores": str(os.cpu_count())}
    return found | {name: version(name) for name in PACKAGES if find_spec(name.replace("scikit-learn", "sklearn"))}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
