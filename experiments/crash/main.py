"""Crash: runs are killed, files damaged, disks fail, inputs are bad, hours pass: what is lost, and what gets in.

python -m experiments.crash --quick                    # under a minute
python -m experiments.crash --json FILE --soak 30      # the full campaign, under a quarter of an hour and the soak
"""

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.crash import damage, faults, kills, soak
from experiments.judgement import Judgement, table
from experiments.screen import show

PARTS = ("kills", "damage", "faults", "inputs", "soak")
SOAK, QUICK_SOAK = 30.0, 0.1  # minutes
SHOWN = 20  # failures


def parts(arguments: argparse.Namespace) -> dict[str, Callable[[], Judgement | None]]:
    """Give what measures each part."""

    def inputs() -> Judgement:
        from experiments.crash import bad_inputs  # takes hypothesis

        return bad_inputs.measure(quick=arguments.quick, number=arguments.seed)

    return {
        "kills": lambda: kills.measure(quick=arguments.quick, jobs=arguments.jobs, seed=arguments.seed),
        "damage": lambda: damage.measure(quick=arguments.quick, seed=arguments.seed),
        "faults": lambda: faults.measure(quick=arguments.quick),
        "inputs": inputs,
        "soak": lambda: soak.measure(minutes=arguments.soak),
    }


def versions() -> dict[str, str]:
    """Give what the figures depend on."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
    found |= {"machine": platform.machine(), "cores": str(os.cpu_count())}
    return found | {name: version(name) for name in ("numpy", "scikit-learn", "hypothesis") if _is_there(name)}


def _is_there(name: str) -> bool:
    return find_spec(name.replace("scikit-learn", "sklearn")) is not None


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.crash",
        description="Break things on purpose, and count what is lost, goes unnoticed, or ends in a traceback.",
    )
    parser.add_argument("--quick", action="store_true", help="a little of everything; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was counted there")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure only these parts")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help=f"length of the soak ({SOAK:g}); 0 for none")
    parser.add_argument("--jobs", type=int, default=2, help="processes that kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of every random moment, damage and input (0)")
    arguments = parser.parse_args(argv)
    if arguments.soak is None:
        arguments.soak = QUICK_SOAK if arguments.quick else SOAK
    if not 0 <= arguments.soak < math.inf:
        parser.error(f"--soak is out of range. Expected minutes, at least 0. Received {arguments.soak}.")
    if arguments.jobs < 1:
        parser.error(f"--jobs is out of range. Expected at least 1. Received {arguments.jobs}.")
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        parser.error(f"--json is not in a folder. Expected an existing folder. Received {arguments.json}.")
    arguments.only = [part for part in PARTS if part in arguments.only and (part != "soak" or arguments.soak)]
    if not hasattr(os, "fork"):
        parser.error(f"nothing can be killed here. Expected Linux, or a Unix. Received {platform.system()}.")
    if "inputs" in arguments.only and not _is_there("hypothesis"):
        parser.error("no hypothesis. Expected `pip install backproof[test]`, or --only without inputs. Received none.")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every figure is met, 1 if not, 2 for bad usage."""
    arguments = _parsed(argv)
    measures = parts(arguments)
    rows: list[Judgement] = []
    seconds: dict[str, float] = {}
    for name in arguments.only:
        started = time.perf_counter()
        row = measures[name]()
        seconds[name] = round(time.perf_counter() - started, 1)
        rows += [] if row is None else [row]
    show(table(rows))
    for row in rows:
        counted = {name: value for name, value in row.numbers.items() if name != "all samples"}
        show(f"\n{row.figure}: {json.dumps(counted)}")
        for failure in row.failures[:SHOWN]:
            show(f"  {failure}")
        if len(row.failures) > SHOWN:
            show(f"  … and {len(row.failures) - SHOWN} more")
    show(f"\n{date.today().isoformat()}, seed {arguments.seed}, {versions()}, seconds {seconds}")
    if arguments.json is not None:
        result: dict[str, Any] = {
            "date": date.today().isoformat(),
            "versions": versions(),
            "seed": arguments.seed,
            "quick": arguments.quick,
            "seconds": seconds,
            "figures": [vars(row) for row in rows],
        }
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0 if all(row.met for row in rows) else 1
