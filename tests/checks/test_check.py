"""The front door: whatever structure comes in, options out of range, and nothing of the caller's is touched."""

import itertools
import json
import math
import pickle

import numpy as np
import pytest

from checks import Cause, GradientCheckError, Verdict, assert_gradients, check_gradients
from checks.judge.outcome import not_finite
from checks.measure.objective import Objective

RANDOM = np.random.default_rng(0)


def read_only(array):
    array.flags.writeable = False
    return array


STRUCTURES = {
    "python float": 3.0,
    "python int": 3,
    "numpy scalar": np.float64(1.5),
    "0-d array": np.array(1.5),
    "vector": RANDOM.standard_normal(7),
    "matrix": RANDOM.standard_normal((5, 3)),
    "three axes": RANDOM.standard_normal((5, 3, 2)),
    "not contiguous": RANDOM.standard_normal((5, 6)).T[::2],
    "integers": np.arange(-3, 4),
    "booleans": np.array([True, False, True]),
    "float32": RANDOM.standard_normal((5, 3)).astype(np.float32),
    "read-only": read_only(RANDOM.standard_normal((5, 3))),
    "dict": {"W1": RANDOM.standard_normal((5, 7)), "b1": RANDOM.standard_normal(5), "scale": 2.0},
    "dict with keys that are no text": {0: RANDOM.standard_normal(5), (1, 2): np.array([1.0, 2.0, 3.0])},
    "list of arrays": [RANDOM.standard_normal((5, 3)), RANDOM.standard_normal(7), 2.0],
    "tuple of arrays": (RANDOM.standard_normal((5, 3)), RANDOM.standard_normal(7)),
    "list of numbers": [1.0, 2.0, 3.0],
    "list of lists": [[1.0, 2.0, 3.0], [4.0, 5.0]],
}


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("derivative", ["central", "complex"])
@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_right_gradient_of_any_structure_passes_and_a_doubled_one_fails(cubes, kind, coverage, derivative):
    loss, gradients = cubes
    options = {"coverage": coverage, "derivative": derivative}
    right = check_gradients(loss, gradients, STRUCTURES[kind], **options, rng=np.random.default_rng(1))
    wrong = check_gradients(
        loss, lambda part: gradients(part, 2.0), STRUCTURES[kind], **options, rng=np.random.default_rng(1)
    )
    assert right.verdict is Verdict.PASS, right
    assert right.difference <= 1e-7
    assert wrong.verdict is Verdict.FAIL, wrong
    assert wrong.culprits[0].ratio == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_nothing_the_caller_owns_is_modified_even_if_every_function_writes_into_what_it_gets(coverage):
    parameters = {"a": np.arange(1.0, 6.0), "n": np.arange(1, 4)}
    before = {name: value.copy() for name, value in parameters.items()}

    def loss(given):
        value = (given["a"] ** 3).sum() + (given["n"] ** 2).sum()
        for array in given.values():
            array[...] = 77
        return value

    def gradients(given):
        answer = {"a": 3.0 * given["a"] ** 2, "n": 2.0 * given["n"]}
        for array in given.values():
            array[...] = 55
        return answer

    def only_a(given):
        return {"a": gradients(given)["a"]}

    def loss_a(given):
        value = (given["a"] ** 3).sum()
        for array in given.values():
            array[...] = 33
        return value

    report = check_gradients(loss, gradients, parameters, coverage=coverage, terms={"a alone": (loss_a, only_a)})
    assert report.verdict is Verdict.PASS
    assert report.terms["a alone"].verdict is Verdict.PASS
    for name, value in before.items():
        np.testing.assert_array_equal(parameters[name], value)
        assert parameters[name].dtype == value.dtype


def test_a_loss_that_keeps_what_it_was_given_does_not_disturb_the_check():
    kept = []

    def loss(x):
        kept.append(x)
        for array in kept:
            array += 1.0
        return ((x - 1.0) ** 3).sum()

    assert check_gradients(loss, lambda x: 3.0 * x**2, np.array([1.0, 2.0, 3.0])).verdict is Verdict.PASS


