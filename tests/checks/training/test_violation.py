"""Violations: a failed check is kept whole before anything is raised, and can be checked again on its very case."""

import logging
import pickle
import shutil

import numpy as np
import pytest

from checks import Cause, GradientCheck, Verdict
from checks.training import callback
from checks.training.callback import TrainingHaltedByCheck
from checks.training.violation import MEASURED_AT_MOST, both_gradients
from checks.training.violation_file import read_violation
from experiments.bugs.bugs import plant
from trainer import SGD, Network, Parameters, Trainer
from trainer.callbacks.base import TrainingDiverged
from trainer.storage.codec import to_plain

SIZES = (7, 5, 3, 1)


def rows(n_rows=90, n_features=7):
    rng = np.random.default_rng(0)
    targets = rng.permutation((np.arange(n_rows) < n_rows // 3).astype(float))
    return rng.standard_normal((n_rows, n_features)) + 0.5 * targets[:, None], targets


def halted(folder, bug="weight-doubled", network=None, dtype="float64", data=None, **options):
    """Halt a run at its first iteration, and give the error, the network and the trainer."""
    mistaken, switch = plant(network or Network(SIZES, dropout=0.3, l2=1e-3, positive_weight=3.0), bug)
    check = GradientCheck(4, rows=16, violations=folder, **options)
    trainer = Trainer(mistaken, callbacks=[switch, check], batch_size=16, epochs=3, seed=1, dtype=dtype)
    with pytest.raises(TrainingHaltedByCheck) as caught:
        trainer.fit(*(data or rows()))
    assert check.violation == caught.value.violation
    return caught.value, mistaken, trainer


def but_for_time(report):
    """Give a report as plain data without the time it took, in which NaN equals NaN."""
    data = to_plain(report.to_dict() if hasattr(report, "to_dict") else report)
    for part in (data, *data.get("terms", {}).values(), data.get("applied") or {}):
        part.pop("seconds", None)
    return repr(data)


def without_direction(report):
    """Give a report `but_for_time`, and of the second question, whose direction is fresh, verdict, cause and place."""
    data = to_plain(report.to_dict() if hasattr(report, "to_dict") else report)
    data["applied"] = {name: data["applied"][name] for name in ("verdict", "cause", "tensor", "dtype", "n_rows")}
    return but_for_time(data)


def test_a_halt_writes_the_case_before_it_raises(tmp_path, monkeypatch):
    on_disk = []

    class Halted(TrainingHaltedByCheck):
        def __init__(self, report, iteration, violation=None):
            on_disk.extend(path.name for path in tmp_path.iterdir())
            super().__init__(report, iteration, violation)

    monkeypatch.setattr(callback, "TrainingHaltedByCheck", Halted)
    halted(tmp_path)
    assert on_disk == ["violation-000001.npz"]


def test_the_case_holds_parameters_rows_both_gradients_seeds_settings_and_versions(tmp_path):
    inputs, targets = rows()
    error, mistaken, trainer = halted(tmp_path, settings={"seed": 1, "where": tmp_path, "rate": np.float64(0.5)})
    case = read_violation(error.violation)
    assert (case.iteration, case.dtype, case.mask_seed, case.text) == (1, "float64", None, str(error.report))
    assert {n: v.tolist() for n, v in case.parameters.items()} == {n: v.tolist() for n, v in trainer.parameters.items()}
    np.testing.assert_array_equal(case.inputs, inputs[case.index])
    np.testing.assert_array_equal(case.targets, targets[case.index])
    assert set(case.targets) == {0.0, 1.0}
    right = Network(SIZES, l2=1e-3, positive_weight=3.0)
    wrong = mistaken.loss_and_gradients(case.parameters, case.inputs, case.targets)[1]
    exact = right.loss_and_gradients(case.parameters, case.inputs, case.targets)[1]
    for name in case.parameters:
        np.testing.assert_array_equal(case.gradients[name], wrong[name])
        np.testing.assert_allclose(case.numerical[name], exact[name], rtol=0, atol=1e-8)
    assert np.linalg.norm(case.gradients["W2"] - case.numerical["W2"]) > 0.1
    assert case.loss == right.loss(case.parameters, case.inputs, case.targets)
    assert case.network["class"] == "trainer:Network"
    assert case.network["arguments"]["layer_sizes"] == list(SIZES)
    assert case.settings == {"seed": 1, "where": str(tmp_path), "rate": 0.5}
    assert case.versions["numpy"] == np.__version__
    assert {"python", "backproof", "machine", "BLAS"} <= set(case.versions)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dropout": "frozen"},
        {"coverage": "directions"},
        {"coverage": "directions", "dropout": "frozen", "terms": True},
        {"terms": True, "derivative": "complex"},
        {"dtype": "float32", "dropout": "frozen"},
        {"step": 1e-6, "threshold": 1e-6},
    ],
    ids=str,
)
@pytest.mark.parametrize("bug", ["weight-doubled", "sign", "class-weight-forgotten"])
def test_the_case_checked_again_gives_the_same_report_to_the_last_digit(bug, options, tmp_path):
    error, mistaken, _ = halted(tmp_path, bug, **options)
    case = read_violation(error.violation)
    assert but_for_time(error.report) == but_for_time(case.report)
    again = case.check(mistaken, is_recorded=True)
    assert without_direction(again) == without_direction(error.report)
    assert error.report.applied.cause is Cause.WRONG_ON_BATCH
    gradients, numerical = both_gradients(case.probe(mistaken), again)
    for name in case.parameters:
        np.testing.assert_array_equal(gradients[name], case.gradients[name])
        np.testing.assert_array_equal(numerical[name], case.numerical[name])
        assert np.isfinite(numerical[name]).all()
    corrected = Network(SIZES, dropout=0.3, l2=1e-3, positive_weight=3.0)
    assert case.check(corrected, is_recorded=False).verdict is Verdict.PASS


