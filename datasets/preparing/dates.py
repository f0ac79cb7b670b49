"""Dates: texts in one of the forms in which people write a day, with a time or without."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

ISO = "ISO8601"  # as pandas calls it, and what is taken for dates that are no texts
DAYS = (
    *("%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%Y.%m.%d"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S")
FORMATS = (ISO, *map("".join, product(("%Y-%m-%d", *DAYS), TIMES)))
TRIED = 100  # texts that tell most formats apart


def formats_of(texts: Sequence[str]) -> list[str]:
    """Give the formats in which all texts are dates: none, one, or two where day and month cannot be told apart."""
    if not texts or any(text.strip().isdigit() for text in texts[:TRIED]):
        return []
    fits = [form for form in FORMATS if moments(texts[:TRIED], form).notna().all()]
    fits = fits[:1] if ISO in fits else fits
    return [form for form in fits if moments(texts, form).notna().all()]


def moments(texts: "Sequence[str] | pandas.Series", form: str) -> "pandas.Series":
    """Read texts as UTC without a zone, NaT where one is no date."""
    import pandas as pd

    given = pd.Series(texts, dtype=object)
    return pd.to_datetime(given, format=form, errors="coerce", utc=True).dt.tz_localize(None)
