"""The outcome of one way of checking: a report for every tensor, and what was measured of the failing ones."""

from dataclasses import dataclass, field

import numpy as np

from checks.explain.mistake import Measured
from checks.judge.passed import PassedTensors
from checks.measure.layout import Array
from checks.measure.noise import spread
from checks.measure.objective import Objective
from checks.report.report import TensorReport
from checks.verdict import Cause, Verdict


@dataclass
class Outcome:
    """What one way of checking found.

    Attributes
    ----------
    tensors : dict of str to TensorReport
        In the order of the forward pass.
    difference, plain_difference : float
        Relative difference after and before the examination.
    failing : list of Measured
        The failing tensors in the order of backprop, output first.
    """

    tensors: dict[str, TensorReport] | PassedTensors
    difference: float = float("nan")
    plain_difference: float = float("nan")
    failing: list[Measured] = field(default_factory=list)


def not_finite_parameters(objective: Objective) -> Outcome:
    """Fail the tensors that hold NaN or infinity, as after training has diverged; nothing can be measured."""
    tensors = {}
    for name, place in objective.layout.slices.items():
        bad = ~np.isfinite(objective.point[place])
        evidence = f"{bad.sum()} of {bad.size} of its parameters are NaN or infinite"
        elsewhere = "parameters of other tensors are NaN or infinite, so nothing was measured"
        verdict = Verdict.FAIL if bad.any() else Verdict.UNDECIDED
        tensors[name] = blank(objective, name, verdict, evidence if bad.any() else elsewhere)
    return Outcome(tensors)


def not_finite_gradient(objective: Objective, gradient: Array) -> Outcome:
    """Fail the tensors whose gradient holds NaN or infinity; of the others nothing is known."""
    tensors: dict[str, TensorReport] = {}
    failing: list[Measured] = []
    for name, place in objective.layout.slices.items():
        bad = ~np.isfinite(gradient[place])
        if bad.any():
            evidence = f"the gradient is {gradient[place][bad][0]} in {bad.sum()} of {bad.size} entries"
            tensors[name] = blank(objective, name, Verdict.FAIL, evidence, int(np.argmax(bad)), gradient[place])
            shaped = objective.layout.tensor(gradient, name)
            nothing = np.full_like(shaped, np.nan)
            failing.insert(0, Measured(name, shaped, nothing, nothing, nothing))
        else:
            evidence = "other tensors hold NaN or infinity, so nothing was measured"
            tensors[name] = blank(objective, name, Verdict.UNDECIDED, evidence)
    return Outcome(tensors, failing=failing)


def not_finite_loss(objective: Objective) -> Outcome:
    """Fail every tensor, because the loss is NaN or infinite at the point itself."""
    evidence = f"the loss itself is {objective.value}"
    return Outcome({name: blank(objective, name, Verdict.FAIL, evidence) for name in objective.layout.shapes})


def not_deterministic(objective: Objective) -> Outcome:
    """Leave every tensor undecided, because the loss is not a function of the parameters."""
    evidence = (
        f"the loss, evaluated again at the same parameters, changed by up to {spread(objective):.2g} "
        f"(loss {objective.value:.6g}): is dropout left on, or a random number drawn inside"
    )
    return Outcome(
        {
            name: blank(objective, name, Verdict.UNDECIDED, evidence, cause=Cause.NOT_DETERMINISTIC)
            for name in objective.layout.shapes
        }
    )


def blank(
    objective: Objective,
    name: str,
    verdict: Verdict,
    evidence: str,
    worst: int | None = None,
    gradient: Array | None = None,
    cause: Cause = Cause.NOT_FINITE,
) -> TensorReport:
    """Report a tensor of which nothing could be measured."""
    value = float("nan") if worst is None or gradient is None else float(gradient[worst])
    return TensorReport(
        name=name,
        shape=objective.layout.shapes[name],
        verdict=verdict,
        cause=cause,
        difference=float("nan"),
        gradient_norm=float("nan") if gradient is None else float(np.linalg.norm(gradient)),
        worst_index=() if worst is None else objective.layout.index(name, worst),
        gradient=value,
        numerical=float("nan"),
        evidence=evidence,
    )
