"""Blame: from which output a mismatch comes, and what is said of it in a report."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from checks.doors.problem.contraction import Contraction
from checks.explain.mistake import Kind, Mistake
from checks.measure.layout import Array
from checks.report.findings import TensorReport
from checks.report.report import GradientReport

#: Share of a mismatch that one output accounts for where it alone is wrong.
MOST = 0.9


def told(problem: Contraction, output: int, measured: float, claimed: float, whole: float) -> str:
    """Tell from which output a mismatch comes, all of it or most."""
    part = abs((claimed - measured) * problem.cotangent[output])
    which = "it" if part >= MOST * abs(whole) else "most of it"
    places = problem.outputs.slices
    name = next(name for name, place in places.items() if place.start <= output < place.stop)
    label = problem.outputs.label(name, output - places[name].start)
    return f"{which} comes from {label}, whose slope there is {measured:.6g}, where {problem.door} says {claimed:.6g}"


def named(report: GradientReport, sentence: str) -> GradientReport:
    """Name the mistake that all failing tensors share."""
    mistake = Mistake(Kind.FLOW, sentence)
    return with_rows(report, {tensor.name: replace(tensor, mistake=mistake) for tensor in report.culprits})


def evident(report: GradientReport, tensor: TensorReport, sentence: str) -> GradientReport:
    """Add to the evidence of one tensor."""
    evidence = "; ".join(filter(None, (tensor.evidence, sentence)))
    return with_rows(report, {tensor.name: replace(tensor, evidence=evidence)})


def with_rows(report: GradientReport, rows: dict[str, TensorReport]) -> GradientReport:
    """Give a report with these tensors instead."""
    tensors: Any = report.tensors  # a Tensors, by now
    return replace(report, tensors=tensors.with_rows(rows))


def halved(weights: Array, mismatch: Callable[[Array], float]) -> int:
    """Narrow a mismatch that is linear in some weights down to one of them, the larger half at each step."""
    low, high = 0, weights.size
    while high - low > 1:
        middle = (low + high) // 2
        parts = np.zeros((2, weights.size))
        parts[0, low:middle], parts[1, middle:high] = weights[low:middle], weights[middle:high]
        first, second = (abs(np.nan_to_num(mismatch(part), nan=np.inf)) for part in parts)
        low, high = (low, middle) if first >= second else (middle, high)
    return low
