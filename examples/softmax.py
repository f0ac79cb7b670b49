"""Softmax regression of ten digits: targets are class numbers, and no class is drawn by a check less than once."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from checks import GradientCheck, GradientCheckError
from trainer import Adam, Trainer


class Softmax:
    def __init__(self, n_features, n_classes, l2=1e-3):
        self.n_features, self.n_classes, self.l2 = n_features, n_classes, l2

    def initial_parameters(self, rng, dtype):
        return {"W": np.zeros((self.n_classes, self.n_features)), "b": np.zeros(self.n_classes)}

    def logits(self, parameters, inputs):
        return inputs @ parameters["W"].T + parameters["b"]

    def loss(self, parameters, inputs, targets, rng=None):
        logits = self.logits(parameters, inputs)
        logits = logits - logits.real.max(axis=1, keepdims=True)
        of_target = logits[np.arange(len(targets)), targets]
        W = parameters["W"]
        return np.mean(np.log(np.exp(logits).sum(axis=1)) - of_target) + self.l2 / 2 * np.sum(W * W)

    def predict_proba(self, parameters, inputs):
        logits = self.logits(parameters, inputs)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, parameters, inputs):
        return self.logits(parameters, inputs).argmax(axis=1)

    def loss_and_gradients(self, parameters, inputs, targets, rng=None):
        slopes = self.predict_proba(parameters, inputs)
        slopes[np.arange(len(targets)), targets] -= 1
        slopes /= len(targets)
        gradients = {"W": slopes.T @ inputs + self.l2 * parameters["W"], "b": slopes.sum(axis=0)}
        return self.loss(parameters, inputs, targets), gradients


class NotShifted(Softmax):
    def loss_and_gradients(self, parameters, inputs, targets, rng=None):
        slopes = self.predict_proba(parameters, inputs)
        slopes[:, targets] -= 1 / len(targets)  # of every target in every row
        slopes /= len(targets)
        gradients = {"W": slopes.T @ inputs + self.l2 * parameters["W"], "b": slopes.sum(axis=0)}
        return self.loss(parameters, inputs, targets), gradients


def digits():
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16, labels, test_size=0.3, stratify=labels, random_state=0)


def fitted(model, epochs=60):
    inputs, _, labels, _ = digits()
    check = GradientCheck(every=200, rows=30)
    trainer = Trainer(model, optimizer=Adam(0.02), batch_size=64, epochs=epochs, callbacks=[check])
    trainer.fit(inputs, labels)
    return trainer, check


if __name__ == "__main__":
    trainer, check = fitted(Softmax(64, 10))
    _, inputs, _, labels = digits()
    print(f"accuracy {np.mean(trainer.predict(inputs) == labels):.3f}")
    print(check.proof)
    try:
        fitted(NotShifted(64, 10))
    except GradientCheckError as error:
        print(error)
