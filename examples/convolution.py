"""A small convolution over images of 8 × 8: rows are images, and filters and biases are whatever shape they like."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from checks import GradientCheck, GradientCheckError
from trainer import Adam, Trainer


class Convolution:
    def initial_parameters(self, rng, dtype):
        filters, W = rng.standard_normal((5, 3, 3)) / 3, rng.standard_normal((5, 6, 6, 10)) / 13
        return {"filters": filters, "shift": np.zeros(5), "W": W, "b": np.zeros(10)}

    def forward(self, parameters, images):
        windows = sliding_window_view(images, (3, 3), axis=(1, 2))  # (n_rows, 6, 6, 3, 3)
        maps = np.einsum("nxyij,fij->nfxy", windows, parameters["filters"]) + parameters["shift"][:, None, None]
        active = maps * (maps.real > 0)
        return windows, active, np.einsum("nfxy,fxyc->nc", active, parameters["W"]) + parameters["b"]

    def loss(self, parameters, images, labels, rng=None):
        logits = self.forward(parameters, images)[2]
        logits = logits - logits.real.max(axis=1, keepdims=True)
        return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels])

    def predict(self, parameters, images):
        return self.forward(parameters, images)[2].argmax(axis=1)

    def loss_and_gradients(self, parameters, images, labels, rng=None):
        windows, active, logits = self.forward(parameters, images)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        slopes = odds / odds.sum(axis=1, keepdims=True)
        loss = -np.mean(np.log(slopes[np.arange(len(labels)), labels]))
        slopes[np.arange(len(labels)), labels] -= 1
        slopes /= len(labels)
        flow = np.einsum("nc,fxyc->nfxy", slopes, parameters["W"]) * (active > 0)
        gradients = {"W": np.einsum("nfxy,nc->fxyc", active, slopes), "b": slopes.sum(axis=0)}
        gradients |= {"filters": self.of_filters(flow, windows), "shift": flow.sum(axis=(0, 2, 3))}
        return loss, gradients

    def of_filters(self, flow, windows):
        return np.einsum("nfxy,nxyij->fij", flow, windows)


class Flipped(Convolution):
    def of_filters(self, flow, windows):
        return super().of_filters(flow, windows)[:, ::-1, ::-1]  # what is called convolution elsewhere


def digits():
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images.reshape(-1, 8, 8) / 16, labels, test_size=0.3, stratify=labels, random_state=0)


def fitted(model, epochs=6):
    images, _, labels, _ = digits()
    check = GradientCheck(every=20, rows=40, coverage="directions")
    trainer = Trainer(model, optimizer=Adam(0.01), batch_size=64, epochs=epochs, callbacks=[check])
    trainer.fit(images, labels)
    return trainer, check


if __name__ == "__main__":
    trainer, check = fitted(Convolution())
    _, images, _, labels = digits()
    print(f"accuracy {np.mean(trainer.predict(images) == labels):.3f}")
    print(check.proof)
    try:
        fitted(Flipped())
    except GradientCheckError as error:
        print(error)
