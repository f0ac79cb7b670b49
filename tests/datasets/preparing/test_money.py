"""Amounts as people write them are numbers, whatever the currency, the thousands and the decimal mark."""

import numpy as np
import pytest

from datasets.preparing.money import amounts, currencies, decimal_mark

WRITTEN = {
    ".": {
        "$68.5": 68.5,
        "2,156.45": 2156.45,
        "-$5": -5.0,
        "($1,234.00)": -1234.0,
        "$ -0.07": -0.07,
        "USD 12": 12.0,
        "12.50 EUR": 12.5,
        "\N{INDIAN RUPEE SIGN}1,23,456.75": 123456.75,
        "1'234.5": 1234.5,
        "12.5%": 12.5,
        ".5": 0.5,
        "\N{MINUS SIGN}7": -7.0,
        "+7.": 7.0,
    },
    ",": {
        "68,5": 68.5,
        "2.156,45": 2156.45,
        "1 234,00 \N{EURO SIGN}": 1234.0,
        "1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567,8": 1234567.8,
        "R$ 3.000": 3000.0,
        "-12,30 kr": -12.3,
    },
}
NO_AMOUNTS = ["A1", "12-30", "1.2.3", "10:15", "W 12", "12,34,56", "1,23", "5 000 1", "", "$", "01,234", "5'10"]


@pytest.mark.parametrize("mark", [".", ","])
def test_every_way_to_write_an_amount_is_read(mark: str) -> None:
    assert amounts(WRITTEN[mark], mark).tolist() == pytest.approx(list(WRITTEN[mark].values()))


def test_what_is_no_amount_is_not_read() -> None:
    assert np.isnan(amounts(NO_AMOUNTS, ".")).all()


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        (["$68.5", "2,156.45"], "."),
        (["68,5", "7"], ","),
        (["1,234", "$5"], "."),  # thousands, and not 1.234
        (["\N{EURO SIGN}1.234", "\N{EURO SIGN}5"], ","),
        (["1,234", "0.125"], "."),
        (["$7", "$8"], "."),
        (["68,5", "68.5"], None),
        (["$7", "seven"], None),
    ],
)
def test_the_decimal_mark_is_that_under_which_all_texts_are_amounts(texts: list[str], mark: str | None) -> None:
    assert decimal_mark(texts) == mark


def test_currencies_are_named_once() -> None:
    assert currencies(["$5", "usd 7", "USD 8", "Rs. 5", "Rs 6", "9"]) == {"$", "USD", "RS"}
