"""The callback: when it checks, that training does not notice, and that a wrong gradient ends the run in time."""

import itertools
import json
import pickle
import re

import numpy as np
import pytest

from checks import Cause, GradientCheck, GradientCheckError, Verdict
from checks.training.callback import TrainingHaltedByCheck
from experiments.bugs.bugs import BUGS, plant
from trainer import SGD, Adam, Callback, History, Network, Trainer, TrainingHalted
from trainer.callbacks.base import TrainingDiverged


def rows(n_rows=90, n_features=7, fraud=0.3, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((n_rows, n_features))
    targets = (np.arange(n_rows) < max(2, round(fraud * n_rows))).astype(float)
    return inputs + 0.5 * targets[:, None], rng.permutation(targets)


def fit(network, callbacks, data=None, **options):
    settings = {"optimizer": Adam(learning_rate=1e-2), "batch_size": 16, "epochs": 3, "seed": 1} | options
    trainer = Trainer(network, callbacks=callbacks, **settings)
    trainer.fit(*(data or rows()))
    return trainer


def halted(network, callbacks, **options):
    trainer = Trainer(network, callbacks=callbacks, batch_size=16, epochs=3, seed=1, **options)
    with pytest.raises(TrainingHaltedByCheck) as caught:
        trainer.fit(*rows(n_features=network.layer_sizes[0]))
    return trainer, caught.value


@pytest.mark.parametrize(
    ("every", "expected"), [(1, list(range(1, 19))), (5, [5, 10, 15]), (7, [7, 14]), (18, [18]), (19, [])]
)
def test_it_fires_at_k_2k_3k(every, expected):
    check = GradientCheck(every=every)
    trainer = fit(Network((7, 5, 3, 1)), [check])
    fired = [row["iteration"] for row in trainer.history if "verdict" in row]
    assert fired == expected
    assert check.proof.n_checks == len(expected)


@pytest.mark.parametrize(
    ("dtype", "dropout", "coverage", "frozen", "terms"),
    [
        *itertools.product(["float64", "float32"], [0.0, 0.3], ["full", "directions"], ["off"], [False]),
        *itertools.product(["float32"], [0.3], ["full", "directions"], ["frozen"], [True]),
    ],
)
def test_training_with_and_without_the_check_gives_bit_identical_weights(dtype, dropout, coverage, frozen, terms):
    def network():
        return Network((7, 5, 3, 1), dropout=dropout, l2=1e-3, positive_weight=3.0)

    check = GradientCheck(every=1, rows=16, coverage=coverage, dropout=frozen, terms=terms)
    bare = fit(network(), [], dtype=dtype, epochs=2)
    checked = fit(network(), [check], dtype=dtype, epochs=2)
    assert check.proof.n_checks == 12
    assert check.proof.failures == []
    np.testing.assert_array_equal(checked.parameters.vector, bare.parameters.vector)
    assert checked.parameters.vector.dtype == np.dtype(dtype)
    assert checked.history.column("loss") == bare.history.column("loss")


def test_the_halt_precedes_the_update():
    class StopAt(Callback):
        def on_gradients_computed(self, state):
            if state.iteration == 4:
                state.request_stop("here")

    mistaken, switch = plant(Network((7, 5, 3, 1)), "weight-doubled", layer=2)
    stopped = fit(mistaken, [switch, StopAt()])
    check = GradientCheck(every=4, applied=False)
    trainer, error = halted(mistaken, [switch, check], optimizer=Adam(learning_rate=1e-2))
    assert error.iteration == 4
    assert trainer.outcome == "halted"
    np.testing.assert_array_equal(trainer.parameters.vector, stopped.parameters.vector)


@pytest.mark.parametrize("applied", [False, True])
def test_the_halting_row_is_in_the_history_and_on_disk(applied, tmp_path):
    path = tmp_path / "history.jsonl"
    mistaken, switch = plant(Network((7, 5, 3, 1)), "weight-doubled", layer=2)
    trainer, error = halted(mistaken, [switch, GradientCheck(every=4, applied=applied)], history_path=path)
    for history in (trainer.history, History.read(path)):
        row = next(row for row in history if "verdict" in row)
        assert row["iteration"] == (1 if applied else 4)
        second = {name: value for name, value in row.items() if name.startswith("applied")}
        assert second.keys() == ({"applied_verdict", "applied_difference", "applied_cause"} if applied else set())
        assert second.get("applied_cause", "") == ("backprop is wrong on this batch" if applied else "")
        assert row["verdict"] == "FAIL"
        assert row["ratio"] == pytest.approx(2.0, rel=1e-5)
        assert row["worst"].startswith("W2[")
        assert row["difference"] == error.report.difference
        assert row["threshold"] == 1e-7
        assert row["parameters_checked"] == error.report.n_parameters == 62


def test_the_halt_is_a_halt_of_training_and_a_failed_check_and_an_assertion():
    mistaken, switch = plant(Network((7, 5, 3, 1)), "sign", layer=1)
    _, error = halted(mistaken, [switch, GradientCheck(every=2)])
    assert isinstance(error, TrainingHalted)
    assert isinstance(error, GradientCheckError)
    assert isinstance(error, AssertionError)
    assert str(error) == f"Training halted at iteration 1.\n{error.report}"
    assert str(error.report.applied) in " ".join(str(error).split())
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.iteration, str(twin)) == (1, str(error))


