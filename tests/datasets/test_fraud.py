"""What `make_fraud` promises about its rows, its splits and its errors."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from datasets import FraudData, Split, make_fraud


def splits(data: FraudData) -> tuple[Split, Split, Split]:
    return data.train, data.validation, data.test


def rows(data: FraudData) -> np.ndarray:
    return np.concatenate([split.inputs for split in splits(data)])


@pytest.fixture(scope="module")
def data() -> FraudData:
    return make_fraud()


def test_defaults_are_twenty_thousand_rows_thirty_columns_two_percent_fraud(data: FraudData) -> None:
    assert rows(data).shape == (20_000, 30)
    assert sum(split.n_fraud for split in splits(data)) == 400


def test_splits_hold_sixty_twenty_and_twenty_percent(data: FraudData) -> None:
    assert [split.n_samples for split in splits(data)] == [12_000, 4_000, 4_000]


def test_splits_are_stratified(data: FraudData) -> None:
    assert [split.n_fraud for split in splits(data)] == [240, 80, 80]


def test_inputs_and_targets_are_contiguous_float64_with_labels_zero_and_one(data: FraudData) -> None:
    for split in splits(data):
        assert split.inputs.dtype == split.targets.dtype == np.float64
        assert split.inputs.flags.c_contiguous
        assert split.targets.flags.c_contiguous
        assert split.targets.shape == (len(split.inputs),)
        assert set(split.targets) == {0.0, 1.0}
        assert np.isfinite(split.inputs).all()


def test_columns_are_standardised_on_the_training_rows_only(data: FraudData) -> None:
    np.testing.assert_allclose(data.train.inputs.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(data.train.inputs.std(axis=0), 1.0, rtol=1e-12)
    for held_out in (data.validation, data.test):
        mean, std = held_out.inputs.mean(axis=0), held_out.inputs.std(axis=0)
        assert (np.abs(mean) > 1e-6).all(), "standardised on rows that training must not see"
        assert (np.abs(std - 1.0) > 1e-6).all(), "standardised on rows that training must not see"
        assert (np.abs(mean) < 0.1).all()
        assert (np.abs(std - 1.0) < 0.1).all()


def test_no_row_is_in_two_splits_and_none_is_lost(data: FraudData) -> None:
    assert len(np.unique(rows(data), axis=0)) == 20_000


def test_every_column_has_a_name_of_its_own(data: FraudData) -> None:
    assert len(set(data.feature_names)) == data.train.inputs.shape[1]
    assert data.feature_names[:2] == ("V1", "V2")


def test_same_seed_gives_the_same_table_and_another_seed_another() -> None:
    first, again, other = (make_fraud(1_000, 7, fraud_rate=0.1, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(splits(first), splits(again), strict=True):
        np.testing.assert_array_equal(one.inputs, two.inputs)
        np.testing.assert_array_equal(one.targets, two.targets)
    assert not np.allclose(rows(first), rows(other))


@pytest.mark.parametrize(
    ("n_samples", "fraud_rate"), [(251, 0.02), (1_000, 0.0123), (777, 0.9), (10, 0.5), (50, 0.1), (97, 0.07)]
)
def test_fraud_rate_is_exact_and_every_split_holds_both_classes(n_samples: int, fraud_rate: float) -> None:
    for seed in range(5):
        parts = splits(make_fraud(n_samples, 5, fraud_rate=fraud_rate, seed=seed))
        assert sum(part.n_samples for part in parts) == n_samples
        assert sum(part.n_fraud for part in parts) == round(n_samples * fraud_rate)
        assert all(0 < part.n_fraud < part.n_samples for part in parts)


@pytest.mark.parametrize("n_features", [2, 3, 4, 5, 6, 11, 64])
def test_any_width_from_two_columns_up_works(n_features: int) -> None:
    data = make_fraud(500, n_features, fraud_rate=0.1)
    assert data.train.inputs.shape == (300, n_features)
    assert len(data.feature_names) == n_features


def test_a_straight_line_is_better_than_guessing_but_not_enough(data: FraudData) -> None:
    model = LogisticRegression().fit(data.train.inputs, data.train.targets)
    scores = model.predict_proba(data.test.inputs)[:, 1]
    assert 0.1 < average_precision_score(data.test.targets, scores) < 0.7  # guessing gets 0.02


def test_numpy_numbers_are_accepted_as_arguments() -> None:
    data = make_fraud(np.int64(500), np.int32(3), fraud_rate=np.float32(0.1), seed=np.int64(0))
    assert data.train.inputs.shape == (300, 3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"n_samples": 0}, "an integer of at least 1"),
        ({"n_samples": 1000.0}, "an integer of at least 1"),
        ({"n_samples": "many"}, "an integer of at least 1"),
        ({"n_samples": True}, "an integer of at least 1"),
        ({"n_features": 1}, "an integer of at least 2"),
        ({"n_features": -3}, "an integer of at least 2"),
        ({"n_features": 2.5}, "an integer of at least 2"),
        ({"n_features": None}, "an integer of at least 2"),
        ({"fraud_rate": 0.0}, "strictly between 0 and 1"),
        ({"fraud_rate": 1.0}, "strictly between 0 and 1"),
        ({"fraud_rate": -0.1}, "strictly between 0 and 1"),
        ({"fraud_rate": math.nan}, "strictly between 0 and 1"),
        ({"fraud_rate": math.inf}, "strictly between 0 and 1"),
        ({"fraud_rate": True}, "strictly between 0 and 1"),
        ({"fraud_rate": "2 %"}, "strictly between 0 and 1"),
        ({"fraud_rate": None}, "strictly between 0 and 1"),
        ({"seed": -1}, "an integer from 0 to 4294967295"),
        ({"seed": 2**32}, "an integer from 0 to 4294967295"),
        ({"seed": 0.5}, "an integer from 0 to 4294967295"),
        ({"seed": False}, "an integer from 0 to 4294967295"),
    ],
)
def test_bad_arguments_are_refused_with_what_was_expected_and_received(
    arguments: dict[str, object], expected: str
) -> None:
    with pytest.raises(ValueError, match=r"Expected .* Received: ") as refusal:
        make_fraud(**arguments)  # type: ignore[arg-type]
    ((name, value),) = arguments.items()
    assert expected in str(refusal.value)
    assert f"{name}={value!r}" in str(refusal.value)


@pytest.mark.parametrize(
    ("n_samples", "fraud_rate", "needed"),
    [(249, 0.02, 250), (100, 0.002, 2_500), (49, 0.9, 50), (9, 0.5, 10), (1_000, 1e-9, 5_000_000_000)],
)
def test_too_few_rows_are_refused_and_the_number_needed_is_named(
    n_samples: int, fraud_rate: float, needed: int
) -> None:
    with pytest.raises(ValueError, match=f"Expected n_samples >= {needed} .* Received: n_samples={n_samples}"):
        make_fraud(n_samples, 5, fraud_rate=fraud_rate)


@pytest.mark.parametrize("fraud_rate", [5e-324, 1.0 - 2**-53])
def test_rates_at_the_edge_of_float64_are_refused_like_any_other(fraud_rate: float) -> None:
    with pytest.raises(ValueError, match="Too few rows"):
        make_fraud(fraud_rate=fraud_rate)


def test_a_split_prints_its_size_and_not_its_rows(data: FraudData) -> None:
    assert repr(data.test) == "Split(4000 rows, 80 fraud, 30 features)"


def test_a_table_is_drawn_by_one_thread_however_many_there_are(monkeypatch):
    import sklearn.datasets
    from threadpoolctl import threadpool_info, threadpool_limits

    threads, make = [], sklearn.datasets.make_classification

    def watched(*arguments, **options):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return make(*arguments, **options)

    monkeypatch.setattr(sklearn.datasets, "make_classification", watched)
    with threadpool_limits(2):
        make_fraud(100, 3, fraud_rate=0.2)
    assert set(threads) == {1}
