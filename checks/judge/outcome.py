"""The outcome of a check: what a tensor in which nothing was found wrong passes as, and what nobody could measure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from checks.explain.entries import Suspect
from checks.measure.difference import euclidean
from checks.measure.layout import Array
from checks.measure.objective import Objective
from checks.report.findings import TensorReport, Tensors
from checks.verdict import Cause, Verdict

#: Largest share of a tensor's gradient that may hide behind noise for it to pass, where that is more than the threshold
#: asks for; and the same where the loss is a staircase, as single precision makes it. A mistake of 1 % shows in either.
COARSE, COARSEST = 1e-5, 5e-3
#: A gradient below this share of the whole one is zero up to rounding: backprop makes it from numbers as large.
NOTHING = 1e-12


@dataclass(frozen=True)
class Judged:
    """What one way of checking found: the tensors, and the relative difference after and before the examination."""

    tensors: Tensors
    difference: float = math.nan
    plain_difference: float = math.nan
    failing: list[Suspect] = field(default_factory=list)  # in the order of backprop, output first


@dataclass(frozen=True)
class Outcome:
    """What a tensor passes as: a verdict, its cause, and to what share of the gradient it could be decided."""

    verdict: Verdict
    cause: Cause
    precision: float = 0.0


def outcome(claimed: float, measured: float, blur: float, objective: Objective, threshold: float) -> Outcome:
    """Say what is known of a tensor whose two gradients, of these norms, agree up to ``blur``."""
    whole, coarsest = euclidean(objective.gradient), COARSEST if objective.is_staircase else COARSE
    if claimed == 0.0 and measured == 0.0:
        return Outcome(Verdict.PASS, Cause.NOT_EXERCISED)
    if blur <= threshold * (claimed + measured):
        return Outcome(Verdict.PASS, Cause.AGREES)
    if blur <= coarsest * claimed:
        return Outcome(Verdict.PASS, Cause.AGREES, blur / claimed)
    if claimed <= NOTHING * whole and measured + blur <= threshold * whole:
        return Outcome(Verdict.PASS, Cause.NO_EFFECT)
    return Outcome(Verdict.UNDECIDED, Cause.ROUNDING)


def not_finite(objective: Objective) -> Judged | None:
    """Judge parameters, or else a gradient, that hold NaN or infinity; None where all are finite.

    Such a gradient is wrong, if the loss is finite. Of one at such parameters nothing is known: the training diverged.
    """
    for vector, of in ((objective.point, "parameters"), (objective.gradient, "gradient")):
        # Where all are finite, their squares usually add up to a number, which is quicker to tell; vdot does not warn.
        if not math.isfinite(np.vdot(vector, vector)) and not np.isfinite(vector).all():
            if math.isfinite(objective.value):
                if of == "gradient" and not np.isfinite(objective.gradient).all():
                    return _not_finite(objective, objective.gradient, of)
                if of == "parameters":
                    objective.freeze(~np.isfinite(vector))
            else:
                return not_finite_loss(objective) if of == "gradient" else _not_finite(objective, vector, of)
    return None


def _not_finite(objective: Objective, vector: Array, of: str) -> Judged:
    layout = objective.layout
    rows: list[TensorReport] = []
    failing: list[Suspect] = []
    for name, place in layout.slices.items():
        bad = ~np.isfinite(vector[place])
        if not bad.any():
            whose = "parameters of other tensors are" if of == "parameters" else "other tensors hold"
            infinite = "NaN or infinite" if of == "parameters" else "NaN or infinity"
            rows.append(_blank(objective, name, Verdict.UNDECIDED, f"{whose} {infinite}, so nothing was measured"))
        elif of == "parameters":
            evidence = f"{bad.sum()} of {bad.size} of its parameters are NaN or infinite"
            rows.append(_blank(objective, name, Verdict.UNDECIDED, evidence))
        else:
            evidence = f"the gradient is {vector[place][bad][0]} in {bad.sum()} of {bad.size} entries"
            rows.append(_blank(objective, name, Verdict.FAIL, evidence, worst=int(np.argmax(bad))))
            shaped = layout.tensor(vector, name)
            nothing = np.full_like(shaped, np.nan)
            failing.insert(0, Suspect(shaped, nothing, nothing, np.zeros(shaped.shape, bool), name, nothing))
    return Judged(Tensors.of(rows), failing=failing)


def not_finite_loss(objective: Objective) -> Judged:
    """Leave every tensor undecided, because the loss is NaN or infinite at the point itself."""
    return Judged(Tensors.of(_blanks(objective, Verdict.UNDECIDED, f"the loss itself is {objective.value}")))


def not_deterministic(objective: Objective) -> Judged:
    """Leave every tensor undecided, because the loss is not a function of the parameters."""
    evidence = (
        f"the loss, evaluated again at the same parameters, changed by up to {objective.spread():.2g} "
        f"(loss {objective.value:.6g}): is dropout left on, or a random number drawn inside"
    )
    return Judged(Tensors.of(_blanks(objective, Verdict.UNDECIDED, evidence, Cause.NOT_DETERMINISTIC)))


def does_not_move(objective: Objective) -> Judged:
    """Leave every tensor undecided, because no evaluation gave another loss: it is a function of something else."""
    evidence = (
        f"the loss was the same, {objective.value:.6g}, in all {objective.evaluations} evaluations: it does not depend "
        "on the parameters it is given (does the model hold arrays of its own, or is it a count, as an accuracy is)"
    )
    return Judged(Tensors.of(_blanks(objective, Verdict.UNDECIDED, evidence, Cause.NO_DEPENDENCE)))


def empty(objective: Objective, name: str) -> TensorReport:
    """Pass a tensor without entries."""
    return _blank(objective, name, Verdict.PASS, "it has no entries", Cause.AGREES)


def _blanks(
    objective: Objective, verdict: Verdict, evidence: str, cause: Cause = Cause.NOT_FINITE
) -> Iterator[TensorReport]:
    return (_blank(objective, name, verdict, evidence, cause) for name in objective.layout.shapes)


def _blank(
    objective: Objective,
    name: str,
    verdict: Verdict,
    evidence: str,
    cause: Cause = Cause.NOT_FINITE,
    worst: int | None = None,
) -> TensorReport:
    gradient = objective.gradient[objective.layout.slices[name]]
    return TensorReport(
        name=name,
        shape=objective.layout.shapes[name],
        verdict=verdict,
        cause=cause,
        difference=0.0 if cause is Cause.AGREES else math.nan,
        gradient_norm=math.nan if worst is None else euclidean(gradient),
        worst_index=() if worst is None else objective.layout.index(name, worst),
        gradient=math.nan if worst is None else float(gradient[worst]),
        numerical=math.nan,
        excluded=0.0 if cause is Cause.AGREES else math.inf,
        evidence=evidence,
    )
