"""The signatures: how known kinds of mistakes show in one tensor's error."""

from collections.abc import Callable

import numpy as np

from checks.explain.entries import Suspect
from checks.explain.mistake import Hints, Kind, Mistake
from checks.measure.difference import euclidean
from checks.measure.layout import SINGLE, Array

#: An error is explained when what is left of it is below this share (or below the bounds of the measurement).
EXPLAINED = 1e-3
#: Bounds above this share of the largest error may hide further wrong entries.
BLURRED = 0.1
#: With more wrong entries than this share of the tensor, the mistake is called dense.
FEW = 0.2


def signature(suspect: Suspect, threshold: float, hints: Hints) -> Mistake | None:
    """Match one tensor against the signatures, the most specific first; None if none matches."""
    name, known = suspect.name, suspect.known
    if not np.isfinite(suspect.gradient).all():
        count = int((~np.isfinite(suspect.gradient)).sum())
        return Mistake(Kind.NOT_FINITE, f"{name}: backprop gives NaN or infinity in {count} entries.")
    if not suspect.gradient.any():
        sentence = f"{name}: backprop gives zero in every entry. "
        sentence += f"Never computed: look for the line that sets {gradient_of(name)}."
        return Mistake(Kind.NEVER_COMPUTED, sentence, 0.0)
    if not known.any():
        return None
    wrong = suspect.wrong(threshold)
    for match in (_one_entry, _scaled, _regulariser, _scaled_beside_regulariser, _misplaced, _some_entries):
        mistake = match(suspect, wrong, hints)
        if mistake is not None:
            return mistake
    return None


