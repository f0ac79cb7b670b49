"""How a gradient moves the parameters, and how far."""

from trainer.optimizers.optimizers import SGD, Adam, Optimizer, OptimizerState
from trainer.optimizers.schedules import CosineSchedule, StepSchedule, WarmupSchedule

__all__ = ["SGD", "Adam", "CosineSchedule", "Optimizer", "OptimizerState", "StepSchedule", "WarmupSchedule"]
