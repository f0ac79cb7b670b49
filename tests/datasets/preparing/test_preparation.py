"""What has learned from training rows makes the same features of any table's rows, and says which are unlike them."""

import json
from dataclasses import asdict
from io import StringIO

import numpy as np
import pytest

from datasets import Preparation, prepare
from datasets.preparing.columns import MISSING, OTHER
from trainer.storage.codec import from_plain

pd = pytest.importorskip("pandas")

N = 105
CHANCE = np.random.default_rng(11)
FRAME = pd.DataFrame(
    {
        "Amount": np.where(np.arange(N) % 7 == 2, np.nan, CHANCE.gamma(2.0, 35.0, N).round(2)),
        "Count": CHANCE.integers(0, 5, N),
        "Country": pd.Series(np.array(["DE", "FR", None, "XK"], object)[np.arange(N) % 4]),
        "Code": pd.Series(np.array(["1", "02", "x"], object)[np.arange(N) % 3]),
        "Class": (np.arange(N) % 5 == 1).astype(int),
    }
)
DATA = prepare(FRAME, "Class")
PREPARATION = DATA.preparation
assert isinstance(PREPARATION, Preparation)


def test_it_makes_of_the_test_rows_what_the_run_has_tested_on() -> None:
    assert DATA.test.rows is not None
    assert np.array_equal(PREPARATION.transform(FRAME.iloc[DATA.test.rows]), DATA.test.inputs)
    assert PREPARATION.feature_names == DATA.feature_names


def test_a_row_becomes_the_same_alone_in_another_order_and_beside_other_columns() -> None:
    whole = PREPARATION.transform(FRAME)
    for row in (0, 2, 3, 104):
        assert np.array_equal(PREPARATION.transform(FRAME.iloc[[row]]), whole[[row]])
    order = CHANCE.permutation(N)
    mixed = FRAME.iloc[order].assign(More=1.0)[["More", "Code", "Country", "Amount", "Count"]]
    assert np.array_equal(PREPARATION.transform(mixed), whole[order])


def test_a_csv_file_read_as_texts_or_with_kinds_guessed_gives_the_same_features() -> None:
    text, whole = FRAME.to_csv(index=False), PREPARATION.transform(FRAME)
    for options in ({}, {"dtype": str}, {"dtype": {"Code": str}}):
        assert np.array_equal(PREPARATION.transform(pd.read_csv(StringIO(text), **options)), whole)


def test_numbers_are_what_scikit_learn_makes_of_them() -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    columns = FRAME[["Amount", "Count"]]
    steps = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(columns.iloc[DATA.train.rows])
    assert np.allclose(PREPARATION.transform(FRAME)[:, :2], steps.transform(columns), rtol=1e-12, atol=1e-12)


def test_skewed_numbers_have_their_logarithm_beside_them() -> None:
    amounts = np.where(np.arange(N) % 9 == 4, -1.0, 1.0) * np.exp(3.0 * CHANCE.normal(size=N))
    data = prepare(FRAME.assign(Amount=amounts), "Class")
    assert data.feature_names[:3] == ("Amount", "log Amount", "Count")
    assert any("logarithm beside them: Amount" in note for note in data.notes)
    rows = amounts[data.train.rows]
    logs = np.sign(rows) * np.log(1.0 + np.abs(rows) / np.median(np.abs(rows)))
    assert data.train.inputs[:, 1] == pytest.approx((logs - logs.mean()) / logs.std())
    whole = data.preparation.transform(FRAME.assign(Amount=amounts))
    for row in range(0, N, 13):
        assert np.array_equal(data.preparation.transform(FRAME.assign(Amount=amounts).iloc[[row]]), whole[[row]])


def test_rare_texts_are_one_as_are_unknown_ones_and_a_small_table_has_none() -> None:
    shops = np.repeat(["A", "B", "C", "D", "E"], [2000, 600, 377, 9, 3])
    text = Preparation.fit({"Shop": pd.Series(shops, dtype="category")}).texts[0]
    assert text.texts == ("A", "B", "C", OTHER)
    rows = text.transform(pd.Series(["A", "D", "E", "F"], dtype="category"))
    assert np.array_equal(rows, [[1, 0, 0, 0], *[[0, 0, 0, 1]] * 3])
    few = pd.Series(np.repeat(["A", "B"], [200, 1]), dtype="category")
    assert Preparation.fit({"Shop": few}).texts[0].texts == ("A", "B")


def test_its_plain_data_makes_it_again() -> None:
    again = from_plain(Preparation, json.loads(json.dumps(asdict(PREPARATION))))
    assert again == PREPARATION
    assert np.array_equal(again.transform(FRAME), PREPARATION.transform(FRAME))


def test_an_unknown_text_is_nothing_and_missing_values_are_as_in_training() -> None:
    rows = pd.DataFrame({"Amount": ["", " "], "Count": [1, 2], "Country": ["ES", None], "Code": ["02", np.nan]})
    features = dict(zip(PREPARATION.feature_names, PREPARATION.transform(rows).T, strict=True))
    median = next(number for number in PREPARATION.numbers if number.name == "Amount")
    assert features["Amount"] == pytest.approx([(median.median - median.standard.mean) / median.standard.deviation] * 2)
    assert features[f"Country={MISSING}"].tolist() == [0.0, 1.0]
    assert sum(features[name] for name in features if name.startswith("Country="))[0] == 0.0
    assert sum(features[name] for name in features if name.startswith("Code=")).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("kind", [object, str, "category"])
def test_blanks_around_a_text_are_none_of_it_and_a_blank_text_is_missing(kind: object) -> None:
    codes = ["1", " 1", "02 ", "", "  ", None]
    rows = pd.DataFrame({"Amount": 1.0, "Count": 1, "Country": "DE", "Code": pd.Series(codes, dtype=kind)})
    features = PREPARATION.transform(rows)[:, -3:]
    assert np.array_equal(features, [[0, 1, 0], [0, 1, 0], [1, 0, 0], *[[0, 0, 0]] * 3])
    assert PREPARATION.feature_names[-3:] == ("Code=02", "Code=1", "Code=x")


def test_what_is_unlike_all_training_rows_is_counted() -> None:
    rows = FRAME.copy()
    before = {(name, how.split()[0]): count for name, how, count, _ in PREPARATION.strange(FRAME.iloc[DATA.train.rows])}
    assert before.pop(("Amount", "without")) == FRAME.Amount.iloc[DATA.train.rows].isna().sum()
    assert not any(before.values())
    rows["Amount"] *= 1_000.0
    rows.loc[:6, "Country"] = "ES"
    counts = {name: count for name, how, count, _ in PREPARATION.strange(rows) if how != "without a number"}
    assert counts == {"Amount": int(rows.Amount.notna().sum()), "Count": 0, "Country": 7, "Code": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda rows: rows.drop(columns=["Amount", "Code"]),
            "Expected Amount, Code, too.*Received Count, Country, Class",
        ),
        (lambda rows: rows.rename(columns={"Amount": "amount"}), "perhaps 'amount'"),
        (lambda rows: rows.assign(Amount="12x"), "'Amount' holds no numbers only.*'12x' in row 1"),
        (lambda rows: rows.assign(Amount=np.where(np.arange(N) == 6, np.inf, 1.0)), "not finite.*inf in row 7"),
        (lambda rows: rows.assign(Amount=1e300), "'Amount' cannot be standardised"),
    ],
)
def test_what_cannot_be_prepared_is_refused(change: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PREPARATION.transform(change(FRAME))
