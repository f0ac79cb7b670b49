"""Early stopping: when it asks for a stop, by a sequence of losses written down beforehand."""

import logging
import math

import numpy as np
import pytest

from trainer import Callback, Checkpoint, EarlyStopping, Network, Trainer, TrainingHalted

INPUTS = np.random.default_rng(0).standard_normal((11, 5))
TARGETS = (np.arange(11) % 3 == 0).astype(float)


class Script(Callback):
    """Puts a given number into each epoch row."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, state):
        state.row["score"] = self.values[state.epoch - 1]


def epochs_run(values, **options):
    callbacks = [Script(values), EarlyStopping("score", **options)]
    trainer = Trainer(Network((5, 1)), epochs=len(values), callbacks=callbacks)
    return len(trainer.fit(INPUTS, TARGETS).column("score")), trainer


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 1, 0], {"patience": 1}, 4),
        ([3, 2, 2, 1], {"patience": 1}, 3),
        ([3, 2, 2, 1, 1, 1, 0], {"patience": 2}, 6),
        ([3, 4, 5, 6, 7, 8], {}, 4),
        ([3, 2.95, 2.9, 2.85], {"patience": 2, "min_delta": 0.2}, 3),
        ([3, 2.9, 2.7, 2.6, 2.4], {"patience": 2, "min_delta": 0.2}, 5),
        ([math.nan, math.nan, 1], {"patience": 2}, 2),
        ([1, math.nan, 0.5, 0.4], {"patience": 2}, 4),
    ],
)
def test_it_stops_after_patience_epochs_without_improvement(values, options, expected):
    assert epochs_run(values, **options)[0] == expected


def test_the_outcome_is_stopped_and_the_reason_says_why():
    _, trainer = epochs_run([3.0, 4.0, 5.0], patience=1)
    assert trainer.outcome == "stopped"
    assert trainer.state.stop_reason == "score has not improved on 3 for 1 epoch"


def test_it_forgets_the_last_run():
    callbacks = [Script([3, 2, 2, 2]), EarlyStopping("score", patience=2)]
    trainer = Trainer(Network((5, 1)), epochs=4, callbacks=callbacks)
    counts = [len(trainer.fit(INPUTS, TARGETS).column("score")) for _ in range(2)]
    assert counts == [4, 4]


def test_without_validation_rows_it_says_so_before_training():
    trainer = Trainer(Network((5, 1)), callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match=r"nothing to monitor. Expected .* Received no validation rows"):
        trainer.fit(INPUTS, TARGETS)
    assert trainer.state.iteration == 0


def test_with_validation_rows_it_watches_their_loss():
    stopping = EarlyStopping(patience=50)
    trainer = Trainer(Network((5, 1)), epochs=3, callbacks=[stopping])
    history = trainer.fit(INPUTS, TARGETS, validation=(INPUTS, TARGETS))
    assert stopping.best == min(history.column("validation_loss"))


def test_an_unknown_key_is_refused_with_the_known_ones():
    trainer = Trainer(Network((5, 1)), callbacks=[EarlyStopping("scroe")])
    with pytest.raises(ValueError, match=r"Expected one of event, .*epoch_loss. Received 'scroe'"):
        trainer.fit(INPUTS, TARGETS)


@pytest.mark.parametrize("options", [{"patience": 0}, {"min_delta": -0.1}, {"min_delta": math.nan}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"Invalid .* Expected .* Received"):
        EarlyStopping(**options)


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([0.5, 0.6, 0.7, 0.6, 0.65, 0.9], {"patience": 2}, 5),
        ([0.5, 0.55, 0.6, 0.8, 0.8], {"patience": 3, "min_delta": 0.2}, 5),
        ([math.nan, 0.1, 0.2], {"patience": 2}, 3),
    ],
)
def test_where_larger_is_better_it_waits_for_larger(values, options, expected):
    assert epochs_run(values, mode="max", **options)[0] == expected


@pytest.mark.parametrize(("values", "mode", "other"), [([0.5, 0.6, 0.7], "min", "max"), ([5, 4, 3], "max", "min")])
def test_a_number_that_only_goes_the_other_way_is_not_waited_on_silently(values, mode, other, caplog):
    with caplog.at_level(logging.WARNING):
        assert epochs_run(values, mode=mode, patience=2)[0] == 3
    (record,) = caplog.records
    assert f"score was best in the first epoch, and has gone from {values[0]} to {values[2]}." in record.message
    assert record.message.endswith(f'say mode="{other}"')


@pytest.mark.parametrize("values", [[3, 2, 3, 4, 5], [3, 3, 3], [math.nan] * 3])
def test_a_number_that_has_improved_or_stood_still_gets_no_such_hint(values, caplog):
    epochs_run(values, patience=2)
    assert caplog.records == []


class Keeps(Callback):
    """Keeps the parameters of every epoch."""

    def on_train_begin(self, state):
        self.seen = []

    def on_epoch_end(self, state):
        self.seen.append(state.parameters.vector.copy())


@pytest.mark.parametrize(("values", "best"), [([3, 1, 2, 2, 2, 2], 2), ([3, 2, 1], 3)])
def test_the_parameters_of_the_best_epoch_come_back_and_the_end_row_says_of_which(values, best):
    keeps = Keeps()
    callbacks = [keeps, Script(values), EarlyStopping("score", restore_best=True)]
    trainer = Trainer(Network((5, 1)), epochs=len(values), callbacks=callbacks)
    history = trainer.fit(INPUTS, TARGETS)
    assert trainer.parameters.vector.tobytes() == keeps.seen[best - 1].tobytes()
    assert history.rows[-1]["best_epoch"] == best


class HaltsAt(Callback):
    """Trusts the gradients until an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_gradients_computed(self, state):
        if state.epoch == self.epoch:
            raise TrainingHalted("no")


