"""The diagnosis: a mistake is called by its name, in the words of a colleague, or said to have none."""

import numpy as np
import pytest

from checks import Verdict, check_gradients
from checks.explain.diagnosis import diagnose, partners
from checks.explain.entries import Suspect
from checks.explain.mistake import Hints, Kind, Mistake

WAYS = [("full", "central"), ("full", "complex"), ("directions", "central"), ("directions", "complex")]


def mistake_of(case, name, spoil, coverage="full", derivative="central", **options):
    """Spoil one tensor of a right gradient and give what the check calls it."""
    wrong = case.gradients(case.parameters)
    wrong[name] = np.asarray(spoil(wrong[name].copy()), dtype=float)
    report = check_gradients(
        case.loss,
        wrong,
        case.parameters,
        coverage=coverage,
        derivative=derivative,
        rng=np.random.default_rng(0),
        **options,
    )
    assert [tensor.name for tensor in report.culprits] == [name]
    return report.culprits[0].mistake


@pytest.fixture
def network(case):
    # W2 has shape (5, 3): odd, unequal, and no power of two.
    return case((7, 3, 5, 1), n_rows=33, activation="tanh", l2=1e-2, positive_weight=3.0)


@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
def test_the_exercises_bug_reads_like_a_colleague(network, coverage, derivative):
    mistake = mistake_of(network, "W2", lambda g: 2.0 * g, coverage, derivative)
    assert mistake.sentence == (
        "W2: backprop is 2.000 × the numerical gradient in all 15 entries. "
        "Scaled by 2: look at the line that computes dW2."
    )
    assert mistake.kind is Kind.SCALED
    assert mistake.factor == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
@pytest.mark.parametrize(
    ("name", "spoil", "kind", "words"),
    [
        ("W2", lambda g: 0.5 * g, Kind.SCALED, "Scaled by 0.5"),
        ("W2", lambda g: 33.0 * g, Kind.SCALED, "33.000 × the numerical gradient"),
        ("b1", lambda g: 4.0 * g, Kind.SCALED, "b1: backprop is 4.000 ×"),
        ("W2", lambda g: 1.01 * g, Kind.SCALED, "Scaled by 1.01"),
        ("W2", lambda g: -g, Kind.SIGN, "Wrong sign: look at the line that computes dW2"),
        ("W2", lambda g: 0.0 * g, Kind.NEVER_COMPUTED, "Never computed: look for the line that sets dW2"),
        ("W2", lambda g: g.T.reshape(g.shape), Kind.TRANSPOSED, "reshaped where dW2.T was meant"),
        ("W2", lambda g: np.roll(g, 1, axis=1), Kind.MISPLACED, "right numbers in the wrong places"),
        ("W2", lambda g: put(g, (3, 1), 1.01 * g[3, 1]), Kind.ONE_ENTRY, "W2[3, 1]: backprop is 1.01 ×"),
        ("W2", lambda g: put(g, (3, 1), 0.0), Kind.ONE_ENTRY, "the other 14 entries agree"),
        ("b2", lambda g: put(g, 4, 2.0 * g[4]), Kind.ONE_ENTRY, "b2[4]: backprop is 2 ×"),
        ("W2", lambda g: put(g, 3, 0.0), Kind.ONE_UNIT, "wrong in row 3 only and zero there (3 of 15 entries)"),
        ("W2", lambda g: put(g, (slice(None), 1), 7.0), Kind.ONE_UNIT, "wrong in column 1 only (5 of 15 entries)"),
        (
            "W2",
            lambda g: put(g, ([0, 2, 4], [0, 1, 2]), 7.0),
            Kind.SOME_ENTRIES,
            "wrong in 3 of 15 entries (first [0, 0], [2, 1], [4, 2])",
        ),
    ],
)
def test_each_signature_has_a_name(network, name, spoil, kind, words, coverage, derivative):
    mistake = mistake_of(network, name, spoil, coverage, derivative)
    assert mistake.kind is kind, mistake.sentence
    assert words in mistake.sentence


def put(array, index, value):
    array[index] = value
    return array


@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
@pytest.mark.parametrize(("times", "words"), [(-1.0, "W2 lacks? 0.01 ×"), (1.0, "has too much"), (-2.0, "lacks")])
def test_a_forgotten_or_doubled_regulariser_is_named_with_its_strength(network, times, words, coverage, derivative):
    strength, W2 = 1e-2, network.parameters["W2"]
    mistake = mistake_of(network, "W2", lambda g: g + times * strength * W2, coverage, derivative)
    assert mistake.kind is Kind.REGULARISER
    assert f"{abs(times) * strength:.4g} × W2" in mistake.sentence
    assert ("lacks" if times < 0 else "has too much") in mistake.sentence


def test_a_square_transposed_gradient_is_called_transposed(case):
    square = case((6, 5, 5, 1), n_rows=33, activation="tanh", l2=1e-2)
    strength, W2 = 1e-2, square.parameters["W2"]
    assert mistake_of(square, "W2", lambda g: g.T).kind is Kind.TRANSPOSED
    data_only = mistake_of(square, "W2", lambda g: (g - strength * W2).T + strength * W2)
    assert data_only.kind is Kind.TRANSPOSED
    assert "W2: backprop is transposed" in data_only.sentence