def test_gradients_may_be_given_or_computed_and_carry_the_classic_names(cubes):
    loss, gradients = cubes
    parameters = {"W1": np.arange(15.0).reshape(5, 3), "b1": np.arange(5.0)}
    given = gradients(parameters)
    classic = {f"d{name}": value for name, value in given.items()} | {"dZ1": np.ones((5, 7))}
    reports = [check_gradients(loss, way, parameters) for way in (given, gradients, classic, lambda _: classic)]
    assert [report.verdict for report in reports] == [Verdict.PASS] * 4
    assert len({report.difference for report in reports}) == 1


W, B = np.ones((5, 3)), np.ones(5)


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        ({"W": W}, "lack 'b'"),
        ({"W": W, "b": None}, r"the gradient of b is None. Expected an array of shape \(5,\)"),
        ({"W": W.T, "b": B}, r"gradients of W have the wrong shape. Expected \(5, 3\). Received \(3, 5\)"),
        ({"W": W, "b": B[:, None]}, r"Expected \(5,\). Received \(5, 1\)"),
        ({"W": W, "b": 1.0}, r"Expected \(5,\). Received \(\)"),
        ({"W": W, "b": B + 1j}, "not made of real numbers.*complex128"),
        ({"W": W, "b": ["one"] * 5}, "not made of real numbers"),
        ({"W": W, "b": [[1.0], [1.0, 2.0]]}, "not an array of numbers"),
        ({"W": W, "b": B.astype(object)}, "not made of real numbers"),
        ([W, B], "another structure.*Received list"),
        (W, "another structure.*Received ndarray"),
        ((0.5, {"W": W, "b": B}), "another structure.*Received tuple"),
        (None, "another structure.*Received NoneType"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused_with_what_was_expected_and_received(gradients, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_gradients(lambda p: p["W"].sum() + p["b"].sum(), gradients, {"W": W, "b": B})


@pytest.mark.parametrize(
    ("gradients", "message"), [([W], "Expected 2 arrays"), ([W, B, B], "Expected 2 arrays"), (1.0, "Received float")]
)
def test_a_gradient_of_a_sequence_needs_the_same_length(gradients, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_gradients(lambda p: p[0].sum() + p[1].sum(), gradients, [W, B])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (np.ones((1, 2)).view(np.matrix), r"is a matrix. Expected a plain array.* Received np.matrix"),
        ("three", "not made of real numbers"),
        ({"W": "three"}, "W is not made of real numbers"),
        ({"W": [[1.0], [1.0, 2.0]]}, "not an array of numbers"),
        ({}, "hold no number"),
        ([], "hold no number"),
        ({1: B, "1": B}, "'1' twice"),
    ],
)
def test_parameters_that_are_no_numbers_are_refused(parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_gradients(lambda p: 0.0, lambda p: p, parameters)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_of_a_gradient_at_parameters_that_are_not_finite_nothing_is_known_and_the_tensor_is_named(value, coverage):
    parameters = {"W": np.array([1.0, value, 2.0]), "b": np.ones(5)}
    report = check_gradients(lambda p: p["W"].sum() + p["b"].sum(), lambda p: p, parameters, coverage=coverage)
    assert (report.verdict, report.cause) == (Verdict.UNDECIDED, Cause.NOT_FINITE)
    assert report.culprits == []
    assert "W: UNDECIDED, not finite: 1 of 3 of its parameters are NaN or infinite." in str(report)
    assert "b: UNDECIDED, not finite: parameters of other tensors are NaN or infinite" in str(report)


@pytest.mark.parametrize("name", ["threshold", "step"])
@pytest.mark.parametrize("value", [0, 0.0, -1e-7, float("nan"), float("inf"), True, "1e-7", 1e-7j])
def test_a_threshold_or_step_that_is_no_positive_finite_number_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} is out of range. Expected a finite number > 0.* Received"):
        check_gradients(lambda x: x * x, lambda x: 2 * x, 3.0, **{name: value})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"coverage": "ful"}, "coverage is unknown. Expected 'full' or 'directions'. Received 'ful'"),
        ({"coverage": None}, "coverage is unknown"),
        ({"derivative": "forward"}, "derivative is unknown. Expected 'central' or 'complex'. Received 'forward'"),
        ({"rng": 3, "coverage": "directions"}, "rng is no generator.*Received 3"),
    ],
)
def test_unknown_options_are_refused(option, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_gradients(lambda x: x * x, lambda x: 2 * x, 3.0, **option)


WAYS = list(itertools.product(["full", "directions"], ["central", "complex"]))


@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_leaves_the_gradient_undecided(value, coverage, derivative):
    def loss(p):
        return p["W"].sum() * 0.0 + value

    parameters = {"W": W, "b": B}
    for gradient in (parameters, {"W": W, "b": np.full_like(B, np.nan)}):  # which may be not finite for that reason
        report = check_gradients(loss, gradient, parameters, coverage=coverage, derivative=derivative)
        assert (report.verdict, report.cause) == (Verdict.UNDECIDED, Cause.NOT_FINITE)
        assert f"the loss itself is {value}" in str(report)


@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_fails_and_names_tensor_and_index(cubes, value, coverage, derivative):
    loss, gradients = cubes
    parameters = {"W1": W, "b1": B}
    wrong = gradients(parameters)
    wrong["W1"][3, 1] = value
    report = check_gradients(loss, wrong, parameters, coverage=coverage, derivative=derivative)
    assert (report.verdict, report.cause) == (Verdict.FAIL, Cause.NOT_FINITE)
    assert report.culprits[0].label == "W1[3, 1]"
    assert report.tensors["b1"].verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
@pytest.mark.parametrize("scale", [1e120, 1e160, 1e300])
def test_a_gradient_whose_square_is_no_float_is_judged_like_any_other(scale, coverage, derivative):
    def check(factor):
        return check_gradients(
            lambda p: scale * (p["W"] ** 2).sum() + (p["b"] ** 2).sum(),
            lambda p: {"W": factor * 2.0 * scale * p["W"], "b": 2.0 * p["b"]},
            {"W": W, "b": B},
            coverage=coverage,
            derivative=derivative,
            rng=np.random.default_rng(0),
        )

    right, wrong = check(1.0), check(2.0)
    assert (right.verdict, wrong.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert right.tensors["W"].excluded < 1e-6
    assert wrong.tensors["W"].difference == pytest.approx(1 / 3, rel=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(3), r"the loss is not one real number. Expected a float. Received ndarray of shape \(3,\)"),
        (np.ones((5, 1)), r"shape \(5, 1\)"),
        (None, "Received NoneType"),
        ("0.5", "Received str"),
        (1.0 + 2.0j, "Received complex"),
    ],
)
@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_loss_that_gives_no_single_real_number_is_refused(value, message, coverage):
    with pytest.raises(TypeError, match=message):
        check_gradients(lambda x: value, np.ones(3), np.ones(3), coverage=coverage)


