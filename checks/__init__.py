"""Compare a gradient with its loss, and say where and why they differ; no network needed.

PYTEST_DONT_REWRITE: nothing in it asserts, and pytest would warn where it was imported before.
"""

from typing import TYPE_CHECKING, Any

from checks.check import GradientCheckError, assert_gradients, check_gradients
from checks.doors.held import held_by
from checks.doors.hessian import check_hessian
from checks.doors.jacobian import check_jacobian
from checks.doors.jvp import check_jvp
from checks.doors.layer import check_layer
from checks.doors.vjp import check_vjp
from checks.flat import check_flat
from checks.measure.difference import relative_difference
from checks.measure.slopes import numerical_gradient
from checks.report.findings import TensorReport
from checks.report.report import GradientReport
from checks.verdict import Cause, Verdict

if TYPE_CHECKING:
    from checks.hook import GradientCheckHook
    from checks.training.callback import GradientCheck
    from checks.training.proof import Proof

__all__ = [
    "Cause",
    "GradientCheck",
    "GradientCheckError",
    "GradientCheckHook",
    "GradientReport",
    "Proof",
    "TensorReport",
    "Verdict",
    "assert_gradients",
    "check_flat",
    "check_gradients",
    "check_hessian",
    "check_jacobian",
    "check_jvp",
    "check_layer",
    "check_vjp",
    "held_by",
    "numerical_gradient",
    "relative_difference",
]


def __getattr__(name: str) -> Any:
    """Import what is of a training loop, and with it `logging` or even `trainer`, only for those who ask for it."""
    if name == "GradientCheckHook":
        from checks.hook import GradientCheckHook

        return GradientCheckHook
    if name not in ("GradientCheck", "Proof"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from checks.training import callback, proof

    return callback.GradientCheck if name == "GradientCheck" else proof.Proof