def test_on_failure_stop_ends_the_run_in_good_order():
    mistaken, switch = plant(Network((7, 5, 3, 1)), "weight-doubled", layer=2)
    trainer = fit(mistaken, [switch, GradientCheck(every=4, on_failure="stop")])
    assert trainer.outcome == "stopped"
    assert "gradient check failed at iteration 1" in trainer.state.stop_reason
    assert trainer.state.iteration == 1


def test_on_failure_log_goes_on_and_counts_every_failure(caplog):
    mistaken, switch = plant(Network((7, 5, 3, 1)), "weight-doubled", layer=2)
    check = GradientCheck(every=4, on_failure="log")
    trainer = fit(mistaken, [switch, check])
    assert trainer.outcome == "completed"
    failed = [1, 4, 6, 8, 12, 16]  # 16 rows are new at iteration 1, and the 10 left over at 6
    assert sorted({iteration for iteration, *_ in check.proof.failures}) == failed
    assert (check.proof.failed, check.proof.applied.failed, check.proof.n_failures) == (6, 6, 12)  # each question once
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 6


def test_every_check_is_one_log_line_with_the_level_of_its_verdict(caplog):
    caplog.set_level("INFO", logger="checks")
    fit(Network((7, 5, 3, 1), activation="tanh"), [GradientCheck(every=9)])
    lines = [record for record in caplog.records if record.name.startswith("checks")]
    assert [record.levelname for record in lines] == ["INFO", "INFO"]
    for record in lines:
        message = record.getMessage()
        assert "\n" not in message
        assert re.fullmatch(r"iteration \d+  PASS  difference \d\S+  applied \d\S+", message)


def test_a_second_fit_starts_afresh():
    check = GradientCheck(every=6)
    trainer = Trainer(Network((7, 5, 3, 1)), callbacks=[check], batch_size=16, epochs=3, seed=1)

    def story():
        trainer.fit(*rows())
        return check.proof.n_checks, [row["difference"] for row in trainer.history if "difference" in row]

    assert story() == story()
    assert (check.proof.n_checks, check.proof.first, check.proof.last) == (3, 6, 18)


def test_every_check_sees_fresh_rows_of_both_classes_at_02_percent_fraud():
    seen = []

    class Watched(Network):
        def loss(self, parameters, inputs, targets, rng=None):
            seen.append((inputs.tobytes(), int(targets.sum()), len(targets)))
            return super().loss(parameters, inputs, targets, rng)

    check = GradientCheck(every=20, rows=64, coverage="directions", applied=False)
    fit(Watched((7, 5, 3, 1)), [check], data=rows(4_000, fraud=0.002), batch_size=64, epochs=1)
    assert check.proof.n_checks == 3
    assert len({inputs for inputs, *_ in seen}) == 3
    assert {(positive, n_rows) for _, positive, n_rows in seen} == {(8, 64)}


