"""The report: one line for a log, one screen for a person, plain data for a file."""

import dataclasses
import json
import math

import numpy as np
import pytest

from checks import GradientReport, TensorReport, Verdict, check_gradients, relative_difference
from checks.verdict import Cause


def reports(case):
    """Give reports of every kind, by name."""
    network = case((13, 7, 5, 1), n_rows=33, l2=1e-3, positive_weight=3.0)
    right = network.gradients(network.parameters)
    rng = np.random.default_rng(0)
    draws = np.random.default_rng(1)
    nan = {name: np.full_like(value, np.nan) for name, value in right.items()}
    noisy = {name: value * rng.uniform(0.5, 2.0, value.shape) for name, value in right.items()}
    doubled = {name: 2.0 * value for name, value in right.items()}
    zeros = {name: np.zeros_like(value) for name, value in network.parameters.items()}
    terms = {name: (network.loss, lambda p: doubled) for name in ("class 0", "class 1", "l2")}

    def random_loss(p):
        return network.loss(p) * (1.0 + 0.1 * draws.standard_normal())

    made = {}
    for coverage in ("full", "directions"):
        for derivative in ("central", "complex"):
            options = {"coverage": coverage, "derivative": derivative}
            for kind, loss, gradients, point in (
                ("right", network.loss, right, network.parameters),
                ("refusing", network.refusing, right, network.parameters),
                ("doubled", network.loss, doubled, network.parameters),
                ("noisy", network.refusing, noisy, network.parameters),
                ("nan gradient", network.loss, nan, network.parameters),
                ("nan loss", lambda p: math.nan, right, network.parameters),
                ("random", random_loss, right, network.parameters),
                ("all zero", network.loss, network.gradients, zeros),
            ):
                made[kind, coverage, derivative] = check_gradients(loss, gradients, point, **options)
            made["terms", coverage, derivative] = check_gradients(
                network.loss, doubled, network.parameters, terms=terms, **options
            )
    return made


@pytest.fixture(scope="module")
def made(case):
    return reports(case)


def test_the_summary_is_one_line(made):
    for key, report in made.items():
        summary = report.summary()
        assert "\n" not in summary, key
        assert report.verdict.value in summary
        assert f"{report.n_parameters} parameters" in summary


def test_the_report_fits_one_screen(made):
    for key, report in made.items():
        lines = str(report).splitlines()
        assert len(lines) <= 40, (key, str(report))
        assert max(map(len, lines)) <= 120, (key, max(lines, key=len))


def test_every_tensor_has_its_row_with_the_verdict(made):
    for key, report in made.items():
        lines = str(report).splitlines()
        for tensor in report.tensors.values():
            assert any(line.split()[:2] == [tensor.name, tensor.verdict.value] for line in lines), key


def test_the_dict_is_json_and_says_what_the_report_says(made):
    for report in made.values():
        data = json.loads(json.dumps(report.to_dict()))
        assert data["verdict"] == report.verdict.value
        assert data["cause"] == report.cause.value
        assert data["evaluations"] == report.evaluations
        assert list(data["tensors"]) == list(report.tensors)
        assert data["culprits"] == [tensor.name for tensor in report.culprits]
        for name, tensor in report.tensors.items():
            assert data["tensors"][name]["shape"] == list(tensor.shape)
            assert data["tensors"][name]["worst_index"] == list(tensor.worst_index)
        assert ("terms" in data) == bool(report.terms)


def test_every_verdict_but_pass_comes_with_evidence(made):
    for key, report in made.items():
        for tensor in report.tensors.values():
            assert tensor.verdict is Verdict.PASS or tensor.evidence, key


def test_a_pass_never_shows_a_difference_above_its_threshold(made):
    for key, report in made.items():
        if report.verdict is Verdict.PASS:
            assert report.difference <= report.threshold, key
            assert "<= threshold" in str(report)


def test_a_loss_that_is_nan_blames_no_tensor(made):
    text = str(made["nan loss", "full", "central"])
    assert "the loss itself is nan" in text
    assert "Look here first" not in text
    assert "> threshold" not in text  # nan is not larger than anything


def test_without_complex_step_the_report_says_why(made):
    for kind in ("refusing", "noisy"):
        text = " ".join(str(made[kind, "directions", "complex"]).split())
        assert "Note: no complex step: " in text
    assert "Note" not in str(made["right", "directions", "complex"])