def test_a_loss_in_an_array_of_one_number_is_accepted():
    report = check_gradients(lambda x: (x**2).sum(keepdims=True), lambda x: 2.0 * x, np.arange(1.0, 4.0))
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_what_a_loss_raises_comes_out_as_it_is(coverage):
    class ForeignError(Exception):
        pass

    def loss(x):
        raise ForeignError("my own")

    with pytest.raises(ForeignError, match="my own"):
        check_gradients(loss, np.ones(3), np.ones(3), coverage=coverage)


@pytest.mark.parametrize("error", [MemoryError("no room"), OSError(28, "No space left on device")])
@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_machine_that_is_at_its_end_is_not_taken_for_a_loss_without_a_complex_step(coverage, error):
    def loss(x):
        if np.iscomplexobj(x):
            raise error
        return (x**2).sum()

    with pytest.raises(type(error)):
        check_gradients(loss, lambda x: 2.0 * x, np.arange(1.0, 6.0), coverage=coverage, derivative="complex")


@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
def test_a_loss_at_the_edge_of_its_domain_is_checked_without_a_warning(coverage, derivative):
    # log(1e-6 - 1e-5) is NaN with a RuntimeWarning, and warnings are errors here.
    report = check_gradients(
        lambda x: -np.log(x).sum(),
        lambda x: -1.0 / x,
        np.array([1e-6, 2.0, 0.3]),
        coverage=coverage,
        derivative=derivative,
    )
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize("refusing", [False, True])
@pytest.mark.parametrize("factor", [1.0, 1.01])
@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
def test_the_report_counts_every_loss_evaluation(case, coverage, derivative, factor, refusing):
    network = case(l2=1e-2)
    calls = 0

    def loss(parameters):
        nonlocal calls
        calls += 1
        return network.refusing(parameters) if refusing else network.loss(parameters)

    gradients = network.gradients(network.parameters)
    gradients["W2"] *= factor
    report = check_gradients(loss, gradients, network.parameters, coverage=coverage, derivative=derivative)
    assert report.evaluations == calls


