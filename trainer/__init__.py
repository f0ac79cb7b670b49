"""Fits a network by mini-batches, with callbacks that see every step."""

from trainer.callbacks import Batch, Callback, TrainingHalted, TrainState
from trainer.early_stopping import EarlyStopping
from trainer.history import History
from trainer.layers import Dropout, Layer, Linear, ReLU, Tanh
from trainer.loop import Trainer
from trainer.losses import L2Penalty, WeightedBinaryCrossEntropy
from trainer.network import Network
from trainer.optimizers import SGD, Adam, Optimizer, OptimizerState
from trainer.parameters import Parameters
from trainer.progress_bar import ProgressBar

__all__ = [
    "SGD",
    "Adam",
    "Batch",
    "Callback",
    "Dropout",
    "EarlyStopping",
    "History",
    "L2Penalty",
    "Layer",
    "Linear",
    "Network",
    "Optimizer",
    "OptimizerState",
    "Parameters",
    "ProgressBar",
    "ReLU",
    "Tanh",
    "TrainState",
    "Trainer",
    "TrainingHalted",
    "WeightedBinaryCrossEntropy",
]