@pytest.mark.parametrize(
    ("gradient", "gradapprox", "expected"),
    [
        (3.0, 3.0, 0.0),
        (0.0, 0.0, 0.0),
        (np.zeros(5), np.zeros(5), 0.0),
        (1.0, -1.0, 1.0),
        (2.0, 1.0, 1.0 / 3.0),
        (np.array([3.0, 4.0]), np.array([0.0, 0.0]), 1.0),
        ({"a": np.array([3.0]), "b": 4.0}, {"b": 4.0, "a": np.array([3.0])}, 0.0),
        ([np.ones((5, 3)), 2.0], [np.ones((5, 3)), 2.0], 0.0),
    ],
)
def test_the_relative_difference_is_the_classic_number(gradient, gradapprox, expected):
    assert relative_difference(gradient, gradapprox) == pytest.approx(expected)


def test_the_relative_difference_of_nan_is_nan_and_fails_every_comparison():
    difference = relative_difference(np.array([1.0, np.nan]), np.array([1.0, 1.0]))
    assert math.isnan(difference)


def test_the_difference_matches_the_classic_formula(case):
    network = case()
    wrong = network.gradients(network.parameters)
    wrong["W1"] *= 1.5
    report = check_gradients(network.loss, wrong, network.parameters, derivative="complex")
    left, right = (
        np.concatenate([value.ravel() for value in part.values()])
        for part in (wrong, network.gradients(network.parameters))
    )
    expected = np.linalg.norm(left - right) / (np.linalg.norm(left) + np.linalg.norm(right))
    assert report.difference == pytest.approx(expected, rel=1e-6)
    assert report.tensors["W1"].difference == pytest.approx(0.5 / 2.5, rel=1e-6)


def tensor(name, verdict, cause=Cause.AGREES, **values):
    fields = {"difference": 0.0, "gradient_norm": 1.0, "worst_index": (0,), "gradient": 1.0, "numerical": 1.0}
    return TensorReport(name=name, shape=(3,), verdict=verdict, cause=cause, **(fields | values))


def report(*tensors):
    own = {one.name: one for one in tensors}
    return GradientReport(0.0, 0.0, 1e-7, own, "full", "central", 0.5, 1e-5, 3, 0.1)


def test_the_verdict_is_that_of_the_worst_tensor_or_term():
    right = tensor("a", Verdict.PASS)
    open_ = tensor("b", Verdict.UNDECIDED, Cause.KINK)
    wrong = tensor("c", Verdict.FAIL, Cause.WRONG)
    assert report(right).verdict is Verdict.PASS
    assert (report(right, open_).verdict, report(right, open_).cause) == (Verdict.UNDECIDED, Cause.KINK)
    assert (report(right, open_, wrong).verdict, report(right, open_, wrong).cause) == (Verdict.FAIL, Cause.WRONG)
    by_term = dataclasses.replace(report(right), terms={"l2": report(open_, wrong)})
    assert (by_term.verdict, by_term.cause) == (Verdict.FAIL, Cause.WRONG)
    assert [one.name for one in by_term.culprits] == ["c"]


@pytest.mark.parametrize(
    ("gradient", "numerical", "ratio"),
    [(4.0, 2.0, 2.0), (-3.0, 3.0, -1.0), (1.0, 0.0, math.inf), (-1.0, 0.0, -math.inf)],
)
def test_the_ratio_is_gradient_over_numerical(gradient, numerical, ratio):
    assert tensor("a", Verdict.FAIL, gradient=gradient, numerical=numerical).ratio == ratio


def test_the_ratio_of_zero_and_zero_is_nan():
    assert math.isnan(tensor("a", Verdict.FAIL, gradient=0.0, numerical=0.0).ratio)


def test_a_full_check_keeps_both_gradients_whole_in_the_shape_of_their_tensor(case):
    network = case((7, 5, 3, 1), n_rows=11)
    right = network.gradients(network.parameters)
    report = check_gradients(network.loss, right | {"W2": 2.0 * right["W2"]}, network.parameters)
    for name, tensor in report.tensors.items():
        assert tensor.entries.gradient.shape == tensor.entries.numerical.shape == right[name].shape
        np.testing.assert_allclose(tensor.entries.numerical, right[name], rtol=1e-6, atol=1e-10)
    np.testing.assert_array_equal(report.tensors["W2"].entries.gradient, 2.0 * right["W2"])