def test_a_float32_run_is_checked_in_float64():
    kinds = set()

    class Watched(Network):
        def loss(self, parameters, inputs, targets, rng=None):
            kinds.add((parameters["W1"].real.dtype, inputs.dtype, targets.dtype))
            return super().loss(parameters, inputs, targets, rng)

    check = GradientCheck(every=6)
    fit(Watched((7, 5, 3, 1)), [check], dtype="float32")
    assert kinds == {(np.dtype(np.float64),) * 3}
    assert check.proof.largest[0] < 1e-7
    assert check.proof.applied.dtype == "float32"
    assert 1e-9 < check.proof.applied.largest[0] < 1e-6


class Flag(Callback):
    """Marks where in the list of callbacks the check stands."""

    def __init__(self, flags, value):
        self.flags, self.value = flags, value

    def on_gradients_computed(self, state):
        self.flags["checking"] = self.value


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("terms", [False, True])
def test_no_generator_reaches_the_network_while_dropout_is_off(coverage, terms):
    flags = {"checking": False, "seen": 0}

    def watch(method):
        def watched(self, *arguments, **options):
            given = [a for a in (*arguments, *options.values()) if isinstance(a, np.random.Generator)]
            flags["seen"] += flags["checking"]
            assert not (flags["checking"] and given), "a generator was handed to the network during a check"
            return method(self, *arguments, **options)

        return watched

    class Watched(Network):
        logits = watch(Network.logits)
        loss = watch(Network.loss)
        loss_and_gradients = watch(Network.loss_and_gradients)
        coordinate_losses = watch(Network.coordinate_losses)

    check = GradientCheck(every=6, coverage=coverage, terms=terms, applied=False)
    fit(Watched((7, 5, 3, 1), dropout=0.4, l2=1e-2), [Flag(flags, True), check, Flag(flags, False)])
    assert flags["seen"] > 6
    assert check.report.verdict is Verdict.PASS


def test_frozen_dropout_checks_the_backward_of_dropout_and_off_does_not():
    network = Network((7, 5, 3, 1), dropout=0.4)
    mistaken, switch = plant(network, "dropout-unscaled", layer=1)
    _, error = halted(mistaken, [switch, GradientCheck(every=3, dropout="frozen", applied=False)])
    assert error.report.culprits[0].name in {"W1", "b1"}
    assert fit(mistaken, [switch, GradientCheck(every=3, applied=False)]).outcome == "completed"
    _, error = halted(mistaken, [switch, GradientCheck(every=3)])  # the masks of the batch tell
    assert (error.iteration, error.report.culprits) == (1, [])
    assert error.report.applied.tensor.partition("[")[0] in {"W1", "b1"}
    assert fit(network, [GradientCheck(every=1, dropout="frozen")]).outcome == "completed"


@pytest.mark.parametrize("applied", [False, True])
def test_a_diverged_run_ends_as_diverged_and_nothing_is_said_of_its_gradient(applied):
    # The learning rate makes the weights overflow; the check must not take NaN for agreement, nor for a mistake.
    check = GradientCheck(every=3, applied=applied)
    trainer = Trainer(Network((7, 5, 3, 1)), optimizer=SGD(learning_rate=1e200), callbacks=[check], batch_size=16)
    with np.errstate(all="ignore"), pytest.raises(TrainingDiverged) as caught:
        trainer.fit(*rows())
    assert 1 < caught.value.iteration <= 3
    assert (check.proof.failed, check.proof.applied.failed, check.proof.failures) == (0, 0, [])
    assert check.violation is None


