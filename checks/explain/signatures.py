"""The signatures: how known kinds of mistakes show in one tensor's error."""

from collections.abc import Callable

import numpy as np

from checks.explain.entries import Suspect
from checks.explain.factors import EXPLAINED as EXPLAINED
from checks.explain.factors import digits, is_written, named, through_noise
from checks.explain.mistake import Hints, Kind, Mistake
from checks.explain.order import misplaced
from checks.measure.difference import euclidean
from checks.measure.layout import Array
from checks.measure.structure import SINGLE

#: Bounds above this share of the largest error may hide further wrong entries.
BLURRED = 0.1
#: With more wrong entries than this share of the tensor, the mistake is called dense.
FEW = 0.2
#: Entries from which on two coefficients that explain an error mean something, whatever they are.
MANY = 6
#: What rounding to a precision leaves, in units of its spacing at 1; sums of a few terms leave more than one rounding.
ROUNDED = 8.0


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
    for match in MATCHES:
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
    elsewhere = np.abs(suspect.gradient) + np.where(suspect.known, np.abs(suspect.numerical), 0.0)
    elsewhere[index] = 0.0
    if numerical and is_written(value / numerical) and elsewhere.max() <= EXPLAINED * abs(value):
        return _scaling(suspect, value / numerical, hints)  # no other entry could tell it from a tensor that is scaled
    digits = 8 if numerical and abs(value / numerical - 1.0) < 1e-2 else 4
    times = f"{value / numerical:.{digits}g} × the numerical gradient" if numerical else f"{value:.3g} instead of 0"
    place = f"{suspect.name}[{', '.join(map(str, index))}]"
    others = suspect.gradient.size - 1
    rest = f"the other {others} entries agree" if others > 1 else "the other entry agrees"
    return Mistake(Kind.ONE_ENTRY, f"{place}: backprop is {times}; {rest}. Look for an index or a special case.")


