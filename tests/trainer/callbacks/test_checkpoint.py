"""Checkpoints: a resumed run ends with the same bits as one that was never interrupted."""

import json
import logging
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from checks import GradientCheck
from checks.training.proof import AppliedProof
from trainer import (
    SGD,
    Adam,
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    History,
    Network,
    ResumeError,
    Trainer,
    latest_checkpoint,
)
from trainer.callbacks.checkpoint import checkpoints
from trainer.callbacks.snapshot import Snapshot
from trainer.storage.archive import ArchiveError, write_archive
from trainer.storage.codec import to_plain

RNG = np.random.default_rng(0)
X = RNG.normal(size=(67, 7))
Y = (X @ RNG.normal(size=7) + RNG.normal(size=67) > 0).astype(float)
HELD_OUT = RNG.normal(size=(11, 7)), np.arange(11) % 2
EPOCHS, BATCH = 4, 9  # eight iterations an epoch, the last of four rows
LAST = 32


class Crash(Exception):
    """What ends a run at once."""


class CrashAt(Callback):
    """Ends the run at a moment of an iteration, as a kill would: nobody gets to tidy up."""

    def __init__(self, iteration, moment="on_batch_end"):
        self.iteration = iteration
        setattr(self, moment, self.crash)

    def crash(self, state):
        if state.iteration == self.iteration:
            raise Crash


class Count(Callback):
    """Counts the hooks that it saw."""

    def __init__(self):
        self.batches = self.epochs = 0

    def on_train_begin(self, state):
        self.batches = self.epochs = 0

    def on_batch_end(self, state):
        self.batches += 1

    def on_epoch_begin(self, state):
        self.epochs += 1

    def state_dict(self):
        return {"batches": self.batches, "epochs": self.epochs}

    def load_state_dict(self, state):
        self.batches, self.epochs = state["batches"], state["epochs"]


def trainer_of(folder, callbacks=(), every=3, *, in_file=True, **options):
    network = Network((7, 5, 3, 1), dropout=options.pop("dropout", 0.3), l2=1e-3)
    check = GradientCheck(every=5, rows=13, coverage=options.pop("coverage", "full"))
    having = [check, EarlyStopping(patience=9), Count(), CSVLogger(folder / "log.csv")]
    return Trainer(
        network,
        batch_size=BATCH,
        epochs=options.pop("epochs", EPOCHS),
        history_path=folder / "history.jsonl" if in_file else None,
        callbacks=[*having, Checkpoint(folder, every), *callbacks],
        **options,
    )


def fitted(trainer, resume=None, rows=(X, Y)):
    trainer.fit(*rows, HELD_OUT, resume=resume)
    return trainer


def without_times(rows):
    return [{name: value for name, value in row.items() if name != "milliseconds"} for row in rows]


def timeless(data):
    if isinstance(data, dict):
        return {name: timeless(value) for name, value in data.items() if name != "seconds"}
    return repr(data)  # in which NaN is NaN


def assert_same(resumed, whole):
    np.testing.assert_array_equal(resumed.parameters.vector, whole.parameters.vector)
    for name, moment in whole.state.optimizer_state.moments.items():
        np.testing.assert_array_equal(resumed.state.optimizer_state.moments[name], moment)
    assert without_times(resumed.history) == without_times(whole.history)
    for ours, theirs in zip(resumed.callbacks[:3], whole.callbacks[:3], strict=True):
        left, right = (json.loads(json.dumps(callback.state_dict())) for callback in (ours, theirs))
        assert timeless(left) == timeless(right)


def crashed(folder, at, moment="on_batch_end", **options):
    with pytest.raises(Crash):
        fitted(trainer_of(folder, [CrashAt(at, moment)], **options))
    return latest_checkpoint(folder, folder / "history.jsonl" if options.get("in_file", True) else None)


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    return tmp_path / "whole", tmp_path / "cut"


OPTIMIZERS = {
    "adam": lambda: Adam(0.01),
    "sgd": lambda: SGD(0.05),
    "momentum": lambda: SGD(0.05, momentum=0.9),
    "clipped": lambda: Adam(0.01, max_norm=0.1),
}
SETTINGS = list(product(OPTIMIZERS, ["float64", "float32"], [0.0, 0.3]))