def test_a_full_central_check_that_passes_takes_two_evaluations_a_coordinate_and_two_at_the_point(cubes):
    loss, gradients = cubes
    report = check_gradients(loss, gradients, {"W": W, "b": B})
    assert report.evaluations == 2 * (15 + 5) + 2  # one for gaps at kinks, one for models that keep what they get


def test_assert_gradients_raises_an_assertion_error_with_the_report_as_its_message(cubes):
    loss, gradients = cubes
    parameters = {"W2": np.arange(15.0).reshape(5, 3), "b2": np.arange(5.0)}
    wrong = gradients(parameters)
    wrong["W2"] = 2.0 * wrong["W2"]
    with pytest.raises(AssertionError) as caught:
        assert_gradients(loss, wrong, parameters)
    assert isinstance(caught.value, GradientCheckError)
    assert str(caught.value) == str(caught.value.report)
    sentence = "W2: backprop is 2.000 × the numerical gradient in all 15 entries. Scaled by 2: look at the line that"
    assert sentence in " ".join(str(caught.value).split())


def test_assert_gradients_raises_where_nothing_could_be_decided_and_returns_a_report_that_passes(cubes):
    loss, gradients = cubes
    assert assert_gradients(loss, gradients, W).verdict is Verdict.PASS
    with pytest.raises(GradientCheckError, match="UNDECIDED"):
        assert_gradients(lambda x: 1.0, np.ones(3), np.zeros(3))


def test_the_error_survives_the_way_to_another_process():
    with pytest.raises(GradientCheckError) as caught:
        assert_gradients(lambda x: x * x, lambda x: 4.0 * x, 3.0)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert str(twin) == str(caught.value)
    assert twin.report.difference == caught.value.report.difference


def test_numpy_numbers_as_options_do_not_spoil_the_json(cubes):
    loss, gradients = cubes
    report = check_gradients(loss, gradients, W, threshold=np.float32(1e-6), step=np.float32(1e-5))
    assert json.loads(json.dumps(report.to_dict()))["threshold"] == pytest.approx(1e-6)