def _one_entry(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    blurred = euclidean(suspect.bounds[suspect.known]) > BLURRED * np.abs(suspect.error).max()
    if suspect.gradient.size == 1 or not (suspect.alone or (wrong.sum() == 1 and not blurred)):
        return None
    where = suspect.known if suspect.alone else wrong
    index = tuple(int(i[0]) for i in np.nonzero(where))
    value, numerical = float(suspect.gradient[index]), float(suspect.numerical[index])
    digits = 8 if numerical and abs(value / numerical - 1.0) < 1e-2 else 4
    times = f"{value / numerical:.{digits}g} × the numerical gradient" if numerical else f"{value:.3g} instead of 0"
    place = f"{suspect.name}[{', '.join(map(str, index))}]"
    rest = f"the other {suspect.gradient.size - 1} entries agree"
    return Mistake(Kind.ONE_ENTRY, f"{place}: backprop is {times}; {rest}. Look for an index or a special case.")


def _scaled(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    fit = _fit(suspect, [suspect.numerical])
    if fit is None:
        return None
    factor = float(1.0 + fit[0])
    # One number is always some multiple of another; only a factor that somebody would write down means anything.
    if suspect.gradient.size == 1 and not any(_is_written(factor / known) for known in (1.0, *hints.factors)):
        return None
    return _scaling(suspect.name, factor, int(suspect.known.sum()), hints)


def _is_written(factor: float) -> bool:
    whole = max(abs(factor), 1.0 / abs(factor)) if factor else 0.0
    return whole < 100.0 and abs(whole - round(whole)) < EXPLAINED


def _scaling(name: str, factor: float, count: int, hints: Hints, of: str = "the numerical gradient") -> Mistake:
    where = f" in all {count} entries" if count > 1 else ""
    seen = f"{name}: backprop is {factor:.3f} × {of}{where}."
    if abs(factor) < EXPLAINED:
        sentence = f"{name}: backprop leaves out {of}{where}. Never computed: look at {gradient_of(name)}."
        return Mistake(Kind.NEVER_COMPUTED, sentence, 0.0)
    if abs(factor + 1.0) < EXPLAINED:
        return Mistake(Kind.SIGN, f"{seen} Wrong sign: look at the line that computes {gradient_of(name)}.", -1.0)
    meaning = next(
        (
            f"Scaled by {inverse}{text}"
            for value, text in hints.factors.items()
            for inverse, known in (("", value), ("1 / ", 1.0 / value))
            if abs(factor / known - 1.0) < EXPLAINED
        ),
        f"Scaled by {factor:.4g}" if abs(factor - 1.0) > 1e-2 else f"Scaled by {factor:.8g}",
    )
    return Mistake(Kind.SCALED, f"{seen} {meaning}: look at the line that computes {gradient_of(name)}.", factor)


def _regulariser(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    fit = _fit(suspect, [suspect.parameter])
    if fit is None or suspect.known.sum() < 2:
        return None
    name, strength = suspect.name, float(fit[0])
    what = "has too much" if strength > 0 else "lacks"
    sentence = (
        f"{name}: backprop {what} {abs(strength):.4g} × {name} in every entry. "
        f"The regulariser: look at λ·{name} in {gradient_of(name)} (forgotten, doubled, wrong sign or wrong λ)."
    )
    return Mistake(Kind.REGULARISER, sentence)


def _scaled_beside_regulariser(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    """Match a scaled data gradient beside a right regulariser: ``error = a·(numerical - λ·parameter)``."""
    fit = _fit(suspect, [suspect.numerical, suspect.parameter])
    if fit is None or suspect.known.sum() < 3:
        return None
    count = int(suspect.known.sum())
    return _scaling(suspect.name, 1.0 + fit[0], count, hints, "the gradient without the regulariser")


def _misplaced(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    """Match the right numbers in the wrong places; a regulariser stays in its place."""
    numerical, name, shape = suspect.numerical, suspect.name, suspect.gradient.shape
    if not suspect.known.all() or suspect.gradient.ndim != 2 or min(shape) < 2:
        return None
    layouts: list[tuple[str, Callable[[Array], Array]]] = [("transposed", np.transpose)] if shape[0] == shape[1] else []
    layouts.append((f"reshaped where {gradient_of(name)}.T was meant", lambda m: np.reshape(m.T, shape)))
    for what, move in layouts:
        moved = suspect.error - (move(numerical) - numerical)
        if _fit(suspect, [move(suspect.parameter) - suspect.parameter], moved) is not None:
            return Mistake(
                Kind.TRANSPOSED, f"{name}: backprop is {what}: look at the product that gives {gradient_of(name)}."
            )
    if np.allclose(np.sort(suspect.gradient.ravel()), np.sort(numerical.ravel()), rtol=1e-6, atol=0.0):
        return Mistake(Kind.MISPLACED, f"{name}: backprop has the right numbers in the wrong places.")
    return None


def _some_entries(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    name, count, known = suspect.name, int(wrong.sum()), int(suspect.known.sum())
    if count == 0 or known < suspect.gradient.size:
        return None
    for axis, word in enumerate(("row", "column") if wrong.ndim == 2 and min(wrong.shape) > 1 else ()):
        lines = np.unique(np.nonzero(wrong)[axis])
        if len(lines) == 1 and wrong.shape[axis] > 1:
            zero = " and zero there" if not suspect.gradient[wrong].any() else ""
            sentence = f"{name}: backprop is wrong in {word} {lines[0]} only{zero} ({count} of {known} entries)."
            return Mistake(Kind.ONE_UNIT, f"{sentence} One unit: look for a loop or a slice that misses it.")
    if count <= FEW * known:
        first = ", ".join(str([int(i) for i in index]) for index in np.argwhere(wrong)[:3])
        sentence = f"{name}: backprop is wrong in {count} of {known} entries (first {first}), right in the others."
        return Mistake(Kind.SOME_ENTRIES, sentence)
    return None


def _fit(suspect: Suspect, basis: list[Array], target: Array | None = None) -> Array | None:
    """Fit the error by a combination of arrays; the coefficients, or None if it does not explain the error."""
    known = suspect.known
    error = (suspect.error if target is None else target)[known]
    columns = np.stack([part[known] for part in basis], axis=1)
    size = euclidean(suspect.error[known])
    allowed = EXPLAINED * size + 4.0 * euclidean(suspect.bounds[known])
    lengths = np.array([euclidean(column) for column in columns.T])
    if not lengths.all() or 4.0 * euclidean(suspect.bounds[known]) > 0.1 * size:
        return None if target is None or euclidean(error) > allowed else np.zeros(len(basis))
    coefficients = np.linalg.lstsq(columns / lengths, error, rcond=None)[0] / lengths
    left = euclidean(error - columns @ coefficients)
    return coefficients if left <= allowed else None


def gradient_of(name: str) -> str:
    """Call a tensor's gradient what its owner would: ``dW2``; what has no name of its own has no such line."""
    return f"d{name}" if name.isidentifier() and name != SINGLE else "its gradient"
