"""A network for real numbers: the diabetes table, squared error, one hidden layer of tanh."""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from checks import GradientCheck, GradientCheckError
from trainer import Adam, Trainer


class Regression:
    def __init__(self, n_features, n_hidden, l2=1e-2):
        self.n_features, self.n_hidden, self.l2 = n_features, n_hidden, l2

    def initial_parameters(self, rng, dtype):
        U = rng.standard_normal((self.n_features, self.n_hidden)) / np.sqrt(self.n_features)
        return {"U": U, "c": np.zeros(self.n_hidden), "v": np.zeros(self.n_hidden), "mean": 0.0}

    def predict(self, parameters, inputs):
        hidden = np.tanh(inputs @ parameters["U"] + parameters["c"])
        return hidden @ parameters["v"] + parameters["mean"]

    def loss(self, parameters, inputs, targets, rng=None):
        errors = self.predict(parameters, inputs) - targets
        return np.mean(errors**2) / 2 + self.l2 / 2 * np.sum(parameters["v"] ** 2)

    def loss_and_gradients(self, parameters, inputs, targets, rng=None):
        hidden = np.tanh(inputs @ parameters["U"] + parameters["c"])
        errors = hidden @ parameters["v"] + parameters["mean"] - targets
        slopes = errors / len(targets)
        flow = slopes[:, None] * parameters["v"] * self.slope(hidden)
        gradients = {
            "U": inputs.T @ flow,
            "c": flow.sum(axis=0),
            "v": hidden.T @ slopes + self.l2 * parameters["v"],
            "mean": slopes.sum(),
        }
        return np.mean(errors**2) / 2 + self.l2 / 2 * np.sum(parameters["v"] ** 2), gradients

    def slope(self, hidden):
        return 1 - hidden**2


class OfSigmoid(Regression):
    def slope(self, hidden):
        return hidden * (1 - hidden)  # the derivative of another activation


def diabetes():
    inputs, targets = load_diabetes(return_X_y=True)
    inputs, targets = inputs / inputs.std(axis=0), (targets - targets.mean()) / targets.std()
    return train_test_split(inputs, targets, test_size=0.3, random_state=0)


def fitted(model, epochs=40):
    inputs, _, targets, _ = diabetes()
    check = GradientCheck(every=50)
    trainer = Trainer(model, optimizer=Adam(0.005), batch_size=32, epochs=epochs, callbacks=[check])
    trainer.fit(inputs, targets)
    return trainer, check


if __name__ == "__main__":
    trainer, check = fitted(Regression(10, 7))
    _, inputs, _, targets = diabetes()
    print(f"R² {1 - np.mean((trainer.predict(inputs) - targets) ** 2) / np.var(targets):.3f}")
    print(check.proof)
    try:
        fitted(OfSigmoid(10, 7))
    except GradientCheckError as error:
        print(error)
