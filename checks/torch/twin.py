"""A float64 twin of a torch module, and the guards around its evaluations."""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeAlias

import numpy as np
import torch

from checks.measure.layout import Array

#: Relative distance up to which two gradients in float64 are the same: where threads add up, the order may differ.
SAME = 1e-9
#: A tensor, or a tuple, list or dict of them; anything else in it is passed on as it is.
Tensors: TypeAlias = Any
#: ``loss_fn(outputs, targets) -> scalar tensor``.
LossFunction: TypeAlias = Callable[[Any, Any], torch.Tensor]


class Twin:
    """A copy of a module on fixed rows: its loss as a function of the parameters, in float64 unless asked otherwise.

    With ``dtype`` None it computes in what it has. Where that is lower than float64, the parameters are rounded to it.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        loss_fn: LossFunction,
        inputs: Tensors,
        targets: Tensors,
        *,
        own_mode: bool,
        dtype: torch.dtype | None = torch.float64,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._module = copy.deepcopy(module)
        self._loss_fn = copy.deepcopy(loss_fn) if isinstance(loss_fn, torch.nn.Module) else loss_fn
        if dtype is not None:
            self._module = _converted(self._module, dtype)
            if isinstance(self._loss_fn, torch.nn.Module):
                self._loss_fn = _converted(self._loss_fn, dtype)

        def taken(tensor: torch.Tensor) -> torch.Tensor:
            floats = dtype is not None and tensor.is_floating_point()
            return tensor.detach().to(dtype) if floats else tensor.detach()

        self._rows = mapped(once(taken), (inputs, targets))
        if not own_mode:
            self._module.eval()
        self._parameters = {name: p for name, p in self._module.named_parameters() if p.requires_grad}
        if not self._parameters:
            raise ValueError("no parameter requires a gradient. Expected at least one. Received none.")
        self._buffers = [(buffer, buffer.clone()) for buffer in self._module.buffers()] if own_mode else []
        self._own_mode = own_mode
        self._autocast = autocast

    def parameters(self) -> dict[str, Array]:
        """Copy the parameters."""
        return {name: as_array(p) for name, p in self._parameters.items()}

    def eps(self) -> dict[str, float]:
        """Give the spacing at 1 of the coarsest dtype that each parameter goes through."""
        dtypes = {name: (p.dtype, self._autocast or p.dtype) for name, p in self._parameters.items()}
        return {name: max(torch.finfo(dtype).eps for dtype in both) for name, both in dtypes.items()}

    def loss(self, parameters: dict[str, Array]) -> float:
        """Evaluate the loss."""
        self._put(parameters)
        self._begin()
        with torch.no_grad():
            return float(self._evaluate().item())

    def gradients(self, parameters: dict[str, Array]) -> dict[str, Array]:
        """Evaluate the gradient by autograd; what does not take part in the loss has a gradient of zero."""
        self._put(parameters)
        self._begin()
        return self._differentiate()

    def repeats(self) -> bool:
        """Say whether another evaluation gives the same gradient, draws nothing, and depends on no other before it."""
        self._begin()
        first, states = self._differentiate(), generator_states(self._module)
        again = self._differentiate()
        drew = generator_states(self._module) != states
        apart = [np.linalg.norm(again[name] - first[name]) > SAME * np.linalg.norm(first[name]) for name in first]
        return not drew and not any(apart)

    def _put(self, parameters: dict[str, Array]) -> None:
        with torch.no_grad():
            for name, value in parameters.items():
                if np.iscomplexobj(value):
                    raise TypeError("torch modules are evaluated at real parameters")
                self._parameters[name].copy_(torch.from_numpy(value))

    def _begin(self) -> None:
        """Let the next evaluation draw and begin as every other."""
        if self._own_mode:
            torch.manual_seed(0)
            for buffer, value in self._buffers:
                buffer.copy_(value)

    def _differentiate(self) -> dict[str, Array]:
        with torch.enable_grad():
            found = torch.autograd.grad(self._evaluate(), list(self._parameters.values()), allow_unused=True)
        return {
            name: np.zeros(p.shape) if gradient is None else as_array(gradient)
            for (name, p), gradient in zip(self._parameters.items(), found, strict=True)
        }

    def _evaluate(self) -> torch.Tensor:
        inputs, targets = mapped(once(torch.clone), self._rows)  # a forward pass may work in place
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        device = next(iter(self._parameters.values())).device.type
        with nullcontext() if self._autocast is None else torch.autocast(device, dtype=self._autocast):
            loss = self._loss_fn(self._module(*inputs), targets)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise ValueError(f"the loss is no scalar. Expected a tensor of one number. Received {shape}.")
        return loss


def as_array(tensor: torch.Tensor) -> Array:
    """Copy a tensor, dense or sparse, of any precision, to a float64 array."""
    return np.array(tensor.detach().to_dense().cpu().double().numpy())


def generator_states(module: torch.nn.Module) -> list[Any]:
    """List the states of every global generator that a forward pass may draw from; equal where nothing was drawn."""
    devices = sorted({p.device.index for p in module.parameters() if p.device.type == "cuda"})
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
    _, of_numpy, *rest = np.random.get_state()
    return [*(state.numpy().tobytes() for state in states), random.getstate(), np.asarray(of_numpy).tobytes(), rest]


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


def _converted(module: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """Convert its numbers of floating point; ``double`` leaves complex ones alone, which ``to`` would cut to real."""
    return module.double() if dtype is torch.float64 else module.to(dtype)


def mapped(function: Callable[[torch.Tensor], torch.Tensor], structure: Tensors) -> Tensors:
    """Apply a function to every tensor, and leave the rest as it is."""
    if isinstance(structure, tuple | list):
        parts = [mapped(function, part) for part in structure]
        return parts if isinstance(structure, list) else tuple(parts)
    if isinstance(structure, dict):
        return {key: mapped(function, part) for key, part in structure.items()}
    return function(structure) if isinstance(structure, torch.Tensor) else structure


def once(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Call a function once for each tensor, so that one in two places stays one: a target that is the input, too."""
    made: dict[int, torch.Tensor] = {}

    def call(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = function(tensor)
        return made[id(tensor)]

    return call


def tensors_in(structure: Tensors) -> list[torch.Tensor]:
    """List every tensor."""
    if isinstance(structure, tuple | list | dict):
        parts = structure.values() if isinstance(structure, dict) else structure
        return [tensor for part in parts for tensor in tensors_in(part)]
    return [structure] if isinstance(structure, torch.Tensor) else []