def test_a_mistake_in_a_small_term_drowned_by_a_large_one_is_found_and_named_by_terms():
    parameters = {"W1": np.linspace(1.0, 2.0, 15).reshape(5, 3), "b1": np.linspace(1.0, 2.0, 5)}
    tiny = 1e-10

    def data(p):
        return (p["W1"] ** 3).sum() + (p["b1"] ** 3).sum()

    def data_gradients(p):
        return {name: 3.0 * value**2 for name, value in p.items()}

    def penalty(p):
        return 0.5 * tiny * (p["W1"] ** 2).sum()

    def wrong_penalty_gradient(p):
        return {"W1": 2.0 * tiny * p["W1"]}

    def whole_gradients(p):
        return data_gradients(p) | {"W1": data_gradients(p)["W1"] + wrong_penalty_gradient(p)["W1"]}

    terms = {"data": (data, data_gradients), "penalty": (penalty, wrong_penalty_gradient)}
    drowned = check_gradients(lambda p: data(p) + penalty(p), whole_gradients, parameters)
    apart = check_gradients(lambda p: data(p) + penalty(p), whole_gradients, parameters, terms=terms)
    assert drowned.verdict is Verdict.PASS
    assert apart.verdict is Verdict.FAIL
    assert apart.terms["data"].verdict is Verdict.PASS
    assert apart.terms["penalty"].verdict is Verdict.FAIL
    assert list(apart.terms["penalty"].tensors) == ["W1"]
    assert [tensor.name for tensor in apart.culprits] == ["W1"]
    assert "Term 'penalty' on its own: FAIL" in str(apart)
    assert "W1: backprop is 2.000 × the numerical gradient in all 15 entries." in " ".join(str(apart).split())


def test_a_threshold_of_the_users_own_moves_the_line():
    x = np.linspace(1.0, 2.0, 7)

    def check(threshold):
        return check_gradients(lambda x: (x**2).sum(), lambda x: 2.0 * x * (1.0 + 2e-6), x, threshold=threshold)

    assert check(2e-6).verdict is Verdict.PASS
    assert check(5e-7).verdict is Verdict.FAIL


@pytest.mark.parametrize("step", [1e-3, 1e-4, 1e-6, 1e-7, 1e-9])
@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_no_choice_of_the_step_makes_a_right_gradient_wrong(case, step, coverage):
    network = case()
    report = check_gradients(network.loss, network.gradients, network.parameters, step=step, coverage=coverage)
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("derivative", ["central", "complex"])
def test_a_complex_step_that_is_wrong_in_a_tiny_tensor_beside_a_large_one_is_not_believed(coverage, derivative):
    def loss(p):
        return (p["a"] ** 2).sum() + 1e-8 * (np.abs(p["b"]) + p["b"]).sum()

    point = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([0.3, 0.4, 0.5])}
    forgotten = {"a": 2.0 * point["a"], "b": np.full(3, 1e-8)}  # np.abs drops its part of a complex slope too
    report = check_gradients(loss, forgotten, point, coverage=coverage, derivative=derivative)
    assert report.verdict is Verdict.FAIL
    assert [tensor.name for tensor in report.culprits] == ["b"]
    right = forgotten | {"b": np.full(3, 2e-8)}
    assert check_gradients(loss, right, point, coverage=coverage, derivative=derivative).verdict is not Verdict.FAIL


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("derivative", ["central", "complex"])
def test_a_loss_that_is_no_single_number_is_refused_in_every_mode(coverage, derivative):
    with pytest.raises(TypeError, match=r"not one real number.* shape \(3,\)"):
        check_gradients(lambda x: x**2, lambda x: 2.0 * x, np.ones(3), coverage=coverage, derivative=derivative)


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_loss_that_raises_beside_the_point_is_asked_closer_to_it(coverage):
    report = check_gradients(lambda p: -math.log(p), lambda p: -1.0 / p, 1e-6, coverage=coverage)
    assert report.verdict is Verdict.PASS
    report = check_gradients(lambda p: -math.log(p), lambda p: -1.01 / p, 1e-6, coverage=coverage)
    assert report.verdict is Verdict.FAIL


def test_a_loss_that_raises_at_the_point_itself_says_so():
    with pytest.raises(ValueError, match=r"math domain error|positive input"):
        check_gradients(lambda p: math.log(p), lambda p: 1.0 / p, -1.0)


