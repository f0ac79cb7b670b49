"""A model is whatever has three methods: trained, resumed and predicted with, and refused in one line if it is none."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from checks import GradientCheck
from trainer import SGD, Adam, Checkpoint, Model, Network, ResumeError, Trainer
from trainer.model import OPTIONAL, coordinate_losses_of, offered, takes_out

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((23, 3, 2))
TARGETS = RNG.standard_normal((23, 5))


class Tensor:
    """Least squares from matrices to vectors; it inherits nothing, and has no repr."""

    def __init__(self, start=0.1):
        self.start = start
        self.dtypes = set()

    def initial_parameters(self, rng, dtype):
        return {"W": self.start * rng.standard_normal((3, 2, 5)), "shift": 0.25, "b": np.zeros(5, int)}

    def errors(self, parameters, inputs, targets):
        return np.einsum("nij,ijk->nk", inputs, parameters["W"]) + parameters["b"] * parameters["shift"] - targets

    def loss(self, parameters, inputs, targets, rng=None):
        self.dtypes |= {parameters["W"].dtype, inputs.dtype, targets.dtype}
        return (self.errors(parameters, inputs, targets) ** 2).mean()

    def loss_and_gradients(self, parameters, inputs, targets, rng=None):
        errors = self.errors(parameters, inputs, targets)
        flow = 2 * errors / errors.size
        gradients = {"b": flow.sum(axis=0) * parameters["shift"], "shift": np.sum(flow * parameters["b"])}
        return self.loss(parameters, inputs, targets), gradients | {"W": np.einsum("nij,nk->ijk", inputs, flow)}

    def predict(self, parameters, inputs):
        return self.errors(parameters, inputs, 0)


def fitted(model=None, **options):
    trainer = Trainer(model or Tensor(), **{"epochs": 3, "batch_size": 7, "optimizer": SGD(0.1)} | options)
    trainer.fit(INPUTS, TARGETS, (INPUTS, TARGETS), metrics={"error": lambda y, p: np.abs(y - p).max()})
    return trainer


def test_its_steps_are_those_of_a_loop_written_by_hand():
    trainer = fitted(epochs=1)
    model = Tensor()
    initial, order, _ = (np.random.default_rng(seed) for seed in np.random.SeedSequence(0).spawn(3))
    parameters = {name: np.array(value, float) for name, value in model.initial_parameters(initial, float).items()}
    for rows in np.array_split(order.permutation(23), [7, 14, 21]):
        gradients = model.loss_and_gradients(parameters, INPUTS[rows], TARGETS[rows])[1]
        parameters = {name: value - 0.1 * gradients[name] for name, value in parameters.items()}
    assert list(trainer.parameters) == ["W", "shift", "b"]
    for name, value in parameters.items():
        np.testing.assert_allclose(trainer.parameters[name], value, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_given_everything_in_the_precision_of_the_run(dtype):
    model = Tensor()
    fitted(model, dtype=dtype)
    assert model.dtypes == {np.dtype(dtype)}


def test_it_predicts_and_its_predictions_are_measured():
    trainer = fitted()
    predictions = trainer.predict(INPUTS)
    np.testing.assert_allclose(predictions, Tensor().errors(trainer.parameters, INPUTS, 0), rtol=1e-14)
    errors = np.abs(predictions - TARGETS).max()
    assert trainer.history.column("validation_error")[-1] == pytest.approx(errors, rel=1e-12)


@pytest.mark.parametrize("inputs", [INPUTS[:, :2], INPUTS[0], 3.0, np.full((2, 3, 2), np.nan), INPUTS[:0], "rows"])
def test_it_predicts_from_rows_like_those_it_was_trained_on_only(inputs):
    with pytest.raises(ValueError, match=r"Expected .* Received"):
        fitted(epochs=1).predict(inputs)


def test_what_it_cannot_do_is_said_by_name():
    with pytest.raises(TypeError, match=r"Expected it to have predict_proba\(parameters, inputs\). Received Tensor"):
        fitted(epochs=1).predict_proba(INPUTS)


def test_it_resumes_without_a_repr_and_is_told_from_others(tmp_path):
    def run(start, **resume):
        return fitted(Tensor(start), callbacks=[Checkpoint(tmp_path, every=5)], optimizer=Adam(), **resume)

    def resumed(start):
        trainer = Trainer(
            Tensor(start),
            epochs=3,
            batch_size=7,
            optimizer=Adam(),
            callbacks=[Checkpoint(tmp_path, every=5)],
        )
        trainer.fit(INPUTS, TARGETS, (INPUTS, TARGETS), resume=tmp_path / "checkpoint-00000005.npz")
        return trainer

    whole = run(0.1).parameters.vector.tobytes()
    assert resumed(0.1).parameters.vector.tobytes() == whole
    with pytest.raises(
        ResumeError, match=r"network differs. Expected Tensor\(start=0.1\). Received Tensor\(start=0.2\)"
    ):
        resumed(0.2)


class Bag:
    """A bag of numbered words, and the class it belongs to: an embedding, averaged. Integers stay what they are."""

    def __init__(self):
        self.seen = set()

    def initial_parameters(self, rng, dtype):
        return {"E": rng.standard_normal((11, 4)), "V": np.zeros((4, 3))}

    def loss(self, parameters, words, labels, rng=None):
        self.seen |= {words.dtype, labels.dtype}
        scores = parameters["E"][words].mean(axis=1) @ parameters["V"]
        scores = scores - scores.real.max(axis=1, keepdims=True)
        return np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels])

    def loss_and_gradients(self, parameters, words, labels, rng=None):
        meaning = parameters["E"][words].mean(axis=1)
        odds = np.exp(meaning @ parameters["V"])
        flow = odds / odds.sum(axis=1, keepdims=True)
        flow[np.arange(len(labels)), labels] -= 1
        flow /= len(labels)
        of_words = np.zeros_like(parameters["E"])
        np.add.at(of_words, words, (flow @ parameters["V"].T / words.shape[1])[:, None, :])
        return self.loss(parameters, words, labels), {"E": of_words, "V": meaning.T @ flow}


WORDS = RNG.integers(11, size=(40, 6)).astype(np.uint8)
LABELS = (WORDS[:, 0] // 4).astype(np.int16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("window", [None, 10])
def test_integers_stay_what_they_are(dtype, window):
    model = Bag()
    trainer = Trainer(model, optimizer=Adam(0.1), epochs=40, batch_size=7, dtype=dtype, shuffle_window=window)
    losses = trainer.fit(WORDS, LABELS).column("epoch_loss")
    assert losses[-1] < 0.8 * losses[0]
    assert model.seen == {np.dtype(np.uint8), np.dtype(np.int16)}


def test_a_memory_mapped_sequence_trains_the_same(tmp_path):
    np.save(tmp_path / "words.npy", WORDS)
    vectors = []
    for words in (WORDS, np.load(tmp_path / "words.npy", mmap_mode="r")):
        trainer = Trainer(Bag(), epochs=2, batch_size=7)
        trainer.fit(words, LABELS)
        vectors.append(trainer.parameters.vector.tobytes())
    assert vectors[0] == vectors[1]


def test_a_network_is_a_model_and_offers_what_may_be_offered():
    network: Model = Network((5, 1))
    assert takes_out(network)
    assert {name for name in OPTIONAL if offered(network, name) is None} == {"settings"}
    with pytest.raises(ValueError, match=r"A model is not asked for that. Expected one of predict, .* Received 'fly'"):
        offered(network, "fly")


class Half:
    """It has one method of three."""

    def loss(self, parameters, inputs, targets, rng=None):
        return 0.0


@pytest.mark.parametrize(
    ("model", "received"),
    [
        (Half(), r"which has no initial_parameters, loss_and_gradients\."),
        (Tensor, r"the class Tensor itself\."),
        (None, r"None, which has no initial_parameters, loss, loss_and_gradients\."),
        ("Network", "'Network', which has no"),
    ],
)
def test_what_is_no_model_is_refused_with_what_it_lacks(model, received):
    with pytest.raises(TypeError, match=rf"Invalid network. Expected a trainer.Model, .* Received .*{received}"):
        Trainer(model)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, TypeError),
        ([np.ones(3)], TypeError),
        ({1: np.ones(3)}, TypeError),
        ({"W": "text"}, ValueError),
        ({"W": np.array([1.0, np.nan])}, ValueError),
        ({"W": 1j * np.ones(3)}, ValueError),
    ],
)
def test_initial_parameters_that_are_none_are_refused(given, error):
    model = Tensor()
    model.initial_parameters = lambda rng, dtype: given
    with pytest.raises(error, match=r"The initial .* Expected .* Received"):
        fitted(model)


@pytest.mark.parametrize("answer", [None, (None, None), 0.5, {"W": 1}, (np.ones(3), {}), (1j, {})])
def test_what_is_no_loss_with_gradients_is_refused(answer):
    model = Tensor()
    model.loss_and_gradients = lambda parameters, inputs, targets, rng: answer
    with pytest.raises(TypeError, match=r"Expected a pair: the loss, a real number, and the gradients.* Received"):
        fitted(model)


def test_gradients_may_have_their_classic_names_and_others_beside_them():
    class Classic(Tensor):
        def loss_and_gradients(self, *given, out=None):
            loss, gradients = super().loss_and_gradients(*given[:4])
            return loss, {f"d{name}": value for name, value in gradients.items()} | {"dA": np.ones(3)}

    assert fitted(Classic()).parameters.vector.tobytes() == fitted().parameters.vector.tobytes()


@pytest.mark.parametrize("change", [lambda g: g.pop("b"), lambda g: g.update(db=0.0), lambda g: g.update(W=np.ones(5))])
def test_gradients_that_do_not_fit_are_refused_with_both_shapes(change):
    class Wrong(Tensor):
        def loss_and_gradients(self, *given):
            loss, gradients = super().loss_and_gradients(*given[:4])
            change(gradients)
            return loss, gradients

    with pytest.raises(ValueError, match=r"Expected .*'W': \(3, 2, 5\).* Received "):
        fitted(Wrong())


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (INPUTS, TARGETS[:-1], "Expected 23 targets. Received 22"),
        (INPUTS.astype(str), TARGETS, "inputs are not numeric"),
        (INPUTS, np.where(TARGETS > 2, np.inf, TARGETS), r"targets are not all finite. .* inf in row \d+, column \d"),
        (np.full((23, 3, 2), np.nan), TARGETS, "nan in row 0, column 0, 0"),
        (3.0, TARGETS, "inputs have no rows"),
        (INPUTS[:0], TARGETS[:0], "inputs are empty"),
    ],
)
def test_rows_that_are_none_are_refused(inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        Trainer(Tensor()).fit(inputs, targets)


@pytest.mark.parametrize("dropout", ["off", "frozen"])
def test_a_sweep_of_one_step_as_before_and_one_of_all_steps_serve_a_full_check_alike(dropout):
    calls = []

    class Before(Network):
        def coordinate_losses(self, parameters, inputs, targets, name, step, rng=None):
            calls.append(name)
            return super().coordinate_losses(parameters, inputs, targets, {name: step[None]}, rng)[name][0]

    inputs, targets = RNG.standard_normal((29, 7)), np.arange(29) % 2.0
    reports = []
    for kind in (Before, Network):
        check = GradientCheck(every=2, dropout=dropout)
        Trainer(kind((7, 5, 3, 1), dropout=0.4), epochs=1, batch_size=9, callbacks=[check]).fit(inputs, targets)
        reports.append(check.report)
        assert not check.report.notes
    assert set(calls) == {"W1", "b1", "W2", "b2", "W3", "b3"}
    assert reports[0].evaluations == reports[1].evaluations
    assert reports[0].difference == pytest.approx(reports[1].difference, abs=1e-9)


@dataclass  # which makes it no key of anything
class Losses:
    scale: float = 2.0

    def __call__(self, parameters, inputs, targets, name, step, rng=None):
        return self.scale * step


def test_losses_of_single_entries_may_be_an_object_that_has_no_hash():
    model = SimpleNamespace(coordinate_losses=Losses())
    steps = {"w": np.arange(10.0).reshape(2, 5), "b": np.arange(2.0).reshape(2, 1)}
    found = coordinate_losses_of(model)({}, None, None, steps)
    assert {name: losses.tolist() for name, losses in found.items()} == {
        n: (2.0 * s).tolist() for n, s in steps.items()
    }
