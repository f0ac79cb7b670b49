"""The loop: the order of hooks, how a stop request and an exception travel, and that the end hooks always run."""

import logging
import pickle

import numpy as np
import pytest

from trainer import SGD, Callback, Checkpoint, History, Network, Trainer, TrainingDiverged, TrainingHalted
from trainer.callbacks.base import HOOKS
from trainer.callbacks.checkpoint import latest_checkpoint

INPUTS = np.random.default_rng(0).standard_normal((11, 5))
TARGETS = (np.arange(11) % 3 == 0).astype(float)


def recording(name, calls, act=lambda hook, state: None):
    """Return a callback with all seven hooks, which notes every call and then acts."""

    def hook(moment):
        def method(self, state):
            calls.append((name, moment))
            act(moment, state)

        return method

    return type("Recording", (Callback,), {moment: hook(moment) for moment in HOOKS})()


def trainer_with(*callbacks, epochs=2, **options):
    return Trainer(Network((5, 3, 1)), epochs=epochs, batch_size=7, callbacks=callbacks, **options)


def raising(at, error):
    def act(moment, state):
        if moment == at:
            raise error

    return act


def stopping(at):
    def act(moment, state):
        if moment == at:
            state.request_stop(f"enough at {moment}")

    return act


def test_hooks_come_in_the_order_of_the_run_and_of_the_list():
    calls = []
    trainer_with(recording("first", calls), recording("second", calls), epochs=1).fit(INPUTS, TARGETS)
    batch = ["on_batch_begin", "on_gradients_computed", "on_batch_end"]
    moments = ["on_train_begin", "on_epoch_begin", *batch, *batch, "on_epoch_end", "on_train_end"]
    assert calls == [(name, moment) for moment in moments for name in ("first", "second")]


def test_a_hook_set_on_the_instance_is_called():
    quiet, calls = Callback(), []
    quiet.on_batch_end = lambda state: calls.append(state.iteration)
    trainer_with(quiet, epochs=1).fit(INPUTS, TARGETS)
    assert calls == [1, 2]


def test_what_a_hook_adds_to_the_row_is_logged():
    def act(moment, state):
        state.row[moment] = np.float32(0.5)

    history = trainer_with(recording("adds", [], act), epochs=1).fit(INPUTS, TARGETS)
    iteration, epoch, end = history.rows[0], history.rows[2], history.rows[3]
    assert (iteration["on_batch_begin"], iteration["on_gradients_computed"]) == (0.5, 0.5)
    assert epoch["on_epoch_end"] == 0.5
    assert end["on_train_end"] == 0.5


STOPS = {  # rows written: iterations, epochs; updates applied
    "on_train_begin": (0, 0, 0),
    "on_epoch_begin": (0, 0, 0),
    "on_batch_begin": (0, 0, 0),
    "on_gradients_computed": (1, 0, 0),
    "on_batch_end": (1, 0, 1),
    "on_epoch_end": (2, 1, 2),
}


@pytest.mark.parametrize("at", STOPS)
def test_a_stop_is_honoured_after_the_round_of_the_hook_it_was_requested_in(at):
    calls = []
    trainer = trainer_with(recording("first", calls, stopping(at)), recording("second", calls))
    history = trainer.fit(INPUTS, TARGETS)
    assert calls[-4:] == [(name, moment) for moment in (at, "on_train_end") for name in ("first", "second")]
    events = [row["event"] for row in history]
    n_updates = trainer.state.optimizer_state.n_updates
    assert (events.count("iteration"), events.count("epoch"), n_updates) == STOPS[at]
    assert trainer.outcome == "stopped"
    assert (history.rows[-1]["outcome"], history.rows[-1]["reason"]) == ("stopped", f"enough at {at}")


