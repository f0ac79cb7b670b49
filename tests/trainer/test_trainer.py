"""The training loop: what it does to parameters, rows and batches, and that a seed decides all of it."""

import numpy as np
import pytest

from trainer import SGD, Adam, Callback, EarlyStopping, History, Network, Trainer, TrainingHalted

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((23, 5))
TARGETS = (INPUTS[:, 0] + 0.3 * RNG.standard_normal(23) > 0.5).astype(float)


def fitted(**options):
    network = Network((5, 7, 3, 1), dropout=options.pop("dropout", 0.0))
    trainer = Trainer(network, **{"epochs": 3, "batch_size": 7} | options)
    trainer.fit(INPUTS, TARGETS)
    return trainer


def test_its_repr_shows_the_settings_and_how_the_run_ended():
    trainer = Trainer(Network((5, 3, 1)), batch_size=7, epochs=2, callbacks=[EarlyStopping(patience=5)])
    assert repr(trainer) == (
        "Trainer(Network((5, 3, 1), activation='relu', dropout=0.0, l2=0.0, positive_weight=1.0), "
        "optimizer=Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-08), batch_size=7, epochs=2, "
        "dtype='float64', seed=0, callbacks=[EarlyStopping]; not fitted)"
    )
    trainer.fit(INPUTS, TARGETS, (INPUTS, TARGETS))
    assert repr(trainer).endswith("; completed at iteration 8 of 8)")


class Recorder(Callback):
    """Keeps what it saw of every batch, and the parameters around every update."""

    def on_train_begin(self, state):
        self.batches, self.before, self.after, self.losses = [], [], [], []

    def on_gradients_computed(self, state):
        self.batches.append((state.epoch, state.iteration, *state.batch))
        self.before.append(state.parameters.copy())
        self.losses.append(state.loss)

    def on_batch_end(self, state):
        self.after.append(state.parameters.copy())


def test_each_iteration_is_one_update_with_the_gradient_of_its_batch():
    recorder = Recorder()
    trainer = fitted(optimizer=SGD(0.1), callbacks=[recorder])
    for (_, _, inputs, targets), before, after, loss in zip(
        recorder.batches, recorder.before, recorder.after, recorder.losses, strict=True
    ):
        expected_loss, gradients = trainer.network.loss_and_gradients(before, inputs, targets)
        assert loss == expected_loss
        np.testing.assert_allclose(after.vector, before.vector - 0.1 * gradients.vector, rtol=1e-15)


def test_every_row_is_visited_once_an_epoch_in_a_fresh_order_with_its_own_target():
    recorder = Recorder()
    fitted(callbacks=[recorder])
    orders = []
    for epoch in (1, 2, 3):
        batches = [batch for batch in recorder.batches if batch[0] == epoch]
        assert [len(inputs) for _, _, inputs, _ in batches] == [7, 7, 7, 2]
        inputs = np.concatenate([batch[2] for batch in batches])
        targets = np.concatenate([batch[3] for batch in batches])
        order = [int(np.flatnonzero((row == INPUTS).all(axis=1))[0]) for row in inputs]
        assert sorted(order) == list(range(23))
        np.testing.assert_array_equal(targets, TARGETS[order])
        orders.append(tuple(order))
    assert len(set(orders)) == 3


def test_iterations_count_from_one_over_all_epochs():
    recorder = Recorder()
    trainer = fitted(callbacks=[recorder])
    assert [batch[1] for batch in recorder.batches] == list(range(1, 13))
    assert trainer.state.n_iterations == 12
    assert trainer.history.rows[-1]["iteration"] == 12


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_same_seed_gives_bit_identical_weights_and_another_does_not(dtype):
    first, second = (fitted(dropout=0.3, seed=4, dtype=dtype) for _ in range(2))
    assert first.parameters.vector.dtype == dtype
    assert first.parameters.vector.tobytes() == second.parameters.vector.tobytes()
    assert first.history.rows == second.history.rows
    assert not np.array_equal(first.parameters.vector, fitted(dropout=0.3, seed=5, dtype=dtype).parameters.vector)


def test_a_callback_that_only_looks_changes_nothing():
    watched, alone = fitted(dropout=0.3, callbacks=[Recorder()]), fitted(dropout=0.3)
    assert watched.parameters.vector.tobytes() == alone.parameters.vector.tobytes()


def test_order_masks_and_initial_weights_come_from_generators_of_their_own():
    with_dropout, without = Recorder(), Recorder()
    fitted(dropout=0.3, callbacks=[with_dropout])
    fitted(callbacks=[without])
    np.testing.assert_array_equal(with_dropout.before[0].vector, without.before[0].vector)
    for one, other in zip(with_dropout.batches, without.batches, strict=True):
        np.testing.assert_array_equal(one[2], other[2])
    assert with_dropout.losses[0] != without.losses[0]


def test_the_seed_is_spawned_into_three_streams():
    initial, order, masks = (np.random.default_rng(seed) for seed in np.random.SeedSequence(4).spawn(3))
    recorder = Recorder()
    trainer = fitted(dropout=0.3, seed=4, callbacks=[recorder])
    expected = trainer.network.initial_parameters(initial)
    np.testing.assert_array_equal(recorder.before[0].vector, expected.vector)
    np.testing.assert_array_equal(recorder.batches[0][2], INPUTS[order.permutation(23)[:7]])
    assert recorder.losses[0] == trainer.network.loss(expected, *recorder.batches[0][2:], masks)


