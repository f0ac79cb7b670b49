"""Labels: a column of two values, turned into 1 for fraud and 0 for honest."""

from typing import TYPE_CHECKING

import numpy as np

from datasets.data import Array
from datasets.wording import in_words, listed, shown

if TYPE_CHECKING:
    import pandas

MEANT = ({"0", "1"}, {"false", "true"})  # pairs of labels that say themselves which of them is fraud
FRAUD = {"1", "true"}


def labels_of(column: "pandas.Series") -> tuple[Array, str]:
    """Tell frauds (1.0) from honest rows, and give the value that is fraud: 1, True, or else the rarer of two."""
    name, missing = shown(str(column.name)), column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"The target column {name!r} has missing values. Expected a label in every row. "
            f"Received none in {missing.sum():,} rows, the first of them row {int(missing.argmax()) + 1:,}."
        )
    counts = column.value_counts()
    counts = counts[counts > 0]
    if len(counts) != 2:
        raise ValueError(
            f"The target column {name!r} is no label of two classes. Expected two different values. "
            f"Received {len(counts):,}: {listed(map(in_words, counts.index[:1000]))}."
        )
    by_word = {in_words(value).lower(): value for value in counts.index}
    if set(by_word) in MEANT:
        fraud = next(by_word[word] for word in FRAUD if word in by_word)
    elif counts.iloc[0] == counts.iloc[1]:
        raise ValueError(
            f"The target column {name!r} does not say which value is fraud. Expected 0 and 1, or one "
            f"value that is rarer. Received {listed(map(in_words, counts.index))}, {counts.iloc[0]:,} rows each."
        )
    else:
        fraud = counts.index[1]
    return (column == fraud).to_numpy().astype(np.float64), in_words(fraud)
