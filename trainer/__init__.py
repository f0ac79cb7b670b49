"""Fits a network by mini-batches, with callbacks that see every step."""

from typing import TYPE_CHECKING, Any

from trainer.batches import Batch
from trainer.callbacks import Callback, TrainingHalted, TrainState
from trainer.checkpoint import Checkpoint, latest_checkpoint
from trainer.compiled import CompiledAdam, CompiledNetwork
from trainer.early_stopping import EarlyStopping
from trainer.history import History
from trainer.layers import Dropout, Layer, Linear, ReLU, Tanh
from trainer.loggers import CSVLogger, TensorBoardLogger
from trainer.loop import Trainer
from trainer.losses import L2Penalty, WeightedBinaryCrossEntropy
from trainer.network import Network
from trainer.optimizers import SGD, Adam, Optimizer, OptimizerState
from trainer.parameters import Parameters
from trainer.progress_bar import ProgressBar
from trainer.snapshot import ResumeError, Snapshot

if TYPE_CHECKING:
    from trainer.classifier import NetworkClassifier

__all__ = [
    "SGD",
    "Adam",
    "Batch",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "CompiledAdam",
    "CompiledNetwork",
    "Dropout",
    "EarlyStopping",
    "History",
    "L2Penalty",
    "Layer",
    "Linear",
    "Network",
    "NetworkClassifier",
    "Optimizer",
    "OptimizerState",
    "Parameters",
    "ProgressBar",
    "ReLU",
    "ResumeError",
    "Snapshot",
    "Tanh",
    "TensorBoardLogger",
    "TrainState",
    "Trainer",
    "TrainingHalted",
    "WeightedBinaryCrossEntropy",
    "latest_checkpoint",
]


def __getattr__(name: str) -> Any:
    """Import what takes scikit-learn, and a second, only for those who ask for it."""
    if name != "NetworkClassifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trainer.classifier import NetworkClassifier

    return NetworkClassifier
