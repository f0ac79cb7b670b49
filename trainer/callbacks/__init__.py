"""What may watch a training run, when it is called, and how it may end the run."""

from trainer.callbacks.base import Callback, TrainingDiverged, TrainingHalted, TrainState
from trainer.callbacks.checkpoint import Checkpoint, latest_checkpoint
from trainer.callbacks.early_stopping import EarlyStopping
from trainer.callbacks.interruption import Interruption
from trainer.callbacks.loggers import CSVLogger, TensorBoardLogger
from trainer.callbacks.progress_bar import ProgressBar
from trainer.callbacks.snapshot import ResumeError, Snapshot

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Interruption",
    "ProgressBar",
    "ResumeError",
    "Snapshot",
    "TensorBoardLogger",
    "TrainState",
    "TrainingDiverged",
    "TrainingHalted",
    "latest_checkpoint",
]
