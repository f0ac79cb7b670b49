"""The classic exercise's own functions, trained and checked: columns are examples, gradients are called ``dW1``.

The adapter is `Exercise`. The functions are in `experiments.notebook`, with the two mistakes with which they are handed
out.
"""

import numpy as np

from checks import GradientCheck, GradientCheckError
from datasets import make_fraud
from experiments.notebook import (
    SHAPES,
    backward_propagation_n,
    backward_propagation_n_faulty,
    forward_propagation_n,
)
from trainer import Adam, Trainer


class Exercise:
    backward = staticmethod(backward_propagation_n)

    def initial_parameters(self, rng, dtype):
        return {name: rng.standard_normal(shape) / np.sqrt(shape[1]) for name, shape in SHAPES.items()}

    def loss(self, parameters, inputs, targets, rng=None):
        return forward_propagation_n(inputs.T, targets, parameters)[0]

    def loss_and_gradients(self, parameters, inputs, targets, rng=None):
        cost, cache = forward_propagation_n(inputs.T, targets, parameters)
        return cost, self.backward(inputs.T, targets, cache)


class AsHandedOut(Exercise):
    backward = staticmethod(backward_propagation_n_faulty)  # dW2 is doubled, and db1 four times too large


def fitted(model, epochs=5):
    rows = make_fraud(n_samples=2_000, n_features=4, fraud_rate=0.2, seed=0).train
    check = GradientCheck(every=10, rows=32)
    trainer = Trainer(model, optimizer=Adam(0.01), batch_size=64, epochs=epochs, callbacks=[check])
    trainer.fit(rows.inputs, rows.targets)
    return trainer, check


if __name__ == "__main__":
    trainer, check = fitted(Exercise())
    print(trainer.history.column("epoch_loss"))
    print(check.proof)
    try:
        fitted(AsHandedOut())
    except GradientCheckError as error:
        print(error)
