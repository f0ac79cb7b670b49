"""The gradient about to be applied, ``p.grad``, beside the gradient of the loss on the batch it should be that of."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from checks.explain.entries import Entries, Suspect
from checks.explain.mistake import Hints, Kind, Mistake
from checks.explain.signatures import BLURRED, EXPLAINED, signature
from checks.measure.difference import relative_difference
from checks.measure.layout import Array
from checks.report.findings import TensorReport
from checks.torch.twin import Twin, as_array
from checks.verdict import Cause, Verdict

#: What rounding does is measured at parameters moved by so many last places, so often: one by one, as long as anything
#: is suspicious. Micro-batches round in another order, which may put a unit on the other side of its ReLU's kink.
ROUNDS = ((0, 1), (1, 3), (1, 16))
#: A mismatch above so many times what was measured, with so many eps beside it, is no rounding.
MARGIN, BESIDE = 4.0, 8.0
#: A mismatch below this share may be what autocast leaves.
AUTOCAST = 0.05

RANDOM = (
    "p.grad was not compared: in its own mode the module draws random numbers, as for dropout, or depends on the "
    "forward pass before, so the gradient of its loss on this batch is not known"
)

#: ``p.grad`` by the name of the parameter; None where there is none.
Gradients = Mapping[str, Array | None]


@dataclass(frozen=True)
class Applied:
    """What the comparison found: in words, whether there was one, and the tensors in which something else stands."""

    note: str
    is_compared: bool = True
    difference: float = 0.0
    wrong: Mapping[str, TensorReport] = field(default_factory=dict)


def gradients_of(module: torch.nn.Module, scale: float) -> Gradients:
    """Copy what is about to be applied, once it is divided by ``scale``."""
    gradients = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
    return {name: None if gradient is None else as_array(gradient) / scale for name, gradient in gradients.items()}


def compare_applied(
    found: Gradients, exact: Twin, own: Twin, *, scale: float, threshold: float, previous: Gradients
) -> Applied:
    """Compare ``p.grad`` with the gradient of the loss on the whole batch, by autograd in float64.

    How far rounding may put a right one beside it is measured by the twin in the module's own precision. What was found
    is divided by ``scale`` already; ``previous`` is what was found at the check before.
    """
    if not exact.repeats():
        return Applied(RANDOM, is_compared=False)
    point = exact.parameters()
    reference = exact.gradients(point)
    applied = {name: np.zeros_like(reference[name]) if g is None else g for name, g in found.items()}
    if not all(map(_is_finite, reference.values())):
        note = "p.grad was not compared: the gradient of the loss on this batch is not finite"
        return Applied(note, is_compared=False)
    infinite = [name for name, value in applied.items() if not _is_finite(value)]
    if scale != 1.0 and infinite:
        note = f"p.grad was not compared: it is not finite at grad_scale {scale:g}, and a GradScaler leaves that out"
        return Applied(note, is_compared=False)
    bounds: dict[str, float] = {}
    noise, wrong = dict.fromkeys(reference, 0.0), list(reference)
    eps, rng = own.eps(), np.random.default_rng(0)
    for places, times in ROUNDS:
        for _ in range(times):
            gradients = own.gradients({name: _moved(value, places * eps[name], rng) for name, value in point.items()})
            errors = {name: _norm(gradients[name] - reference[name]) for name in reference}
            noise |= {name: max(noise[name], error) for name, error in errors.items() if math.isfinite(error)}
        for name in reference:
            sizes = _norm(reference[name]), _norm(applied[name])
            bounds[name] = MARGIN * noise[name] + BESIDE * eps[name] * sizes[0] + threshold * sum(sizes)
        far = {name for name in reference if not _norm(applied[name] - reference[name]) <= bounds[name] < math.inf}
        wrong = [name for name in reference if name in far or name in infinite]
        if not wrong:
            break
    rows: dict[str, TensorReport] = {}
    for name in wrong:
        even = np.full(reference[name].shape, bounds[name] / math.sqrt(reference[name].size))
        entries = Entries(applied[name], reference[name], even, np.zeros(even.shape, bool))
        suspect = Suspect(**vars(entries), name=name, parameter=point[name])
        rows[name] = _report(suspect, bounds[name], _mistake(suspect, found[name], previous.get(name), threshold))
    difference = relative_difference(list(applied.values()), list(reference.values()))
    blunt = {name: bounds[name] / _norm(reference[name]) for name in reference if reference[name].any()}
    least = max(blunt, key=lambda name: blunt[name], default="")
    note = f"p.grad lies {difference:.1e} from the gradient of the loss on the whole batch, by autograd in float64"
    note += f"; of a tensor's gradient, at most {blunt[least]:.0e} may be rounding ({least})" if least else ""
    return Applied(note, difference=difference, wrong=rows)


def _moved(value: Array, share: float, rng: np.random.Generator) -> Array:
    return np.asarray(value * (1.0 + share * rng.integers(-1, 2, value.shape)))


def _report(suspect: Suspect, bound: float, mistake: Mistake) -> TensorReport:
    applied, reference = suspect.gradient, suspect.numerical
    error = np.abs(applied - reference)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    return TensorReport(
        name=suspect.name,
        shape=error.shape,
        verdict=Verdict.FAIL,
        cause=Cause.WRONG if _is_finite(applied) else Cause.NOT_FINITE,
        difference=relative_difference(applied, reference),
        gradient_norm=_norm(applied),
        worst_index=tuple(map(int, worst)),
        gradient=float(applied[worst]),
        numerical=float(reference[worst]),
        evidence=(
            f"p.grad lies {_norm(error):.3g} from the gradient of the loss on this batch (autograd in float64, of norm "
            f"{_norm(reference):.3g}), where {bound:.1g} is allowed for rounding"
        ),
        mistake=mistake,
        entries=Entries(applied, reference, suspect.bounds, suspect.aside),
    )


def _mistake(suspect: Suspect, found: Array | None, previous: Array | None, threshold: float) -> Mistake:
    """Say what stands in ``p.grad`` in place of the gradient."""
    name, error, reference = f"{suspect.name}: p.grad", suspect.gradient - suspect.numerical, suspect.numerical
    if found is None:
        return Mistake(Kind.NEVER_COMPUTED, f"{name} is missing (None). Is backward called before this check?", 0.0)
    if not found.any():
        return Mistake(Kind.NEVER_COMPUTED, f"{name} is zero. Is it zeroed between backward and this check?", 0.0)
    if not _is_finite(found):
        return Mistake(Kind.NOT_FINITE, f"{name} holds NaN or infinity, and the gradient of the loss does not.")
    if previous is not None and np.array_equal(found, previous):
        sentence = f"{name} is, bit for bit, what it was at the check before: stale. Is it computed at every step?"
        return Mistake(Kind.NEVER_COMPUTED, sentence)
    size = _norm(error)
    if not math.isfinite(size):
        return Mistake(Kind.NOT_FINITE, f"{name} holds numbers as large as {np.abs(found).max():.1e}.")
    if previous is not None and _norm(error - previous) <= EXPLAINED * size:
        sentence = f"{name} still holds what it was at the check before, beside this gradient: call zero_grad."
        return Mistake(Kind.FLOW, sentence)
    factor = float(np.vdot(suspect.gradient, reference)) / (_norm(reference) ** 2 or math.inf)
    blur = EXPLAINED + min(_norm(suspect.bounds) / size, BLURRED)
    is_scaled = _norm(suspect.gradient - factor * reference) <= blur * size
    if is_scaled and (reference.size > 1 or _n_parts(abs(factor), blur)):  # one number is always a multiple of another
        return _scaled(name, factor, blur)
    known = signature(suspect, threshold, Hints())
    if known is not None:
        return known
    why = "that of other rows, of a loss with a penalty, not zeroed before, clipped, or changed by a hook"
    if size <= AUTOCAST * _norm(reference):
        why += "; or the forward pass ran under autocast, which the option of that name is to say"
    return Mistake(Kind.LINE, f"{name} is something else than the gradient of this batch's loss: {why}.")


def _scaled(name: str, factor: float, blur: float) -> Mistake:
    seen, times = f"{name} is {factor:.4g} × the gradient of this batch in all entries", _n_parts(factor, blur)
    if abs(factor + 1.0) < blur:
        return Mistake(Kind.SIGN, f"{seen}. Wrong sign.", -1.0)
    if times and factor > 1.0:
        why = f"accumulated {times} times and not divided by {times}, or not zeroed before"
    elif times:
        why = f"divided by {times} once too often"
    else:
        why = "clipped before this check, or scaled (grad_scale)"
    return Mistake(Kind.SCALED, f"{seen}: {why}.", factor)


def _n_parts(factor: float, blur: float) -> int:
    """Give n where the factor is n or 1 / n, as for n micro-batches; else 0."""
    whole = max(factor, 1.0 / factor) if factor > 0.0 else 0.0
    return round(whole) if 1.5 < whole < 1e3 and abs(whole - round(whole)) <= min(blur * whole, 0.1) else 0


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array))
