"""Layers and losses of one's own in a network: known, shown, swept, and refused by what needs what they lack."""

import copy

import numpy as np
import pytest

from checks import check_gradients
from trainer import Checkpoint, Layer, Network, ReLU, ResumeError, Trainer
from trainer.network.sweep import Sweep

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((11, 5))
TARGETS = (np.arange(11) % 3 == 0).astype(float)


class Scale(Layer):
    """Every unit times a factor of its own."""

    def __init__(self, name, n_units, start=2.0):
        self.name, self.start, self.shapes = name, start, {name: (n_units,)}

    def initial_parameters(self, rng):
        return {self.name: self.start}

    def forward(self, parameters, inputs, rng):
        def backward(output_gradient, gradients):
            gradients[self.name][...] = (output_gradient * inputs).sum(axis=0)
            return output_gradient * parameters[self.name]

        return inputs * parameters[self.name], backward


class MeanOnly:
    """Squared error of the logits, of which only the mean is known."""

    def value(self, logits, targets):
        return ((logits - targets) ** 2).mean()

    def value_and_gradient(self, logits, targets):
        return self.value(logits, targets), 2 * (logits - targets) / len(targets)


def scaled(start=2.0):
    network = Network((5, 7, 3, 1), l2=0.1)
    first, relu, *rest = network.layers
    return network.with_layers([first, relu, Scale("s1", 7, start), *rest])


def with_criterion(criterion):
    network = copy.copy(Network((5, 7, 1)))
    network.criterion = criterion
    return network


@pytest.mark.parametrize("network", [scaled(), with_criterion(MeanOnly())], ids=["layer", "loss"])
def test_they_are_checked_and_swept(network):
    parameters = network.initial_parameters(RNG)
    for name, value in parameters.items():
        value += 0.1 * RNG.standard_normal(value.shape)
        moved = network.coordinate_losses(
            parameters, INPUTS, TARGETS, {name: np.full((1, *network.shapes[name]), 0.25)}
        )[name][0]
        other = parameters.copy()
        other[name].flat[-1] += 0.25
        assert moved.flat[-1] == pytest.approx(network.loss(other, INPUTS, TARGETS), rel=1e-13)
    report = check_gradients(
        lambda p: network.loss(p, INPUTS, TARGETS),
        lambda p: network.loss_and_gradients(p, INPUTS, TARGETS)[1],
        dict(parameters),
        derivative="complex",
    )
    assert report.difference < 1e-14


def test_a_network_with_layers_knows_their_parameters_and_leaves_the_other_as_it_was():
    network = scaled()
    assert list(network.shapes) == ["W1", "b1", "s1", "W2", "b2", "W3", "b3"]
    assert network.n_parameters == 5 * 7 + 7 + 7 + 7 * 3 + 3 + 3 + 1
    parameters = network.initial_parameters(np.random.default_rng(1))
    assert set(parameters["s1"]) == {2.0}
    np.testing.assert_array_equal(
        parameters["W2"], Network((5, 7, 3, 1)).initial_parameters(np.random.default_rng(1))["W2"]
    )
    assert [len(layer) for layer in network.hidden_activations(parameters, INPUTS)] == [11, 11]
    assert "s1" not in Network((5, 7, 3, 1)).shapes


def test_a_checkpoint_tells_them_apart(tmp_path):
    def run(network, **resume):
        trainer = Trainer(network, epochs=2, batch_size=4, callbacks=[Checkpoint(tmp_path, every=4)])
        trainer.fit(INPUTS, TARGETS, **resume)
        return trainer.parameters.vector.tobytes()

    whole, snapshot = run(scaled()), tmp_path / "checkpoint-00000004.npz"
    assert run(scaled(), resume=snapshot) == whole
    for other in (scaled(3.0), Network((5, 7, 3, 1), l2=0.1), with_criterion(MeanOnly())):
        with pytest.raises(ResumeError, match="network differs"):
            run(other, resume=snapshot)


def test_a_layer_that_the_network_does_not_know_is_named_before_training():
    network = copy.copy(Network((5, 7, 1)))
    network.layers.insert(2, Scale("s1", 7))
    with pytest.raises(ValueError, match=r"parameters of Scale. Expected .*with_layers\(\[…\]\). Received s1 in"):
        Trainer(network).fit(INPUTS, TARGETS)


class Half:
    """It has a value, and no slope."""

    def value(self, logits, targets):
        return 0.0


def test_a_loss_without_a_slope_is_named_before_training():
    with pytest.raises(TypeError, match=r"lacks value_and_gradient. Expected value\(logits, targets\).* Received Half"):
        Trainer(with_criterion(Half())).fit(INPUTS, TARGETS)


@pytest.mark.parametrize(("layers", "error"), [([ReLU], TypeError), ([Scale("s", 3), Scale("s", 3)], ValueError)])
def test_what_are_no_layers_are_refused(layers, error):
    with pytest.raises(error, match=r"Expected .* Received "):
        Network((5, 1)).with_layers(layers)


def test_a_sweep_of_a_stock_network_stays_structured():
    network = Network((5, 7, 1))
    assert Sweep(network, network.initial_parameters(RNG), INPUTS, TARGETS, "W1").is_structured
