"""The command: reads the options, measures everything in one run, and shows it."""

import os
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from experiments.figures import Figure, campaign_parser, new_file, present


@dataclass(frozen=True)
class Plan:
    """How much of everything a run measures."""

    rows: int  # of a training run
    epochs: int
    repetitions: int  # of every training run
    slow: int  # repetitions of what takes a second
    seeds: int  # pairs of fits whose average precision is compared
    budget: int  # epochs of each of these
    shape: tuple[int, ...]  # of the full check
    wide: tuple[int, ...]  # of the network on two threads
    along: int  # largest number of parameters of the growth curves of one direction and of training
    longest: int  # epochs of the latter
    every: int  # and of that of every coordinate
    mapped: int  # rows of the memory-mapped file
    main_job: tuple[str, ...]  # its options, where they are not the defaults


WIDE = (30, 1_024, 1_024, 1)
WHOLE = Plan(20_000, 5, 15, 5, 5, 40, (30, 64, 32, 1), WIDE, 10_000_000, 60, 100_000, 10_000_000, ())
SHORT = ("--samples=2000", "--epochs=12")
QUICK = Plan(5_000, 3, 2, 1, 2, 3, (30, 16, 8, 1), (30, 128, 128, 1), 10_000, 9, 1_000, 100_000, SHORT)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and return the exit code: 0, or 1 if a floor of the whole table is missed, 2 for bad usage."""
    description = (
        "Measure this project side by side with what users would pick instead; rows that need what is not installed "
        "are absent. Every figure is the median of ratios of neighbouring runs, the contestants taking turns."
    )
    parser = campaign_parser("speed", description, "small versions of everything, under a minute")
    parser.add_argument("--plot", type=new_file, metavar="FILE", help="draw cost against n and against k")
    parser.add_argument("--threads", type=int, default=1, help="for everything (default: %(default)s)")
    parser.add_argument("--rows", type=int, help="rows of the memory-mapped file; 0 leaves it out")
    arguments = parser.parse_args(argv)
    if arguments.plot is not None and not find_spec("matplotlib"):
        parser.error("--plot needs matplotlib. Expected `pip install backproof[report]`. Received no matplotlib.")
    if arguments.threads < 1:
        parser.error(f"--threads is out of range. Expected at least 1. Received {arguments.threads}.")
    from threadpoolctl import threadpool_info, threadpool_limits  # loads seconds of libraries, as does `run`

    started = time.perf_counter()
    fix_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        figures, curves = run(QUICK if arguments.quick else WHOLE, arguments)
        pools = {f"{pool['internal_api']} {pool['version']}": pool["num_threads"] for pool in threadpool_info()}
    details = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    said = {"threads": arguments.threads, "pools": pools, "seconds": round(time.perf_counter() - started)}
    code = present(figures, details, arguments.json, said, **curves)
    # The quick version is too short to judge anything by: it shows that the whole one would run.
    return 0 if arguments.quick else code


def fix_threads(threads: int) -> None:
    """Give torch and jax as many threads as everything else; jax reads this once, before it is imported."""
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if find_spec("torch"):
        import torch

        torch.set_num_threads(threads)


def run(plan: Plan, arguments: Namespace) -> tuple[list[Figure], dict[str, Any]]:
    """Measure everything, and give it as figures and as the curves of growth."""
    from datasets import make_fraud
    from experiments import mapped
    from experiments.fraud.arguments import parse
    from experiments.speed import checkers, growth, plot, rivals, shares, starting

    data = make_fraud(-(-plan.rows * 5 // 3), rivals.SIZES[0]).train
    figures, step = rivals.training_figures(data, plan.epochs, plan.repetitions, "float32")
    figures += rivals.training_figures(data, plan.epochs, plan.repetitions, "float64")[0]
    checks = checkers.full_figures(data, plan.slow, plan.shape) + checkers.fast_figures(data, plan.repetitions)
    checks += shares.along_figures(data, 2 * plan.epochs, plan.repetitions)
    checks += shares.main_job_figures(parse(plan.main_job), plan.slow)
    checks += checkers.callback_figures(data, 2, 12 * plan.repetitions)
    wide = rivals.wide_figures(data, plan.slow, plan.wide)
    along = growth.directions(data, plan.along, plan.repetitions)
    every = growth.full(data, plan.every, plan.repetitions)
    steps = growth.training(data, plan.along, plan.slow, plan.longest)
    figures += [*wide, rivals.precision_figure(plan.rows, plan.budget, plan.seeds), *checks]
    figures += growth.figures(along, every, steps)
    figures += starting.foreign_figures(plan.repetitions)
    figures += starting.starting_figures(plan.slow, with_runs=plan is WHOLE)
    n_mapped = plan.mapped if arguments.rows is None else arguments.rows
    if n_mapped:
        figures.append(mapped.measure(n_mapped, arguments.threads))
    if arguments.plot is not None:
        plot.draw(arguments.plot, along, every, steps, step)
    kinds = {"directions": along, "full": every, "training": steps}
    curves = {name: [asdict(point) for point in points] for name, points in kinds.items()}
    return figures, curves
