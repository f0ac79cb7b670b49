"""A second fit goes on where the first ended; a fitted model is saved and loaded; habits of elsewhere get an answer."""

import numpy as np
import pytest

from checks import GradientCheck
from trainer import SGD, Adam, Callback, Checkpoint, History, Network, Trainer
from trainer.storage.archive import ArchiveError, read_archive, write_archive

INPUTS = np.random.default_rng(0).standard_normal((23, 5))
TARGETS = (np.arange(23) % 3 == 0).astype(float)


def trainer_of(network=None, **options):
    network = network or Network((5, 7, 1), dropout=0.3)
    return Trainer(network, **{"batch_size": 7, "optimizer": Adam(0.01)} | options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("window", [None, 9])
def test_two_fits_of_which_the_second_goes_on_are_one_long_one(dtype, window):
    one, two = (trainer_of(epochs=epochs, dtype=dtype, shuffle_window=window) for epochs in (4, 2))
    one.fit(INPUTS, TARGETS)
    two.fit(INPUTS, TARGETS)
    history = two.fit(INPUTS, TARGETS, warm_start=True)
    assert two.parameters.vector.tobytes() == one.parameters.vector.tobytes()
    assert history.column("loss") == one.history.column("loss")
    assert history.column("iteration")[-1] == two.state.iteration == two.state.n_iterations == 16
    assert (two.state.epoch, two.state.n_epochs) == (4, 4)


def test_a_history_in_a_file_goes_on_too(tmp_path):
    trainer = trainer_of(epochs=1, history_path=tmp_path / "history.jsonl")
    trainer.fit(INPUTS, TARGETS)
    trainer.fit(INPUTS, TARGETS, warm_start=True)
    assert History.read(tmp_path / "history.jsonl").rows == trainer.history.rows
    assert trainer.history.column("epoch") == [1] * 5 + [2] * 5


def test_it_goes_on_with_other_rows_and_another_optimizer_and_is_checked_on():
    check = GradientCheck(every=3, rows=5)
    trainer = trainer_of(callbacks=[check])
    trainer.fit(INPUTS, TARGETS)
    before = trainer.parameters.vector.copy()
    trainer.optimizer, trainer.epochs = SGD(1e-9), 1
    trainer.fit(INPUTS[:11], TARGETS[:11], warm_start=True)
    np.testing.assert_allclose(trainer.parameters.vector, before, atol=1e-6)
    assert (check.proof.first, check.proof.passed) == (21, 1)


def test_without_a_fit_before_it_begins():
    first, warm = trainer_of(), trainer_of()
    first.fit(INPUTS, TARGETS)
    warm.fit(INPUTS, TARGETS, warm_start=True)
    assert warm.parameters.vector.tobytes() == first.parameters.vector.tobytes()


def test_a_run_that_went_on_is_resumed_from_its_checkpoints(tmp_path):
    trainer = trainer_of(epochs=2, callbacks=[Checkpoint(tmp_path, every=5)])
    trainer.fit(INPUTS, TARGETS)
    trainer.fit(INPUTS, TARGETS, warm_start=True)
    again = trainer_of(epochs=4, callbacks=[Checkpoint(tmp_path, every=5)])
    again.fit(INPUTS, TARGETS, resume=tmp_path / "checkpoint-00000015.npz")
    assert again.parameters.vector.tobytes() == trainer.parameters.vector.tobytes()


def test_two_ways_to_go_on_and_other_parameters_are_refused(tmp_path):
    trainer = trainer_of(callbacks=[Checkpoint(tmp_path, every=5)])
    trainer.fit(INPUTS, TARGETS)
    with pytest.raises(ValueError, match=r"Expected resume or warm_start. Received both"):
        trainer.fit(INPUTS, TARGETS, warm_start=True, resume=tmp_path / "checkpoint-00000005.npz")
    trainer.network = Network((5, 3, 1))
    with pytest.raises(ValueError, match=r"other parameters to go on from. Expected .*\(3, 5\).* Received .*\(7, 5\)"):
        trainer.fit(INPUTS, TARGETS, warm_start=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_model_predicts_the_same_after_it_was_loaded(tmp_path, dtype):
    trainer = trainer_of(dtype=dtype)
    trainer.fit(INPUTS, TARGETS)
    trainer.save(tmp_path / "model.npz")
    loaded = trainer_of(dtype=dtype, seed=5).load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict_proba(INPUTS), trainer.predict_proba(INPUTS))
    np.testing.assert_array_equal(loaded.predict(INPUTS), trainer.predict_proba(INPUTS) > 0.5)
    with pytest.raises(RuntimeError, match="Nothing was fitted yet"):
        loaded.history  # noqa: B018
    loaded.fit(INPUTS, TARGETS, warm_start=True)
    assert loaded.history.column("loss")[0] < trainer.history.column("loss")[0]


def test_a_file_of_another_network_or_of_something_else_is_refused(tmp_path):
    trainer = trainer_of(epochs=1, callbacks=[Checkpoint(tmp_path, every=4)])
    trainer.fit(INPUTS, TARGETS)
    trainer.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"another network. Expected Network\(\(5, 3, 1\).* Received Network\(\(5, 7"):
        trainer_of(Network((5, 3, 1))).load(tmp_path / "model.npz")
    with pytest.raises(ArchiveError, match="Expected model"):
        trainer_of().load(tmp_path / "checkpoint-00000004.npz")
    facts = read_archive(tmp_path / "model.npz", "model", 1).facts
    for wrong in ({"names": ["W1"]}, {"row": "5"}, {"names": None}):
        write_archive(tmp_path / "forged.npz", "model", 1, {}, facts | wrong)
        with pytest.raises(ArchiveError, match=r"is no fitted model\. Expected what save has written\. Received"):
            trainer_of().load(tmp_path / "forged.npz")
    with pytest.raises(RuntimeError, match="Nothing was fitted yet"):
        trainer_of().save(tmp_path / "nothing.npz")


