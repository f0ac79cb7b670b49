"""The gradient check for torch: modules, functions, and a hook for a plain training loop."""

from checks.torch.function import check_function
from checks.torch.module import GradientCheckHook, check_module

__all__ = ["GradientCheckHook", "check_function", "check_module"]
