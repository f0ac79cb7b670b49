"""The proof: it says what the reports said, adds up what several directions show, and claims nothing else."""

import json
import math

import numpy as np
import pytest

from checks import GradientCheck, check_gradients
from checks.proof import Exercised, Proof
from experiments.bugs import plant
from trainer import Network, Trainer


def run(check, epochs=3, network=None, callbacks=(), **options):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((90, 7))
    targets = (np.arange(90) % 5 == 0).astype(float)
    network = network or Network((7, 5, 3, 1), activation="tanh", l2=1e-2, **options)
    seen = []

    class Watched(GradientCheck):
        def on_gradients_computed(self, state):
            before = self.report
            super().on_gradients_computed(state)
            if self.report is not before:
                seen.append((state.iteration, self.report))

    check.__class__ = Watched
    trainer = Trainer(network, callbacks=[*callbacks, check], batch_size=16, epochs=epochs, seed=0)
    trainer.fit(inputs, targets)
    return trainer, seen


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_the_numbers_of_the_paragraph_are_those_of_the_reports(coverage):
    check = GradientCheck(every=5, rows=20, coverage=coverage)
    trainer, seen = run(check)
    proof, text = check.proof, str(check.proof)
    largest = max((t.difference, iteration, t.name) for iteration, r in seen for t in r.tensors.values())
    assert [iteration for iteration, _ in seen] == proof.iterations == [5, 10, 15]
    assert proof.largest[:2] == largest[:2]  # tensors may tie
    assert f"{largest[0]:.1e} (in {proof.largest[2]} at iteration {largest[1]})" in text
    assert "compared 3 times, at iteration" in text.replace("iterations", "iteration")
    assert "all 62 parameters" in text
    assert "3 of 3 checks passed" in text
    assert f"{len(proof.positive_rows)} of the 18 with fraud" in text
    assert f"{len(proof.rows)} rows" in text
    assert 20 <= len(proof.rows) <= 60
    assert trainer.history.rows[-1]["proof"] == text
    for name, size in proof.excluded_errors().items():
        assert f"{name} {size:.1e}" in text


def test_full_checks_exclude_what_the_weakest_of_them_excludes():
    check = GradientCheck(every=5)
    _, seen = run(check)
    for name, size in check.proof.excluded_errors().items():
        assert size == max(report.tensors[name].excluded for _, report in seen)


def test_evidence_of_many_directions_shrinks_the_excluded_error():
    sizes = {}
    for epochs in (1, 5):
        check = GradientCheck(every=1, coverage="directions")
        run(check, epochs=epochs)
        sizes[epochs] = check.proof.excluded_errors()
    assert all(sizes[5][name] < 0.2 * sizes[1][name] or sizes[5][name] < 1e-12 for name in sizes[1])


def report_of(excluded):
    """Give a report of one tensor that excludes an error of this size along one direction."""
    from checks import Cause, GradientReport, TensorReport, Verdict

    one = TensorReport("W", (5, 3), Verdict.PASS, Cause.AGREES, 0.0, 1.0, (), 1.0, 1.0, excluded=excluded)
    return GradientReport(0.0, 0.0, 1e-7, {"W": one}, "directions", "complex", 0.5, 1e-5, 1, 0.0)


@pytest.mark.parametrize("checks", [1, 2, 10, 50])
def test_what_several_directions_exclude_is_wrong_in_one_run_of_a_hundred(checks):
    # Simulated: an error of norm 1 is really there. A run excludes too much where its statement is below 1.
    from checks.power import excluded_error

    rng = np.random.default_rng(0)
    trials = 1_500
    wrong = 0
    for _ in range(trials):
        proof = Proof(coverage="directions")
        for reading in np.abs(rng.standard_normal(checks)):
            proof.add(1, report_of(excluded_error(reading, 1.0)), Exercised([0], [0], 1, 1))
        wrong += proof.excluded_errors()["W"] < 1.0
    assert wrong / trials <= 0.01 + 4.0 * math.sqrt(0.01 * 0.99 / trials)
    assert checks == 1 or wrong > 0  # and is not far too careful


def test_a_run_without_checks_says_so():
    check = GradientCheck(every=1_000)
    run(check)
    assert str(check.proof) == "No gradient check was run, so nothing is shown about the back-propagation of this run."
    assert check.proof.to_dict()["checks"] == 0
    assert str(Proof()) == str(check.proof)


