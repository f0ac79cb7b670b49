"""What `prepare` makes of a table: from its training rows alone, and nothing without saying so."""

import re

import numpy as np
import pytest

from datasets import FraudData, Split, prepare
from datasets.preparing.features import MISSING, MOST_TEXTS

pd = pytest.importorskip("pandas")

N = 300
CHANCE = np.random.default_rng(5)
LABELS = (np.arange(N) % 11 == 3).astype(float)


def table(**columns: object) -> "pd.DataFrame":
    """Give a table of two columns of noise, labels and whatever else."""
    noise = np.random.default_rng(1).normal(3.0, 7.0, (N, 2))
    return pd.DataFrame({"V1": noise[:, 0], "V2": noise[:, 1], **columns, "Class": columns.get("Class", LABELS)})


def parts(data: FraudData) -> tuple[Split, Split, Split]:
    return data.train, data.validation, data.test


def test_the_parts_hold_sixty_twenty_and_twenty_percent_and_the_same_share_of_fraud() -> None:
    data = prepare(table(), "Class")
    assert [part.n_samples for part in parts(data)] == [180, 60, 60]
    assert [part.n_fraud for part in parts(data)] == pytest.approx([LABELS.sum() * s for s in (0.6, 0.2, 0.2)], abs=1)
    assert all(part.inputs.flags.c_contiguous and part.inputs.dtype == np.float64 for part in parts(data))


def test_no_row_is_lost_or_twice_and_every_row_keeps_its_label() -> None:
    data = prepare(table(Place=np.arange(N) * 1.5, Class=LABELS), "Class")
    rows = np.concatenate([part.inputs[:, 2] for part in parts(data)])
    found = np.concatenate([part.targets for part in parts(data)])
    assert np.array_equal(found[np.argsort(rows)], LABELS)
    assert len(set(rows)) == N
    assert np.array_equal(np.argsort(rows), np.argsort(np.concatenate([part.rows for part in parts(data)])))