class Says(Callback):
    """Says something as an epoch begins, and remembers nothing."""

    def on_epoch_begin(self, state):
        state.row["begun_after"] = np.int64(state.iteration)


def test_what_is_said_as_an_epoch_begins_is_logged_with_it_after_a_resume_too(tmp_path):
    def run(**resume):
        trainer = trainer_of(epochs=3, callbacks=[Says(), Checkpoint(tmp_path, every=6)])
        return trainer.fit(INPUTS, TARGETS, **resume)

    whole = run()
    assert whole.column("begun_after") == [0, 4, 8]
    assert [row["epoch"] for row in whole if "begun_after" in row] == [1, 2, 3]
    assert run(resume=tmp_path / "checkpoint-00000006.npz").rows == whole.rows


def test_a_column_that_is_spelled_nearly_right_is_an_error_with_the_name():
    history = trainer_of(epochs=1).fit(INPUTS, TARGETS)
    with pytest.raises(KeyError, match=r"Did you mean 'epoch_loss'\? Received 'epoch_los'"):
        history.column("epoch_los")
    assert history.column("difference") == history.column("validation_loss") == []


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("validation_data", r"validation=\(inputs, targets\)"),
        ("validation_split", "train_test_split"),
        ("epochs", r"Trainer\(…, epochs=\)"),
        ("verbose", "ProgressBar"),
        ("ckpt_path", "resume=checkpoint"),
        ("validatoin", "validation="),
        ("zzz", "one of inputs, targets, validation, metrics"),
    ],
)
def test_an_argument_of_another_library_gets_the_one_to_write_instead(name, written):
    with pytest.raises(TypeError, match=rf"fit takes no {name}. Expected .*{written}.* Received {name}=…") as caught:
        trainer_of().fit(INPUTS, TARGETS, **{name: 1})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "written"), [("max_epochs", "epochs="), ("lr", "Adam"), ("batchsize", "batch_size=")])
def test_so_does_an_argument_of_the_trainer(name, written):
    with pytest.raises(TypeError, match=rf"Trainer takes no {name}. Expected .*{written}"):
        trainer_of(**{name: 1})


@pytest.mark.parametrize(
    ("name", "written"), [("evaluate", "network.loss"), ("compile", "optimizer="), ("partial_fit", "warm_start=True")]
)
def test_a_method_of_another_library_gets_the_one_to_write_instead(name, written):
    with pytest.raises(AttributeError, match=rf"Trainer has no '{name}'. Expected .*{written}"):
        getattr(trainer_of(), name)
    assert not hasattr(trainer_of(), "anything_else")


def test_a_hook_of_another_library_is_refused_as_its_class_is_made():
    with pytest.raises(TypeError, match=r"Expected on_epoch_end\(self, state\): .* Received on_epoch_end\(self, ep"):

        class OfKeras(Callback):
            def on_epoch_end(self, epoch, logs):
                """Look at the logs."""


def test_a_plain_function_gets_the_class_to_write():
    with pytest.raises(TypeError, match=r"trainer.Callback, a class with a hook such as on_epoch_end\(self, state\)"):
        trainer_of(callbacks=[lambda epoch, logs: None])