@pytest.mark.parametrize("sizes", [(7, 5, 3, 1), (5, 7, 1), (3, 1), (7, 3, 5, 3, 1)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_correct_network_never_halts_over_twenty_seeds(sizes, activation):
    for seed in range(20):
        network = Network(
            sizes, activation=activation, dropout=0.2 * (seed % 2), l2=1e-3 * (seed % 3), positive_weight=1.0 + seed % 4
        )
        check = GradientCheck(
            every=5, rows=3 + seed, coverage=("full", "directions")[seed % 2], dropout=("off", "frozen")[seed // 10]
        )
        trainer = fit(network, [check], data=rows(n_features=sizes[0], seed=seed), seed=seed, epochs=2)
        assert trainer.outcome == "completed"
        assert (check.proof.n_checks, check.proof.first, check.proof.last) == (2, 5, 10)


def networks(dropout):
    options = {"l2": 1e-2, "positive_weight": 3.0, "dropout": dropout}
    return [
        Network((7, 5, 3, 1), **options),
        Network((7, 5, 3, 1), activation="tanh", **options),
        Network((6, 5, 5, 1), **options),
    ]


def bug_cases():
    """Give every mistake in each small network where it is one, at the first and the last layer it can stand at."""
    for name, bug in BUGS.items():
        for network in networks(0.3 if name.startswith("dropout") else 0.0):
            possible = bug.layers(network)
            for layer, coverage in itertools.product(sorted({*possible[:1], *possible[-1:]}), ["full", "directions"]):
                if coverage == "full" or network.activation == "relu":
                    label = f"{name}-{network.activation}-{network.layer_sizes[1:3]}-{layer}-{coverage}"
                    yield pytest.param(name, network, layer, coverage, id=label)


def changes(bug, network, mistaken, layer, data):
    """Say whether the mistake changes the gradient at the point where training begins; otherwise it is none."""
    parameters = network.initial_parameters(np.random.default_rng(0))

    def gradients(own):
        return own.loss_and_gradients(parameters, *data, np.random.default_rng(0) if network.dropout else None)[1]

    right, wrong = gradients(network), gradients(mistaken)
    return any(
        np.linalg.norm(right[name] - wrong[name]) > 1e-6 * np.linalg.norm(right[name])
        for name in bug.tensors(network, layer)
    )


@pytest.mark.parametrize(("name", "network", "layer", "coverage"), list(bug_cases()))
def test_every_planted_mistake_halts_and_names_a_right_tensor(name, network, layer, coverage):
    bug = BUGS[name]
    mistaken, switch = plant(network, name, layer=layer)
    data = rows(n_features=network.layer_sizes[0])
    if not changes(bug, network, mistaken, layer, data):
        pytest.skip("no mistake at this place: it does not change the gradient")

    def error(**options):
        check = GradientCheck(2, coverage=coverage, dropout="frozen" if network.dropout else "off", rows=24, **options)
        trainer = Trainer(mistaken, callbacks=[switch, check], batch_size=16, epochs=2, seed=3)
        with pytest.raises(TrainingHaltedByCheck) as caught:
            trainer.fit(*data)
        return caught.value

    first = error(applied=False)
    assert first.report.culprits[0].name in bug.tensors(network, layer), str(first)
    assert first.iteration in (2, 4, 6)
    if coverage == "directions":
        return  # the answer to the second question is the same for either coverage of the first
    second = error()
    applied = second.report.applied
    assert second.iteration <= first.iteration
    if applied.verdict is Verdict.FAIL:  # else only the fresh rows of the first question show it
        assert applied.tensor.partition("[")[0] in bug.tensors(network, layer), str(second)
        assert applied.cause is Cause.WRONG_ON_BATCH


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"every": 0}, "every is out of range. Expected an integer >= 1. Received 0"),
        ({"every": True}, "every is out of range"),
        ({"every": 2.0}, "every is out of range"),
        ({"rows": 1}, "rows is out of range. Expected an integer >= 2"),
        ({"seed": -1}, "seed is out of range"),
        ({"dropout": "on"}, "dropout is unknown.*Received 'on'"),
        ({"on_failure": "warn"}, "on_failure is unknown.*Received 'warn'"),
        ({"coverage": "some"}, "coverage is unknown"),
        ({"derivative": "forward"}, "derivative is unknown"),
        ({"threshold": 0.0}, "threshold is out of range"),
        ({"threshold": float("nan")}, "threshold is out of range"),
        ({"step": -1e-5}, "step is out of range"),
    ],
)
def test_options_out_of_range_are_refused_before_any_training(option, message):
    with pytest.raises(ValueError, match=message):
        GradientCheck(**option)


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_check_that_is_saved_and_resumed_goes_on_with_the_same_directions_and_evidence(coverage):
    class Moments(Callback):
        """Saves the check after iteration 6, by way of JSON."""

        def on_batch_end(self, state):
            if state.iteration == 6:
                self.saved = json.loads(json.dumps(whole.state_dict()))

    class Resume(Callback):
        """Hands the saved state to a check that saw nothing of the first six iterations."""

        def on_batch_end(self, state):
            if state.iteration == 6:
                second.load_state_dict(moments.saved)

    def network():
        return Network((7, 5, 3, 1), dropout=0.3, l2=1e-3)

    options = {"rows": 16, "coverage": coverage, "dropout": "frozen", "terms": True}
    whole, moments = GradientCheck(every=2, **options), Moments()
    fit(network(), [whole, moments], epochs=2, dtype="float32")
    second = GradientCheck(every=2, **options)
    fit(network(), [second, Resume()], epochs=2, dtype="float32")
    for proof in (whole.proof, second.proof):
        proof.seconds = 0.0
    assert second.proof == whole.proof
    assert str(second.proof) == str(whole.proof)
    assert (second.proof.n_checks, second.proof.first, second.proof.last) == (6, 2, 12)