def _scaled(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    fit = _fit(suspect, [suspect.numerical])
    if fit is None:
        return None
    factor = float(1.0 + fit[0])
    if abs(factor) < EXPLAINED:  # little of it is left: that little may still be a multiple, of a factor of its own
        gradient, numerical = suspect.gradient[suspect.known], suspect.numerical[suspect.known]
        little = float(gradient @ numerical) / euclidean(numerical) ** 2
        is_multiple = euclidean(gradient - little * numerical) <= EXPLAINED * euclidean(gradient)
        factor = little if is_multiple and gradient.size > 1 else 0.0
    # One number is always some multiple of another; only a factor that somebody would write down means anything.
    if suspect.gradient.size == 1 and not any(is_written(factor / known) for known in (1.0, *hints.factors)):
        return None
    return _scaling(suspect, factor, hints)


def _scaled_in_noise(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    """Match a factor that somebody would write, where the measurement is too coarse for a fit."""
    factor = through_noise(suspect, hints) if suspect.known.sum() > 1 else None
    return None if factor is None else _scaling(suspect, factor, hints, is_noisy=True)


def _scaling(
    suspect: Suspect, factor: float, hints: Hints, of: str = "the numerical gradient", is_noisy: bool = False
) -> Mistake:
    name, count = suspect.name, int(suspect.known.sum())
    where = f" in all {count} entries" if count > 1 else ""
    if factor == 0.0 or (abs(factor) < EXPLAINED and of != "the numerical gradient"):
        sentence = f"{name}: backprop leaves out {of}{where}. Never computed: look at {gradient_of(name)}."
        return Mistake(Kind.NEVER_COMPUTED, sentence, 0.0)
    shown = digits(factor) if abs(factor - 1.0) <= 1e-2 or abs(factor) < 1e-2 else f"{factor:.{1 if is_noisy else 3}f}"
    seen = f"{name}: backprop is {shown} × {of}{where}{', within the noise of the loss' if is_noisy else ''}."
    if abs(factor + 1.0) < EXPLAINED:
        return Mistake(Kind.SIGN, f"{seen} Wrong sign: look at the line that computes {gradient_of(name)}.", -1.0)
    meaning = f"Scaled by {named(factor, hints)}"
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
    factor = float(1.0 + fit[0])
    # Two coefficients fit a few entries whatever they are, the more so where these add up to zero.
    is_named = abs(factor - 1.0) > EXPLAINED and any(is_written(factor / known) for known in (1.0, *hints.factors))
    if suspect.known.sum() < MANY and not is_named and abs(factor) > EXPLAINED:
        return None
    return _scaling(suspect, factor, hints, "the gradient without the regulariser")


def _transposed(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    """Match a matrix that is transposed, or laid out as its transpose; a regulariser stays in its place."""
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
    return None


def _in_another_order(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    return misplaced(suspect, gradient_of(suspect.name))


def _some_entries(suspect: Suspect, wrong: Array, hints: Hints) -> Mistake | None:
    name, missed, size = suspect.name, ~suspect.known, suspect.gradient.size
    # Of a loss in low precision it is known where the gradient should not be zero, not what it should be.
    is_missing = missed.any() and not (wrong.any() or suspect.aside.any() or suspect.gradient[missed].any())
    wrong = missed if is_missing else wrong
    count = int(wrong.sum())
    if count in (0, size) or not (is_missing or suspect.known.all()):
        return None
    for axis, word in enumerate(("row", "column") if wrong.ndim == 2 and min(wrong.shape) > 1 else ()):
        lines = np.unique(np.nonzero(wrong)[axis])
        if len(lines) == 1 and wrong.shape[axis] > 1:
            zero = " and zero there" if not suspect.gradient[wrong].any() else ""
            sentence = f"{name}: backprop is wrong in {word} {lines[0]} only{zero} ({count} of {size} entries)."
            return Mistake(Kind.ONE_UNIT, f"{sentence} One unit: look for a loop or a slice that misses it.")
    if count <= FEW * size or is_missing:
        first = ", ".join(str([int(i) for i in index]) for index in np.argwhere(wrong)[:3])
        sentence = f"{name}: backprop is wrong in {count} of {size} entries (first {first}), right in the others."
        return Mistake(Kind.SOME_ENTRIES, sentence)
    return None


def rounded(suspect: Suspect) -> Mistake | None:
    """Match numbers that a lower precision can hold, off by no more than rounding to it."""
    gradient, known, name = suspect.gradient, suspect.known, suspect.name
    for precision, spacing, can_hold in PRECISIONS:
        with np.errstate(over="ignore"):
            held = can_hold(gradient)
        allowed = ROUNDED * spacing * np.abs(suspect.numerical) + 4.0 * suspect.bounds
        if held and (np.abs(suspect.error[known]) <= allowed[known]).all():
            sentence = (
                f"{name}: backprop gives numbers of {precision}, off by no more than rounding to it makes. Look for a "
                f"cast, or an array of that type, in what computes {gradient_of(name)}."
            )
            return Mistake(Kind.LINE, sentence)
    return None


def _is_bfloat16(values: Array) -> bool:
    narrow = values.astype(np.float32)
    return np.array_equal(narrow, values) and not (narrow.view(np.uint32) & 0xFFFF).any()


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


#: Precisions from the lowest, with their spacing at 1, and whether values are numbers of them.
PRECISIONS: tuple[tuple[str, float, Callable[[Array], bool]], ...] = (
    ("bfloat16", 2.0**-7, _is_bfloat16),
    ("float16", 2.0**-10, lambda values: np.array_equal(values.astype(np.float16), values)),
    ("float32", 2.0**-23, lambda values: np.array_equal(values.astype(np.float32), values)),
)
#: The most specific first.
MATCHES = (
    *(_one_entry, _scaled_in_noise, _scaled, _regulariser, _scaled_beside_regulariser),
    *(_transposed, _in_another_order, _some_entries),
)