@pytest.mark.parametrize(
    ("rate", "mode", "claim", "no_claim"),
    [
        (0.3, "off", "own backward was not checked", "checked too"),
        (0.3, "frozen", "dropout's own backward was checked too", "not checked"),
        (0.0, "frozen", "", "dropout's own backward"),
        (0.0, "off", "", "dropout's own backward"),
    ],
)
def test_nothing_is_claimed_about_dropout_that_was_not_checked(rate, mode, claim, no_claim):
    check = GradientCheck(every=6, dropout=mode)
    run(check, dropout=rate)
    assert claim in str(check.proof)
    assert no_claim not in str(check.proof)


def test_terms_are_named_only_if_they_were_checked():
    for terms in (False, True):
        check = GradientCheck(every=6, terms=terms)
        run(check)
        assert ("The terms legitimate rows, fraud rows, l2 of the loss were checked apart" in str(check.proof)) is terms
        assert check.proof.to_dict()["terms"] == (["legitimate rows", "fraud rows", "l2"] if terms else [])


def test_hidden_units_are_not_spoken_of_where_there_are_none():
    check = GradientCheck(every=6)
    run(check, network=Network((7, 1)))
    assert "hidden units" not in str(check.proof)
    check = GradientCheck(every=6)
    run(check)
    assert "100% of the hidden units" in str(check.proof)


def test_a_failure_is_the_first_thing_said():
    mistaken, switch = plant(Network((7, 5, 3, 1), activation="tanh"), "weight-doubled", layer=2)
    check = GradientCheck(every=4, on_failure="log")
    run(check, network=mistaken, callbacks=[switch])
    text = str(check.proof)
    assert "It is WRONG: at iteration 4 the check failed at W2. W2: backprop is 2.000 ×" in text
    assert "it is right" not in text
    assert len(check.proof.to_dict()["failures"]) == 4
    assert "W2" not in check.proof.excluded_errors()


def test_what_was_left_undecided_is_listed_with_its_cause_and_excludes_nothing():
    point = {"W1": np.zeros((5, 3)), "b1": np.ones(5)}
    report = check_gradients(lambda p: (p["b1"] ** 3).sum(), lambda p: p | {"b1": 3.0 * p["b1"] ** 2}, point)
    proof = Proof(threshold=1e-7)
    for iteration in (3, 6):
        proof.add(iteration, report, Exercised([0, 1], [1], 2, 4))
    assert "Left UNDECIDED: W1: not exercised (2 ×)" in str(proof)
    assert "0 of 2 checks passed" in str(proof)
    assert "it is right" not in str(proof)
    assert list(proof.excluded_errors()) == ["b1"]
    assert proof.active_share == 0.5


def test_a_difference_that_was_not_measured_does_not_become_the_largest():
    measured = check_gradients(lambda x: (x**3).sum(), lambda x: 3.0 * x**2, np.arange(1.0, 6.0))
    failed = check_gradients(lambda x: (x**3).sum(), np.full(5, np.nan), np.arange(1.0, 6.0))
    for order in ([measured, failed], [failed, measured]):
        proof = Proof(threshold=1e-7)
        for iteration, report in enumerate(order, start=1):
            proof.add(iteration, report, Exercised([0], [0], 1, 1))
        assert proof.largest[0] == measured.difference
        assert "nan" not in str(proof).split("relative difference")[1][:30]
        assert "It is WRONG" in str(proof)


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_the_dict_is_json_and_holds_the_paragraph(coverage):
    check = GradientCheck(every=5, coverage=coverage, terms=True)
    run(check)
    data = json.loads(json.dumps(check.proof.to_dict()))
    assert data["paragraph"] == str(check.proof)
    assert data["iterations"] == [5, 10, 15]
    assert data["passed"] == data["checks"] == 3
    assert data["confidence"] == (1.0 if coverage == "full" else 0.99)
    assert data["largest_difference"]["difference"] == check.proof.largest[0]
    assert set(data["excluded"]) == {"W1", "b1", "W2", "b2", "W3", "b3"}
    assert data["seconds"] > 0.0


def test_the_training_precision_is_stated_for_a_float32_run():
    rng = np.random.default_rng(0)
    check = GradientCheck(every=2)
    trainer = Trainer(Network((7, 5, 3, 1)), callbacks=[check], batch_size=16, epochs=1, dtype="float32")
    trainer.fit(rng.standard_normal((50, 7)), np.arange(50) % 2)
    assert 1e-9 < check.proof.precision < 1e-4
    assert f"within {check.proof.precision:.1e} of the float64 one" in str(check.proof)