def test_the_same_seed_gives_the_same_parts() -> None:
    one, again, other = (prepare(table(), "Class", seed=seed).train.inputs for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_nothing_of_validation_and_test_reaches_the_preparation() -> None:
    frame = table(
        Time=np.arange(N),
        V3=np.where(np.arange(N) % 5, 7.0 * np.arange(N) % 101, np.nan),
        Kind=["a", "b", "c"] * (N // 3),
    )
    spoilt = frame.copy()
    newest = frame.Time >= 180
    spoilt.loc[newest, ["V1", "V3"]] = [1e9, -1e9]
    spoilt.loc[newest, "Kind"] = "new"
    before, after = (prepare(rows, "Class", split_by="Time") for rows in (frame, spoilt))
    assert np.array_equal(before.train.inputs, after.train.inputs)
    assert before.feature_names == after.feature_names
    train = frame[~newest]
    filled = train.V3.fillna(train.V3.median())
    for column, values in enumerate((train.V1, train.V2, filled)):
        expected = (values - values.mean()) / values.std(ddof=0)
        assert np.allclose(after.train.inputs[:, column], expected, rtol=1e-12, atol=1e-12)
    assert not after.test.inputs[:, 3:].any()  # a text that no training row holds


def test_a_split_by_time_trains_on_the_oldest_rows_and_keeps_a_moment_together() -> None:
    times = np.random.default_rng(2).permutation(N) // 50  # six moments of 50 rows
    data = prepare(table(When=times), "Class", split_by="When")
    assert [part.n_samples for part in parts(data)] == [200, 50, 50]
    assert data.feature_names == ("V1", "V2")
    assert np.array_equal(np.sort(data.test.rows), np.flatnonzero(times == 5))


@pytest.mark.parametrize(
    "times", [np.arange(N), pd.date_range("2020", periods=N), pd.date_range("2020", periods=N).astype(str)]
)
def test_numbers_dates_and_dates_as_text_split_alike(times: object) -> None:
    data = prepare(table(When=times).iloc[::-1], "Class", split_by="When")
    assert np.array_equal(np.concatenate([part.rows for part in parts(data)]), np.arange(N)[::-1])
    assert data.feature_names[:2] == ("V1", "V2")


def test_every_text_is_a_column_and_a_missing_one_is_a_text_of_its_own() -> None:
    kinds = np.array(["DE", "FR", None], object)[np.arange(N) % 3]
    data = prepare(table(Kind=kinds), "Class")
    assert data.feature_names == ("V1", "V2", f"Kind={MISSING}", "Kind=DE", "Kind=FR")
    row = np.concatenate([part.rows for part in parts(data)])
    kind = np.concatenate([part.inputs[:, 2:] for part in parts(data)]).argmax(axis=1)
    assert np.array_equal(kind, (row + 1) % 3)
    assert any(f"missing texts, now a text of their own, {MISSING}: Kind (100)" in note for note in data.notes)


def test_what_is_imputed_and_what_is_left_out_is_said() -> None:
    frame = table(
        Gaps=np.where(np.arange(N) < 12, np.nan, CHANCE.normal(size=N)),
        Same=5,
        Void=np.nan,
        Name=[f"id{row % 170}" for row in range(N)],
        Odd=np.arange(N) * 1j,
    )
    data = prepare(frame, "Class", name="payments.csv")
    assert data.feature_names == ("V1", "V2", "Gaps")
    assert data.notes[0] == "payments.csv: 300 rows, of which 27 (9.000%) are fraud: Class = 1"
    assert "missing numbers, now the training rows' median: Gaps (12)" in data.notes
    said = "\n".join(data.warnings)
    for words in (
        "Same, Void: one value",
        f"Name: more than {MOST_TEXTS} different texts",
        "Odd: complex128 is no number",
    ):
        assert f"left out: {words}" in said


@pytest.mark.parametrize(
    ("labels", "fraud"),
    [
        (LABELS, "1"),
        (1 - LABELS, "1"),  # 1 is fraud even where it is not the rarer
        (LABELS.astype(int).astype(str), "1"),
        (LABELS == 1, "True"),
        (np.where(LABELS == 1, "TRUE", "FALSE"), "TRUE"),
        (np.where(LABELS == 1, "bad", "good"), "bad"),
        (np.where(LABELS == 1, -1, 2), "-1"),
    ],
)
def test_fraud_is_1_or_true_or_else_the_rarer_label(labels: object, fraud: str) -> None:
    data = prepare(table(Class=labels), "Class")
    assert data.notes[0].endswith(f"Class = {fraud}")
    assert sum(part.n_fraud for part in parts(data)) == (
        27 if fraud != "1" or np.mean(np.asarray(labels, float)) < 0.5 else 273
    )


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({}, {"target": "class"}, "no column 'class'.*perhaps 'Class': V1, V2, Class"),
        ({}, {"target": "Fraud"}, "no column 'Fraud'.*Expected one of its 3 columns: V1"),
        ({}, {"split_by": "V11"}, "no column 'V11'.*perhaps 'V1'"),
        ({}, {"split_by": "Class"}, "cannot split"),
        ({"Class": np.arange(N) % 3}, {}, "Received 3: 0, 1, 2"),
        ({"Class": np.zeros(N)}, {}, "Received 1: 0"),
        ({"Class": np.arange(N) * 0.5}, {}, "Received 300: .* and 292 more"),
        ({"Class": np.where(np.arange(N) == 6, np.nan, LABELS)}, {}, "missing values.*row 7"),
        ({"Class": ["a", "b"] * (N // 2)}, {}, "does not say which value is fraud"),
        ({"Class": np.arange(N) < 4}, {}, "Too few rows.*Received 4 of fraud and 296 honest"),
        ({"V1": np.where(np.arange(N) == 6, np.inf, 1.0)}, {}, "'V1' is not finite.*inf in row 7"),
        ({"V1": ["12x" if row == 6 else str(row) for row in range(N)]}, {}, "'V1' holds numbers, and.*'12x' in row 7"),
        ({"V1": np.where(np.arange(N) % 2, 1e308, -1e308)}, {}, "'V1' cannot be standardised"),
        ({"V1": 1, "V2": None}, {}, "no column to learn from"),
        ({"T": np.where(np.arange(N) == 6, np.nan, 1)}, {"split_by": "T"}, "'T' cannot split.*row 7"),
        ({"T": "soon"}, {"split_by": "T"}, "'T' cannot split.*'soon' in row 1"),
        ({"T": 1}, {"split_by": "T"}, "leaves validation without.*0 of fraud among 0"),
        ({"T": -LABELS}, {"split_by": "T"}, "leaves validation without|leaves train without|leaves test without"),
        ({}, {"memory": 5_000}, "with 2 features, too large"),
    ],
)
def test_a_table_from_which_nothing_can_be_learned_is_refused(columns: dict, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        prepare(table(**columns), **{"target": "Class", **options})
    assert re.search(r"Expected.*Received", str(caught.value))


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two columns of one name"):
        prepare(pd.concat([table(), table()], axis=1), "Class")


def test_a_column_of_one_value_in_the_training_rows_is_left_out_whatever_comes_later() -> None:
    late = np.where(np.arange(N) < 200, 1.0, np.arange(N))
    data = prepare(table(Time=np.arange(N), Late=late), "Class", split_by="Time")
    assert data.feature_names == ("V1", "V2")
    assert "left out: Late: one value" in data.warnings[0]
