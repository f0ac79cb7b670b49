"""Speed: this project side by side with what users would pick instead, in one run.

python -m experiments.speed --quick                    # under a minute
python -m experiments.speed --json FILE --plot FILE    # the whole table, some minutes

Every figure is the median of ratios of neighbouring runs, the contestants taking turns. torch and jax are extras
(`peers`), numba is one (`fast`), matplotlib is one (`report`); rows that need what is not installed are absent.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_info, threadpool_limits

from datasets import Split, make_fraud
from experiments import mapped
from experiments.speed import growth, plot
from experiments.speed.checkers import callback_rows, fast_rows, full_rows, share_rows
from experiments.speed.rivals import SIZES, mlp, own, products, rivals
from experiments.speed.timing import Row, quartiles, ratios, side_by_side, table

ROWS = 20_000
REFERENCE = 4_097  # parameters of 30-64-32-1
GOALS = {  # floor and aim of the training rows, float32 and float64
    "MLPClassifier": {"float32": (3.0, 4.0), "float64": (2.0, 3.0)},
    "torch": {"float32": (4.0, 6.0), "float64": (3.5, 5.0)},
    "jax": {"float32": (0.8, 1.1)},
}


@dataclass(frozen=True)
class Plan:
    """How much of everything a run measures.

    Attributes
    ----------
    rows, epochs : int
        Of a training run.
    repetitions : int
        Of every training run; `slow` of those that take a second.
    seeds, budget : int
        Of the average precision: pairs of fits, and epochs of each.
    shape : tuple of int
        Of the full check.
    along, every : int
        Largest number of parameters of the growth curves.
    mapped : int
        Rows of the memory-mapped file.
    """

    rows: int
    epochs: int
    repetitions: int
    slow: int
    seeds: int
    budget: int
    shape: tuple[int, ...]
    along: int
    every: int
    mapped: int


WHOLE = Plan(ROWS, 5, 15, 5, 5, 40, SIZES, 10_000_000, 100_000, 10_000_000)
QUICK = Plan(5_000, 6, 3, 1, 2, 10, (30, 16, 8, 1), 10_000, 4_097, 100_000)


def training_rows(data: Split, plan: Plan, dtype: str) -> tuple[list[Row], float]:
    """Measure training runs against the rivals; also give the seconds of one step."""
    inputs, targets = data.inputs.astype(dtype), data.targets.astype(dtype)
    runs = rivals(inputs, targets, plan.epochs)
    runs["products"] = products(dtype, len(inputs), plan.epochs)
    seconds = side_by_side(runs, plan.repetitions)
    steps = plan.epochs * -(-len(inputs) // 256)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    detail = ", ".join(f"{name} {1e6 * value / steps:.0f} µs a step" for name, value in medians.items())
    share_goals = (0.45, 0.65) if dtype == "float32" else (None, None)
    rows = []
    for ours, how in (("backproof", "training"), ("numpy alone", "training in numpy alone")):
        if ours not in medians:
            continue
        judged = ours == "backproof"  # with a compiler, what numpy does alone is shown and not judged
        for rival, goals in GOALS.items():
            names = [name for name in medians if name.startswith(rival)]
            if names and dtype in goals:
                fastest = min(names, key=medians.__getitem__)
                figure = f"{how}, {dtype}: steps/s against {fastest}"
                floor, aim = goals[dtype] if judged else (None, None)
                rows.append(Row(figure, *ratios(seconds[fastest], seconds[ours]), floor, aim, detail=detail))
        share = ratios(seconds["products"], seconds[ours])
        figure = f"{how}, {dtype}: time of the matrix products / of a whole step"
        floor, aim = share_goals if judged else (None, None)
        rows.append(Row(figure, *share, floor, aim, unit=""))
    return rows, medians["backproof"] / steps


def precision_row(plan: Plan) -> Row:
    """Compare the test average precision with MLPClassifier's, data set by data set, at the same budget."""
    differences, own_scores, other_scores = [], [], []
    for seed in range(plan.seeds):
        data = make_fraud(plan.rows * 5 // 3, SIZES[0], seed=seed)
        inputs, targets = data.train.inputs.astype(np.float32), data.train.targets.astype(np.float32)
        test = data.test.inputs.astype(np.float32)
        trainer, classifier = (fit(inputs, targets, plan.budget, seed) for fit in (own, mlp))
        own_scores.append(average_precision_score(data.test.targets, trainer.predict_proba(test)))
        other_scores.append(average_precision_score(data.test.targets, classifier.predict_proba(test)[:, 1]))
        differences.append(own_scores[-1] - other_scores[-1])
    _, low, high = quartiles(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    detail = (
        f"mean {statistics.fmean(own_scores):.4f} against {statistics.fmean(other_scores):.4f}, "
        f"difference ± standard error {statistics.fmean(differences):+.4f} ± {error:.4f}"
    )
    figure = f"test average precision less MLPClassifier's, {plan.budget} epochs, {plan.seeds} seeds, paired: mean"
    return Row(figure, statistics.fmean(differences), low, high, 0.0, unit="", detail=detail)


def environment(threads: int) -> dict[str, Any]:
    """Give what the figures depend on: processor, threads, versions."""
    packages = ("numpy", "numba", "scikit-learn", "torch", "jax", "matplotlib")
    found = {name: version(name) for name in packages if find_spec(name.replace("scikit-learn", "sklearn"))}
    pools = {f"{pool['internal_api']} {pool['version']}": pool["num_threads"] for pool in threadpool_info()}
    return {
        "date": date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "pools": pools,
        "python": platform.python_version(),
        **found,
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def fix_threads(threads: int) -> None:
    """Give torch and jax as many threads as everything else; jax reads this once, before it is imported."""
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if find_spec("torch"):
        import torch

        torch.set_num_threads(threads)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and return the exit code: 0, or 1 if a floor of the whole table is missed, 2 for bad usage."""
    parser = argparse.ArgumentParser("python -m experiments.speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small versions of everything, under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows and curves there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw cost against n and against k")
    parser.add_argument("--threads", type=int, default=1, help="for everything (default: %(default)s)")
    parser.add_argument("--rows", type=int, help="rows of the memory-mapped file; 0 leaves it out")
    arguments = parser.parse_args(argv)
    for file in (arguments.json, arguments.plot):
        if file is not None and not file.resolve().parent.is_dir():
            parser.error(f"{file} is not in a folder. Expected an existing folder. Received {file.parent}.")
    if arguments.plot is not None and not find_spec("matplotlib"):
        parser.error("--plot needs matplotlib. Expected `pip install backproof[report]`. Received no matplotlib.")
    if arguments.threads < 1:
        parser.error(f"--threads is out of range. Expected at least 1. Received {arguments.threads}.")
    started = time.perf_counter()
    fix_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        result = run(QUICK if arguments.quick else WHOLE, arguments)
    print(f"\n{result['environment']}, {time.perf_counter() - started:.0f} s")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1))
    # The quick version is too short to judge anything by: it shows that the whole one would run.
    return 1 if not arguments.quick and any(row["met"] is False for row in result["rows"]) else 0


def run(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything, print it, and give it as data."""
    data = make_fraud(-(-plan.rows * 5 // 3), SIZES[0]).train
    single, step = training_rows(data, plan, "float32")
    double, _ = training_rows(data, plan, "float64")
    checks = full_rows(data, plan.slow, plan.shape) + fast_rows(data, plan.repetitions)
    shares = share_rows(data, 2 * plan.epochs, plan.repetitions)
    idle = callback_rows(data, 2, 12 * plan.repetitions)
    along = growth.directions(data, plan.along, plan.repetitions)
    every = growth.full(data, plan.every, plan.repetitions)
    rows = [*single, *double, precision_row(plan), *checks, *shares, *idle, *growth.rows(along, every)]
    n_mapped = plan.mapped if arguments.rows is None else arguments.rows
    if n_mapped:
        rows.append(mapped.measure(n_mapped, arguments.threads))
    print(table(rows))
    print("\n" + "\n".join(f"{row.figure}: {row.detail}" for row in rows if row.detail))
    if arguments.plot is not None:
        checks_of_reference = {
            f"{what}: {name}": seconds
            for what, points in (("one direction", along), ("every coordinate", every))
            for point in points
            if point.n_parameters == REFERENCE
            for name, seconds in point.seconds.items()
            if name != "passes"
        }
        plot.draw(arguments.plot, along, every, step, checks_of_reference)
    return {
        "environment": environment(arguments.threads),
        "rows": [asdict(row) | {"met": row.met, "aim_met": row.aim_met} for row in rows],
        "directions": [asdict(point) for point in along],
        "full": [asdict(point) for point in every],
    }