def test_a_halt_leaves_the_parameters_as_they_were_before_the_suspect_update():
    keeps = Keeps()
    callbacks = [keeps, Script([1, 2, 3, 4]), EarlyStopping("score", restore_best=True), HaltsAt(4)]
    trainer = Trainer(Network((5, 1)), epochs=4, callbacks=callbacks)
    with pytest.raises(TrainingHalted):
        trainer.fit(INPUTS, TARGETS)
    assert trainer.parameters.vector.tobytes() == keeps.seen[2].tobytes()
    assert "best_epoch" not in trainer.history.rows[-1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_resumed_run_restores_the_best_epoch_from_before_the_interruption(tmp_path, dtype):
    values = [3, 1, 2, 2, 2]

    def run(folder, epochs, **resume):
        stopping = EarlyStopping("score", patience=3, restore_best=True)
        callbacks = [Script(values), stopping, Checkpoint(folder, every=9)]
        trainer = Trainer(Network((5, 3, 1)), batch_size=5, dtype=dtype, epochs=epochs, callbacks=callbacks)
        trainer.fit(INPUTS, TARGETS, **resume)
        return trainer

    whole = run(tmp_path / "whole", 5)
    run(tmp_path / "part", 3)
    resumed = run(tmp_path / "part", 5, resume=tmp_path / "part" / "checkpoint-00000009.npz")
    assert resumed.parameters.vector.tobytes() == whole.parameters.vector.tobytes()
    assert resumed.history.rows[-1] == whole.history.rows[-1]
    assert resumed.history.rows[-1]["best_epoch"] == 2


def test_a_state_of_another_mode_or_of_another_network_is_refused():
    stopping = EarlyStopping("epoch_loss", restore_best=True)
    Trainer(Network((5, 1)), epochs=2, callbacks=[stopping]).fit(INPUTS, TARGETS)
    state = stopping.state_dict()
    with pytest.raises(ValueError, match=r"The mode has changed. Expected 'min'. Received 'max'"):
        EarlyStopping("epoch_loss", mode="max").load_state_dict(state)
    with pytest.raises(ValueError, match=r"best parameters do not fit. Expected 6 numbers. Received 2"):
        stopping.load_state_dict(state | {"parameters": "AAAAAAAAAAAAAAAAAAAAAA=="})


def area(targets, scores):
    """The share of pairs in the right order, counted one by one."""
    pairs = [(p > n) + (p == n) / 2 for p in scores[targets == 1] for n in scores[targets == 0]]
    return np.mean(pairs)


def test_metrics_of_the_validation_rows_are_logged_beside_their_loss_and_can_be_monitored():
    stopping = EarlyStopping("validation_area", mode="max", patience=50)
    trainer = Trainer(Network((5, 3, 1), dropout=0.4), epochs=3, callbacks=[stopping])
    history = trainer.fit(
        INPUTS, TARGETS, (INPUTS[:7], TARGETS[:7]), metrics={"area": area, "rows": lambda t, p: len(t)}
    )
    assert history.column("validation_rows") == [7.0, 7.0, 7.0]
    assert history.column("validation_area")[-1] == area(TARGETS[:7], trainer.predict_proba(INPUTS[:7]))
    assert stopping.best == max(history.column("validation_area"))


def test_metrics_leave_the_training_as_it_is():
    vectors = []
    for metrics in (None, {"area": area}):
        trainer = Trainer(Network((5, 3, 1), dropout=0.4), epochs=2)
        trainer.fit(INPUTS, TARGETS, (INPUTS, TARGETS), metrics=metrics)
        vectors.append(trainer.parameters.vector.tobytes())
    assert vectors[0] == vectors[1]


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ([area], TypeError, "The metrics are no mapping"),
        ({"area": 3}, TypeError, "Invalid metric"),
        ({"loss": area}, TypeError, "Invalid metric"),
        ({"area": lambda targets, scores: scores}, TypeError, "The metric 'area' gave no number"),
    ],
)
def test_metrics_that_are_none_are_refused(metrics, error, message):
    with pytest.raises(error, match=rf"{message}\. Expected .* Received "):
        Trainer(Network((5, 1))).fit(INPUTS, TARGETS, (INPUTS, TARGETS), metrics=metrics)


def test_metrics_without_validation_rows_are_refused_before_training():
    with pytest.raises(ValueError, match=r"The metrics have no rows. Expected .* Received no rows"):
        Trainer(Network((5, 1))).fit(INPUTS, TARGETS, metrics={"area": area})


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"Invalid mode. Expected 'min' or 'max'. Received 'auto'"):
        EarlyStopping(mode="auto")
