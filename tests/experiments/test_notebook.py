"""The exercise's own numbers, and that its functions do what their names say."""

import re

import numpy as np
import pytest

from checks import check_gradients, numerical_gradient
from experiments.notebook import (
    SHAPES,
    backward_propagation,
    backward_propagation_n,
    backward_propagation_n_faulty,
    dictionary_to_vector,
    forward_propagation,
    forward_propagation_n,
    gradient_check,
    gradient_check_n,
    gradients_to_vector,
    main,
    vector_to_dictionary,
    worked_example,
)

# At epsilon = 1e-7 the difference of the corrected network is rounding noise. Published copies read
# 1.18855520e-07, 1.18904178766e-07 and 1.1890913e-07, 5e-4 apart, as the machine and numpy have it.
NOISE = 1e-3


@pytest.fixture(scope="module")
def screen() -> str:
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *parts, sep=" ", end="\n": lines.append(sep.join(parts) + end))
        assert main([]) == 0
    return "".join(lines)


def test_one_dimension_reads_the_reference_numbers() -> None:
    assert forward_propagation(2.0, 4.0) == 8.0
    assert backward_propagation(2.0, 4.0) == 2.0
    assert gradient_check(2.0, 4.0) == pytest.approx(2.919335883291695e-10, rel=1e-12)
    assert gradient_check(2.0, 4.0, epsilon=1e-5) == pytest.approx(7.826683745609991e-12, rel=1e-12)


def test_n_dimensions_read_the_reference_numbers() -> None:
    X, Y, parameters = worked_example()
    _, cache = forward_propagation_n(X, Y, parameters)
    faulty, corrected = backward_propagation_n_faulty(X, Y, cache), backward_propagation_n(X, Y, cache)
    assert gradient_check_n(parameters, faulty, X, Y) == pytest.approx(0.285093156781, abs=1e-7 * NOISE)
    assert gradient_check_n(parameters, corrected, X, Y) == pytest.approx(1.1890913e-07, rel=NOISE)
    assert gradient_check_n(parameters, corrected, X, Y, epsilon=1e-5) < 5e-9


def test_the_thresholds_in_use_disagree_about_the_corrected_network(screen: str) -> None:
    assert re.search(r"1\.0e-07 +THERE IS A MISTAKE\n +1\.2e-07 +works .*\n +2\.0e-07 +works", screen)


def test_corrected_gradients_match_central_differences_on_other_data() -> None:
    random = np.random.default_rng(5)
    X, Y = random.standard_normal((4, 7)), np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    parameters = {name: 0.5 * random.standard_normal(shape) for name, shape in SHAPES.items()}
    gradients = backward_propagation_n(X, Y, forward_propagation_n(X, Y, parameters)[1])
    assert gradient_check_n(parameters, gradients, X, Y, epsilon=1e-5) < 1e-8


def test_planted_mistakes_are_exactly_two_and_four_and_nothing_else_changes() -> None:
    X, Y, parameters = worked_example()
    cache = forward_propagation_n(X, Y, parameters)[1]
    corrected, faulty = backward_propagation_n(X, Y, cache), backward_propagation_n_faulty(X, Y, cache)
    for name, factor in {"dW1": 1, "db1": 4, "dW2": 2, "db2": 1, "dW3": 1, "db3": 1}.items():
        np.testing.assert_array_equal(faulty[name], factor * corrected[name])


def test_vector_and_dictionary_round_trip_bit_for_bit() -> None:
    _, _, parameters = worked_example()
    theta, keys = dictionary_to_vector(parameters)
    assert theta.shape == (47, 1)
    assert [keys.count(name) for name in SHAPES] == [20, 5, 15, 3, 3, 1]
    back = vector_to_dictionary(theta)
    assert list(back) == list(parameters)
    for name, values in parameters.items():
        np.testing.assert_array_equal(back[name], values)


def test_changing_the_dictionary_leaves_the_vector_alone() -> None:
    theta = np.zeros((47, 1))
    vector_to_dictionary(theta)["W1"][0, 0] = 1.0
    assert not theta.any()


def test_gradients_and_parameters_share_one_order() -> None:
    _, _, parameters = worked_example()
    gradients = {f"d{name}": values for name, values in reversed(parameters.items())}
    np.testing.assert_array_equal(gradients_to_vector(gradients), dictionary_to_vector(parameters)[0])


def test_a_vector_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected 47 entries. Received: shape \(46, 1\)"):
        vector_to_dictionary(np.zeros((46, 1)))


def test_twenty_of_the_forty_seven_entries_are_zero_over_zero(screen: str) -> None:
    X, Y, parameters = worked_example()
    gradients = backward_propagation_n(X, Y, forward_propagation_n(X, Y, parameters)[1])
    approx = numerical_gradient(lambda p: forward_propagation_n(X, Y, p)[0], parameters, step=1e-7)
    both_zero = (gradients_to_vector(gradients) == 0) & (dictionary_to_vector(approx)[0] == 0)
    assert int(both_zero.sum()) == 20
    assert "20 of 47 differences are 0/0" in screen


def test_check_gradients_names_both_mistakes_and_their_factors() -> None:
    X, Y, parameters = worked_example()
    cache = forward_propagation_n(X, Y, parameters)[1]
    faulty = {name[1:]: value for name, value in backward_propagation_n_faulty(X, Y, cache).items()}
    report = check_gradients(lambda p: forward_propagation_n(X, Y, p)[0], faulty, parameters)
    assert report.verdict == "FAIL"
    assert {name for name, tensor in report.tensors.items() if tensor.verdict == "FAIL"} == {"W2", "b1"}
    assert report.tensors["W2"].ratio == pytest.approx(2.0, rel=1e-6)
    assert report.tensors["b1"].ratio == pytest.approx(4.0, rel=1e-6)


def test_check_gradients_does_not_call_the_corrected_network_wrong() -> None:
    X, Y, parameters = worked_example()
    cache = forward_propagation_n(X, Y, parameters)[1]
    corrected = {name[1:]: value for name, value in backward_propagation_n(X, Y, cache).items()}
    report = check_gradients(lambda p: forward_propagation_n(X, Y, p)[0], corrected, parameters)
    assert report.verdict != "FAIL"
    assert report.difference < 1e-7


def test_the_screen_shows_reference_numbers_and_answers(screen: str) -> None:
    for number in (
        "2.919335883291695e-10",
        "7.826683745609991e-12",
        "0.285093156781",
        "1.1890913e-07",
        "1.18904178766e-07",
    ):
        assert number in screen
    words = " ".join(screen.split())
    for verdict in ("line that computes dW2", "line that computes db1", "threshold 1e-07 PASS 47 parameters"):
        assert verdict in words
    for question in ("under dropout?", "0/0 come from?", "call a correct network wrong?"):
        assert question in screen


def test_the_screen_is_one_screen(screen: str) -> None:
    lines = screen.splitlines()
    assert len(lines) < 80
    assert max(map(len, lines)) <= 100


def test_help_teaches_and_unknown_options_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "dW2 doubled, db1 quadrupled" in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused:
        main(["--faster"])
    assert refused.value.code == 2