def test_a_scaled_data_term_beside_a_right_regulariser_is_called_scaled(network):
    strength, W2 = 1e-2, network.parameters["W2"]
    mistake = mistake_of(network, "W2", lambda g: 33.0 * (g - strength * W2) + strength * W2)
    assert mistake.kind is Kind.SCALED
    assert mistake.factor == pytest.approx(33.0, rel=1e-4)
    assert "without the regulariser" in mistake.sentence


@pytest.mark.parametrize(
    ("factor", "words"), [(33.0, "Scaled by 33, the number of rows"), (1 / 33.0, "Scaled by 1 / 33")]
)
def test_a_factor_with_a_name_is_called_by_it(network, factor, words):
    hints = Hints({33.0: "33, the number of rows"})
    assert words in mistake_of(network, "W2", lambda g: factor * g, hints=hints).sentence


def test_no_signature_is_said_as_such(network):
    rng = np.random.default_rng(1)
    mistake = mistake_of(network, "W2", lambda g: g * rng.uniform(0.2, 3.0, g.shape))
    assert mistake.kind is Kind.LINE
    assert mistake.sentence == (
        "W2 is wrong by no signature known here: look at the line that computes dW2."
    )  # fmt: skip


def test_a_layer_whose_tensors_are_wrong_together_points_to_what_flows_in(network):
    wrong = network.gradients(network.parameters)
    rng = np.random.default_rng(0)
    for name in ("W1", "b1"):
        wrong[name] *= rng.uniform(0.2, 3.0, wrong[name].shape)
    report = check_gradients(network.loss, wrong, network.parameters)
    assert [tensor.name for tensor in report.culprits] == ["b1", "W1"]
    assert {tensor.mistake.kind for tensor in report.culprits} == {Kind.FLOW}
    assert "look at what flows into both, dZ1" in report.culprits[0].mistake.sentence


def test_the_first_culprit_is_the_first_in_the_order_of_backprop(network):
    for order in (list(network.parameters), list(reversed(network.parameters))):
        point = {name: network.parameters[name] for name in order}
        wrong = {name: 2.0 * value for name, value in network.gradients(point).items()}
        for coverage, derivative in WAYS:
            report = check_gradients(network.loss, wrong, point, coverage=coverage, derivative=derivative)
            assert [tensor.name for tensor in report.culprits] == order[::-1]
            assert f"Look here first: {order[-1]}" in str(report)
            assert f"Also wrong: {', '.join(order[-2::-1])}" in " ".join(str(report).split())


def test_a_single_number_is_called_scaled_only_by_a_factor_that_somebody_would_write_down():
    def check(factor):
        return check_gradients(lambda x: x * x * x, lambda x: factor * 3.0 * x * x, 2.0).culprits[0].mistake

    assert check(2.0).kind is Kind.SCALED
    assert check(0.25).kind is Kind.SCALED
    assert check(-1.0).kind is Kind.SIGN
    assert check(0.0).kind is Kind.NEVER_COMPUTED
    assert check(1.2345).kind is Kind.LINE
    assert "entries" not in check(2.0).sentence


def test_a_gradient_with_nan_is_called_not_finite():
    gradient = np.ones((5, 3))
    gradient[2, 1] = np.nan
    report = check_gradients(lambda x: x.sum(), gradient, np.ones((5, 3)))
    assert report.culprits[0].mistake.kind is Kind.NOT_FINITE
    assert "NaN or infinity in 1 entries" in report.culprits[0].mistake.sentence


def test_partners_share_the_number_at_the_end():
    names = ["W1", "b1", "W2", "b2", "W12", "b12", "scale"]
    assert partners("W2", names) == ["b2"]
    assert partners("b12", names) == ["W12"]
    assert partners("scale", names) == []


def test_the_rows_are_asked_only_where_no_signature_matched():
    rng = np.random.default_rng(0)
    numerical = rng.standard_normal(5)
    asked = []

    def explain(names):
        asked.append(names)
        return Mistake(Kind.CLASS, "the class weight")

    def measured(gradient):
        return Suspect(gradient, numerical, np.full(5, 1e-12), np.zeros(5, bool), "b2", rng.standard_normal(5))

    hints = Hints(explain=explain)
    assert diagnose([measured(2.0 * numerical)], 1e-7, hints)["b2"].kind is Kind.SCALED
    assert asked == []
    assert diagnose([measured(numerical + rng.standard_normal(5))], 1e-7, hints)["b2"].kind is Kind.CLASS
    assert asked == [["b2"]]


def test_a_pass_has_no_mistake(network):
    report = check_gradients(network.loss, network.gradients, network.parameters)
    assert report.verdict is Verdict.PASS
    assert all(tensor.mistake is None for tensor in report.tensors.values())
