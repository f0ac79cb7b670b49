"""Shared: what several failing tensors have in common, which is one mistake, told once, where it enters."""

import re
from collections.abc import Sequence

import numpy as np

from checks.explain.entries import Suspect
from checks.explain.factors import EXPLAINED, digits, is_same, named
from checks.explain.mistake import Hints, Kind, Mistake
from checks.measure.difference import euclidean
from checks.measure.layout import Array

#: Names that are said one by one in a sentence.
MOST_NAMES = 4
#: Relative errors of a tensor that an epsilon in a loss makes, from one entry to the next within `ALIKE` of each other.
LITTLE = (1e-9, 1e-3)
#: Where they are less alike, they must be smaller.
LESS = 1e-4
ALIKE = 10.0
#: Nobody writes a factor as close to 1 as this.
WRITTEN = 5e-7
#: Share of the entries that must be alike, and how much of the error must point along the gradient.
NEARLY_ALL = 0.8
ALONG = 0.5
#: Kinds that explain an error to the last digit: it is not that of an epsilon.
EXACT = (
    *(Kind.SIGN, Kind.NEVER_COMPUTED, Kind.TRANSPOSED, Kind.MISPLACED, Kind.REGULARISER, Kind.NOT_FINITE),
    *(Kind.LINE, Kind.ONE_UNIT),
)

Signatures = dict[str, Mistake | None]


def shared(
    failing: Sequence[Suspect], signatures: Signatures, hints: Hints, exercised: Sequence[str] | None
) -> dict[str, Mistake]:
    """Name what failing tensors share; ``failing`` comes output first, ``exercised`` in the order of the forward pass.

    Without ``exercised``, all the tensors in which a mistake could show, nothing is said of those that do not fail.
    """
    epsilon = _epsilon(failing, signatures)
    if epsilon is not None:
        return {suspect.name: epsilon for suspect in failing}
    told: dict[str, Mistake] = {}
    factors = {suspect.name: _factor(suspect, signatures[suspect.name]) for suspect in failing}
    for name, factor in factors.items():
        group = [other for other in factors if is_same(factors[other], factor)]
        if name not in told and factor is not None and len(group) > 1:
            told |= dict.fromkeys(group, _one_factor(group, factor, list(factors), hints, exercised))
    return told


def partners(name: str, names: Sequence[str]) -> list[str]:
    """Give the other tensors of the same layer: those whose names end in the same number, as W2 and b2 do.

    Or begin alike up to the last dot, as 2.weight and 2.bias do.
    """
    number, module = re.search(r"\d+$", name), name.rpartition(".")[0]
    if number:
        return [other for other in names if other != name and re.fullmatch(rf"\D*{number.group()}", other)]
    return [other for other in names if module and other != name and other.rpartition(".")[0] == module]


def flow_into(name: str, names: Sequence[str]) -> str:
    """Call what flows into a layer as its owner would: dZ2; or by the names of its tensors."""
    number = re.search(r"\d+$", name)
    return f"dZ{number.group()}" if number else f"what flows into {listed([name, *partners(name, names)][::-1])}"


def listed(names: Sequence[str]) -> str:
    """List names in a sentence."""
    if len(names) > MOST_NAMES:
        return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _factor(suspect: Suspect, own: Mistake | None) -> float | None:
    """Give the factor of a tensor: its signature's; or that of the only entry that is not zero in both."""
    if own is not None and own.factor is not None:
        return own.factor
    matters = (suspect.gradient != 0.0) | (suspect.known & (np.abs(suspect.numerical) > suspect.bounds))
    if matters.sum() != 1 or not suspect.known[matters].all() or suspect.numerical[matters] == 0.0:
        return None
    return float(suspect.gradient[matters][0] / suspect.numerical[matters][0])


def _one_factor(
    group: list[str], factor: float, failing: list[str], hints: Hints, exercised: Sequence[str] | None
) -> Mistake:
    """Tell one factor in several tensors, and where it enters; all come output first."""
    everything = failing if exercised is None else list(reversed(exercised))
    of_all = set(group) == set(everything)
    is_known = of_all and exercised is not None
    both = "both" if len(group) == 2 else "all of them"
    subject = "Every tensor is" if is_known and len(group) > 2 else f"{listed(group[::-1])} are {both.split(' ')[0]}"
    where = _where(group, list(failing), everything, factor, is_whole=is_known, may_be_whole=of_all)
    kind, value = Kind.SCALED, factor
    seen = (
        f"{subject} {digits(factor)} × the numerical gradient. Scaled by {named(factor, hints)}, one factor in {both}"
    )
    if factor == 0.0:
        kind, value = Kind.NEVER_COMPUTED, 0.0
        seen = f"{subject} left out by backprop (zero, or the regulariser alone). Never computed, one mistake in {both}"
    elif abs(factor + 1.0) < EXPLAINED:
        kind, value = Kind.SIGN, -1.0
        seen = f"{subject} -1.000 × the numerical gradient. Wrong sign, one mistake in {both}"
    return Mistake(kind, f"{seen}: {where}", value)


