"""check_jvp: derivatives forward, by numpy and by jax, right and wrong."""

import numpy as np
import pytest
from scipy import special

from checks import Verdict, check_jvp

rng = np.random.default_rng(0)
X, W, B = rng.normal(size=(5, 3)), rng.normal(size=(3, 7)), rng.normal(size=7)


def function(x, w, b):
    return special.expit(x @ w + b)


def jvp(inputs, tangents):
    (x, w, b), (dx, dw, db) = inputs, tangents
    p = special.expit(x @ w + b)
    return p * (1.0 - p) * (dx @ w + x @ dw + db)


def test_a_right_one_passes_and_says_what_that_excludes(how):
    report = check_jvp(function, jvp, (X, W, B), **how)
    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["all inputs", "x", "w", "b"]
    assert [tensor.shape for tensor in report.tensors.values()] == [(), (5, 3), (3, 7), (7,)]
    assert report.coverage == how["coverage"]
    assert {tensor.confidence for tensor in report.tensors.values()} == {0.99}


def test_a_mistake_is_found(mistake, how):
    report = check_jvp(function, lambda *given: mistake(jvp(*given)), (X, W, B), **how)
    assert report.verdict is Verdict.FAIL
    assert "where the JVP says" in report.culprits[0].evidence


def test_input_entry_and_output_entry_are_named(how):
    def wrong(inputs, tangents):
        found, p = jvp(inputs, tangents), function(*inputs)
        found[2, 4] += 0.01 * (p * (1.0 - p))[2, 4] * tangents[1][1, 4]
        return found

    report = check_jvp(function, wrong, (X, W, B), **how)
    assert [tensor.name for tensor in report.culprits] == ["w", "all inputs"]
    assert report.culprits[0].label == "w[1, 4]"
    assert "; it comes from output[2, 4]" in report.culprits[0].evidence


def test_one_that_is_right_for_one_tangent_at_a_time_only_is_found(how):
    def wrong(inputs, tangents):
        p = function(*inputs)
        return jvp(inputs, tangents) + p * (1.0 - p) * (tangents[0] @ tangents[1])  # a difference, not a derivative

    report = check_jvp(function, wrong, (X, W, B), **how)
    assert [tensor.name for tensor in report.culprits] == ["all inputs"]
    assert "it is not linear in its tangents" in " ".join(str(report).split())


def test_structures_inputs_that_stand_still_and_complex_numbers_are_taken(how):
    def function(params, rows):
        return [params["z"][rows] ** 2, params["r"]]

    def jvp(inputs, tangents):
        assert not tangents[1].any()
        return [2.0 * inputs[0]["z"][inputs[1]] * tangents[0]["z"][inputs[1]], tangents[0]["r"]]

    inputs = {"z": B + 1j * B[::-1], "r": 0.5}, np.array([0, 2, 2])
    report = check_jvp(function, jvp, inputs, **how)
    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["all inputs", "params.z.real", "params.z.imag", "params.r"]


def test_jaxs_own_is_taken_as_it_is(how):
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):

        def function(x, w):
            return jax.nn.gelu(x @ w)

        def both(inputs, tangents):
            return jax.jvp(function, inputs, tangents)  # a pair of outputs and tangents

        assert check_jvp(function, both, (X, W), **how).verdict is Verdict.PASS
        report = check_jvp(function, lambda *given: (0, 1.01 * both(*given)[1]), (X, W), **how)
        assert {tensor.name for tensor in report.culprits} == {"all inputs", "x", "w"}


@pytest.mark.parametrize(
    ("strange", "message"),
    [
        (3, "jvp is no function"),
        (lambda inputs, tangents: tangents[0], r"tangents of output have the wrong shape. Expected \(5, 7\)"),
        (lambda inputs, tangents: None, "tangents of output is None"),
    ],
)
def test_what_is_no_jvp_is_refused(strange, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check_jvp(function, strange, (X, W, B))