def test_a_second_fit_starts_from_the_beginning():
    trainer = fitted(dropout=0.3)
    first = trainer.parameters.copy()
    trainer.fit(INPUTS, TARGETS)
    assert trainer.parameters.vector.tobytes() == first.vector.tobytes()


def test_training_learns():
    trainer = fitted(epochs=60, optimizer=Adam(0.01))
    losses = trainer.history.column("epoch_loss")
    assert losses[-1] < 0.3 * losses[0]
    assert np.mean((trainer.predict_proba(INPUTS) > 0.5) == TARGETS) > 0.9


def test_the_epoch_loss_is_the_mean_over_the_rows_and_the_validation_loss_has_no_dropout():
    network = Network((5, 7, 1), dropout=0.3, l2=0.1)
    recorder = Recorder()
    trainer = Trainer(network, epochs=2, batch_size=7, callbacks=[recorder])
    history = trainer.fit(INPUTS, TARGETS, validation=(INPUTS[:5], TARGETS[:5]))
    expected = np.dot(recorder.losses[4:], [7, 7, 7, 2]) / 23
    assert history.column("epoch_loss")[1] == pytest.approx(expected, rel=1e-14)
    expected = network.loss(trainer.parameters, INPUTS[:5], TARGETS[:5])
    assert history.column("validation_loss")[1] == expected


def test_predictions_of_many_rows_are_those_of_the_network(monkeypatch):
    monkeypatch.setattr("trainer.rows.PREDICTION_ROWS", 4)
    trainer = fitted()
    expected = trainer.network.predict_proba(trainer.parameters, INPUTS)
    np.testing.assert_allclose(trainer.predict_proba(INPUTS), expected, rtol=1e-13)  # BLAS blocks differ


def test_the_history_has_a_row_an_iteration_one_an_epoch_and_one_at_the_end(tmp_path):
    trainer = fitted(history_path=tmp_path / "history.jsonl")
    events = [row["event"] for row in trainer.history]
    assert events == (["iteration"] * 4 + ["epoch"]) * 3 + ["end"]
    first = trainer.history.rows[0]
    assert list(first) == ["event", "epoch", "iteration", "loss"]
    end = {"event": "end", "outcome": "completed", "reason": None, "iteration": 12}
    assert trainer.history.rows[-1] == end
    assert History.read(tmp_path / "history.jsonl").rows == trainer.history.rows
    assert trainer.outcome == "completed"


class Halt(Callback):
    """Logs a difference and raises at one iteration, as a gradient check does."""

    def on_gradients_computed(self, state):
        if state.iteration == 6:
            state.row["difference"] = np.float64(0.5)
            raise TrainingHalted("wrong gradient")


def test_a_halt_precedes_the_update():
    recorder = Recorder()
    trainer = Trainer(Network((5, 7, 1)), epochs=3, batch_size=7, callbacks=[recorder, Halt()])
    with pytest.raises(TrainingHalted, match="wrong gradient"):
        trainer.fit(INPUTS, TARGETS)
    assert trainer.outcome == "halted"
    assert len(recorder.after) == 5
    np.testing.assert_array_equal(trainer.parameters.vector, recorder.after[-1].vector)
    assert trainer.state.optimizer_state.n_updates == 5


def test_the_halting_row_is_in_the_history_and_on_disk(tmp_path):
    path = tmp_path / "history.jsonl"
    trainer = Trainer(Network((5, 7, 1)), batch_size=7, callbacks=[Halt()], history_path=path)
    with pytest.raises(TrainingHalted):
        trainer.fit(INPUTS, TARGETS)
    for history in (trainer.history, History.read(path)):
        halting, end = history.rows[-2:]
        assert (halting["iteration"], halting["difference"]) == (6, 0.5)
        assert (end["outcome"], end["reason"]) == ("halted", "TrainingHalted: wrong gradient")


def test_nothing_is_known_before_a_fit():
    trainer = Trainer(Network((5, 1)))
    for name in ("parameters", "history", "outcome", "state"):
        with pytest.raises(RuntimeError, match=r"Nothing was fitted yet. Expected"):
            getattr(trainer, name)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "Invalid epochs"),
        ({"epochs": 1.5}, TypeError, "Invalid epochs"),
        ({"batch_size": 0}, ValueError, "Invalid batch_size"),
        ({"batch_size": True}, TypeError, "Invalid batch_size"),
        ({"seed": -1}, ValueError, "Invalid seed"),
        ({"seed": None}, TypeError, "Invalid seed"),
        ({"dtype": "float16"}, ValueError, "Invalid dtype"),
        ({"callbacks": [Recorder]}, TypeError, "Not a callback"),
        ({"callbacks": [print]}, TypeError, "Not a callback"),
    ],
)
def test_arguments_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=f"{message}. Expected .* Received"):
        Trainer(Network((5, 1)), **options)


@pytest.mark.parametrize("wrong", [np.array(2.5), 3, [None], "on_batch_end", EarlyStopping("epoch_loss")])
def test_callbacks_that_are_none_are_refused(wrong):
    with pytest.raises(TypeError, match=r"callback.*\. Expected .*trainer\.Callback\. Received "):
        Trainer(Network((3, 1)), callbacks=wrong)
