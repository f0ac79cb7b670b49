"""What looks like a feature and is none is left out and named, and what looks alike and is one stays."""

import numpy as np
import pytest

from datasets import FraudData, prepare

pd = pytest.importorskip("pandas")

N = 330
CHANCE = np.random.default_rng(7)
ORDER = CHANCE.permutation(N)
LABELS = (np.arange(N) % 11 == 3).astype(int)
NOISE = pd.DataFrame({"V1": CHANCE.normal(3.0, 7.0, N), "V2": CHANCE.normal(size=N)})


def prepared(*, split_by: str | None = None, **columns: object) -> FraudData:
    return prepare(NOISE.assign(**columns, Class=columns.get("Class", LABELS)), "Class", split_by=split_by)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("", CHANCE.integers(0, 9, N)),
        ("Unnamed: 0", ORDER * 3.0),
        ("Unnamed: 0.1", ORDER * 3.0),
        ("level_0", ORDER * 3.0),
        ("Row", np.arange(N) + 7),
        ("row_index", ORDER * 17 + 5),
        ("orderid", ORDER * 17 + 5),
        ("Anything", ORDER),
        ("ID", ORDER * 17 + 5),
        ("TransactionID", ORDER * 2 + 2_987_000),
        ("transaction_id", ORDER * 2.0),
        ("idOrder", ORDER * 2),
        ("cc_num", 4e15 + 7.0 * CHANCE.integers(0, 150, N)),
        ("card", 4e15 + 7.0 * CHANCE.integers(0, 150, N)),
        ("user", CHANCE.integers(0, 9_999, N)),
        ("trans_num", [f"{value:08x}" for value in ORDER * 7919]),
    ],
)
def test_an_index_a_running_number_and_an_identifier_are_left_out_and_named(name: str, values: object) -> None:
    data = prepared(**{name: values})
    assert data.feature_names == ("V1", "V2")
    assert f"left out: {name or '(no name)'}: " in data.warnings[0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Amount", np.round(CHANCE.lognormal(3, 0.3, N), 2)),
        ("Amount", CHANCE.integers(1, 99_999, N)),
        ("Age", CHANCE.integers(18, 90, N)),
        ("Seconds", np.sort(CHANCE.integers(0, 172_792, N))),
        ("id_01", -CHANCE.integers(0, 100, N)),
        ("Price Index", CHANCE.integers(0, 200, N)),
        ("Items_num", CHANCE.integers(1, 9, N)),
        ("nanoseconds", 1.5e18 + 1e9 * CHANCE.integers(0, 10**7, N)),
        ("humid", CHANCE.integers(0, 10_000, N)),
    ],
)
def test_a_number_that_counts_something_stays(name: str, values: object) -> None:
    assert prepared(**{name: values}).feature_names == ("V1", "V2", name)


def test_few_numbers_under_the_name_of_an_identifier_are_kinds() -> None:
    assert prepared(terminal_id=ORDER % 3 + 7).feature_names[2:] == ("terminal_id=7", "terminal_id=8", "terminal_id=9")


WHEN = pd.date_range("2020-02-01 05:00", periods=N, freq="37min")


@pytest.mark.parametrize("times", [WHEN, WHEN.strftime("%d.%m.%Y %H:%M"), np.arange(N) * 37.0])
def test_beside_the_time_that_splits_its_twins_are_no_features(times: object) -> None:
    twins = {
        "unix_time": WHEN.astype("int64"),
        "Counter": np.arange(N)[::-1] * 5 + CHANCE.integers(0, 7, N),
        "Week": np.arange(N) // 50,
        "Other": (WHEN - pd.Timedelta("3D")).astype(str),
    }
    data = prepared(split_by="When", When=times, **twins)
    hours = () if isinstance(times, np.ndarray) else ("When hour", "When weekday", "Other hour", "Other weekday")
    assert data.feature_names == ("V1", "V2", *hours)
    told = "\n".join(data.warnings)
    assert f"left out: unix_time, Counter, Week{'' if hours else ', Other'}: it follows When" in told


def test_a_date_becomes_hour_weekday_and_age_and_beside_the_time_its_age_at_that_time() -> None:
    born = WHEN[ORDER] - pd.to_timedelta(CHANCE.integers(100, 9_000, N), unit="D")
    alone, beside = prepared(Born=born.astype(str)), prepared(Born=born.astype(str), When=WHEN, split_by="When")
    for data, moment in ((alone, born[alone.train.rows].max()), (beside, WHEN)):
        names = [name for name in data.feature_names if name.startswith("Born")]
        assert names == ["Born hour", "Born weekday", "Born age in days"]
        since = (moment - born).total_seconds() / 86_400 if isinstance(moment, pd.Timestamp) else None
        since = (moment - born) / pd.Timedelta("1D") if since is None else since
        for name, values in zip(names, (born.hour, born.day_of_week, since), strict=True):
            values, train = np.asarray(values, float), data.train.rows
            expected = (values - values[train].mean()) / values[train].std()
            found = data.test.inputs[:, data.feature_names.index(name)]
            np.testing.assert_allclose(found, expected[data.test.rows], rtol=1e-9, atol=1e-9)


