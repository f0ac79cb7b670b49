import numpy as np
import pytest

from experiments.mutants.truth import differences, textbook_gradients
from trainer import Network


def case(seed=3, **options):
    rng = np.random.default_rng(seed)
    network = Network((7, 5, 3, 1), **options)
    parameters = network.initial_parameters(rng)
    parameters.vector[:] += 0.1 * rng.standard_normal(parameters.vector.size)
    return network, parameters, rng.standard_normal((13, 7)), (rng.random(13) < 0.4).astype(float)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("mask_seed", [None, 5])
def test_textbook_and_trainer_agree_to_float64_rounding(activation, mask_seed):
    network, parameters, inputs, targets = case(activation=activation, dropout=0.3, l2=1e-2, positive_weight=3.0)
    rng = None if mask_seed is None else np.random.default_rng(mask_seed)
    _, gradients = network.loss_and_gradients(parameters, inputs, targets, rng)
    truth, _ = textbook_gradients(network, parameters, inputs, targets, mask_seed)
    assert max(differences(gradients, truth).values()) < 1e-14


def test_a_relu_input_of_exactly_zero_is_reported_as_a_kink():
    network, parameters, inputs, targets = case()
    assert textbook_gradients(network, parameters, inputs, targets)[1] is False
    parameters["W1"][2] = 0.0
    parameters["b1"][2] = 0.0
    assert textbook_gradients(network, parameters, inputs, targets)[1] is True


def test_differences_are_zero_for_two_zero_tensors_and_one_for_opposite_ones():
    truth = {"W": np.array([1.0, -2.0, 3.0]), "b": np.zeros(3)}
    assert differences({"W": -truth["W"], "b": np.zeros(3)}, truth) == {"W": pytest.approx(1.0), "b": 0.0}