def test_a_late_halt_is_checked_again_along_its_own_directions(tmp_path):
    mistaken, switch = plant(Network(SIZES), "sign", after=10)
    check = GradientCheck(2, rows=16, coverage="directions", applied=False, violations=tmp_path)
    with pytest.raises(TrainingHaltedByCheck) as caught:
        Trainer(mistaken, callbacks=[switch, check], batch_size=16, epochs=3, seed=1).fit(*rows())
    case = read_violation(caught.value.violation)
    assert (case.iteration, case.complex_confirmed) == (10, True)
    assert but_for_time(case.check(mistaken, is_recorded=True)) == but_for_time(caught.value.report)


def test_a_frozen_mask_is_replayed(tmp_path):
    error, _, _ = halted(tmp_path, "dropout-unscaled", dropout="frozen")
    case = read_violation(error.violation)
    network = Network(SIZES, dropout=0.3, l2=1e-3, positive_weight=3.0)
    assert case.mask_seed is not None
    assert case.loss == case.probe(network).loss(case.parameters)
    assert case.loss != network.loss(case.parameters, case.inputs, case.targets)


def test_only_the_rows_of_the_probe_are_kept(tmp_path):
    inputs, targets = rows(n_rows=9_001)
    np.save(tmp_path / "inputs.npy", inputs)
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    error, _, _ = halted(tmp_path, data=(mapped, targets))
    assert read_violation(error.violation).inputs.shape == (16, 7)
    assert error.violation.stat().st_size < inputs.nbytes / 10


def test_of_a_diverged_run_nothing_is_kept_for_no_gradient_was_wrong(tmp_path):
    check = GradientCheck(3, violations=tmp_path)
    trainer = Trainer(Network(SIZES), optimizer=SGD(learning_rate=1e200), callbacks=[check], batch_size=16)
    with np.errstate(all="ignore"), pytest.raises(TrainingDiverged):
        trainer.fit(*rows())
    assert check.violation is None
    assert list(tmp_path.iterdir()) == []


def test_a_gradient_that_is_not_finite_is_kept_as_it_was(tmp_path):
    class Infinite(Network):
        def loss_and_gradients(self, *arguments):
            loss, gradients = super().loss_and_gradients(*arguments)
            gradients["W2"][2, 3] = np.inf
            return loss, gradients

    check = GradientCheck(3, violations=tmp_path)
    with np.errstate(all="ignore"), pytest.raises(TrainingHaltedByCheck) as caught:
        Trainer(Infinite(SIZES), callbacks=[check], batch_size=16).fit(*rows())
    case = read_violation(caught.value.violation)
    assert case.gradients["W2"][2, 3] == np.inf
    assert np.isfinite(case.numerical["W1"]).all()
    with np.errstate(all="ignore"):
        again = case.check(Infinite(SIZES), is_recorded=False)
    assert without_direction(again) == without_direction(caught.value.report)
    assert (again.verdict, again.cause) == (Verdict.FAIL, Cause.NOT_FINITE)


def test_stop_keeps_the_case_too(tmp_path):
    mistaken, switch = plant(Network(SIZES), "sign")
    check = GradientCheck(4, on_failure="stop", violations=tmp_path)
    trainer = Trainer(mistaken, callbacks=[switch, check], batch_size=16, epochs=3)
    trainer.fit(*rows())
    assert trainer.outcome == "stopped"
    assert read_violation(check.violation).iteration == 1