def test_a_date_without_a_time_has_no_hour_and_one_that_cannot_be_told_is_left_out() -> None:
    days = pd.date_range("2020-01-01", periods=12, freq="D")[ORDER % 12]
    assert prepared(Day=days.strftime("%Y-%m-%d")).feature_names[2:] == ("Day weekday", "Day age in days")
    unclear = prepared(Day=days.strftime("%d/%m/%Y"))
    assert unclear.feature_names == ("V1", "V2")
    assert "left out: Day: dates whose day and month cannot be told apart" in unclear.warnings[0]


@pytest.mark.parametrize(
    "leak",
    [
        np.where(LABELS == 1, CHANCE.uniform(5, 9, N), CHANCE.uniform(-3, 4, N)),
        np.where(LABELS == 1, CHANCE.uniform(4, 5, N), np.where(ORDER % 2, 3.0, 6.0)),
        np.where(LABELS == 1, np.nan, ORDER % 7),
        np.where(LABELS == 1, ORDER % 7, np.nan),
        1 - LABELS,
        np.where(LABELS == 1, "chargeback", np.array(["paid", "open"])[ORDER % 2]),
        np.where(LABELS == 1, WHEN.strftime("%Y-%m-%d %H:%M"), None),
        np.where(LABELS == 1, [f"case {row}" for row in range(N)], None),
    ],
    ids=["above", "between", "gap", "no gap", "flag", "text", "date", "case"],
)
def test_a_column_that_separates_the_classes_alone_is_called_a_leak(leak: object) -> None:
    data = prepared(**{"Closed by": leak})
    assert data.warnings[0].startswith("LEAK: Closed by alone tells fraud from honest rows.")
    assert "--drop 'Closed by'" in data.warnings[0]


def test_a_good_feature_is_no_leak() -> None:
    good = LABELS + CHANCE.normal(0, 0.3, N)
    rare = np.where(np.arange(N) % 60 == 14, "rare", "usual")  # five of them, each the only one of its kind or so
    assert prepared(Good=good, Kind=rare, Own=[f"k{row // 4}" for row in range(N)]).warnings == ()


@pytest.mark.parametrize(("mark", "form"), [(".", "${:,.2f}"), (",", "{:,.2f} EUR")])
def test_money_as_text_is_a_number_and_said_to_be(mark: str, form: str) -> None:
    amount = np.round(CHANCE.lognormal(6, 1.5, N), 2)
    texts = [form.format(value) for value in amount]
    if mark == ",":
        texts = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    texts[5] = None
    data, plain = prepared(Amount=texts), prepared(Amount=np.where(np.arange(N) == 5, np.nan, amount))
    assert np.array_equal(data.test.inputs, plain.test.inputs)
    assert data.warnings[0].startswith(f"numbers written as text: Amount, where {texts[0]!r} is {amount[0]:g}")
    again = pd.DataFrame({"V1": NOISE.V1, "V2": NOISE.V2, "Amount": texts})
    assert np.array_equal(data.preparation.transform(again.iloc[data.test.rows]), data.test.inputs)


def test_several_currencies_are_told() -> None:
    texts = [f"{'$€'[row % 2]}{value:.2f}" for row, value in enumerate(NOISE.V1.abs())]
    assert any(
        "several currencies, none of them converted: Amount has $, €" in told
        for told in prepared(Amount=texts).warnings
    )


def test_equal_rows_stay_on_one_side_and_are_counted() -> None:
    frame = NOISE.assign(Class=LABELS)
    twice = pd.concat([frame, frame.iloc[ORDER[:70]], frame.iloc[:3]], ignore_index=True)
    twice = twice.assign(ID=np.arange(403) * 3, Name=[f"name {row % 130}" for row in range(403)])
    data = prepare(twice, "Class")
    assert "duplicated rows: 73 of 403 equal another" in data.warnings[0]
    rows = [{row.tobytes() for row in part.inputs} for part in (data.train, data.validation, data.test)]
    assert sum(map(len, rows)) == len(set.union(*rows)) == N
    assert sorted(np.concatenate([data.train.rows, data.validation.rows, data.test.rows])) == list(range(403))
    for part in (data.train, data.validation, data.test):
        assert np.array_equal(part.targets, twice.Class.to_numpy()[part.rows])


def test_rows_too_alike_to_be_kept_together_are_split_as_they_are() -> None:
    alike = prepare(pd.DataFrame({"A": ORDER % 2, "B": ORDER % 3, "Class": LABELS}), "Class")
    assert [part.n_samples for part in (alike.train, alike.validation, alike.test)] == [198, 66, 66]


def test_columns_are_dropped_and_are_kinds_as_asked() -> None:
    frame = NOISE.assign(Shop=ORDER % 150, Code=ORDER % 3, Class=LABELS)
    data = prepare(frame, "Class", drop=["V2"], categorical=["Shop", "Code"])
    names = data.feature_names
    assert names[0] == "V1"
    assert sum(name.startswith("Shop=") for name in names) == 100
    assert names[-3:] == ("Code=0", "Code=1", "Code=2")
    assert "Shop=(other)" in names
    assert "left out, as asked: V2" in data.notes
    for columns in (data.train.inputs[:, 1:101], data.test.inputs[:, 1:101]):
        assert np.array_equal(columns.sum(axis=1), np.ones(len(columns)))  # the rare ones, and those never seen, too
    for option in ("drop", "categorical"):
        with pytest.raises(ValueError, match=r"no column 'shop'.*perhaps 'Shop'"):
            prepare(frame, "Class", **{option: ["shop"]})
        with pytest.raises(ValueError, match="The target cannot"):
            prepare(frame, "Class", **{option: ["Class"]})
