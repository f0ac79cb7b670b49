"""Which label is fraud: what says itself, what is asked for, and one clear line where neither does."""

import numpy as np
import pytest

from datasets.preparing.labels import labels_of

pd = pytest.importorskip("pandas")

FRAUD = np.arange(33) % 11 == 4  # 3 of 33


def column(fraud: object, honest: object) -> "pd.Series":
    return pd.Series(np.where(FRAUD, fraud, honest), name="Class")


def test_labels_that_differ_in_case_or_spaces_are_one_and_are_told() -> None:
    written = pd.Series(np.where(FRAUD, "Fraud", "Not Fraud"), name="Class").astype(object)
    written[[0, 1, 4]] = ["not fraud", " Not  Fraud ", "FRAUD"]
    for values in (written, written.astype("category")):
        targets, fraud, warnings = labels_of(values)
        assert np.array_equal(targets, FRAUD)
        assert fraud == "Fraud"
        assert len(warnings) == 2
        assert all("differ in case or spaces only" in told and "--fraud-label" in told for told in warnings)


@pytest.mark.parametrize("wanted", ["genuine", " Genuine"])
def test_the_label_that_is_asked_for_is_fraud(wanted: str) -> None:
    targets, fraud, warnings = labels_of(column("fraud", "genuine"), wanted)
    assert np.array_equal(targets, ~FRAUD)
    assert (fraud, warnings) == ("genuine", [])


@pytest.mark.parametrize("wanted", [0, 0.0, "0", False])
def test_a_number_is_asked_for_as_it_stands_in_the_file(wanted: object) -> None:
    labels = column(1.0, 0.0) if wanted is not False else column(True, False)
    assert np.array_equal(labels_of(labels, wanted).targets, ~FRAUD)


def test_a_label_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"--fraud-label.*Expected 'genuine' or 'fraud'. Received 'Betrug'"):
        labels_of(column("fraud", "genuine"), "Betrug")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (1 - FRAUD.astype(int), "91% of the rows are fraud, by Class = 1: if that means honest, say --fraud-label 0"),
        (np.where(np.arange(33) < 15, "Not ok", "Ok"), "45% .* rarer label: .*, say --fraud-label Ok"),
        (np.where(np.arange(33) < 15, "Ok", "Not ok"), "45% .* rarer label: .*, say --fraud-label 'Not ok'"),
    ],
)
def test_where_fraud_is_not_rare_one_line_names_the_option(labels: object, words: str) -> None:
    (told,) = labels_of(pd.Series(labels, name="Class")).warnings
    pd.testing.assert_series_equal(pd.Series([told]).str.contains(words), pd.Series([True]), check_dtype=False)


def test_half_and_half_is_refused_unless_the_labels_or_the_option_say_it() -> None:
    half = pd.Series(["bad", "good"] * 11, name="Class")
    with pytest.raises(ValueError, match=r"does not say which value is fraud.*--fraud-label.*11 rows each"):
        labels_of(half)
    assert labels_of(half, "bad").targets.sum() == 11
    assert labels_of(half == "bad").warnings == []


def test_a_rare_label_is_taken_without_a_word() -> None:
    assert labels_of(column("bad", "good")).warnings == []