def test_the_evidence_speaks_in_the_units_of_the_table():
    report = check_gradients(lambda x: x * x, lambda x: 4.0 * x, 3.0)
    assert "the slope is 6 " in report.culprits[0].evidence
    assert "gradient says 12" in report.culprits[0].evidence


def test_a_parameter_whose_name_begins_with_d_is_not_taken_for_a_gradient():
    point = {"x": np.array([1.0, 2.0]), "dx": np.array([3.0, 5.0, 7.0])}
    classic = {"dx": 2.0 * point["x"], "ddx": 3.0 * point["dx"] ** 2}
    report = check_gradients(lambda p: (p["x"] ** 2).sum() + (p["dx"] ** 3).sum(), classic, point)
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize(("coverage", "derivative"), WAYS)
def test_a_tuple_comes_back_as_a_tuple_and_a_tensor_without_entries_passes(coverage, derivative):
    def loss(p):
        assert isinstance(p, tuple)
        return (p[0] ** 2).sum() + p[1].sum()

    point = (np.array([1.0, 2.0, 3.0]), np.zeros((0, 5)))
    for factor, verdict in ((2.0, Verdict.PASS), (-2.0, Verdict.FAIL)):
        gradient = (factor * point[0], point[1])
        report = check_gradients(loss, gradient, point, coverage=coverage, derivative=derivative)
        assert (report.verdict, [*report.tensors]) == (verdict, ["[0]", "[1]"])
        empty = report.tensors["[1]"]
        assert (empty.verdict, empty.cause, empty.difference, empty.excluded) == (Verdict.PASS, Cause.AGREES, 0.0, 0.0)


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("derivative", ["central", "complex"])
@pytest.mark.parametrize("frequency", [1e5, 1e8, 1e11])
def test_a_loss_that_swings_within_every_usual_step_raises_no_alarm_and_hides_no_mistake(
    coverage, derivative, frequency
):
    point = np.array([0.3, -0.7, 1.1])

    def loss(x):
        return np.abs(1.5 + np.sin(frequency * x)).sum()  # np.abs keeps the complex step out

    right = frequency * np.cos(frequency * point)
    options = {"coverage": coverage, "derivative": derivative, "rng": np.random.default_rng(3)}
    assert check_gradients(loss, right, point, **options).verdict is not Verdict.FAIL
    assert check_gradients(loss, 1.01 * right, point, **options).verdict is not Verdict.PASS


@pytest.mark.parametrize(("entry", "finite"), [(0.5, True), (1e200, True), (np.nan, False), (-np.inf, False)])
def test_what_is_not_finite_is_found_and_what_is_large_is_not_taken_for_it(entry, finite):
    vector = np.full(7, 0.5)
    vector[3] = entry
    for point, gradient in ((vector, np.ones(7)), (np.ones(7), vector)):
        objective = Objective.of(lambda x: 0.0, point, gradient)
        judged = not_finite(objective)
        if point is vector:  # at which the loss is finite: what can be moved is checked
            assert judged is None
            assert (objective.frozen is None) is finite
        else:
            assert (judged is None) is finite
    assert (
        not_finite(
            Objective.of(
                lambda x: float(np.max(x[np.isfinite(x)])) if np.isfinite(x).all() else np.nan, vector, np.ones(7)
            )
        )
        is None
    ) is finite


STRANGE = [
    {"loss": {}},
    {"loss": lambda x: [[1, 2], [3]]},
    {"gradients": [[1, 2], [3]]},
    {"coverage": np.ones(3)},
    {"derivative": np.zeros(0)},
    {"step": 1e-320},
    {"parameters": [[1, 2], [3]], "gradients": Ellipsis},
]


@pytest.mark.parametrize("strange", STRANGE)
def test_what_does_not_fit_is_refused_with_what_was_expected_and_received(strange):
    good = {"loss": lambda x: float(x @ x), "gradients": lambda x: 2 * x, "parameters": np.ones(3)}
    with pytest.raises((TypeError, ValueError), match=r"Expected .* Received "):
        check_gradients(**good | strange)
