"""Money: amounts as people write them, with currencies, thousands and one decimal mark or the other."""

import re
from collections.abc import Collection, Iterable
from typing import Literal

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


def _form(mark: Mark) -> re.Pattern[str]:
    """Write down what an amount looks like: digits, maybe in groups of three (of two in India) under one separator."""
    other = r"\." if mark == "," else ","
    groups = rf"[1-9]\d{{0,2}}(?P<by>[{other}{BETWEEN}])\d{{3}}(?:(?P=by)\d{{3}})*"
    groups += r"|[1-9]\d?(?:,\d\d)+,\d{3}" if mark == "." else ""
    number = rf"(?P<number>(?:{groups}|\d+)(?:\{mark}\d*)?|\{mark}\d+)"
    around = rf"(?P<before>{CURRENCY})?\s*(?P<inner>{SIGN})?\s*{number}\s*(?P<after>{CURRENCY})?"
    return re.compile(rf"\s*(?P<open>\()?\s*(?P<sign>{SIGN})?\s*{around}\s*(?(open)\))\s*", re.IGNORECASE)


FORMS: dict[Mark, re.Pattern[str]] = {mark: _form(mark) for mark in (".", ",")}


def amounts(texts: Iterable[str], mark: Mark) -> Array:
    """Read amounts with a decimal mark, shape (n_texts,); NaN where a text is none. Parentheses are a minus."""
    values = []
    for found in map(FORMS[mark].fullmatch, texts):
        number = "nan" if found is None else re.sub(rf"[^\d{mark}]", "", found["number"]).replace(",", ".")
        minus = 0 if found is None else sum(found[part] not in (None, "+") for part in ("open", "sign", "inner"))
        values.append(float(number) * (-1.0) ** minus)
    return np.array(values, dtype=np.float64)


def decimal_mark(texts: Collection[str]) -> Mark | None:
    """Tell the decimal mark under which all texts are amounts; None if there is none.

    Where both would do, a mark that stands before three digits each time separates thousands: "$1.234" as "€2,500".
    """
    fits: list[Mark] = [mark for mark in FORMS if all(map(FORMS[mark].fullmatch, texts))]
    if len(fits) < 2:
        return fits[0] if fits else None
    marks = {mark for text in texts for mark in FORMS if mark in text}
    return "," if marks == {"."} else "."


def currencies(texts: Iterable[str], mark: Mark) -> set[str]:
    """Give the currencies that stand beside amounts."""
    found = [match for text in texts if (match := FORMS[mark].fullmatch(text))]
    return {match[part].upper().rstrip(".") for match in found for part in ("before", "after") if match[part]}
