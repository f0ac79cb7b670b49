"""The second question in whole runs: right networks pass undisturbed, and it is taken up, kept and replayed."""

import threading
from importlib.util import find_spec

import numpy as np
import pytest

from checks import Cause, GradientCheck, GradientCheckError, Verdict
from checks.training.violation_file import read_violation
from trainer import Adam, Callback, Checkpoint, CompiledAdam, CompiledNetwork, Network, Trainer, latest_checkpoint

SIZES = (7, 5, 3, 1)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((83, 7))
Y = (X[:, 0] + 0.5 * RNG.standard_normal(83) > 0.3).astype(float)

dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


def trainer_of(network, callbacks, *, dtype="float64", epochs=2, **options):
    settings = {"optimizer": Adam(1e-2), "batch_size": 20, "seed": 1} | options
    return Trainer(network, callbacks=callbacks, dtype=dtype, epochs=epochs, **settings)


def fitted(network, callbacks, **options):
    trainer = trainer_of(network, callbacks, **options)
    trainer.fit(X, Y)
    return trainer


@dtypes
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("sizes", [SIZES, (7, 1), (7, 3, 5, 3, 1)])
def test_a_right_network_passes_at_every_iteration(sizes, activation, dtype):
    for seed in range(6):
        options = {"dropout": 0.4 * (seed % 2), "l2": 1e-2 * (seed % 3), "positive_weight": 1.0 + 2.0 * (seed % 4)}
        check = GradientCheck(every=1, rows=5, coverage="directions", seed=seed)
        network = Network(sizes, activation=activation, **options)
        fitted(network, [check], dtype=dtype, seed=seed, batch_size=(7, 20, 40)[seed % 3])
        assert (check.proof.failed, check.proof.applied.failed) == (0, 0)
        assert check.proof.applied.n == check.proof.last
        assert check.proof.applied.passed == check.proof.applied.n, check.proof
        largest, *_ = check.proof.applied.largest
        assert largest < (1e-7 if dtype == "float64" else 1e-5)


@dtypes
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_right_network_passes_near_convergence(activation, dtype):
    check = GradientCheck(every=31, rows=16, coverage="directions")
    network = Network((7, 11, 5, 1), activation=activation)
    trainer = fitted(network, [check], dtype=dtype, epochs=124, optimizer=Adam(3e-2))
    assert trainer.history.column("epoch_loss")[-1] < 0.1
    assert (check.proof.applied.failed, check.proof.failed) == (0, 0)
    assert check.proof.applied.n == 620 // 31 + 2  # every 31st, the first, and the first ragged batch


@dtypes
def test_a_right_network_passes_on_two_threads_of_blas(dtype):
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((701, 67)), (np.arange(701) % 3 == 0).astype(float)
    check = GradientCheck(every=1, rows=16, coverage="directions")
    with threadpoolctl.threadpool_limits(2):
        trainer = trainer_of(Network((67, 53, 31, 1), dropout=0.3), [check], dtype=dtype, batch_size=301, epochs=5)
        trainer.fit(inputs, targets)
    assert (check.proof.applied.n, check.proof.applied.passed) == (15, 15)


@dtypes
@pytest.mark.skipif(not find_spec("numba"), reason="the extra `fast` is not installed")
def test_a_compiled_run_passes_and_ends_with_the_same_bits_with_and_without_the_check(dtype):
    check = GradientCheck(every=1, rows=5, coverage="directions")
    options = {"dtype": dtype, "optimizer": CompiledAdam(1e-2)}
    bare, checked = (fitted(CompiledNetwork(SIZES, dropout=0.3, l2=1e-2), own, **options) for own in ([], [check]))
    assert (check.proof.applied.n, check.proof.applied.passed) == (10, 10)
    np.testing.assert_array_equal(bare.parameters.vector, checked.parameters.vector)


class IgnoresOut(Network):
    """Gives gradients in storage of its own."""

    def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
        return super().loss_and_gradients(parameters, inputs, targets, rng)


class GivesADict(Network):
    """Gives gradients in a plain dict, in another order."""

    def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
        loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng)
        return loss, {name: gradients[name].copy() for name in reversed(list(gradients))}


@dtypes
@pytest.mark.parametrize("kind", [IgnoresOut, GivesADict])
def test_what_a_model_returns_is_what_is_used_and_passes(kind, dtype):
    check = GradientCheck(every=2, rows=16)
    trainer = fitted(kind(SIZES, dropout=0.3), [check], dtype=dtype)
    assert check.proof.passed == check.proof.n_checks == 5
    assert check.proof.applied.passed == check.proof.applied.n == 7
    plain = fitted(Network(SIZES, dropout=0.3), [], dtype=dtype)
    np.testing.assert_array_equal(trainer.parameters.vector, plain.parameters.vector)


