"""Batches: every row once an epoch, in an order that is random as stated; bad rows are refused in one line."""

import numpy as np
import pytest

from trainer import Network, Trainer, batches
from trainer.batches import BLOCKS, Batches
from trainer.network.demands import checked_inputs
from trainer.rows import Rows, is_mapped, release

N_ROWS = 1_003
INPUTS = np.arange(2.0 * N_ROWS).reshape(N_ROWS, 2)
TARGETS = (np.arange(N_ROWS) % 3 == 0).astype(float)


ROWS = np.random.default_rng(0).standard_normal((11, 5))
LABELS = (np.arange(11) % 3 == 0).astype(float)


def spoilt(array, index, value):
    array = array.copy()
    array[index] = value
    return array


BAD = {
    "text": (ROWS.astype(str), LABELS, "inputs are not numeric"),
    "objects": (ROWS.astype(object), LABELS, "inputs are not numeric"),
    "complex": (ROWS + 1j, LABELS, "inputs are not numeric"),
    "ragged": ([[1.0, 2.0], [3.0]], [0, 1], "inputs are no array"),
    "nan": (spoilt(ROWS, (3, 2), np.nan), LABELS, "inputs are not all finite.* nan in row 3, column 2"),
    "infinite": (spoilt(ROWS, (10, 0), -np.inf), LABELS, "not all finite.* -inf in row 10, column 0"),
    "too wide": (np.ones((11, 6)), LABELS, r"Expected \(n_rows, 5\).* Received \(11, 6\)"),
    "one row flat": (np.ones(5), LABELS, r"Expected \(n_rows, 5\).* Received \(5,\)"),
    "empty": (np.ones((0, 5)), np.ones(0), "inputs are empty"),
    "too few targets": (ROWS, LABELS[:-1], "Expected 11 targets. Received 10"),
    "a column of targets": (ROWS, LABELS[:, None], r"Received \(11, 1\). Use targets.ravel\(\)"),
    "two columns of targets": (ROWS, np.ones((11, 2)), r"Received \(11, 2\)\.$"),
    "three classes": (ROWS, spoilt(LABELS, 4, 2.0), "Expected only 0 and 1. Received 2.0 in row 4"),
    "signs as targets": (ROWS, 2 * LABELS - 1, "Expected only 0 and 1. Received -1.0 in row 1"),
    "nan as target": (ROWS, spoilt(LABELS, 4, np.nan), "Received nan in row 4"),
    "text as targets": (ROWS, np.where(LABELS == 1, "fraud", "fine"), "targets are not numeric"),
    "one class": (ROWS, np.zeros(11), "one class only.* 11 rows of class 0"),
    "the other class": (ROWS, np.ones(11), "one class only.* 11 rows of class 1"),
}


class Watched:
    """A generator that notes the length of every permutation."""

    def __init__(self, seed=0):
        self.rng, self.lengths = np.random.default_rng(seed), []

    def permutation(self, n):
        self.lengths.append(n)
        return self.rng.permutation(n)


def mapped(tmp_path, mode="r"):
    np.save(tmp_path / "inputs.npy", INPUTS)
    return np.load(tmp_path / "inputs.npy", mmap_mode=mode)


