"""Mutants: how many false alarms, how many misses, and whether the check says where and why.

python -m experiments.mutants --quick          # under a minute
python -m experiments.mutants --json FILE      # the full campaign, some minutes on two cores
"""

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from tqdm import tqdm

from experiments.mutants.campaign import Outcome, run_unit
from experiments.mutants.units import full_units, quick_units


@dataclass(frozen=True)
class Figure:
    """One figure of the table.

    Attributes
    ----------
    name : str
        What is counted.
    count, total : int
        So many of so many.
    required : str
        What the project asks for; empty where it is only shown.
    met : bool or None
        Whether it is so.
    """

    name: str
    count: int
    total: int
    required: str
    met: bool | None

    @property
    def share(self) -> float:
        """Count over total."""
        return self.count / self.total if self.total else float("nan")


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Count what the campaign is about.

    Parameters
    ----------
    outcomes : sequence of dict
        From `experiments.mutants.campaign.run_unit`.

    Returns
    -------
    list of Figure
    """
    correct = [o for o in outcomes if o["what"] == "correct"]
    living = [o for o in correct if o["stage"] != "dead layer"]
    alarms = sum(o["verdict"] == "FAIL" for o in correct)
    result = [
        Figure("FAIL on correct networks", alarms, len(correct), "0", alarms == 0),
        _at_most("UNDECIDED on correct networks", correct, "UNDECIDED", 0.01),
        _at_most("UNDECIDED, dead layers aside", living, "UNDECIDED", 0.01),
    ]
    mutants = [o for o in outcomes if o["what"] == "mutant" and "skipped" not in o]
    for coverage, share in (("full", 1.0), ("directions", 0.999)):
        own = [o for o in mutants if o["coverage"] == coverage]
        found = [o for o in own if o["verdict"] == "FAIL"]
        within = "" if coverage == "full" else ", within 3 checks"
        singles = [o for o in found if o["index_right"] is not None]
        result += [
            _at_least(f"mistakes found, {coverage}{within}", len(found), len(own), share),
            _at_least(f"right tensor, {coverage}", sum(o["tensor_right"] for o in found), len(found), 1.0),
            _at_least(
                f"right index of single entries, {coverage}", sum(o["index_right"] for o in singles), len(singles), 1.0
            ),
            _at_least(f"right kind, {coverage}", sum(o["kind_right"] for o in found), len(found), 0.95),
        ]
    return result + _side_by_side(outcomes)


def _side_by_side(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Count what the peers said of the probes they were shown, and what backproof said of the very same."""
    rows = []
    for what, verb in (("correct", "FAIL on correct networks"), ("mutant", "mistakes found")):
        answers: dict[str, list[str]] = {}
        for o in outcomes:
            if o["what"] == what and o.get("shared"):
                answers.setdefault(f"backproof {o['coverage']}", []).append(o["verdict"])
        peers = [o for o in outcomes if o["what"] == f"peer {what}"]
        for o in peers:
            answers.setdefault(o["peer"], []).append(o["verdict"])
        if peers:
            rows += [
                Figure(f"side by side, {verb}: {name}", verdicts.count("FAIL"), len(verdicts), "", None)
                for name, verdicts in answers.items()
            ]
    return rows


def _at_most(name: str, own: Sequence[Outcome], verdict: str, share: float) -> Figure:
    count = sum(o["verdict"] == verdict for o in own)
    return Figure(name, count, len(own), f"<= {share:.0%}", count <= share * len(own))


def _at_least(name: str, count: int, total: int, share: float) -> Figure:
    return Figure(name, count, total, f"{share:.4g}" if share == 1.0 else f">= {share:.1%}", count >= share * total)


def table(rows: Sequence[Figure]) -> str:
    """Lay the figures out as a Markdown table."""
    lines = ["| figure | measured | share | must be | met |", "|---|---|---|---|---|"]
    for row in rows:
        required = "100 %" if row.required == "1" else row.required.replace("%", " %")
        lines.append(
            f"| {row.name} | {row.count:,} of {row.total:,} | {100 * row.share:.2f} % | {required} | "
            f"{ {True: 'yes', False: '**no**', None: ''}[row.met] } |"
        )
    return "\n".join(lines)