def test_a_batch_of_a_new_size_is_looked_at_when_it_first_appears():
    check = GradientCheck(every=4, rows=16)
    trainer = fitted(Network(SIZES), [check], epochs=3)
    asked = [row["iteration"] for row in trainer.history if "applied_verdict" in row]
    assert asked == [1, 4, 5, 8, 12]  # 20 rows at 1, 3 rows at 5, and every 4th
    assert [row["iteration"] for row in trainer.history if "verdict" in row] == [4, 8, 12]
    assert check.proof.applied.sizes == [3, 20]


def test_each_check_of_a_run_asks_its_own_questions():
    checks = [GradientCheck(every=3, rows=16), GradientCheck(every=4, rows=16), GradientCheck(every=1, rows=5)]
    fitted(Network(SIZES, dropout=0.3), checks)
    assert [check.proof.applied.n for check in checks] == [5, 4, 10]
    assert [check.proof.applied.passed for check in checks] == [5, 4, 10]


def test_where_it_is_left_out_it_is_not_asked_and_the_network_is_called_no_more_than_before():
    calls = []

    class Counts(Network):
        def loss_and_gradients(self, *arguments, **options):
            calls.append(arguments[1].shape)
            return super().loss_and_gradients(*arguments, **options)

    check = GradientCheck(every=5, rows=16, applied=False)
    trainer = fitted(Counts(SIZES), [check])
    assert len(calls) == 10 + 2
    assert check.report.applied is None
    assert check.proof.applied.n == 0
    assert not any(name.startswith("applied") for row in trainer.history for name in row)
    assert "those of their batches was not looked at" in str(check.proof)


@dtypes
@pytest.mark.parametrize("at", [3, 6])
def test_a_run_that_goes_on_from_a_checkpoint_asks_the_same_questions_and_ends_with_the_same_proof(at, dtype, tmp_path):
    class Crash(Callback):
        def on_batch_end(self, state):
            if state.iteration == at:
                raise KeyboardInterrupt

    def made(folder, *more):
        check = GradientCheck(every=4, rows=16)
        callbacks = [check, Checkpoint(tmp_path / folder, every=1), *more]
        return trainer_of(Network(SIZES, dropout=0.3, l2=1e-2), callbacks, dtype=dtype, epochs=3), check

    whole, of_whole = made("whole")
    whole.fit(X, Y)
    with pytest.raises(KeyboardInterrupt):
        made("crashed", Crash())[0].fit(X, Y)
    resumed, of_resumed = made("crashed")
    resumed.fit(X, Y, resume=latest_checkpoint(tmp_path / "crashed"))
    for proof in (of_whole.proof, of_resumed.proof):
        proof.seconds = 0.0
    assert of_resumed.proof == of_whole.proof
    assert str(of_resumed.proof) == str(of_whole.proof)
    assert of_whole.proof.applied.n == 5

    def answers(trainer):
        return {row["iteration"]: row["applied_difference"] for row in trainer.history if "applied_difference" in row}

    assert answers(resumed) == answers(whole)
    np.testing.assert_array_equal(resumed.parameters.vector, whole.parameters.vector)


class WrongOnThree(Network):
    """Is wrong where a batch has three rows."""

    def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
        loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng, out)
        if len(inputs) == 3:
            gradients["W1"] *= 2.0
        return loss, gradients


class LosesInFloat32(Network):
    """Is a thousandth off in float32."""

    def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
        loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng, out)
        if inputs.dtype == np.float32:
            gradients["W1"] *= np.float32(1.001)
        return loss, gradients


class Accumulates(Network):
    """Adds to what it is lent."""

    def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
        before = 0.0 if out is None else out.vector.copy()
        loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng, out)
        gradients.vector += before
        return loss, gradients


class Moves(Network):
    """Writes to the parameters that it is lent."""

    def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
        result = super().loss_and_gradients(parameters, inputs, targets, rng, out)
        parameters["W1"][0, 0] += 1e-3
        return result


class TurnsRound(Callback):
    """Turns the gradients round."""

    def on_gradients_computed(self, state):
        state.gradients.vector[...] *= -1.0


