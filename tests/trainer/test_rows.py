"""Bad input: one line that says what was wrong, what was expected and what was received."""

import numpy as np
import pytest

from trainer import Network, Trainer
from trainer.rows import checked_inputs

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((11, 5))
TARGETS = (np.arange(11) % 3 == 0).astype(float)


def spoilt(array, index, value):
    array = array.copy()
    array[index] = value
    return array


BAD = {
    "text": (INPUTS.astype(str), TARGETS, "inputs are not numeric"),
    "objects": (INPUTS.astype(object), TARGETS, "inputs are not numeric"),
    "complex": (INPUTS + 1j, TARGETS, "inputs are not numeric"),
    "ragged": ([[1.0, 2.0], [3.0]], [0, 1], "inputs are no array"),
    "nan": (spoilt(INPUTS, (3, 2), np.nan), TARGETS, "inputs are not all finite.* nan in row 3, column 2"),
    "infinite": (spoilt(INPUTS, (10, 0), -np.inf), TARGETS, "not all finite.* -inf in row 10, column 0"),
    "too wide": (np.ones((11, 6)), TARGETS, r"Expected \(n_rows, 5\).* Received \(11, 6\)"),
    "one row flat": (np.ones(5), TARGETS, r"Expected \(n_rows, 5\).* Received \(5,\)"),
    "empty": (np.ones((0, 5)), np.ones(0), "inputs are empty"),
    "too few targets": (INPUTS, TARGETS[:-1], "Expected 11 targets. Received 10"),
    "a column of targets": (INPUTS, TARGETS[:, None], r"Received \(11, 1\). Use targets.ravel\(\)"),
    "two columns of targets": (INPUTS, np.ones((11, 2)), r"Received \(11, 2\)\.$"),
    "three classes": (INPUTS, spoilt(TARGETS, 4, 2.0), "Expected only 0 and 1. Received 2.0 in row 4"),
    "signs as targets": (INPUTS, 2 * TARGETS - 1, "Expected only 0 and 1. Received -1.0 in row 1"),
    "nan as target": (INPUTS, spoilt(TARGETS, 4, np.nan), "Received nan in row 4"),
    "text as targets": (INPUTS, np.where(TARGETS == 1, "fraud", "fine"), "targets are not numeric"),
    "one class": (INPUTS, np.zeros(11), "one class only.* 11 rows of class 0"),
    "the other class": (INPUTS, np.ones(11), "one class only.* 11 rows of class 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_in_one_line_before_anything_is_written(case, tmp_path):
    inputs, targets, message = BAD[case]
    trainer = Trainer(Network((5, 3, 1)), history_path=tmp_path / "history.jsonl")
    with pytest.raises(ValueError, match=message) as caught:
        trainer.fit(inputs, targets)
    assert "\n" not in str(caught.value)
    assert "Expected" in str(caught.value)
    assert "Received" in str(caught.value)
    assert not (tmp_path / "history.jsonl").exists()
    with pytest.raises(RuntimeError, match="Nothing was fitted yet"):
        _ = trainer.parameters


def test_bad_validation_rows_are_refused_before_training():
    with pytest.raises(ValueError, match="inputs are not all finite"):
        Trainer(Network((5, 1))).fit(INPUTS, TARGETS, validation=(INPUTS * np.nan, TARGETS))


def test_validation_rows_of_one_class_are_welcome():
    history = Trainer(Network((5, 1)), epochs=1).fit(INPUTS, TARGETS, validation=(INPUTS[1:3], np.zeros(2)))
    assert len(history.column("validation_loss")) == 1


@pytest.mark.parametrize("targets", [TARGETS.astype(int), TARGETS.astype(bool), TARGETS.tolist()])
def test_any_kind_of_zeros_and_ones_is_welcome(targets):
    expected = Trainer(Network((5, 3, 1)), epochs=1)
    expected.fit(INPUTS, TARGETS)
    actual = Trainer(Network((5, 3, 1)), epochs=1)
    actual.fit(INPUTS.tolist(), targets)
    np.testing.assert_array_equal(actual.parameters.vector, expected.parameters.vector)


def test_prediction_refuses_bad_rows_too():
    trainer = Trainer(Network((5, 1)), epochs=1)
    trainer.fit(INPUTS, TARGETS)
    with pytest.raises(ValueError, match="not all finite"):
        trainer.predict_proba(INPUTS * np.nan)
    with pytest.raises(ValueError, match="wrong shape"):
        trainer.predict_proba(INPUTS[0])


def test_a_memory_mapped_file_is_used_as_it_is_and_trains_the_same(tmp_path):
    np.save(tmp_path / "inputs.npy", INPUTS)
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    rows = checked_inputs(mapped, 5, np.float32)
    assert np.shares_memory(rows, mapped)
    results = []
    for inputs in (INPUTS, mapped):
        trainer = Trainer(Network((5, 3, 1)), dtype="float32", epochs=2, batch_size=3)
        trainer.fit(inputs, TARGETS)
        assert trainer.state.batch.inputs.dtype == np.float32
        results.append((trainer.parameters.vector, trainer.predict_proba(inputs)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
