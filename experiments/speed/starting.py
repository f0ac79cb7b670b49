"""Starting: what the front door adds to somebody's loss, and what is waited for before anything happens."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from checks import check_gradients
from checks.measure.layout import Array
from experiments.figures import Figure, compared
from experiments.speed.rivals import HAS_COMPILER
from experiments.speed.timing import quartiles, ratios, side_by_side

COORDINATES = 1_000
#: From nothing to a network that has trained and was checked.
COMPILED = """
import numpy as np
from checks import GradientCheck
from trainer import CompiledAdam, CompiledNetwork, Trainer
inputs = np.random.default_rng(0).normal(size=(256, 30))
options = {"optimizer": CompiledAdam(), "batch_size": 128, "epochs": 1, "callbacks": [GradientCheck(every=1)]}
Trainer(CompiledNetwork((30, 32, 16, 1), dropout=0.1), **options).fit(inputs, np.arange(256) % 2.0)
"""


def foreign_figures(repetitions: int) -> list[Figure]:
    """Measure what a check takes beside the calls that it makes of somebody's loss and gradient."""
    from scipy.optimize import rosen, rosen_der  # comes with scikit-learn

    point = np.random.default_rng(0).normal(size=COORDINATES)
    figures = []
    for coverage, name, unit, most, times in (
        ("full", "each call", "µs", 8.0, repetitions),
        ("directions", "a direction", "ms", 0.3, 40 * repetitions),
    ):
        check = partial(check_gradients, coverage=coverage)
        calls: list[partial[Any]] = []
        check(_recorded(rosen, calls), _recorded(rosen_der, calls), point)
        run = partial(check, rosen, rosen_der, point)
        seconds = side_by_side({"check": run, "calls": partial(_made, calls)}, times)
        scale = 1e6 / len(calls) if coverage == "full" else 1e3
        above = [scale * (a - b) for a, b in zip(seconds["check"], seconds["calls"], strict=True)]
        figures.append(
            compared(
                f'scipy\'s rosen, n = 1,000, `coverage="{coverage}"`: above the loss itself, {name}',
                *(quartiles(above), most),
                lower=True,
                unit=unit,
                note=f"{len(calls)} calls, {scale * quartiles(seconds['calls'])[0]:.3g} {unit} themselves",
            )
        )
    return figures


def _made(calls: list[partial[Any]]) -> None:
    for call in calls:
        call()


def _recorded(function: Callable[[Array], Any], calls: list[partial[Any]]) -> Callable[[Array], Any]:
    def recorded(point: Array) -> Any:
        calls.append(partial(function, point.copy()))
        return function(point)

    return recorded


def starting_figures(repetitions: int, *, with_runs: bool) -> list[Figure]:
    """Measure the CPU time of whole processes, with all of Python's modules compiled before, as pip leaves them."""
    commands = {name: ["-c", f"import {name}"] for name in ("numpy", "checks", "trainer")}
    commands["help"] = ["-m", "experiments.fraud", "--help"]
    if with_runs:
        commands["main job"] = ["-m", "experiments.fraud"]
    if with_runs and HAS_COMPILER:
        commands["compiled"] = ["-c", COMPILED]
    with TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": folder, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def cpu_seconds(words: list[str]) -> float:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *words], env=environment, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(repetitions + 1):
            for name, words in commands.items():
                taken = cpu_seconds(words)
                seconds[name] += [taken] if number else []  # the first time compiles
    figures = [
        compared(
            f"`import {name}`: CPU time against `import numpy`",
            ratios(seconds[name], seconds["numpy"]),
            most,
            lower=True,
        )
        for name, most in (("checks", 1.4), ("trainer", 1.5))
    ]
    for name, called, most in (
        ("help", "`python -m experiments.fraud --help`: CPU time", 0.4),
        ("main job", "`make fraud` once it is set up: CPU time", 3.0),
        ("compiled", "a compiled network trains and is checked, compiled before: CPU time from the start", 1.0),
    ):
        if name in seconds:
            figures.append(compared(called, quartiles(seconds[name]), most, lower=True, unit="s"))
    return figures
