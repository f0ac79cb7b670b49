"""Fits a network by mini-batches, with callbacks that see every step.

PYTEST_DONT_REWRITE: nothing in it asserts, and pytest would warn where it was imported before.
"""

from typing import TYPE_CHECKING, Any

from trainer.batches import Batch
from trainer.callbacks.base import Callback, TrainingDiverged, TrainingHalted, TrainState
from trainer.callbacks.checkpoint import Checkpoint, latest_checkpoint
from trainer.callbacks.early_stopping import EarlyStopping
from trainer.callbacks.interruption import Interruption
from trainer.callbacks.loggers import CSVLogger, TensorBoardLogger
from trainer.callbacks.progress_bar import ProgressBar
from trainer.callbacks.snapshot import ResumeError, Snapshot
from trainer.compiled.network import CompiledAdam, CompiledNetwork
from trainer.model import Model
from trainer.network.layers import Dropout, Layer, Linear, ReLU, Tanh
from trainer.network.losses import L2Penalty, WeightedBinaryCrossEntropy
from trainer.network.network import Network
from trainer.network.parameters import Parameters
from trainer.network.softmax import SoftmaxNetwork
from trainer.optimizers import (
    SGD,
    Adam,
    CosineSchedule,
    Optimizer,
    OptimizerState,
    StepSchedule,
    WarmupSchedule,
)
from trainer.storage.history import History
from trainer.trainer import Trainer

if TYPE_CHECKING:
    from trainer.estimator.classifier import NetworkClassifier

__all__ = [
    "SGD",
    "Adam",
    "Batch",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "CompiledAdam",
    "CompiledNetwork",
    "CosineSchedule",
    "Dropout",
    "EarlyStopping",
    "History",
    "Interruption",
    "L2Penalty",
    "Layer",
    "Linear",
    "Model",
    "Network",
    "NetworkClassifier",
    "Optimizer",
    "OptimizerState",
    "Parameters",
    "ProgressBar",
    "ReLU",
    "ResumeError",
    "Snapshot",
    "SoftmaxNetwork",
    "StepSchedule",
    "Tanh",
    "TensorBoardLogger",
    "TrainState",
    "Trainer",
    "TrainingDiverged",
    "TrainingHalted",
    "WarmupSchedule",
    "WeightedBinaryCrossEntropy",
    "latest_checkpoint",
]


def __getattr__(name: str) -> Any:
    """Import what takes scikit-learn, and a second, only for those who ask for it."""
    if name != "NetworkClassifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trainer.estimator.classifier import NetworkClassifier

    return NetworkClassifier