@pytest.mark.parametrize(
    ("kind", "before", "after", "dtype", "cause"),
    [
        (WrongOnThree, [], [], "float64", Cause.WRONG_ON_BATCH),
        (WrongOnThree, [], [], "float32", Cause.WRONG_ON_BATCH),
        (LosesInFloat32, [], [], "float32", Cause.LOST),
        (Accumulates, [], [], "float32", Cause.NOT_REPEATABLE),
        (Moves, [], [], "float64", Cause.MOVED),
        (Network, [TurnsRound()], [], "float32", Cause.CHANGED),
        (Network, [], [TurnsRound()], "float64", Cause.CHANGED),
    ],
)
def test_a_violation_is_kept_with_its_batch_and_gives_again_what_was_the_networks_doing(
    kind, before, after, dtype, cause, tmp_path
):
    network = kind(SIZES, dropout=0.3, l2=1e-2)
    check = GradientCheck(every=7, rows=16, violations=tmp_path)
    with pytest.raises(GradientCheckError) as caught:
        fitted(network, [*before, check, *after], dtype=dtype)
    case = read_violation(caught.value.violation)
    applied = caught.value.report.applied
    assert (applied.verdict, applied.cause) == (Verdict.FAIL, cause)
    assert case.step["inputs"].shape == (applied.n_rows, 7)
    assert case.masks["bit_generator"] == "PCG64"
    assert case.report["applied"]["sentence"] == applied.sentence
    again = case.check(network, is_recorded=True)
    if cause is Cause.CHANGED:  # by a callback, which the record does not hold
        assert (again.verdict, again.applied.cause) == (Verdict.PASS, Cause.AGREES)
        return
    assert (again.verdict, again.applied.verdict, again.applied.cause) == (Verdict.FAIL, Verdict.FAIL, cause)
    assert (again.applied.tensor, again.applied.dtype) == (applied.tensor, dtype)
    corrected = Network(SIZES, dropout=0.3, l2=1e-2)
    assert case.check(corrected, is_recorded=False).applied.verdict is Verdict.PASS


def without_seconds(check):
    return str(check.proof), check.proof.to_dict() | {"seconds": 0.0}


def test_a_run_within_a_run_that_shares_its_check_is_refused_and_the_first_is_not_disturbed():
    refused = []

    class Nests(Callback):
        def on_batch_end(self, state):
            if state.iteration == 3:
                with pytest.raises(RuntimeError, match=r"watches another run\. Expected a GradientCheck of its own"):
                    fitted(Network((7, 3, 1)), [check])
                refused.append(state.iteration)

    check, alone = GradientCheck(every=2, rows=16), GradientCheck(every=2, rows=16)
    first = fitted(Network(SIZES, dropout=0.3), [check, Nests()])
    second = fitted(Network(SIZES, dropout=0.3), [alone])
    assert refused == [3]
    assert first.outcome == "completed"
    assert without_seconds(check) == without_seconds(alone)
    assert first.history.column("applied_difference") == second.history.column("applied_difference")
    np.testing.assert_array_equal(first.parameters.vector, second.parameters.vector)
    fitted(Network((7, 3, 1)), [check])  # one after the other they may


def test_a_run_in_another_thread_that_shares_the_check_is_refused():
    begun, over = threading.Event(), threading.Event()

    class Waits(Callback):
        def on_batch_end(self, state):
            begun.set()
            assert over.wait(30)

    check = GradientCheck(every=2, rows=16)
    first = trainer_of(Network(SIZES), [check, Waits()])
    thread = threading.Thread(target=first.fit, args=(X, Y))
    thread.start()
    try:
        assert begun.wait(30)
        second = trainer_of(Network((7, 3, 1)), [check])
        with pytest.raises(RuntimeError, match=r"watches another run"):
            second.fit(X, Y)
        assert second.outcome == "failed"
    finally:
        over.set()
        thread.join(30)
    assert (first.outcome, check.proof.n_checks, check.proof.passed) == ("completed", 5, 5)


def test_a_sum_that_cancels_in_a_dead_network_is_no_loss_of_precision():
    class Dead(Network):
        def initial_parameters(self, rng, dtype=np.float64):
            parameters = super().initial_parameters(rng, dtype)
            parameters["b1"][...] = -100.0
            parameters["b2"][...] = start
            return parameters

    targets = (np.arange(64) < 31).astype(float)
    differ = 0
    for start in np.log(31 / 33) + np.linspace(-0.05, 0.05, 101):
        network, check = Dead((7, 5, 1)), GradientCheck(every=1, rows=5, coverage="directions", on_failure="log")
        rows = X[:64], targets
        trainer_of(network, [check], dtype="float32", batch_size=64, epochs=1).fit(*rows)
        assert (check.proof.applied.n, check.proof.applied.failed) == (1, 0), start
        differ += check.proof.applied.largest[0] > 8 * np.finfo(np.float32).eps / 2
    assert differ > 0  # of some the sum does cancel
