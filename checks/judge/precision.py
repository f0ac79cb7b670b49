"""Gradients of lower precision than float64: how far rounding alone may put a right one beside its loss."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from checks.judge.ladder import CERTAIN
from checks.measure.layout import Structure
from checks.measure.objective import Loss, Objective
from checks.measure.slopes import central_slope
from checks.options import STEP
from checks.report.findings import TensorReport
from checks.report.report import GradientReport
from checks.verdict import Cause, Verdict

#: Rounding of a right gradient, relative, in units of eps of its dtype: see tests/checks/test_hook.py for what it is.
ROUNDED = 32.0
#: Largest share of a tensor's gradient that may be rounding for it to pass: by then a mistake of 1e-3 could hide.
COARSEST = 1e-3
#: Points beside this one, a rounding away, at which a slope is measured to see what rounding does to it.
NUDGES = 8


def eps_of(structure: Structure) -> float:
    """Give eps of the coarsest floating dtype among the arrays; plain numbers are float64."""
    parts = list(structure.values()) if isinstance(structure, Mapping) else structure
    parts = parts if isinstance(parts, list | tuple) else [parts]
    dtypes = [getattr(part, "dtype", np.dtype(np.float64)) for part in parts]
    return max([0.0, *(float(np.finfo(dtype).eps) for dtype in dtypes if np.issubdtype(dtype, np.floating))])


def allowing_for(report: GradientReport, eps: float, loss: Loss, parameters: Structure) -> GradientReport:
    """Fail no tensor for what rounding the parameters does to its worst slope."""
    rows: dict[str, TensorReport] = {}
    for tensor in [culprit for culprit in report.culprits if culprit.cause is Cause.WRONG]:
        noise, mismatch = CERTAIN * _noise(loss, parameters, tensor, eps), abs(tensor.gradient - tensor.numerical)
        if mismatch <= noise:
            evidence = f"rounding the parameters moves the slope by up to {noise:.2g}, the mismatch is {mismatch:.2g}"
            sharp = noise <= COARSEST * tensor.gradient_norm
            found: Any = (Verdict.PASS, Cause.AGREES) if sharp else (Verdict.UNDECIDED, Cause.ROUNDING)
            rows[tensor.name] = replace(tensor, verdict=found[0], cause=found[1], evidence=evidence, mistake=None)
    passed = [row.difference for row in rows.values() if row.verdict is Verdict.PASS]
    note = f"parameters or gradients are of lower precision than float64 (eps {eps:.1e}), so the threshold is higher"
    changes: dict[str, Any] = {"threshold": max([report.threshold, *passed]), "notes": (*report.notes, note)}
    return replace(report, tensors={**report.tensors, **rows}, **changes)


def _noise(loss: Loss, parameters: Structure, tensor: TensorReport, eps: float) -> float:
    """Measure by how much the slope of a tensor's worst entry changes as the parameters are rounded."""
    objective, rng = Objective.of(loss, parameters), np.random.default_rng(0)
    layout, point = objective.layout, objective.point
    direction = np.zeros(layout.size)
    layout.tensor(direction, tensor.name)[tensor.worst_index] = 1.0
    points = [point, *(point * (1.0 + eps * rng.uniform(-1.0, 1.0, point.size)) for _ in range(NUDGES))]
    slopes = [central_slope(Objective(loss, layout, point), direction, STEP).value for point in points]
    return max(abs(slope - slopes[0]) for slope in slopes)
