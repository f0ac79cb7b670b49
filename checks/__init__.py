"""Compare a gradient with its loss, and say where and why they differ; no network needed."""

from checks.callback import GradientCheck
from checks.check import GradientCheckError, assert_gradients, check_gradients
from checks.difference import relative_difference
from checks.report import GradientReport, TensorReport
from checks.slopes import numerical_gradient
from checks.verdict import Cause, Verdict

__all__ = [
    "Cause",
    "GradientCheck",
    "GradientCheckError",
    "GradientReport",
    "TensorReport",
    "Verdict",
    "assert_gradients",
    "check_gradients",
    "numerical_gradient",
    "relative_difference",
]