def test_the_first_reason_is_kept():
    first, second = recording("a", [], stopping("on_batch_end")), recording("b", [], stopping("on_batch_end"))
    trainer = trainer_with(first, second)
    trainer.fit(INPUTS, TARGETS)
    trainer.state.request_stop("too late")
    assert trainer.state.stop_reason == "enough at on_batch_end"


def test_a_stop_request_is_cleared_by_a_refit():
    requests = ["on_batch_end"]

    def act(moment, state):
        if requests and moment == requests[0]:
            state.request_stop(requests.pop())

    trainer = trainer_with(recording("once", [], act))
    trainer.fit(INPUTS, TARGETS)
    assert trainer.outcome == "stopped"
    trainer.fit(INPUTS, TARGETS)
    assert trainer.outcome == "completed"
    assert trainer.state.stop_reason is None
    assert trainer.state.iteration == 4


OUTCOMES = [
    (ZeroDivisionError("oops"), "failed"),
    (TrainingHalted("wrong"), "halted"),
    (TrainingDiverged("a loss of nan", 1), "diverged"),
    (KeyboardInterrupt(), "interrupted"),
]


@pytest.mark.parametrize(("error", "outcome"), OUTCOMES, ids=lambda value: str(type(value).__name__))
@pytest.mark.parametrize("at", HOOKS[:-1])
def test_an_exception_leaves_unchanged_and_the_end_hooks_run(at, error, outcome, tmp_path):
    calls = []
    path = tmp_path / "history.jsonl"
    trainer = trainer_with(
        recording("before", calls),
        recording("raises", calls, raising(at, error)),
        recording("after", calls),
        history_path=path,
    )
    with pytest.raises(type(error)) as caught:
        trainer.fit(INPUTS, TARGETS)
    assert caught.value is error
    ended = [name for name, moment in calls if moment == "on_train_end"]
    # the third had not begun when the second raised in on_train_begin
    assert ended == (["before", "raises"] if at == "on_train_begin" else ["before", "raises", "after"])
    assert trainer.outcome == outcome
    assert History.read(path).rows[-1]["outcome"] == outcome
    expected = {"on_gradients_computed": 1, "on_batch_end": 1, "on_epoch_end": 2}.get(at, 0)
    assert [row["event"] for row in History.read(path)].count("iteration") == expected


def test_the_epoch_row_is_written_before_an_exception_leaves():
    trainer = trainer_with(recording("raises", [], raising("on_epoch_end", ZeroDivisionError())))
    with pytest.raises(ZeroDivisionError):
        trainer.fit(INPUTS, TARGETS)
    assert [row["event"] for row in trainer.history] == ["iteration", "iteration", "epoch", "end"]


def test_failing_end_hooks_are_collected_and_all_run():
    calls = []
    errors = [ValueError("a"), KeyError("b")]
    trainer = trainer_with(
        recording("first", calls, raising("on_train_end", errors[0])),
        recording("second", calls, raising("on_train_end", errors[1])),
        recording("third", calls),
    )
    with pytest.raises(ExceptionGroup) as caught:
        trainer.fit(INPUTS, TARGETS)
    assert list(caught.value.exceptions) == errors
    assert caught.value.__cause__ is None
    assert calls[-1] == ("third", "on_train_end")
    assert trainer.outcome == "failed"
    assert trainer.history.rows[-1]["outcome"] == "failed"


def test_the_exception_that_ended_the_run_is_the_cause_of_the_group():
    halt = TrainingHalted("wrong")
    trainer = trainer_with(
        recording("halts", [], raising("on_gradients_computed", halt)),
        recording("fails", [], raising("on_train_end", ValueError("a"))),
    )
    with pytest.raises(ExceptionGroup) as caught:
        trainer.fit(INPUTS, TARGETS)
    assert caught.value.__cause__ is halt
    assert trainer.outcome == "halted"


