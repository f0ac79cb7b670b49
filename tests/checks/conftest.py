"""Losses with gradients known on paper, for checking the checks."""

import numpy as np
import pytest

from trainer import Network


@pytest.fixture(scope="session")
def cubes():
    """Give the loss Σ x³ + 2x over any structure, and its gradient 3x² + 2, by hand."""

    def leaves(structure):
        if isinstance(structure, dict):
            return list(structure.values())
        return structure if isinstance(structure, list | tuple) else [structure]

    def loss(structure):
        return sum((part * part * part + 2.0 * part).sum() for part in map(np.asarray, leaves(structure)))

    def gradients(structure, factor=1.0):
        def one(part):
            return factor * (3.0 * np.asarray(part) ** 2 + 2.0)

        if isinstance(structure, dict):
            return {name: one(part) for name, part in structure.items()}
        return [one(part) for part in structure] if isinstance(structure, list | tuple) else one(structure)

    return loss, gradients


@pytest.fixture(scope="session")
def case():
    """Give a factory: a network, rows of both classes, and its loss and gradients as functions of the parameters."""

    def make(sizes=(7, 5, 3, 1), n_rows=11, seed=0, dtype=np.float64, **options):
        rng = np.random.default_rng(seed)
        network = Network(sizes, **options)
        inputs = rng.standard_normal((n_rows, sizes[0]))
        targets = (rng.random(n_rows) < 0.4).astype(float)
        targets[:2] = 0.0, 1.0
        parameters = {name: value.copy() for name, value in network.initial_parameters(rng, dtype).items()}
        for name in parameters:
            if name.startswith("b"):
                parameters[name] += 0.1 * rng.standard_normal(parameters[name].shape)
        return Case(network, inputs, targets, parameters)

    return make


class Case:
    """A network at a point, on rows."""

    def __init__(self, network, inputs, targets, parameters):
        self.network, self.inputs, self.targets, self.parameters = network, inputs, targets, parameters

    def loss(self, parameters):
        """Return the loss, real or complex."""
        return self.network.loss(parameters, self.inputs, self.targets)

    def refusing(self, parameters):
        """Return the loss of real parameters; complex ones are refused."""
        return float(self.network.loss(parameters, self.inputs, self.targets))

    def gradients(self, parameters):
        """Return what backprop gives, as a dict of copies."""
        return {
            name: value.copy()
            for name, value in self.network.loss_and_gradients(parameters, self.inputs, self.targets)[1].items()
        }
