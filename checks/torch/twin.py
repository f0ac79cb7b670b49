"""A float64 twin of a torch module, and the guards around its evaluations."""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch

from checks.measure.layout import Array

#: A tensor, or a tuple, list or dict of them; anything else in it is passed on as it is.
Tensors: TypeAlias = Any
#: ``loss_fn(outputs, targets) -> scalar tensor``.
LossFunction: TypeAlias = Callable[[Any, Any], torch.Tensor]


class Twin:
    """A float64 copy of a module on fixed rows: its loss as a pure function of the parameters."""

    def __init__(
        self, module: torch.nn.Module, loss_fn: LossFunction, inputs: Tensors, targets: Tensors, *, own_mode: bool
    ) -> None:
        self._module = copy.deepcopy(module).double()
        if not own_mode:
            self._module.eval()
        self._loss_fn = copy.deepcopy(loss_fn).double() if isinstance(loss_fn, torch.nn.Module) else loss_fn
        self._inputs, self._targets = mapped(_as_double, inputs), mapped(_as_double, targets)
        self._parameters = {name: p for name, p in self._module.named_parameters() if p.requires_grad}
        if not self._parameters:
            raise ValueError("no parameter requires a gradient. Expected at least one. Received none.")
        self._buffers = [(buffer, buffer.clone()) for buffer in self._module.buffers()] if own_mode else []
        self._own_mode = own_mode

    def parameters(self) -> dict[str, Array]:
        """Copy the parameters."""
        return {name: np.array(p.detach().cpu().numpy()) for name, p in self._parameters.items()}

    def loss(self, parameters: dict[str, Array]) -> float:
        """Evaluate the loss."""
        self._put(parameters)
        with torch.no_grad():
            return float(self._evaluate().item())

    def gradients(self, parameters: dict[str, Array]) -> dict[str, Array]:
        """Evaluate the gradient by autograd; what does not take part in the loss has a gradient of zero."""
        self._put(parameters)
        with torch.enable_grad():
            found = torch.autograd.grad(self._evaluate(), list(self._parameters.values()), allow_unused=True)
        return {
            name: np.zeros(p.shape) if gradient is None else gradient.detach().cpu().numpy()
            for (name, p), gradient in zip(self._parameters.items(), found, strict=True)
        }

    def _put(self, parameters: dict[str, Array]) -> None:
        with torch.no_grad():
            for name, value in parameters.items():
                if np.iscomplexobj(value):
                    raise TypeError("torch modules are evaluated at real parameters")
                self._parameters[name].copy_(torch.from_numpy(value))

    def _evaluate(self) -> torch.Tensor:
        if self._own_mode:
            torch.manual_seed(0)
            for buffer, value in self._buffers:
                buffer.copy_(value)
        inputs = self._inputs if isinstance(self._inputs, tuple) else (self._inputs,)
        loss = self._loss_fn(self._module(*inputs), self._targets)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise ValueError(f"the loss is no scalar. Expected a tensor of one number. Received {shape}.")
        return loss


@contextmanager
def generators_untouched(module: torch.nn.Module) -> Iterator[None]:
    """Put back the state of every global generator that a forward pass may draw from."""
    devices = {p.device.index for p in module.parameters() if p.device.type == "cuda"}
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=sorted(devices)):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


@contextmanager
def one_thread() -> Iterator[None]:
    """Evaluate in one thread: on a busy machine, thousands of small evaluations take seconds instead of minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _as_double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor.detach()


def mapped(function: Callable[[torch.Tensor], torch.Tensor], structure: Tensors) -> Tensors:
    """Apply a function to every tensor, and leave the rest as it is."""
    if isinstance(structure, tuple | list):
        parts = [mapped(function, part) for part in structure]
        return parts if isinstance(structure, list) else tuple(parts)
    if isinstance(structure, dict):
        return {key: mapped(function, part) for key, part in structure.items()}
    return function(structure) if isinstance(structure, torch.Tensor) else structure


def tensors_in(structure: Tensors) -> list[torch.Tensor]:
    """List every tensor."""
    if isinstance(structure, tuple | list | dict):
        parts = structure.values() if isinstance(structure, dict) else structure
        return [tensor for part in parts for tensor in tensors_in(part)]
    return [structure] if isinstance(structure, torch.Tensor) else []