def test_an_interrupt_stays_an_interrupt_when_an_end_hook_fails(caplog):
    trainer = trainer_with(
        recording("interrupts", [], raising("on_batch_end", KeyboardInterrupt())),
        recording("fails", [], raising("on_train_end", ValueError("a"))),
    )
    with caplog.at_level(logging.ERROR), pytest.raises(KeyboardInterrupt):
        trainer.fit(INPUTS, TARGETS)
    assert trainer.outcome == "interrupted"
    assert "on_train_end failed" in caplog.text


def test_the_state_tells_the_end_hooks_how_the_run_ended():
    seen = []

    class Last(Callback):
        def on_train_end(self, state):
            seen.append((state.outcome, state.row["event"]))

    trainer_with(Last()).fit(INPUTS, TARGETS)
    assert seen == [("completed", "end")]


class Returning(Network):
    """Leaves what it is offered for gradients as it is, and returns its own."""

    how = staticmethod(lambda gradients: gradients)

    def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
        loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng)
        return loss, self.how(gradients)


RETURNED = {
    "parameters": lambda gradients: gradients,
    "a dict": dict,
    "in another order": lambda gradients: {name: gradients[name] for name in reversed(list(gradients))},
}


@pytest.mark.parametrize("how", RETURNED.values(), ids=RETURNED)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_a_model_returns_is_what_is_applied(how, dtype):
    seen = []
    looks = recording("looks", [], lambda moment, state: seen.append(state.gradients.vector.copy()))
    network = Returning((5, 3, 1), dropout=0.2)
    network.how = how
    mine = Trainer(network, dtype=dtype, batch_size=7, callbacks=[looks])
    plain = Trainer(Network((5, 3, 1), dropout=0.2), dtype=dtype, batch_size=7)
    histories = [trainer.fit(INPUTS, TARGETS) for trainer in (mine, plain)]
    np.testing.assert_array_equal(mine.parameters.vector, plain.parameters.vector)
    assert histories[0].column("loss") == histories[1].column("loss")
    np.testing.assert_array_equal(seen[-1], plain.state.gradients.vector)


def test_gradients_that_do_not_fit_end_the_run_in_words():
    network = Returning((5, 3, 1))
    network.how = lambda gradients: {"W1": gradients["W1"]}
    with pytest.raises(ValueError, match=r"gradients do not fit\. Expected .*'b2'.* Received {'W1'"):
        Trainer(network).fit(INPUTS, TARGETS)


def test_what_looks_after_backprop_sees_the_gradients_before_any_hook():
    calls, kept = [], []

    def looks(state):
        calls.append(("looks", state.iteration))
        kept.append((state.loss, state.gradients.vector.copy()))

    def act(moment, state):
        if moment == "on_train_begin":
            state.after_backprop.append(looks)
        if moment == "on_gradients_computed":
            np.testing.assert_array_equal(kept[-1][1], state.gradients.vector)
            assert kept[-1][0] == state.loss
            state.gradients.vector *= 2

    trainer = trainer_with(recording("hook", calls, act), epochs=1)
    trainer.fit(INPUTS, TARGETS)
    assert calls[2:5] == [("hook", "on_batch_begin"), ("looks", 1), ("hook", "on_gradients_computed")]
    assert trainer_with().fit(INPUTS, TARGETS) is not None
    assert len(kept) == 2  # of another run nobody asked to see any


def setting(iteration, name, value, moment="on_batch_end"):
    """Give a callback that puts a value into the first entry of a tensor."""

    def act(at, state):
        if at == moment and state.iteration == iteration:
            state.parameters[name].flat[0] = value

    return recording("sets", [], act)


