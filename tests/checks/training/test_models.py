"""Both questions, the kept case and its replay, for models of others: rows of any shape, targets of any kind."""

import re
from pathlib import Path

import numpy as np
import pytest

from checks import Cause, GradientCheck, GradientCheckError, Verdict
from checks.training.rows import Sampler, classes_of
from checks.training.violation_file import read_violation
from experiments.replay.main import main as replay
from experiments.report.page import page
from experiments.runs.record import Record
from trainer import SGD, Trainer

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(255, size=(40, 3, 2)).astype(np.uint8)
NUMBERS = RNG.standard_normal((40, 2))
CLASSES = np.arange(40) % 7


class Brightness:
    """Two numbers from each image, by least squares; images are small integers."""

    rate = 0.0

    def initial_parameters(self, rng, dtype):
        return {"K": rng.standard_normal((3, 2, 2)), "c": np.zeros(2)}

    def errors(self, parameters, images, numbers, rng):
        kept = images / 255 if rng is None or not self.rate else images / 255 * (rng.random(images.shape) >= self.rate)
        return kept, np.einsum("nij,ijk->nk", kept, parameters["K"]) + parameters["c"] - numbers

    def loss(self, parameters, images, numbers, rng=None):
        assert images.dtype == np.uint8
        return (self.errors(parameters, images, numbers, rng)[1] ** 2).sum() / len(images)

    def loss_and_gradients(self, parameters, images, numbers, rng=None):
        kept, errors = self.errors(parameters, images, numbers, rng)
        flow = 2 * errors / len(images)
        loss = (errors**2).sum() / len(images)
        return loss, {"K": np.einsum("nij,nk->ijk", kept, flow), "c": flow.sum(axis=0)}


class Dropping(Brightness):
    """Pixels are dropped in training."""

    rate = 0.3


class Fixed(Brightness):
    """The last batch is divided by the size of all others."""

    def loss_and_gradients(self, parameters, images, numbers, rng=None):
        loss, gradients = super().loss_and_gradients(parameters, images, numbers, rng)
        return loss, {name: value * len(images) / 12 for name, value in gradients.items()}


class Twice(Brightness):
    """The kernel's gradient is twice what it should be."""

    def loss_and_gradients(self, parameters, images, numbers, rng=None):
        loss, gradients = super().loss_and_gradients(parameters, images, numbers, rng)
        return loss, gradients | {"K": 2 * gradients["K"]}


def run(model, targets=NUMBERS, dtype="float64", **options):
    check = GradientCheck(**{"every": 2, "rows": 13} | options)
    trainer = Trainer(model, optimizer=SGD(0.01), epochs=2, batch_size=12, dtype=dtype, callbacks=[check])
    trainer.fit(IMAGES, targets)
    return trainer, check


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("terms", [False, True])
def test_a_right_model_passes_both_questions(dtype, coverage, terms):
    check = run(Brightness(), dtype=dtype, coverage=coverage, terms=terms)[1]
    proof = check.proof
    assert (proof.passed, proof.applied.passed) == (4, 5)
    assert (proof.failed, proof.applied.failed, proof.undecided) == (0, 0, [])
    assert f"Exercised were {len(proof.rows)} rows. " in str(proof)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_with_the_check_and_without_gives_the_same_bits(dtype):
    checked = run(Dropping(), dtype=dtype)[0]
    bare = Trainer(Dropping(), optimizer=SGD(0.01), epochs=2, batch_size=12, dtype=dtype)
    bare.fit(IMAGES, NUMBERS)
    assert checked.parameters.vector.tobytes() == bare.parameters.vector.tobytes()


def test_masks_are_replayed_and_the_proof_says_so_only_of_a_model_that_draws_some():
    assert "and with its dropout masks" in str(run(Dropping())[1].proof)
    assert run(Dropping(), dropout="frozen")[1].proof.dropout == "frozen"
    plain = run(Brightness())[1].proof
    assert plain.dropout == "none"
    assert "dropout" not in str(plain)


def test_a_batch_that_is_wrong_for_its_size_is_found_by_the_second_question():
    with pytest.raises(GradientCheckError) as caught:
        run(Fixed(), rows=12)
    assert caught.value.iteration == 4  # the ragged last batch of the first epoch
    assert caught.value.report.applied.cause is Cause.WRONG_ON_BATCH


