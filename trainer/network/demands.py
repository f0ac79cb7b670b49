"""What a `Network` demands of its rows: inputs as wide as its first layer, and targets of its classes."""

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trainer.rows import BLOCK, Array, demand_finite, demand_rows, demand_targets, numeric, release


def checked_inputs(inputs: ArrayLike, n_features: int, dtype: DTypeLike) -> Array:
    """Return inputs of shape (n_rows, n_features), as `dtype` unless they are memory-mapped.

    ValueError if they are not two-dimensional, numeric, finite, `n_features` wide and at least one row.
    """
    rows = _floats("inputs", inputs, dtype)
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(
            f"The inputs have the wrong shape. Expected (n_rows, {n_features}), as layer_sizes says. "
            f"Received {rows.shape}."
        )
    demand_rows("inputs", rows)
    demand_finite("inputs", rows)
    return rows


def checked_targets(targets: ArrayLike, inputs: Array, dtype: DTypeLike, *, both_classes: bool) -> Array:
    """Return as many targets as `inputs`, 0 or 1, as `dtype` unless they are memory-mapped.

    ValueError if they are anything else, or of one class only where `both_classes` are asked for.
    """
    labels = _floats("targets", targets, dtype)
    if labels.ndim != 1:
        hint = " Use targets.ravel()." if labels.ndim == 2 and labels.shape[1] == 1 else ""
        raise ValueError(
            f"The targets have the wrong shape. Expected one dimension, (n_rows,). Received {labels.shape}.{hint}"
        )
    demand_targets(inputs, labels)
    n_positive = 0
    for start in range(0, len(labels), BLOCK):
        block = labels[start : start + BLOCK]
        wrong = (block != 0) & (block != 1)
        if wrong.any():
            raise ValueError(
                "The targets are not labels of two classes. Expected only 0 and 1. "
                f"Received {block[wrong][0]} in row {start + int(np.argmax(wrong))}."
            )
        n_positive += int(np.count_nonzero(block))
        release(labels)
    if both_classes and n_positive in (0, len(labels)):
        raise ValueError(
            "The targets hold one class only. Expected rows of both classes, 0 and 1. "
            f"Received {len(labels)} rows of class {int(n_positive > 0)}."
        )
    return labels


def checked_classes(targets: ArrayLike, inputs: Array, n_classes: int, *, many: bool) -> Array:
    """Return as many targets as `inputs`, class numbers from 0, as they are kept in a file, or as integers.

    ValueError if they are anything else, or of one class only where `many` are asked for.
    """
    labels = numeric("targets", targets)
    if labels.ndim != 1:
        raise ValueError(f"The targets have the wrong shape. Expected (n_rows,). Received {labels.shape}.")
    demand_targets(inputs, labels)
    seen: set[float] = set()
    for start in range(0, len(labels), BLOCK):
        block = labels[start : start + BLOCK]
        wrong = ~np.isin(block, np.arange(n_classes))
        if wrong.any():
            raise ValueError(
                f"The targets are no class numbers. Expected integers from 0 to {n_classes - 1}. "
                f"Received {block[wrong][0]} in row {start + int(np.argmax(wrong))}."
            )
        seen.update(np.unique(block).tolist())
        release(labels)
    if many and len(seen) < 2:
        raise ValueError(
            "The targets hold one class only. Expected rows of several classes. "
            f"Received {len(labels)} rows of class {int(seen.pop())}."
        )
    return labels if isinstance(targets, np.memmap) else labels.astype(np.intp, copy=False)


def _floats(what: str, values: ArrayLike, dtype: DTypeLike) -> Array:
    array = numeric(what, values)
    # A file is converted batch by batch, never as a whole.
    return array if isinstance(values, np.memmap) else array.astype(dtype, copy=False)
