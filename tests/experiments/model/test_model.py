"""A model that is kept gives the same probabilities to the last bit, and one that is damaged gives none."""

import math

import numpy as np
import pytest

from datasets import Preparation
from datasets.preparing.columns import Logarithm, Number, Standard, Text
from experiments.model import FraudModel
from experiments.model.model import BLOCK, FILE, Facts
from experiments.model.threshold import Threshold
from trainer import Network
from trainer.storage.archive import ArchiveError

pd = pytest.importorskip("pandas")

CHANCE = np.random.default_rng(3)
N = 2 * BLOCK + 77
PREPARATION = Preparation(
    (
        Number("Amount", 40.0, Standard(55.0, 31.0), 1.0, 400.0, Logarithm(40.0, Standard(0.8, 0.4))),
        Number("Count", 2.0, Standard(2.5, 1.5), 0.0, 9.0),
    ),
    (Text("Country", ("(missing)", "DE", "FR")),),
)
FRAME = pd.DataFrame(
    {
        "Amount": CHANCE.gamma(2.0, 35.0, N),
        "Count": CHANCE.integers(0, 9, N),
        "Country": np.array(["DE", "FR", "ES", None], object)[CHANCE.integers(0, 4, N)],
    }
)


def model_of(sizes: tuple[int, ...] = (6, 7, 3, 1), dtype: str = "float64", weight: float = 1.0) -> FraudModel:
    parameters = Network(sizes).initial_parameters(np.random.default_rng(1), np.dtype(dtype))
    facts = Facts(list(sizes), "relu", weight, PREPARATION, Threshold(0.4, "a test"), "Class = 1", None)
    return FraudModel(parameters, facts)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_row_has_the_same_probability_to_the_last_bit_whatever_stands_around_it(dtype: str) -> None:
    model = model_of(dtype=dtype)
    whole = model.predict_proba(FRAME)
    assert whole.shape == (N,)
    order = CHANCE.permutation(N)
    assert np.array_equal(model.predict_proba(FRAME.iloc[order]), whole[order])
    for start, end in ((0, 1), (5, 12), (N - 3, N), (BLOCK - 1, BLOCK + 2), (0, 0)):
        assert np.array_equal(model.predict_proba(FRAME.iloc[start:end]), whole[start:end])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_loaded_is_what_was_saved(dtype: str, tmp_path) -> None:
    model = model_of(dtype=dtype, weight=7.0)
    model.save(tmp_path / FILE)
    for path in (tmp_path, tmp_path / FILE, str(tmp_path)):
        again = FraudModel.load(path)
        assert again.facts == model.facts
        assert np.array_equal(again.predict_proba(FRAME), model.predict_proba(FRAME))
        assert np.array_equal(again.predict(FRAME), model.predict_proba(FRAME) >= 0.4)
    nothing = FraudModel(model.parameters, Facts(**vars(model.facts) | {"threshold": Threshold(math.inf, "none")}))
    nothing.save(tmp_path / FILE)
    assert not FraudModel.load(tmp_path).predict(FRAME).any()


def test_a_weight_of_the_frauds_multiplies_the_odds_and_is_divided_out() -> None:
    inputs = PREPARATION.transform(FRAME)
    model = model_of(weight=7.0)
    weighted, right = model.probabilities(inputs, corrected=False), model.probabilities(inputs)
    assert right / (1.0 - right) == pytest.approx(weighted / (1.0 - weighted) / 7.0)
    assert np.array_equal(weighted, model_of().probabilities(inputs))


def test_a_damaged_file_or_another_one_is_no_model(tmp_path) -> None:
    path = tmp_path / FILE
    model_of().save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged"):
        FraudModel.load(tmp_path)
    np.savez(path, W1=np.ones(3))
    with pytest.raises(ArchiveError):
        FraudModel.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        FraudModel.load(tmp_path / "nowhere")


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"do not fit.*7 features.*Received.*6"):
        model_of((7, 3, 1))
