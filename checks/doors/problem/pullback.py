"""The check of a vector-Jacobian product, whoever gives it: a backward pass, a matrix, a product with a Hessian."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from checks.doors.problem.blame import evident, halved, named, told
from checks.doors.problem.contraction import Contraction, unit_vector
from checks.judge.power import random_direction
from checks.measure.difference import euclidean
from checks.measure.layout import Array
from checks.report.report import GradientReport

#: ``pull(cotangent, *inputs)``: the gradients of ``cotangent · function(*inputs)``, one an input.
Pull: TypeAlias = Callable[..., Any]
#: Share of a gradient within which two are the same, and of one of cancelling terms, within which they add up.
SAME, ADDED = 1e-9, 1e-6


def check_pullback(problem: Contraction, pull: Pull) -> GradientReport:
    """Check it on both halves of the cotangent: they add up to the whole's, for a VJP is linear."""

    def gradients(moved: Mapping[str, Any]) -> Any:
        point = problem.layout.flatten(moved, "inputs")
        whole = sum(pulled(problem, pull, half, point) for half in _halves(problem))
        return problem.layout.unflatten(np.asarray(whole))

    report = problem.judged(problem.loss, gradients, problem.inputs.moving)
    return _blamed(problem, report, pull) if report.culprits else report


def pulled(problem: Contraction, pull: Pull, cotangent: Array, point: Array | None = None) -> Array:
    """Give what a VJP makes of a cotangent, at the point or another one, as one vector."""
    found = pull(problem.outputs.unflatten(cotangent.copy()), *problem.inputs.arguments(problem.here(point)))
    return problem.layout.flatten(problem.inputs.by_name(found, problem.door), "gradients")


def _halves(problem: Contraction) -> tuple[Array, Array]:
    part = problem.cotangent * (0.5 + random_direction(np.random.default_rng(1), problem.cotangent.size))
    return part, problem.cotangent - part


def _blamed(problem: Contraction, report: GradientReport, pull: Pull) -> GradientReport:
    """Say from which output the worst entry's mismatch comes, and whether the cotangent is used as it should be."""
    first = report.culprits[0]
    if first.worst_index or not first.shape:  # else nobody knows where
        entry = problem.layout.slices[first.name].start + int(np.ravel_multi_index(first.worst_index, first.shape))
        measured = problem.slopes(unit_vector(problem.layout.size, entry))

        def claimed(weights: Array) -> float:
            with np.errstate(all="ignore"):
                return float(pulled(problem, pull, weights)[entry])

        output = halved(problem.cotangent, lambda weights: claimed(weights) - float(weights @ measured))
        unit = unit_vector(problem.outputs.size, output)
        mismatch = first.gradient - first.numerical
        report = evident(report, first, told(problem, output, measured[output], claimed(unit), mismatch))
    parts = [pulled(problem, pull, half) for half in (*_halves(problem), problem.cotangent)]
    size = max(map(euclidean, parts))
    if euclidean(parts[0] - parts[1]) <= SAME * size < euclidean(parts[0]):
        return named(report, f"{problem.door} gives the same for any cotangent: it does not use it.")
    if euclidean(parts[0] + parts[1] - parts[2]) > ADDED * size:
        return named(report, f"{problem.door} is not linear in the cotangent: for a sum of two it gives another sum.")
    return report