def test_a_run_that_logs_its_failures_keeps_the_first_three(tmp_path):
    mistaken, switch = plant(Network(SIZES), "sign")
    check = GradientCheck(4, on_failure="log", violations=tmp_path)
    Trainer(mistaken, callbacks=[switch, check], batch_size=16, epochs=3).fit(*rows())
    assert check.proof.failed == 6
    kept = [f"violation-{iteration:06d}.npz" for iteration in (1, 4, 6)]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_an_earlier_finding_is_never_replaced(tmp_path):
    first, _, _ = halted(tmp_path)
    before = first.violation.read_bytes()
    second, _, _ = halted(tmp_path, "sign")
    assert (first.violation.name, second.violation.name) == ("violation-000001.npz", "violation-000001-2.npz")
    assert first.violation.read_bytes() == before


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_does_not_swallow_the_halt(place, tmp_path, caplog):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    error, _, trainer = halted(tmp_path / place)
    assert error.violation is None
    assert trainer.outcome == "halted"
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "iteration 1  the violation could not be kept: " in warned[0]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_full_disk_does_not_swallow_the_halt_and_leaves_no_half_of_a_file(tmp_path, monkeypatch, caplog):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.storage.durable.os.fsync", full)
    error, _, _ = halted(tmp_path)
    assert error.violation is None
    assert "could not be kept: OSError: [Errno 28] No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_raises_when_the_case_is_collected_does_not_swallow_the_halt(tmp_path, monkeypatch, caplog):
    def tired(*arguments):
        raise RuntimeError("no more")

    monkeypatch.setattr("checks.training.violation.both_gradients", tired)
    error, _, _ = halted(tmp_path)
    assert error.violation is None
    assert "could not be kept: RuntimeError: no more" in caplog.text


def test_the_halt_says_where_the_case_is_and_what_checks_it_again(tmp_path, caplog):
    error, _, _ = halted(tmp_path / "my runs")
    assert f"checked again by: python -m experiments.replay '{error.violation}'" in caplog.text
    assert error.violation.parent == tmp_path / "my runs"
    assert pickle.loads(pickle.dumps(error)).violation == error.violation


def test_without_a_folder_nothing_is_kept_and_without_a_failure_nothing_is_made(tmp_path):
    error, _, _ = halted(None)
    assert error.violation is None
    check = GradientCheck(4, violations=tmp_path / "new")
    Trainer(Network(SIZES), callbacks=[check], batch_size=16).fit(*rows())
    assert check.violation is None
    assert not (tmp_path / "new").exists()


def test_a_second_run_starts_without_the_violation_of_the_first(tmp_path):
    mistaken, switch = plant(Network(SIZES), "sign", after=4)
    check = GradientCheck(4, violations=tmp_path)
    with pytest.raises(TrainingHaltedByCheck):
        Trainer(mistaken, callbacks=[switch, check], batch_size=16).fit(*rows())
    assert check.violation is not None
    Trainer(Network(SIZES), callbacks=[check], batch_size=16).fit(*rows())
    assert check.violation is None


def test_a_halt_does_not_wait_for_more_coordinates_than_it_may(tmp_path, monkeypatch):
    assert MEASURED_AT_MOST >= 10_000
    monkeypatch.setattr("checks.training.violation.MEASURED_AT_MOST", 20)
    error, _, _ = halted(tmp_path, coverage="directions")
    case = read_violation(error.violation)
    measured = {name for name, value in case.numerical.items() if np.isfinite(value).all()}
    assert measured == {"b1", "W2", "b2", "W3", "b3"}  # W2 by the check itself; the 35 of W1 are too many
    assert np.isnan(case.numerical["W1"]).all()


def test_names_that_no_file_can_have_are_kept(tmp_path):
    network = Network((5, 1))
    own = {"../W": "W1", "bias of 1": "b1"}

    class Foreign:
        """Calls its parameters what it likes, and doubles both gradients."""

        def loss(self, parameters, inputs, targets, rng=None):
            return network.loss({own[name]: value for name, value in parameters.items()}, inputs, targets)

        def loss_and_gradients(self, parameters, inputs, targets, rng=None):
            given = {own[name]: value for name, value in parameters.items()}
            loss, gradients = network.loss_and_gradients(given, inputs, targets)
            return loss, {name: 2.0 * gradients[right] for name, right in own.items()}

    class State:
        iteration, row = 4, {}

    state = State()
    state.network, (state.inputs, state.targets) = Foreign(), rows(n_features=5)
    state.batch = state.inputs, state.targets
    state.parameters = Parameters({"../W": (1, 5), "bias of 1": (1,)}, np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]))
    check = GradientCheck(4, violations=tmp_path)
    check.on_train_begin(state)
    with pytest.raises(TrainingHaltedByCheck) as caught:
        check.on_gradients_computed(state)
    case = read_violation(caught.value.violation)
    assert case.network == {"class": f"{__name__}:{Foreign.__qualname__}", "parts": [], "arguments": {}}
    assert list(case.parameters) == ["../W", "bias of 1"]
    np.testing.assert_allclose(case.gradients["../W"], 2.0 * case.numerical["../W"], rtol=1e-6)


def test_the_file_may_be_moved(tmp_path):
    error, mistaken, _ = halted(tmp_path)
    moved = tmp_path / "elsewhere" / "case.bin"
    moved.parent.mkdir()
    shutil.move(error.violation, moved)
    case = read_violation(moved)
    again = case.check(mistaken, is_recorded=True)
    assert without_direction(again) == without_direction(error.report)


@pytest.mark.parametrize("option", [{"settings": 3}, {"settings": ["a"]}])
def test_settings_that_are_no_mapping_are_refused_before_any_training(option):
    with pytest.raises(TypeError, match=r"Expected a mapping\. Received"):
        GradientCheck(**option)
