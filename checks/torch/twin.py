"""A float64 twin of a torch module, and the guards around its evaluations."""

import copy
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from checks.check import check_gradients
from checks.measure.layout import Array
from checks.report.report import GradientReport

#: Relative distance up to which two gradients in float64 are the same: where threads add up, the order may differ.
SAME = 1e-9
#: A tensor, or a tuple, list or dict of them; anything else in it is passed on as it is.
Tensors: TypeAlias = Any
#: ``loss_fn(outputs, targets) -> scalar tensor``.
LossFunction: TypeAlias = Callable[[Any, Any], torch.Tensor]
#: With respect to what a module is differentiated.
Wrt: TypeAlias = Literal["parameters", "inputs", "both"]


class Twin:
    """A copy of a module on fixed rows: its loss as a function of its parameters, its inputs or both, in float64.

    With another ``dtype`` it computes in that, with None in what it has: what is lower than float64 is rounded to it.
    Complex numbers are pairs of real ones along a last axis.
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
        wrt: Wrt = "parameters",
    ) -> None:
        self._module = copy.deepcopy(module)
        self._dtype = dtype
        self._loss_fn = copy.deepcopy(loss_fn) if isinstance(loss_fn, torch.nn.Module) else loss_fn
        if dtype is not None:
            self._module = _converted(self._module, dtype)
            if isinstance(self._loss_fn, torch.nn.Module):
                self._loss_fn = _converted(self._loss_fn, dtype)

        def taken(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.detach() if dtype is None else _cast(tensor.detach(), dtype)

        self._rows = mapped(once(taken), (inputs, targets))
        if not own_mode:
            self._module.eval()
        of_module = {name: p for name, p in self._module.named_parameters() if p.requires_grad}
        self._leaves = of_module if wrt != "inputs" else {}
        if wrt != "parameters":
            self._differentiate_inputs(inputs, argument_names(module), set(of_module))
        if not self._leaves:
            what = {"inputs": "input", "both": "parameter and no input"}.get(wrt, "parameter")
            dense = "at least one dense tensor of floating point"
            expected = "at least one, or wrt='inputs'" if wrt == "parameters" else dense
            raise ValueError(f"no {what} requires a gradient. Expected {expected}. Received none.")
        self.without: list[str] | None = None  # for which autograd gave no gradient at first, not even zeros
        self._buffers = [(buffer, buffer.clone()) for buffer in self._module.buffers()] if own_mode else []
        self._own_mode = own_mode
        self._autocast = autocast
        self._differentiates_inputs = wrt != "parameters"

    def _differentiate_inputs(self, given: Tensors, names: list[str], of_module: set[str]) -> None:
        """Make leaves of the inputs that require a gradient; where none does, of all that may have one."""
        named = {path: tensor for path, tensor in named_tensors(self._rows[0], names) if is_smooth(tensor)}
        asked = {path for path, tensor in named_tensors(given, names) if tensor.requires_grad}
        leaves: dict[int, torch.Tensor] = {}
        for path, tensor in named.items():
            if id(tensor) not in leaves and (path in asked or not asked):
                leaf = leaves[id(tensor)] = tensor.resolve_conj().clone().requires_grad_()
                self._leaves[f"{path} (input)" if path in of_module else path] = leaf
        self._rows = (mapped(lambda tensor: leaves.get(id(tensor), tensor), self._rows[0]), self._rows[1])

    def check(self, **options: Any) -> GradientReport:
        """Hold the gradients that autograd gives against the loss."""
        options.setdefault("derivative", "central")
        report = check_gradients(self.loss, self.gradients, self.parameters(), **options)
        if not self.without or not self._differentiates_inputs:
            return report
        note = f"autograd gives no gradient for {', '.join(self.without)}, which was taken as zero"
        return replace(report, notes=(*report.notes, note))

    def parameters(self) -> dict[str, Array]:
        """Copy what it is differentiated with respect to."""
        return {name: as_array(p) for name, p in self._leaves.items()}

    def eps(self) -> dict[str, float]:
        """Give the spacing at 1 of the coarsest dtype that each parameter goes through."""
        dtypes = {name: (p.dtype, self._autocast or p.dtype) for name, p in self._leaves.items()}
        return {name: max(torch.finfo(dtype).eps for dtype in both) for name, both in dtypes.items()}

    def loss(self, parameters: dict[str, Array]) -> float:
        """Evaluate the loss."""
        self._put(parameters)
        self._begin()
        # What computes a gradient on the way, as a physical model does, needs a graph of its inputs.
        with torch.enable_grad() if self._differentiates_inputs else torch.no_grad():
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
                as_real(self._leaves[name]).copy_(torch.from_numpy(value))

    def _begin(self) -> None:
        """Let the next evaluation draw and begin as every other."""
        if self._own_mode:
            torch.manual_seed(0)
            for buffer, value in self._buffers:
                buffer.copy_(value)

    def _differentiate(self) -> dict[str, Array]:
        with torch.enable_grad():
            found = torch.autograd.grad(self._evaluate(), list(self._leaves.values()), allow_unused=True)
        gradients = dict(zip(self._leaves, found, strict=True))
        if self.without is None:
            self.without = [name for name, gradient in gradients.items() if gradient is None]
        return {
            name: np.zeros(as_real(self._leaves[name]).shape) if gradient is None else as_array(gradient)
            for name, gradient in gradients.items()
        }

    def _evaluate(self) -> torch.Tensor:
        inputs, targets = mapped(once(torch.clone), self._rows)  # a forward pass may work in place
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        device = next(iter(self._leaves.values())).device.type
        with nullcontext() if self._autocast is None else torch.autocast(device, dtype=self._autocast):
            try:
                outputs = self._module(*inputs)
            except Exception as error:
                if self._dtype is not None:
                    arguments = "1 argument" if len(inputs) == 1 else f"{len(inputs)} arguments"
                    other = "dtype= chooses another precision, 'own' its own"
                    error.add_note(f"It was called in {self._dtype}, with {arguments}: a tuple is several. {other}.")
                raise
            loss = self._loss_fn(outputs, targets)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise ValueError(f"the loss is no scalar. Expected a tensor of one number. Received {shape}.")
        return loss


def as_array(tensor: torch.Tensor) -> Array:
    """Copy a tensor, dense or sparse, of any precision, to a float64 array."""
    return np.array(as_real(tensor.detach().to_dense()).cpu().double().numpy())


def as_real(tensor: torch.Tensor) -> torch.Tensor:
    """View complex numbers as pairs of real ones."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def is_smooth(tensor: torch.Tensor) -> bool:
    """Say whether one can differentiate with respect to it: it is dense, and holds no integers."""
    return (tensor.is_floating_point() or tensor.is_complex()) and tensor.layout is torch.strided


