"""Torch networks of hand-written layers that compute in low precision, forward and back, and mistakes in them."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from checks.judge.coarse import CoarseFinding, judge_coarsely
from checks.measure.objective import Objective
from checks.torch.twin import Twin

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
#: Where the low precision is: in the layers of a module of float64, or in all of the module and its loss.
PLACES = ("inside", "whole")
ROWS = 64


def _entry(gradient: torch.Tensor, share: float) -> torch.Tensor:
    """Put the largest entry off by a share of itself."""
    gradient = gradient.clone()
    gradient.view(-1)[gradient.abs().argmax()] *= 1.0 + share
    return gradient


MISTAKES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "10 %": lambda gradient: 1.1 * gradient,
    "×2": lambda gradient: 2.0 * gradient,
    "sign": lambda gradient: -gradient,
    "zero": lambda gradient: 0.0 * gradient,
    "3 %": lambda gradient: 1.03 * gradient,
    "one entry ×2": lambda gradient: _entry(gradient, 1.0),
    "one entry 20 %": lambda gradient: _entry(gradient, 0.2),
}


class _Low(torch.autograd.Function):  # type: ignore[misc]
    """``x Wᵀ + b`` in low precision, with its backward pass by hand; the mistake is in that of W."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, dtype: Any, mistake: Any) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dtype, ctx.mistake = dtype, mistake
        return (x.to(dtype) @ weight.to(dtype).T + bias.to(dtype)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *flows: Any) -> tuple[Any, ...]:
        x, weight = (tensor.to(ctx.dtype) for tensor in ctx.saved_tensors)
        flow, dtype = flows[0].to(ctx.dtype), flows[0].dtype
        of_weight = (flow.T @ x).to(dtype)
        if ctx.mistake is not None:
            of_weight = ctx.mistake(of_weight)
        return (flow @ weight).to(dtype), of_weight, flow.sum(0).to(dtype), None, None


class _Layer(torch.nn.Linear):  # type: ignore[misc]
    dtype: torch.dtype
    mistake: Callable[[torch.Tensor], torch.Tensor] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Low.apply(x, self.weight, self.bias, self.dtype, self.mistake)


KINDS: dict[str, tuple[tuple[int, ...], Callable[[int], torch.nn.Module], torch.nn.Module]] = {
    "tanh, cross-entropy of one": ((12, 8, 1), lambda _: torch.nn.Tanh(), torch.nn.BCEWithLogitsLoss()),
    "ReLU, softmax": ((9, 7, 3), lambda _: torch.nn.ReLU(), torch.nn.CrossEntropyLoss()),
    "layer norm, squares": ((7, 11, 5, 2), torch.nn.LayerNorm, torch.nn.MSELoss()),
    "one layer, squares": ((5, 3), lambda _: torch.nn.Identity(), torch.nn.MSELoss()),
}


def twin(kind: str, dtype: str, place: str, seed: int, mistake: str = "") -> Twin:
    """Give a network of this kind on rows of its own, with a mistake in its first layer, if any."""
    torch.manual_seed(seed)
    sizes, between, loss = KINDS[kind]
    layers: list[torch.nn.Module] = []
    for n_inputs, n_units in pairwise(sizes):
        layer = _Layer(n_inputs, n_units)
        layer.dtype = DTYPES[dtype]
        layers += [layer, between(n_units)]
    first: Any = layers[0]
    first.mistake = MISTAKES.get(mistake)
    inputs, targets = torch.randn(ROWS, sizes[0]), torch.randn(ROWS, sizes[-1])
    if isinstance(loss, torch.nn.BCEWithLogitsLoss):
        targets = (targets > 0.5).float()
    if isinstance(loss, torch.nn.CrossEntropyLoss):
        targets = torch.randint(sizes[-1], (ROWS,))
    precision = DTYPES[dtype] if place == "whole" else torch.float64
    return Twin(torch.nn.Sequential(*layers[:-1]), loss, inputs, targets, own_mode=False, dtype=precision)


def findings(kind: str, dtype: str, place: str, seed: int, mistake: str = "") -> Iterator[tuple[str, CoarseFinding]]:
    """Judge every tensor of a right network, or the one with the mistake."""
    of = twin(kind, dtype, place, seed, mistake)
    parameters = of.parameters()
    for name in list(parameters)[: 1 if mistake else None]:
        objective = Objective.of(of.loss, parameters, of.gradients)
        yield name, judge_coarsely(objective, name, np.random.default_rng(seed))
