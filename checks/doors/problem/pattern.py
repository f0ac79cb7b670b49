"""The pattern of the wrong entries of a matrix: left out of a sparse one, or a block of rows and columns."""

import numpy as np

from checks.explain.entries import Suspect
from checks.explain.mistake import Kind, Mistake
from checks.measure.layout import Array


def sparsity(suspect: Suspect, threshold: float) -> Mistake | None:
    """Name entries that the pattern of a sparse matrix leaves out, or has too much, if all wrong ones are such."""
    wrong = suspect.wrong(threshold)
    missing, needless = wrong & (suspect.gradient == 0.0), wrong & (np.abs(suspect.numerical) <= suspect.bounds)
    if not wrong.any() or (wrong & ~missing & ~needless).any():
        return None
    found = ((missing, "left out that are not zero"), (needless, "there that should be zero"))
    said = [f"{mask.sum()} {what} (first {np.argwhere(mask)[0].tolist()})" for mask, what in found if mask.any()]
    return Mistake(Kind.SOME_ENTRIES, f"{suspect.name}: the sparsity is wrong. Of its entries {' and '.join(said)}.")


def block(wrong: Array) -> str:
    """Name the rows and columns of the wrong entries, where these are a block."""
    spans = [np.flatnonzero(wrong.any(axis=axis)) for axis in (1, 0)]
    if min(map(len, spans)) < 2 or any(len(span) == size for span, size in zip(spans, wrong.shape, strict=True)):
        return ""
    (top, bottom), (left, right) = ((int(span[0]), int(span[-1])) for span in spans)
    if wrong[top : bottom + 1, left : right + 1].mean() < 0.5:
        return ""
    return f"; the wrong entries are those of rows {top} to {bottom} and columns {left} to {right}"