def _where(
    group: list[str], failing: list[str], everything: list[str], factor: float, *, is_whole: bool, may_be_whole: bool
) -> str:
    """Say where a factor enters: what flows into a layer flows on into all the layers before it."""
    first = group[0]
    layer = [first, *partners(first, everything)]
    flow = flow_into(first, everything)
    after = [name for name in everything[: everything.index(first)] if name not in layer]
    missing = [name for name in everything if name not in group and name not in after]
    if is_whole:
        out = f", {flow}" if flow.startswith("dZ") else ""
        return f"it enters in the loss or in what flows out of it{out}: look for {_of_loss(factor)}."
    if may_be_whole:
        return f"it enters in {flow}, or in the loss where no layer follows: look for {_of_loss(factor)}."
    if not missing:
        wrong = [name for name in after if name in failing]
        right = f", since {listed(after[::-1])} {'is' if len(after) == 1 else 'are'} right" if not wrong else ""
        follows = f", or follows from what is wrong in {listed(wrong[::-1])}" if wrong else ""
        return (
            f"it enters in {flow}{right}{follows}: look at the derivative of the activation and the product with the "
            "next layer's weights."
        )
    lines = (
        "the lines that compute them" if len(group) > MOST_NAMES else f"the lines that compute {listed(group[::-1])}"
    )
    return f"{listed(missing[::-1])} {'has' if len(missing) == 1 else 'have'} another or none: look at {lines}."


def _of_loss(factor: float) -> str:
    if factor == 0.0:
        return "a backward that is never called, or begins with zero"
    if abs(factor + 1.0) < EXPLAINED:
        return "a difference taken the other way round (y - p where p - y is meant)"
    if abs(factor) < 1.0:
        return "a mean where the loss has a sum, or a factor that only the loss has"
    return "a sum where the loss has a mean, or a factor that the loss has not"


def _epsilon(failing: Sequence[Suspect], signatures: Signatures) -> Mistake | None:
    """Match a small relative error in nearly all entries, as an epsilon in the loss leaves it, or single precision."""
    own = [signatures[suspect.name] for suspect in failing]
    factor = own[0].factor if len(own) == 1 and own[0] is not None else None
    is_line = factor is not None and abs(factor - 1.0) > WRITTEN  # of one tensor: a factor in the line that computes it
    if not own or is_line or any(mistake is not None and mistake.kind in EXACT for mistake in own):
        return None
    errors: list[Array] = []
    slopes: list[Array] = []
    bounds: list[Array] = []
    along: list[float] = []
    for suspect in failing:
        known = suspect.known & np.isfinite(suspect.bounds) & ((suspect.numerical != 0.0) | (suspect.gradient != 0.0))
        error, slope, bound = suspect.error[known], suspect.numerical[known], suspect.bounds[known]
        size, norm = euclidean(error), euclidean(slope)
        if not LITTLE[0] * norm <= size <= LITTLE[1] * norm or size == 0.0:
            return None
        errors, slopes, bounds = [*errors, error], [*slopes, slope], [*bounds, bound]
        along.append(float(error @ slope) / (size * norm))
    error, slope, bound = np.concatenate(errors), np.abs(np.concatenate(slopes)), np.concatenate(bounds)
    seen = (np.abs(error) > 4.0 * bound) & (slope > 0.0)
    if seen.sum() < 3:
        return None
    typical = float(np.median(np.abs(error[seen]) / slope[seen]))
    to_be_seen = typical * slope > 8.0 * bound  # of the others, noise hides whether they are wrong, too
    ratios = np.abs(error[to_be_seen]) / (typical * slope[to_be_seen])
    if len(ratios) < 3 or np.mean(ratios > 1.0 / ALIKE**2) < NEARLY_ALL:
        return None
    names = listed([suspect.name for suspect in failing][::-1])
    if np.mean((ratios > 1.0 / ALIKE) & (ratios < ALIKE)) >= NEARLY_ALL and abs(np.mean(along)) >= ALONG:
        such_as = f"log(p + {10.0 ** np.floor(np.log10(typical)):.0e})"
        as_if = f"as it does where it leaves out an epsilon or a clip in the loss, such as {such_as}"
    elif typical <= LESS:
        as_if = "as little as an epsilon or a clip in the loss makes that it leaves out, or single precision on the way"
    else:
        return None
    seen_as = f"backprop differs by about {typical:.0e} of itself in nearly all entries"
    return Mistake(Kind.EPSILON, f"{names}: {seen_as}, {as_if}: look there.")
