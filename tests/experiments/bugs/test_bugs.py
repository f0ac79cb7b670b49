import numpy as np
import pytest

from experiments.bugs.bugs import BUGS, EXERCISE, plant
from experiments.mutants.truth import differences, textbook_gradients
from trainer import Network, TrainState
from trainer.callbacks.base import Callback

SHAPES = {"relu": (6, 5, 5, 1), "tanh": (6, 5, 5, 1)}


def case(activation):
    rng = np.random.default_rng(8)
    network = Network(SHAPES[activation], activation=activation, dropout=0.3, l2=1e-2, positive_weight=3.0)
    parameters = network.initial_parameters(rng)
    parameters.vector[:] += 0.1 * rng.standard_normal(parameters.vector.size)
    return network, parameters, rng.standard_normal((13, 6)), (rng.random(13) < 0.4).astype(float)


PLACES = [
    (activation, name, layer)
    for activation in SHAPES
    for name, bug in BUGS.items()
    for layer in bug.layers(case(activation)[0])
]


@pytest.mark.parametrize(("activation", "name", "layer"), PLACES)
def test_a_mistake_changes_the_gradient_at_the_tensors_it_says_and_nothing_behind_them(activation, name, layer):
    network, parameters, inputs, targets = case(activation)
    seed = 4 if BUGS[name].needs == "dropout" else None
    mistaken, _ = plant(network, name, layer=layer)
    rng = None if seed is None else np.random.default_rng(seed)
    _, gradients = mistaken.loss_and_gradients(parameters, inputs, targets, rng)
    apart = differences(gradients, textbook_gradients(network, parameters, inputs, targets, seed)[0])
    wrong = {tensor for tensor, difference in apart.items() if difference > 1e-7}
    named = BUGS[name].tensors(network, layer)
    assert wrong & named
    behind = {tensor for tensor in apart if int(tensor[1:]) > max(int(other[1:]) for other in named)}
    assert not wrong & behind


@pytest.mark.parametrize(("activation", "name", "layer"), PLACES)
def test_a_mistake_leaves_the_loss_and_the_network_it_was_planted_in_alone(activation, name, layer):
    network, parameters, inputs, targets = case(activation)
    parts = [*network.layers, network.criterion, network.penalty]
    mistaken, _ = plant(network, name, layer=layer)
    assert mistaken.loss(parameters, inputs, targets) == network.loss(parameters, inputs, targets)
    assert parts == [*network.layers, network.criterion, network.penalty]


@pytest.mark.parametrize("name", ["dW2", "sign", "missing-mask", "loss-missing-mean"])
def test_a_switched_off_mistake_is_none(name):
    network, parameters, inputs, targets = case("relu")
    mistaken, switch = plant(network, name, after=7)
    _, right = network.loss_and_gradients(parameters, inputs, targets)
    assert np.array_equal(mistaken.loss_and_gradients(parameters, inputs, targets)[1].vector, right.vector)
    switch.active = True
    assert not np.array_equal(mistaken.loss_and_gradients(parameters, inputs, targets)[1].vector, right.vector)


def test_a_switch_comes_on_at_its_iteration_and_stays_on():
    _, switch = plant(Network((7, 5, 3, 1)), "dW2", after=3)
    assert isinstance(switch, Callback)
    seen = []
    for iteration in range(1, 6):
        state = object.__new__(TrainState)
        state.iteration = iteration
        switch.on_batch_begin(state)
        seen.append(switch.active)
    assert seen == [False, False, True, True, True]


def test_the_exercise_plants_both_of_its_mistakes():
    network, parameters, inputs, targets = case("relu")
    _, right = network.loss_and_gradients(parameters, inputs, targets)
    _, wrong = plant(network, "notebook")[0].loss_and_gradients(parameters, inputs, targets)
    assert np.allclose(wrong["W2"], 2.0 * right["W2"], rtol=1e-15)
    assert np.allclose(wrong["b1"], 4.0 * right["b1"], rtol=1e-15)
    assert set(EXERCISE) == {"dW2", "db1", "notebook"}


@pytest.mark.parametrize(
    ("name", "layer", "words"),
    [
        ("no-such", None, "no such bug"),
        ("l2-forgotten", None, "Expected l2 > 0"),
        ("class-weight-forgotten", None, "Expected positive_weight other than 1"),
        ("tanh-identity", None, "Expected tanh"),
        ("sign", 9, "Expected one of [1, 2, 3]"),
    ],
)
def test_what_is_no_mistake_in_a_network_is_refused_with_the_reason(name, layer, words):
    with pytest.raises(ValueError, match="Expected") as caught:
        plant(Network((7, 5, 3, 1)), name, layer=layer)
    assert words in str(caught.value)


def test_there_are_at_least_forty_kinds_of_mistakes():
    assert len(BUGS) >= 40
