"""Torch networks of hand-written layers that compute in low precision, forward and back, and mistakes in them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from checks.check import check_gradients
from checks.judge.coarse import judge_coarsely
from checks.measure.objective import Objective
from checks.torch.twin import Twin
from checks.verdict import Verdict

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
#: Where the low precision is: in the layers of a module of float64, or in all of the module and its loss.
PLACES = ("inside", "whole")
ROWS = 64


@dataclass(frozen=True)
class Judged:
    """What was said of one tensor, and which errors, of scale or of one entry, a PASS excludes."""

    tensor: str
    verdict: str
    evidence: str
    evaluations: int  # of the loss and of the gradient, for this tensor alone
    scale: float
    entry: float = math.inf


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
#: Those that are planted where all computes in float32.
SMALL_MISTAKES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sign": MISTAKES["sign"],
    "zero": MISTAKES["zero"],
    "1 %": lambda gradient: 1.01 * gradient,
    "one entry 10 %": lambda gradient: _entry(gradient, 0.1),
    "0.1 %": lambda gradient: 1.001 * gradient,
}


def mistakes_of(dtype: str) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Give the mistakes that are planted in networks of this dtype."""
    return SMALL_MISTAKES if dtype == "float32" else MISTAKES


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
    "ReLU three times, cross-entropy of one": (
        (9, 11, 6, 4, 1),
        lambda _: torch.nn.ReLU(),
        torch.nn.BCEWithLogitsLoss(),
    ),
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
    first.mistake = mistakes_of(dtype).get(mistake)
    inputs, targets = torch.randn(ROWS, sizes[0]), torch.randn(ROWS, sizes[-1])
    if isinstance(loss, torch.nn.BCEWithLogitsLoss):
        targets = (targets > 0.5).float()
    if isinstance(loss, torch.nn.CrossEntropyLoss):
        targets = torch.randint(sizes[-1], (ROWS,))
    precision = DTYPES[dtype] if place == "whole" else torch.float64
    return Twin(torch.nn.Sequential(*layers[:-1]), loss, inputs, targets, own_mode=False, dtype=precision)


def findings(kind: str, dtype: str, place: str, seed: int, mistake: str = "") -> Iterator[Judged]:
    """Judge every tensor of a right network, or the one with the mistake: in float32 by the whole check, both ways."""
    of = twin(kind, dtype, place, seed, mistake)
    parameters = of.parameters()
    wanted = list(parameters)[: 1 if mistake else None]
    if dtype == "float32":
        for coverage in ("full", "directions"):
            report = check_gradients(
                of.loss, of.gradients, parameters, coverage=coverage, rng=np.random.default_rng(seed)
            )
            for found in (report.tensors[name] for name in wanted):
                scale = found.precision or found.difference if found.verdict is Verdict.PASS else math.inf
                yield Judged(f"{found.name}, {coverage}", str(found.verdict), found.evidence, 0, scale)
        return
    for name in wanted:
        coarse = judge_coarsely(Objective.of(of.loss, parameters, of.gradients), name, np.random.default_rng(seed))
        yield Judged(
            tensor=name,
            verdict=str(coarse.verdict),
            evidence=coarse.evidence,
            evaluations=coarse.evaluations,
            scale=coarse.excluded_scale,
            entry=coarse.excluded_entry,
        )
