"""Wording: names and texts of unknown origin, made fit for a message of one line."""

from collections.abc import Iterable

import numpy as np

SHOWN = 160  # characters of a parser's own message
LISTED = 8  # names of a list


def shown(text: str, most: int = SHOWN) -> str:
    """Make a text fit to be shown: not too long, and with nothing that moves a cursor or rings a bell."""
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def listed(names: Iterable[str], most: int = LISTED) -> str:
    """Give some names, the first of them if they are many: ``"V1, V2, V3 and 26 more"``."""
    every = [shown(name, 40) for name in names]
    if len(every) <= most + 1:
        return ", ".join(every)
    return f"{', '.join(every[:most])} and {len(every) - most:,} more"


def in_words(value: object) -> str:
    """Give a label as it stands in the file: ``1``, not ``1.0``."""
    return f"{value:.15g}" if isinstance(value, float | np.floating) else str(value)