def details(outcomes: Sequence[Outcome]) -> str:
    """List the causes of what is UNDECIDED, and every alarm, miss and misnaming by name."""
    lines = []
    undecided = Counter(
        (o["cause"], o["coverage"], o["stage"])
        for o in outcomes
        if o["what"] == "correct" and o["verdict"] == "UNDECIDED"
    )
    for (cause, coverage, stage), count in undecided.most_common():
        lines.append(f"UNDECIDED {count} ×: {cause} ({coverage}, {stage})")
    for o in outcomes:
        if o["what"] == "correct" and o["verdict"] == "FAIL":
            lines.append(f"FALSE ALARM: {_where(o)}\n{o['evidence']}")
    wrong: Counter[str] = Counter()
    for o in outcomes:
        if o["what"] != "mutant" or "skipped" in o:
            continue
        where = f"{o['bug']} at layer {o['layer']}, {o['coverage']}"
        if o["verdict"] != "FAIL":
            lines.append(f"MISSED: {where}, {_where(o)}: {o['verdict']} ({o['cause']}), truly {o['apart']:.2e} apart")
        elif not o["tensor_right"] or o["index_right"] is False:
            lines.append(f"WRONG PLACE: {where}, {_where(o)}: {o['named']}")
        elif not o["kind_right"]:
            wrong[f"{where}: called {o['kind']!r}"] += 1
    lines += [f"WRONG KIND {count} ×: {what}" for what, count in wrong.most_common(20)]
    kinds = len({o["bug"] for o in outcomes if o["what"] == "mutant" and "skipped" not in o})
    skipped = Counter(o["skipped"] for o in outcomes if "skipped" in o)
    lines.append(
        f"{kinds} kinds of mistakes; left out: " + (", ".join(f"{n} × {w}" for w, n in skipped.items()) or "none")
    )
    return "\n".join(lines)


def _where(o: Outcome) -> str:
    return f"{o['shape']} {o['activation']} {o['dtype']} seed {o['seed']}, {o['stage']}"


def versions() -> dict[str, str]:
    """Give what the figures depend on."""
    found = {"python": platform.python_version(), "processor": f"{platform.machine()} {platform.processor()}".strip()}
    packages = ("numpy", "scikit-learn", "scipy", "torch", "jax", "autograd")
    return found | {name: version(name) for name in packages if find_spec(name.replace("scikit-learn", "sklearn"))}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every figure is met, 1 if not, 2 for bad usage."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.mutants",
        description="Check correct networks (a FAIL is a false alarm) and networks with planted mistakes (anything "
        "else is a miss). What is a mistake is decided by textbook back-propagation in extended precision.",
    )
    parser.add_argument("--quick", action="store_true", help="three small shapes only; under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and every single outcome there")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        parser.error(f"--json is not in a folder. Expected an existing folder. Received {arguments.json}.")
    started = time.perf_counter()
    units = quick_units() if arguments.quick else full_units()
    runs = Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")(delayed(run_unit)(unit) for unit in units)
    outcomes: list[Outcome] = []
    for done in tqdm(runs, total=len(units), unit="network", desc="networks"):
        outcomes += done
    rows = figures(outcomes)
    print(table(rows))
    print()
    print(details(outcomes))
    print(f"\n{date.today().isoformat()}, {versions()}, {time.perf_counter() - started:.0f} s")
    if arguments.json is not None:
        result: dict[str, Any] = {
            "date": date.today().isoformat(),
            "versions": versions(),
            "figures": [vars(row) for row in rows],
            "outcomes": outcomes,
        }
        arguments.json.write_text(json.dumps(result, indent=1))
    return 1 if any(row.met is False for row in rows) else 0
