"""The preparation in a pipeline of scikit-learn's: learned in every fold anew, and kept without pickle."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from datasets import TablePreparer
from trainer import NetworkClassifier

pd = pytest.importorskip("pandas")

N = 210
CHANCE = np.random.default_rng(6)
FRAME = pd.DataFrame(
    {
        "Amount": np.where(np.arange(N) % 7 == 2, np.nan, np.exp(2.0 * CHANCE.normal(size=N))),
        "Shop": CHANCE.integers(0, 5, N),
        "Country": np.array(["DE", "FR", None], object)[CHANCE.integers(0, 3, N)],
        "Same": 1.0,
    }
)
LABELS = np.where(FRAME.Amount.fillna(0.0) + CHANCE.normal(size=N) > 4.0, "fraud", "honest")


def pipeline() -> object:
    return make_pipeline(TablePreparer(["Shop"]), NetworkClassifier((5,), epochs=3, random_state=0))


def test_its_features_are_those_of_its_preparation_and_have_names() -> None:
    preparer = TablePreparer(["Shop"]).fit(FRAME)
    assert np.array_equal(preparer.transform(FRAME), preparer.preparation_.transform(FRAME))
    names = preparer.get_feature_names_out().tolist()
    assert names[:2] == ["Amount", "log Amount"]
    assert {"Shop=3", "Country=DE", "Country=(missing)"} < set(names)
    assert list(preparer.dropped_) == ["Same"]
    assert preparer.n_features_in_ == 4


def test_in_a_pipeline_every_fold_learns_from_its_own_rows() -> None:
    found = cross_val_predict(pipeline(), FRAME, LABELS, cv=3, method="predict_proba")
    spoilt = FRAME.copy()
    last = np.arange(N) >= 2 * N // 3
    spoilt.loc[last, "Amount"] = 1e9
    kept = clone(pipeline()).fit(FRAME[~last], LABELS[~last])
    assert np.array_equal(kept[0].transform(FRAME[~last]), kept[0].transform(spoilt[~last]))
    assert found.shape == (N, 2)


def test_arrays_and_nothing_to_learn_from_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Expected a data frame\. Received ndarray"):
        TablePreparer().fit(FRAME.to_numpy())
    with pytest.raises(ValueError, match="no column to learn from"):
        TablePreparer().fit(FRAME[["Same"]])
    with pytest.raises(NotFittedError):
        TablePreparer().transform(FRAME)


def test_skops_keeps_a_pipeline_that_gives_the_same_bits() -> None:
    skops = pytest.importorskip("skops.io", reason="the extra `persist` is not installed")
    fitted = pipeline().fit(FRAME, LABELS)
    kept = skops.dumps(fitted)
    unknown = skops.get_untrusted_types(data=kept)
    assert {name.partition(".")[0] for name in unknown} <= {"datasets", "trainer", "collections"}
    again = skops.loads(kept, trusted=unknown)
    assert np.array_equal(again.predict_proba(FRAME), fitted.predict_proba(FRAME))