def order_of(epoch):
    return [int(row) for batch in epoch for row in batch.inputs[:, 0] // 2]


@pytest.mark.parametrize("window", [None, 1, 7, 64, 160, 500, 1_002, 1_003, 5_000])
@pytest.mark.parametrize("batch_size", [1, 7, 256, 1_003, 2_000])
def test_every_row_comes_once_with_its_own_target_in_batches_of_one_size(window, batch_size):
    of = Batches(Rows.of(INPUTS, TARGETS, np.float32), batch_size, window)
    epoch = list(of.epoch(np.random.default_rng(0)))
    order = order_of(epoch)
    assert sorted(order) == list(range(N_ROWS))
    np.testing.assert_array_equal(np.concatenate([batch.targets for batch in epoch]), TARGETS[order])
    assert len(epoch) == len(of)
    assert {len(batch.targets) for batch in epoch[:-1]} <= {batch_size}
    assert {array.dtype for batch in epoch for array in batch} == {np.dtype(np.float32)}


def test_one_window_is_one_permutation():
    order = order_of(Batches(Rows.of(INPUTS, TARGETS, np.float64), 100).epoch(np.random.default_rng(5)))
    assert order == np.random.default_rng(5).permutation(N_ROWS).tolist()


@pytest.mark.parametrize("window", [32, 160])
def test_a_window_is_shuffled_from_random_blocks_and_no_more_is_permuted_at_once(window):
    rng = Watched()
    order = order_of(Batches(Rows.of(INPUTS, TARGETS, np.float64), 8, window).epoch(rng))
    block = -(-window // BLOCKS)
    n_blocks = -(-N_ROWS // block)
    assert max(rng.lengths) <= max(n_blocks, block * BLOCKS + 8)  # and fewer left over than a batch
    first = {row // block for row in order[: window - block]}  # the last block may be a short one
    assert len(first) <= BLOCKS
    assert max(first) - min(first) > n_blocks / 2  # from all over the file
    assert order[:window] != sorted(order[:window])


def test_two_epochs_come_in_different_orders():
    of, rng = Batches(Rows.of(INPUTS, TARGETS, np.float64), 8, 160), np.random.default_rng(0)
    assert order_of(of.epoch(rng)) != order_of(of.epoch(rng))


def test_only_a_file_has_a_window_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "WINDOW", 64)
    for inputs, largest in ((INPUTS, N_ROWS), (mapped(tmp_path), 251)):  # 251 blocks of 4 rows
        rng = Watched()
        order = order_of(Batches(Rows.of(inputs, TARGETS, np.float64), 8).epoch(rng))
        assert sorted(order) == list(range(N_ROWS))
        assert max(rng.lengths) == largest


def test_training_from_a_file_in_windows_visits_every_row_and_learns(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "WINDOW", 64)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((N_ROWS, 5))
    targets = (inputs[:, 0] > 0.5).astype(np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    np.save(tmp_path / "targets.npy", targets)
    files = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("inputs", "targets")]
    trainer = Trainer(Network((5, 7, 1)), epochs=20, batch_size=16)
    losses = trainer.fit(*files).column("epoch_loss")
    assert trainer.state.iteration == trainer.state.n_iterations == 20 * 63
    assert losses[-1] < 0.3 * losses[0]
    assert is_mapped(trainer.state.inputs)
    assert np.mean((trainer.predict_proba(files[0]) > 0.5) == targets) > 0.95


def test_arrays_in_memory_may_be_given_a_window():
    targets = (INPUTS[:, 0] > 1_000).astype(float)
    weights = []
    for window in (None, 160, N_ROWS):
        trainer = Trainer(Network((2, 3, 1)), epochs=1, batch_size=32, shuffle_window=window)
        trainer.fit(INPUTS / 1_000, targets)
        weights.append(trainer.parameters.vector)
    np.testing.assert_array_equal(weights[0], weights[2])
    assert not np.array_equal(weights[0], weights[1])


@pytest.mark.parametrize(("window", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_a_window_that_is_none_is_refused(window, error):
    with pytest.raises(error, match=r"Invalid shuffle_window. Expected .* Received"):
        Trainer(Network((2, 1)), shuffle_window=window)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_pages_of_a_file_are_let_go_and_come_back_when_read(tmp_path, mode):
    rows = mapped(tmp_path, mode)
    for view in (rows, rows[5:], np.asarray(rows)):
        assert is_mapped(view)
        release(view)
        np.testing.assert_array_equal(rows, INPUTS)


def test_what_was_written_to_a_file_is_not_lost(tmp_path):
    rows = mapped(tmp_path, "r+")
    rows[3] = -1.0
    release(rows)
    np.testing.assert_array_equal(rows[3], -1.0)


def test_private_changes_are_never_let_go(tmp_path):
    rows = mapped(tmp_path, "c")  # copy on write: what is changed stands nowhere else
    rows[3] = -1.0
    release(rows)
    release(rows[2:])
    np.testing.assert_array_equal(rows[3], -1.0)
    assert not is_mapped(rows)
    release(INPUTS)


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
        Trainer(Network((5, 1))).fit(ROWS, LABELS, validation=(ROWS * np.nan, LABELS))


def test_validation_rows_of_one_class_are_welcome():
    history = Trainer(Network((5, 1)), epochs=1).fit(ROWS, LABELS, validation=(ROWS[1:3], np.zeros(2)))
    assert len(history.column("validation_loss")) == 1


@pytest.mark.parametrize("targets", [LABELS.astype(int), LABELS.astype(bool), LABELS.tolist()])
def test_any_kind_of_zeros_and_ones_is_welcome(targets):
    expected = Trainer(Network((5, 3, 1)), epochs=1)
    expected.fit(ROWS, LABELS)
    actual = Trainer(Network((5, 3, 1)), epochs=1)
    actual.fit(ROWS.tolist(), targets)
    np.testing.assert_array_equal(actual.parameters.vector, expected.parameters.vector)


def test_prediction_refuses_bad_rows_too():
    trainer = Trainer(Network((5, 1)), epochs=1)
    trainer.fit(ROWS, LABELS)
    with pytest.raises(ValueError, match="not all finite"):
        trainer.predict_proba(ROWS * np.nan)
    with pytest.raises(ValueError, match="wrong shape"):
        trainer.predict_proba(ROWS[0])


def test_a_memory_mapped_file_is_used_as_it_is_and_trains_the_same(tmp_path):
    np.save(tmp_path / "inputs.npy", ROWS)
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    rows = checked_inputs(mapped, 5, np.float32)
    assert np.shares_memory(rows, mapped)
    results = []
    for inputs in (ROWS, mapped):
        trainer = Trainer(Network((5, 3, 1)), dtype="float32", epochs=2, batch_size=3)
        trainer.fit(inputs, LABELS)
        assert trainer.state.batch.inputs.dtype == np.float32
        results.append((trainer.parameters.vector, trainer.predict_proba(inputs)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
