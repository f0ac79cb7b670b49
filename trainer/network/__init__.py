"""The network: layers in order, their parameters in one flat vector, a loss, and its gradients by hand."""

from trainer.network.layers import Dropout, Layer, Linear, ReLU, Tanh
from trainer.network.losses import L2Penalty, WeightedBinaryCrossEntropy
from trainer.network.network import Network
from trainer.network.parameters import Parameters

__all__ = [
    "Dropout",
    "L2Penalty",
    "Layer",
    "Linear",
    "Network",
    "Parameters",
    "ReLU",
    "Tanh",
    "WeightedBinaryCrossEntropy",
]