def test_the_case_that_failed_is_kept_and_replayed_against_a_fix(tmp_path, monkeypatch, capsys):
    with pytest.raises(GradientCheckError) as caught:
        run(Twice(), violations=tmp_path)
    case = read_violation(caught.value.violation)
    assert (case.inputs.dtype, case.inputs.shape, case.targets.shape) == (np.uint8, (13, 3, 2), (13, 2))
    assert case.step["inputs"].dtype == np.uint8
    again = case.check(Twice(), is_recorded=True)
    assert (again.verdict, again.applied.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert case.check(Brightness(), is_recorded=False).verdict is Verdict.PASS
    (tmp_path / "fixes.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert replay([str(caught.value.violation)]) == 0
    assert "no class is imported because a file names it" in " ".join(capsys.readouterr().out.split())
    assert replay([str(caught.value.violation), "--against", "fixes:Brightness"]) == 0
    assert "Right on the case that failed" in capsys.readouterr().out
    assert replay([str(caught.value.violation), "--against", "fixes:Twice"]) == 1


def test_a_page_is_made_of_its_run():
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    trainer, check = run(Twice(), on_failure="log")
    record = Record.of({}, trainer.history, proof=str(check.proof), report=check.report, outcome=trainer.outcome)
    text = " ".join(re.sub(r"<[^>]+>", " ", page(record)).split())
    assert "K: backprop is 2.000 × the numerical gradient in all 12 entries" in text
    assert "fraud" not in text


@pytest.mark.parametrize(
    ("targets", "labels"),
    [
        (np.array([3, 1, 2, 1]), [1, 2, 3]),
        (np.array([0.0, 1.0, 1.0]), [0, 1]),
        (np.array([True, False]), [0, 1]),
        (np.array([-1, 1, 1]), [-1, 1]),
        (np.array([0.5, 1.0]), []),
        (np.arange(30), []),
        (np.repeat(np.arange(30), 1_000), []),
        (np.eye(3), []),
        (np.r_[np.zeros(2_000), 7], [0, 7]),
    ],
)
def test_few_whole_numbers_are_classes_and_anything_else_is_none(targets, labels):
    assert classes_of(targets) == labels


@pytest.mark.parametrize("rows", [7, 8, 13, 40, 64])
def test_every_class_is_drawn_however_rare_it_is(rows):
    rng = np.random.default_rng(0)
    targets = rng.permutation(np.repeat([4, 0, 2, 9, 5, 6, 8], [1, 2, 5, 30, 100, 400, 3_000]))
    sampler = Sampler(targets, rows)
    assert (sampler.n_classes, sampler.n_positive) == (7, 0)
    for _ in range(20):
        index = sampler.draw(rng)
        assert len(set(index.tolist())) == len(index) == rows
        assert set(targets[index]) == set(targets)
    assert np.mean(targets[index] == 8) >= min(0.5, (rows - 6) / rows)


def test_numbers_are_drawn_at_random_each_row_with_the_same_chance():
    sampler, rng = Sampler(NUMBERS, 8), np.random.default_rng(0)
    counts = np.zeros(40)
    for _ in range(2_000):
        index = sampler.draw(rng)
        assert len(set(index.tolist())) == 8
        counts[index] += 1
    np.testing.assert_allclose(counts, 400, rtol=0.25)
    assert sampler.n_classes == 1


def test_a_class_is_a_term_of_its_own_and_the_proof_counts_the_classes():
    class Means(Brightness):
        """A number an image, of which there are seven."""

        def errors(self, parameters, images, numbers, rng):
            return super().errors(parameters, images, np.stack([numbers, 0 * numbers], axis=1), rng)

    check = run(Means(), CLASSES, rows=21, terms=True)[1]
    assert check.proof.terms == [f"class {label}" for label in range(7)]
    assert "rows, of each of the 7 classes." in str(check.proof)


def test_a_loss_that_is_none_of_a_single_row_gets_its_verdict_all_the_same():
    class Spread(Brightness):
        """The variance of the errors: of one row there is none."""

        def errors(self, parameters, images, numbers, rng):
            if len(images) < 2:
                raise ValueError("one row has no spread")
            return super().errors(parameters, images, numbers, rng)

        def loss_and_gradients(self, parameters, images, numbers, rng=None):
            loss, gradients = super().loss_and_gradients(parameters, images, numbers, rng)
            return loss, gradients | {"c": gradients["c"] * [1.0, 0.7] + [0.1, 0.0]}

    with pytest.raises(GradientCheckError) as caught:
        run(Spread(), on_failure="raise")
    assert [tensor.name for tensor in caught.value.report.culprits] == ["c"]