def test_a_loss_that_is_not_finite_ends_the_run_before_any_hook_sees_it_and_its_row_is_written(tmp_path):
    calls = []
    trainer = trainer_with(setting(1, "W2", np.nan), recording("r", calls), history_path=tmp_path / "history.jsonl")
    with pytest.raises(
        TrainingDiverged, match=r"at iteration 2\. Expected .* Received a loss of nan with .* W2"
    ) as caught:
        trainer.fit(INPUTS, TARGETS)
    assert caught.value.iteration == 2
    assert (trainer.outcome, trainer.state.optimizer_state.n_updates) == ("diverged", 1)
    assert calls[-2:] == [("r", "on_batch_begin"), ("r", "on_train_end")]
    *_, row, end = History.read(tmp_path / "history.jsonl")
    assert (row["iteration"], row["event"], str(row["loss"])) == (2, "iteration", "nan")
    assert (end["outcome"], end["iteration"]) == ("diverged", 2)
    assert end["reason"].startswith("TrainingDiverged: The training diverged at iteration 2.")


def test_a_loss_that_overflows_names_the_largest_parameters():
    trainer = trainer_with(setting(1, "W1", 1e300), setting(1, "W2", 1e300))
    with np.errstate(all="ignore"), pytest.raises(TrainingDiverged, match=r"parameters of up to 1e.300, in W1"):
        trainer.fit(np.abs(INPUTS), TARGETS)


# A ReLU turns a weight of minus infinity into a zero, and the loss stays finite.
@pytest.mark.parametrize(("iteration", "noticed"), [(1, 2), (3, 4), (4, 4)])
def test_parameters_that_are_not_finite_are_noticed_after_the_epoch(iteration, noticed):
    trainer = trainer_with(setting(iteration, "b1", -np.inf), epochs=2)
    with pytest.raises(TrainingDiverged, match=r"Received NaN or infinity in b1\.") as caught:
        trainer.fit(INPUTS, TARGETS)
    assert (caught.value.iteration, trainer.outcome) == (noticed, "diverged")
    assert all(np.isfinite(row["loss"]) for row in trainer.history if row["event"] == "iteration")


@pytest.mark.parametrize("at", ["on_batch_end", "on_epoch_end"])
def test_parameters_that_are_not_finite_are_noticed_where_a_stop_was_requested(at):
    trainer = trainer_with(
        setting(1 if at == "on_batch_end" else 2, "b1", -np.inf, at), recording("", [], stopping(at))
    )
    with pytest.raises(TrainingDiverged, match="infinity in b1"):
        trainer.fit(INPUTS, TARGETS)
    assert trainer.outcome == "diverged"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_parameters_are_no_divergence_though_their_squares_overflow(dtype):
    trainer = trainer_with(setting(1, "b1", -1e30 if dtype == "float32" else -1e200), dtype=dtype)
    trainer.fit(INPUTS, TARGETS)
    assert trainer.outcome == "completed"


def test_a_validation_loss_that_is_not_finite_is_logged_and_no_divergence():
    class Unmeasurable(Network):
        def loss(self, *rest):
            return np.nan

    trainer = Trainer(Unmeasurable((5, 3, 1)), epochs=2)
    history = trainer.fit(INPUTS, TARGETS, (INPUTS, TARGETS))
    assert np.isnan(history.column("validation_loss")).all()
    assert trainer.outcome == "completed"


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_that_are_too_large_diverge_and_do_so_again_when_resumed(dtype, tmp_path):
    def trainer():
        saves, options = Checkpoint(tmp_path, every=1), {"batch_size": 7, "epochs": 50, "dtype": dtype}
        return Trainer(Network((5, 3, 1), l2=1.0), optimizer=SGD(1e4), callbacks=[saves], **options)

    errors = []
    for _ in range(2):
        one, snapshot = trainer(), latest_checkpoint(tmp_path) if errors else None
        with pytest.raises(TrainingDiverged) as caught:
            one.fit(INPUTS, TARGETS, resume=snapshot)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert one.state.resumed


def test_a_divergence_can_cross_the_border_of_a_process():
    error = pickle.loads(pickle.dumps(TrainingDiverged("a loss of nan", 7)))
    assert (error.iteration, str(error)) == (7, str(TrainingDiverged("a loss of nan", 7)))