@pytest.mark.parametrize(("optimizer", "dtype", "dropout"), SETTINGS)
def test_a_resumed_run_ends_with_the_same_bits_for_every_optimizer_dtype_and_dropout(
    folders, optimizer, dtype, dropout
):
    def options():
        return {"optimizer": OPTIMIZERS[optimizer](), "dtype": dtype, "dropout": dropout, "seed": 3}

    whole = fitted(trainer_of(folders[0], **options()))
    snapshot = crashed(folders[1], 20, **options())
    assert snapshot.iteration == 18
    assert_same(fitted(trainer_of(folders[1], **options()), snapshot), whole)
    assert (folders[1] / "log.csv").read_text() == (folders[0] / "log.csv").read_text()


@pytest.mark.parametrize("moment", ["on_batch_begin", "on_gradients_computed", "on_batch_end"])
@pytest.mark.parametrize("at", [4, 9, 16, LAST])
@pytest.mark.parametrize("options", [{"shuffle_window": 23}, {"in_file": False}, {"coverage": "directions"}])
def test_wherever_a_run_is_cut_it_goes_on_as_if_it_never_was(folders, moment, at, options):
    whole = fitted(trainer_of(folders[0], every=4, **options))
    snapshot = crashed(folders[1], at, moment, every=4, **options)
    resume = None if snapshot is None else snapshot
    if snapshot is None:
        assert at <= 4
    assert_same(fitted(trainer_of(folders[1], every=4, **options), resume), whole)


def test_a_run_may_be_cut_any_number_of_times(folders):
    whole = fitted(trainer_of(folders[0], every=1))
    snapshot = None
    for at in range(5, LAST, 3):
        with pytest.raises(Crash):
            fitted(trainer_of(folders[1], [CrashAt(at)], every=1), snapshot)
        snapshot = latest_checkpoint(folders[1], folders[1] / "history.jsonl")
    assert_same(fitted(trainer_of(folders[1], every=1), snapshot), whole)


def test_more_epochs_than_planned_end_as_a_run_of_that_many(folders):
    whole = fitted(trainer_of(folders[0], epochs=6))
    short = fitted(trainer_of(folders[1], epochs=4))
    assert short.outcome == "completed"
    snapshot = latest_checkpoint(folders[1], folders[1] / "history.jsonl")
    assert_same(fitted(trainer_of(folders[1], epochs=6), snapshot), whole)


def test_a_path_is_resumed_as_its_snapshot_is(folders):
    whole = fitted(trainer_of(folders[0]))
    crashed(folders[1], 20)
    assert_same(fitted(trainer_of(folders[1]), str(checkpoints(folders[1])[-1])), whole)


@pytest.mark.parametrize("resume", [3, True, {}, b"path", [None]])
def test_anything_else_is_not_resumed(folders, resume):
    with pytest.raises(TypeError, match=r"nothing to resume\. Expected .* Received "):
        fitted(trainer_of(folders[0]), resume)


def test_the_last_two_are_kept(folders):
    fitted(trainer_of(folders[0], every=3))
    assert [path.name for path in checkpoints(folders[0])] == ["checkpoint-00000027.npz", "checkpoint-00000030.npz"]


