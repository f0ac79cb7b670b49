"""Dates in the forms in which people write them: read where they say themselves what is day and what month."""

import pytest

from datasets.preparing.dates import ISO, formats_of, moments

pd = pytest.importorskip("pandas")

DAYS = pd.to_datetime(["2019-02-03 04:05", "2020-12-31 23:59", "2021-07-30 00:00"])


@pytest.mark.parametrize(
    "form",
    ["%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%d.%m.%Y %H:%M", "%m/%d/%Y", "%d/%m/%Y %H:%M", "%d-%b-%Y", "%m/%d/%Y %I:%M %p"],
)
def test_a_date_is_read_as_it_was_written(form: str) -> None:
    texts = list(DAYS.strftime(form))
    (found,) = formats_of(texts)
    expected = DAYS if "M" in form else DAYS.normalize()
    assert list(moments(texts, found)) == list(expected)
    assert found in (ISO, form)


def test_where_day_and_month_cannot_be_told_apart_both_are_given() -> None:
    assert formats_of(["03/04/2019", "05/06/2019"]) == ["%m/%d/%Y", "%d/%m/%Y"]
    assert formats_of(["03/04/2019"] * 150 + ["13/06/2019"]) == ["%d/%m/%Y"]


@pytest.mark.parametrize("texts", [[], ["20190203"], ["2019"], ["soon"], ["2019-02-03", "soon"], ["10:15"], ["18-25"]])
def test_what_is_no_date_is_none(texts: list[str]) -> None:
    assert formats_of(texts) == []