def test_the_first_failure_of_the_proof_is_the_first_in_the_order_of_backprop():
    mistaken, switch = plant(Network((7, 5, 3, 1)), "notebook")
    check = GradientCheck(every=2)
    halted(mistaken, [switch, check])
    *first, applied = [where for _, where, _ in check.proof.failures]
    assert first == ["W2", "b1"]
    assert applied.startswith("W2[")


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_network_that_scribbles_on_the_parameters_it_is_lent_changes_nothing(coverage):
    class Scribbling(Network):
        def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
            found = super().loss_and_gradients(parameters, inputs, targets, rng, out)
            if parameters.vector.dtype == np.float64:  # in training, float32, it behaves
                parameters.vector[...] = 7.0
            return found

    check = GradientCheck(every=3, coverage=coverage)
    trainer = fit(Scribbling((7, 5, 3, 1)), [check], dtype="float32")
    plain = fit(Network((7, 5, 3, 1)), [GradientCheck(every=3, coverage=coverage)], dtype="float32")
    assert trainer.outcome == "completed"
    assert check.proof.passed == 6
    assert trainer.history.column("difference") == plain.history.column("difference")


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_gradients_in_storage_of_the_networks_own_are_checked_as_well(coverage):
    class Own(Network):
        def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
            loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng)
            if out is not None:
                out.vector[...] = np.nan if parameters["W1"].dtype == np.float64 else gradients.vector
            return loss, gradients

    check = GradientCheck(every=3, coverage=coverage)
    fit(Own((7, 5, 3, 1)), [check], dtype="float32")
    assert check.proof.passed == 6


def test_a_full_report_keeps_its_gradients_while_the_run_goes_on():
    kept = []

    class Keep(Callback):
        def on_gradients_computed(self, state):
            if check.report is not None:
                kept.append((check.report, check.report.tensors["W2"].entries.gradient.copy()))

    check = GradientCheck(every=3)
    fit(Network((7, 5, 3, 1)), [check, Keep()])
    assert len({gradient.tobytes() for _, gradient in kept}) > 3
    for report, gradient in kept:
        np.testing.assert_array_equal(report.tensors["W2"].entries.gradient, gradient)