@pytest.mark.parametrize("damage", ["cut short", "a bit", "empty"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_offered(folders, damage, caplog):
    fitted(trainer_of(folders[0]))
    last = checkpoints(folders[0])[-1]
    content = bytearray(last.read_bytes())
    if damage == "a bit":
        content[len(content) // 2] ^= 4
    last.write_bytes({"cut short": content[:-9], "a bit": content, "empty": b""}[damage])
    snapshot = latest_checkpoint(folders[0], folders[0] / "history.jsonl")
    assert snapshot.iteration == 27
    assert "refused a checkpoint" in caplog.text
    assert "Expected" in caplog.text


def test_where_all_are_damaged_nothing_is_resumed(folders):
    fitted(trainer_of(folders[0]))
    for path in checkpoints(folders[0]):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArchiveError, match="No checkpoint can be used"):
        latest_checkpoint(folders[0])


def test_checkpoints_that_have_changed_places_are_refused(folders):
    fitted(trainer_of(folders[0]))
    first, second = checkpoints(folders[0])
    content = first.read_bytes()
    second.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"Expected the checkpoint of iteration 30\. Received that of 27\."):
        Snapshot.read(second)


def test_a_history_that_was_changed_does_not_go_on(folders):
    fitted(trainer_of(folders[0]))
    path = folders[0] / "history.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"epoch": 1', b'"epoch": 7', 1))
    with pytest.raises(ArchiveError, match="is not the history of this run"):
        latest_checkpoint(folders[0], path)


OTHERS = {
    "network": {"dropout": 0.2},
    "optimizer": {"optimizer": Adam(0.02)},
    "optimizer differs": {"optimizer": Adam(max_norm=0.1)},
    "seed": {"seed": 4},
    "batch_size": {},
    "rows": {},
    "dtype": {"dtype": "float32"},
    "GradientCheck": {"coverage": "directions"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_with_what_was_expected_and_received(folders, what):
    snapshot = crashed(folders[0], 20)
    before = (folders[0] / "history.jsonl").read_bytes()
    trainer = trainer_of(folders[0], **OTHERS[what])
    if what == "batch_size":
        trainer.batch_size = 11
    changed = X.copy()
    changed[5, 3] += 1e-9
    with pytest.raises(ResumeError, match=rf"{what}.* Expected .* Received "):
        fitted(trainer, snapshot, (changed if what == "rows" else X, Y))
    if what != "GradientCheck":  # whose own settings are only known once it has begun
        assert (folders[0] / "history.jsonl").read_bytes() == before


def test_other_callbacks_than_before_are_refused(folders):
    snapshot = crashed(folders[0], 20)
    trainer = trainer_of(folders[0])
    del trainer.callbacks[1]
    with pytest.raises(ResumeError, match=r"Expected \['GradientCheck', 'EarlyStopping', .* Received \["):
        fitted(trainer, snapshot)


def test_fewer_epochs_than_are_done_are_refused(folders):
    snapshot = crashed(folders[0], 20)
    with pytest.raises(ResumeError, match=r"Expected at least 3 epochs\. Received 2\."):
        fitted(trainer_of(folders[0], epochs=2), snapshot)


def test_a_callback_with_a_state_behind_the_checkpoint_is_refused(folders):
    with pytest.raises(ValueError, match="Received Count after it"):
        fitted(trainer_of(folders[0], [Count()]))


def test_a_fresh_run_does_not_mix_its_checkpoints_with_those_of_another(folders):
    crashed(folders[0], 20)
    with pytest.raises(ValueError, match="holds checkpoints already"):
        fitted(trainer_of(folders[0]))


def test_a_checkpoint_that_cannot_be_written_is_logged_and_the_training_goes_on(folders, monkeypatch, caplog):
    whole = fitted(trainer_of(folders[0]))

    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Snapshot, "write", full)
    trainer = fitted(trainer_of(folders[1]))
    assert trainer.outcome == "completed"
    assert_same(trainer, whole)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([line for line in warnings if "No space left on device" in line]) == LAST // 3


def test_what_a_killed_save_left_is_cleared_away_by_the_resumed_run(folders):
    snapshot = crashed(folders[0], 20)
    left = folders[0] / "checkpoint-00000021.npz.unfinished"
    left.write_bytes(b"torn")
    fitted(trainer_of(folders[0]), snapshot)
    assert not left.exists()


def test_training_with_checkpoints_is_training_without(folders):
    with_them = fitted(trainer_of(folders[0], every=1))
    without = trainer_of(folders[1])
    del without.callbacks[-1]
    assert_same(fitted(without), with_them)


def test_the_history_is_repaired_by_resuming(folders):
    snapshot = crashed(folders[0], 20)
    with (folders[0] / "history.jsonl").open("ab") as file:
        file.write(b'{"event": "iter')
    fitted(trainer_of(folders[0]), snapshot)
    assert History.read(folders[0] / "history.jsonl").torn == 0


@pytest.mark.parametrize(("name", "value"), [("every", 0), ("every", 2.5), ("keep", 0), ("keep", True)])
def test_an_argument_out_of_range_is_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=rf"Invalid {name}\. Expected .* Received "):
        Checkpoint(tmp_path, **{name: value})


FORGED = [None, [], {}, "text", -1, 0.5, {"rows": 3}, [["GradientCheck"]], [[1, 2]] * 4, {"n_bytes": "many"}]
PARTS = ["iteration", "place", "n_updates", "epoch", "callbacks", "run", "history"]


@pytest.mark.parametrize("part", PARTS)
def test_a_forged_checkpoint_is_refused_and_is_no_traceback_of_another_kind(folders, part):
    snapshot = crashed(folders[0], 20)
    path = folders[0] / "forged.npz"
    for forged in FORGED:
        write_archive(path, "checkpoint", 1, snapshot.arrays, to_plain(snapshot.facts) | {part: forged})
        with pytest.raises((ResumeError, ArchiveError), match=r"Expected .* Received "):
            fitted(trainer_of(folders[0]), Snapshot.read(path))


@pytest.mark.parametrize(
    ("field", "forged"),
    [("total", 10**400), ("total", "a lot"), ("total", None), ("batches", -1), ("batches", math.inf), ("batches", 2.0)],
)
def test_a_forged_place_is_refused_by_name(folders, field, forged):
    snapshot = crashed(folders[0], 20)
    facts = to_plain(snapshot.facts)
    facts["place"][field] = forged
    path = folders[0] / "forged.npz"
    write_archive(path, "checkpoint", 1, snapshot.arrays, facts)
    with pytest.raises(ArchiveError, match=rf"checkpoint\.place\.{field} is broken\. Expected .* Received "):
        Snapshot.read(path)


def test_forged_generators_are_refused(folders):
    snapshot = crashed(folders[0], 20)
    path = folders[0] / "forged.npz"
    for forged in ({}, {"bit_generator": "MT19937"}, {"state": 3}, {"state": {"state": 10**400, "inc": 1}}):
        for name in ("masks", "order_at_epoch"):
            facts = to_plain(snapshot.facts)
            facts["place"][name] = forged and (facts["place"][name] | forged)
            write_archive(path, "checkpoint", 1, snapshot.arrays, facts)
            with pytest.raises(ArchiveError, match=rf"place\.{name}.* is (broken|missing)\. Expected .* Received "):
                Snapshot.read(path)


@pytest.mark.parametrize("name", ["parameters", "first"])
def test_arrays_of_another_shape_or_dtype_are_refused(folders, name):
    snapshot = crashed(folders[0], 20)
    for other in (snapshot.arrays[name][:-1], snapshot.arrays[name].astype(np.float32)):
        with pytest.raises(ResumeError, match=rf"{name} do not fit\. Expected float64 of shape .* Received "):
            fitted(trainer_of(folders[0]), Snapshot(snapshot.arrays | {name: other}, snapshot.facts))


def test_a_run_goes_on_from_a_checkpoint_that_version_0_1_left(tmp_path):
    # Without dropout, whose float64 masks that version drew from another stream.
    rng = np.random.default_rng(0)
    rows = rng.integers(-9, 10, (60, 5)) / 4.0, rng.permutation((np.arange(60) < 20).astype(float))

    def trainer(folder):
        checks = [GradientCheck(2, rows=9), GradientCheck(3, rows=9, coverage="directions")]
        callbacks = [*checks, Checkpoint(folder, every=7)]
        return Trainer(Network((5, 3, 1)), callbacks=callbacks, batch_size=16, epochs=2)

    whole, resumed = trainer(tmp_path / "whole"), trainer(tmp_path / "resumed")
    whole.fit(*rows)
    resumed.fit(*rows, resume=Path(__file__).parents[2] / "kept_by_0_1" / "checkpoint-00000007.npz")
    np.testing.assert_array_equal(resumed.parameters.vector, whole.parameters.vector)
    assert resumed.callbacks[1].proof.excluded.keys() == whole.callbacks[1].proof.excluded.keys()
    proofs = [trained.callbacks[0].proof for trained in (resumed, whole)]
    # That version asked one question only; the second is asked of what is left.
    assert [(proof.applied.n, proof.applied.first, proof.applied.passed) for proof in proofs] == [(1, 8, 1), (5, 1, 5)]
    for proof in proofs:
        proof.applied = AppliedProof()
    assert str(proofs[0]).partition("Excluded")[0] == str(proofs[1]).partition("Excluded")[0]
