"""The gradient check for torch: modules, and a hook for a plain training loop."""

from checks.torch.module import GradientCheckHook, check_module

__all__ = ["GradientCheckHook", "check_module"]