def _devices(*structures: Tensors) -> list[int]:
    """List the accelerators on which there is anything."""
    return sorted({t.device.index for t in tensors_in(structures) if t.device.type == "cuda"})


def generator_states(module: torch.nn.Module) -> list[Any]:
    """List the states of every global generator that a forward pass may draw from; equal where nothing was drawn."""
    devices = _devices(list(module.parameters()))
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
    _, of_numpy, *rest = np.random.get_state()
    return [*(state.numpy().tobytes() for state in states), random.getstate(), np.asarray(of_numpy).tobytes(), rest]


@contextmanager
def generators_untouched(module: torch.nn.Module, inputs: Tensors = ()) -> Iterator[None]:
    """Put back the state of every global generator that a forward pass may draw from."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=_devices(list(module.parameters()), inputs)):
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
    """Convert its numbers of floating point, and its complex ones to pairs of these; ``to`` would cut those to real."""
    return module._apply(partial(_cast, dtype=dtype))


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if tensor.is_complex():  # below float32, hardly anything takes them
        return tensor.to(torch.complex128 if dtype is torch.float64 else torch.complex64)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def mapped(function: Callable[[torch.Tensor], torch.Tensor], structure: Tensors) -> Tensors:
    """Apply a function to every tensor, and leave the rest as it is."""
    if isinstance(structure, tuple | list):
        parts = [mapped(function, part) for part in structure]
        if hasattr(structure, "_fields"):  # of a namedtuple
            return type(structure)(*parts)
        return parts if isinstance(structure, list) else tuple(parts)
    if isinstance(structure, dict):
        return {key: mapped(function, part) for key, part in structure.items()}
    return function(structure) if isinstance(structure, torch.Tensor) else structure


def named_tensors(inputs: Tensors, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Give every tensor among the arguments of a call with its path: ``weight``, ``states[1]``, ``batch.mask``."""
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    for position, argument in enumerate(arguments):
        name = names[position] if position < len(names) else f"inputs[{position}]"
        yield from _below(name, argument)


def _below(path: str, structure: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(structure, torch.Tensor):
        yield path, structure
    elif isinstance(structure, tuple | list):
        for position, part in enumerate(structure):
            yield from _below(f"{path}[{position}]", part)
    elif isinstance(structure, dict):
        for key, part in structure.items():
            yield from _below(f"{path}.{key}", part)


class Called(torch.nn.Module):
    """A function as a module; a Function is applied. A copy of it calls the same function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function.apply if _is_function_class(function) else function
        if not callable(function):
            received = type(function).__name__
            raise TypeError(f"this is no function. Expected function(*inputs), or a module. Received {received}.")

    def __deepcopy__(self, memo: Any) -> "Called":
        """Give it itself: what the function holds is not ours."""
        return self

    def forward(self, *inputs: Any) -> Any:
        """Call the function."""
        return self.function(*inputs)


def as_module(function: Any) -> torch.nn.Module:
    """Take a module as it is, and make one of a function."""
    return function if isinstance(function, torch.nn.Module) else Called(function)


def _is_function_class(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, torch.autograd.Function)


def argument_names(function: Any) -> list[str]:
    """Give the names of the positional arguments of a module, a Function's ``apply``, or a function, if it tells."""
    if isinstance(function, Called):
        return argument_names(function.function)
    owner = getattr(function, "__self__", function)
    if _is_function_class(owner):
        with_context = owner.setup_context is torch.autograd.Function.setup_context
        return argument_names(owner.forward)[1 if with_context else 0 :]
    try:
        parameters = inspect.signature(getattr(function, "forward", function)).parameters.values()
    except (TypeError, ValueError):  # written in C
        return []
    return [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]


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
