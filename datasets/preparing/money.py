"""Money: amounts as people write them, with currencies, thousands and one decimal mark or the other."""

import math
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from datasets.data import Array

Mark = Literal[".", ","]

#: What may stand before or behind a number: a sign of a currency, a usual abbreviation, a code of ISO 4217, per cent.
CURRENCY = (
    r"(?:[%$¢£¤¥৳฿\u20a0-\u20cf]|(?:US|CA|C|AU|A|NZ|NT|HK|S|R)\$|Rs\.?|kr\.?|S?Fr\.|zł|Kč|Ft|lei|TL|"
    "AED|ARS|AUD|BDT|BGN|BHD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|GHS|HKD|HUF|IDR|ILS|INR|JOD|JPY|KES|KRW|KWD|"
    "MAD|MXN|MYR|NGN|NOK|NZD|OMR|PEN|PHP|PKR|PLN|QAR|RON|RUB|SAR|SEK|SGD|THB|TND|TRY|TWD|UAH|UGX|USD|UYU|VND|XAF|XOF|"
    "ZAR|ZMW)"
)
SIGN = "[-+\N{MINUS SIGN}]"
BETWEEN = r"'\N{RIGHT SINGLE QUOTATION MARK}\s"  # thousands, besides the mark that is not the decimal one
PARTS = re.compile(rf"(\D*?)([.,]?\d[\d.,{BETWEEN}]*)(\D*)")
AROUND = re.compile(
    rf"(?P<open>\()?(?P<sign>{SIGN})?(?P<before>{CURRENCY})?(?P<inner>{SIGN})?#(?P<after>{CURRENCY})?(?(open)\))",
    re.IGNORECASE,
)


def _form(mark: Mark) -> re.Pattern[str]:
    """Write down what an amount looks like: digits, maybe in groups of three (of two in India) under one separator."""
    other = r"\." if mark == "," else ","
    groups = rf"[1-9]\d{{0,2}}(?P<by>[{other}{BETWEEN}])\d{{3}}(?:(?P=by)\d{{3}})*"
    groups += r"|[1-9]\d?(?:,\d\d)+,\d{3}" if mark == "." else ""
    return re.compile(rf"(?:{groups}|\d+)(?:\{mark}\d*)?|\{mark}\d+")


FORMS: dict[Mark, re.Pattern[str]] = {mark: _form(mark) for mark in (".", ",")}


def amounts(texts: Iterable[str], mark: Mark) -> Array:
    """Read amounts with a decimal mark, shape (n_texts,); NaN where a text is none. Parentheses are a minus."""
    return np.array([_amount(text, mark) for text in texts], dtype=np.float64)


def decimal_mark(texts: Collection[str]) -> Mark | None:
    """Tell the decimal mark under which all texts are amounts; None if there is none.

    Where both would do, a mark that stands before three digits each time separates thousands: "$1.234" as "€2,500".
    """
    fits: list[Mark] = [mark for mark in FORMS if not any(math.isnan(_amount(text, mark)) for text in texts)]
    if len(fits) < 2:
        return fits[0] if fits else None
    marks = {mark for text in texts for mark in FORMS if mark in text}
    return "," if marks == {"."} else "."


def currencies(texts: Iterable[str]) -> set[str]:
    """Give the currencies that stand beside amounts."""
    found = filter(None, map(PARTS.fullmatch, texts))
    return {currency for parts in found for currency in _around(parts[1], parts[3])[1:]}


def _amount(text: str, mark: Mark) -> float:
    parts = PARTS.fullmatch(text)
    if parts is None:
        return math.nan
    sign, number = float(_around(parts[1], parts[3])[0]), parts[2].rstrip()
    if not sign or not FORMS[mark].fullmatch(number):
        return math.nan
    return sign * float(re.sub(rf"[^\d{mark}]", "", number).replace(",", "."))


@lru_cache(maxsize=10_000)
def _around(before: str, after: str) -> tuple[Any, ...]:
    """Read what stands around a number as its sign, 0 where it cannot stand there, and the currencies."""
    found = AROUND.fullmatch("".join(f"{before}#{after}".split()))
    if found is None:
        return (0.0,)
    minus = sum(found[part] not in (None, "+") for part in ("open", "sign", "inner"))
    return ((-1.0) ** minus, *(found[part].upper().rstrip(".") for part in ("before", "after") if found[part]))
