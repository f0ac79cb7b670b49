"""Labels: a column of two values, turned into 1 for fraud and 0 for honest."""

import shlex
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datasets.data import Array
from datasets.wording import in_words, listed, shown

if TYPE_CHECKING:
    import pandas

MEANT = ({"0", "1"}, {"false", "true"})  # pairs of labels that say themselves which of them is fraud
FRAUD = {"1", "true"}
GUESSED = 1 / 3  # share of the rarer label from which it is no clear sign of fraud
OPTION = "--fraud-label (fraud_label in Python)"


class Labels(NamedTuple):
    """Which rows are fraud, the value that says so, and what a reader should look at twice."""

    targets: Array  # 1.0 for fraud, 0.0 for honest
    fraud: str
    warnings: list[str]


def labels_of(column: "pandas.Series", fraud_label: object = None) -> Labels:
    """Tell frauds from honest rows: by the value that is fraud, or else 1, True, or the rarer of two.

    Values that differ only in case or spaces are one.
    """
    name, missing = shown(str(column.name)), column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"The target column {name!r} has missing values. Expected a label in every row. "
            f"Received none in {missing.sum():,} rows, the first of them row {int(missing.argmax()) + 1:,}."
        )
    counts = column.value_counts()
    counts = counts[counts > 0]
    spellings: dict[str, list[object]] = {}
    for value in counts.index:
        spellings.setdefault(_word(value), []).append(value)
    if len(spellings) != 2:
        found = listed(in_words(values[0]) for values in list(spellings.values())[:1000])
        raise ValueError(
            f"The target column {name!r} is no label of two classes. Expected two different values. "
            f"Received {len(spellings):,}: {found}."
        )
    size = {word: int(sum(counts[value] for value in values)) for word, values in spellings.items()}
    fraud, warnings = _fraud(name, size, {word: in_words(values[0]) for word, values in spellings.items()}, fraud_label)
    targets = column.isin(spellings[fraud]).to_numpy().astype(np.float64)
    for values in spellings.values():
        if len(values) > 1:
            told = listed(repr(in_words(value)) for value in values)
            warnings.append(f"labels that differ in case or spaces only are one: {told}; which is fraud, {OPTION} says")
    return Labels(targets, in_words(spellings[fraud][0]), warnings)


def _word(value: object) -> str:
    """Give a label without what does not tell it from another: ``1`` of 1.0, ``not fraud`` of " Not  Fraud"."""
    return " ".join(in_words(value).split()).casefold()


def _fraud(name: str, size: dict[str, int], written: dict[str, str], wanted: object) -> tuple[str, list[str]]:
    """Choose the word that is fraud, and warn where it may be the other one."""
    if wanted is not None:
        if _word(wanted) not in size:
            raise ValueError(
                f"The target column {name!r} does not hold the value of {OPTION}. "
                f"Expected {' or '.join(map(repr, written.values()))}. Received {shown(in_words(wanted))!r}."
            )
        return _word(wanted), []
    rarer, other = sorted(size, key=size.__getitem__)
    means = set(size) in MEANT
    if not means and size[rarer] == size[other]:
        raise ValueError(
            f"The target column {name!r} does not say which value is fraud. Expected it named by {OPTION}. "
            f"Received {listed(written.values())}, {size[rarer]:,} rows each."
        )
    fraud = next(word for word in size if word in FRAUD) if means else rarer
    honest = other if fraud == rarer else rarer
    share, say = size[fraud] / sum(size.values()), f"--fraud-label {shlex.quote(shown(written[honest]))}"
    say += " (fraud_label in Python)"
    told = f"{share:.0%} of the rows are fraud, by {name} = {shown(written[fraud])}"
    if share > 0.5:
        return fraud, [f"{told}: if that means honest, say {say}"]
    if not means and share > GUESSED:
        return fraud, [f"{told}, for it is the rarer label: if it means honest, say {say}"]
    return fraud, []
