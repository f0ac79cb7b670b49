"""Operators: torch's own operator database, made scalar by a fixed random cotangent.

The samples are those that torch's suite feeds to its gradient tests (``op_db`` and ``sample_inputs``), in float64, with
the wrappers which that suite uses; the gradient is torch's autograd.
"""

import random
import sys
import types
import unittest
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from experiments.foreign.sample import MissingExtraError, Sample, Tensors, Unit, real, seeded
from experiments.screen import silent

PART = "operators"
LARGEST = 200  # elements in the differentiable inputs
SAMPLES = 3  # of one operator at most, from the first on that is small enough
QUICK = 24  # the quick campaign takes every so many-th operator
SUITE = ("TestBwdGradients", "test_fn_grad", "cpu")  # the test of torch's suite that compares these gradients


def units(seed: int, *, quick: bool) -> list[Unit]:
    """Give a unit for every operator that has a gradient in float64."""
    keys = list(_database())
    return [Unit(PART, key, seed, quick) for key in (keys[::QUICK] if quick else keys)]


def samples(unit: Unit) -> Iterator[Sample]:
    """Give the first samples of an operator that are small enough."""
    import torch

    op, taken = _database()[unit.key], 0
    drawn = seeded(unit.seed, unit.key)
    random.seed(int(drawn.integers(2**31)))  # both are what sample_inputs draws from
    torch.manual_seed(int(drawn.integers(2**31)))
    inputs = op.sample_inputs("cpu", torch.float64, requires_grad=True)
    for number, drawn_input in enumerate(inputs):
        call = Call(op, drawn_input)
        if not call.places or not 0 < call.size <= LARGEST or not call.is_dense:
            continue
        sample = _sample(call, f"{unit.key} #{number}", seeded(unit.seed, f"{unit.key} {number}"))
        if sample is not None:
            yield sample
            taken += 1
        if taken == SAMPLES or (unit.quick and taken):
            return


class Call:
    """One call of an operator as a function of its differentiable inputs."""

    def __init__(self, op: Any, sample: Any) -> None:
        import torch
        from torch.utils import _pytree as pytree

        self.op, self._sample, self._pytree = op, sample, pytree
        self._leaves, self._spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
        self.places = [
            place
            for place, leaf in enumerate(self._leaves)
            if isinstance(leaf, torch.Tensor) and leaf.requires_grad and leaf.dtype == torch.float64
        ]
        self.size = sum(self._leaves[place].numel() for place in self.places)
        self.is_dense = all(
            leaf.layout == torch.strided and not leaf.is_nested
            for leaf in self._leaves
            if isinstance(leaf, torch.Tensor)
        )

    @property
    def point(self) -> Tensors:
        """The differentiable inputs as arrays."""
        return {f"x{place}": self._leaves[place].detach().numpy().copy() for place in self.places}

    def outputs(self, *tensors: Any) -> tuple[Any, ...]:
        """Call the operator as torch's suite does; give what can be differentiated."""
        import torch

        leaves = list(self._leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        argument, args, kwargs = self._pytree.tree_unflatten(leaves, self._spec)
        result = self.op.gradcheck_wrapper(self.op.get_op(), argument, *args, **kwargs)
        if self._sample.output_process_fn_grad is not None:
            result = self._sample.output_process_fn_grad(result)
        kept = self._pytree.tree_leaves(result)
        return tuple(
            leaf for leaf in kept if isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_complex())
        )

    def leaves(self, tensors: Tensors) -> list[Any]:
        """Give arrays as torch's tensors which know their gradient."""
        import torch

        return [torch.from_numpy(tensors[f"x{place}"]).requires_grad_() for place in self.places]


def _sample(call: Call, name: str, rng: np.random.Generator) -> Sample | None:
    """Make a call scalar; None where nothing that it gives can be differentiated."""
    import torch

    point = call.point
    try:
        outputs = call.outputs(*call.leaves(point))
    except Exception as error:  # some look at how their inputs lie in memory, which arrays do not keep
        return Sample(PART, name, partial(_raise, error), partial(_raise, error), point)
    followed = [place for place, output in enumerate(outputs) if output.requires_grad and output.numel()]
    if not followed or any(output.layout != torch.strided for output in outputs):
        return None

    def parts(*tensors: Any) -> list[Any]:
        given = call.outputs(*tensors)
        chosen = [given[place] for place in followed]
        return [(torch.view_as_real(one.resolve_conj()) if one.is_complex() else one).double() for one in chosen]

    with torch.no_grad():
        cotangents = [torch.from_numpy(rng.standard_normal(tuple(one.shape))) for one in parts(*call.leaves(point))]

    def scalar(weights: list[Any], *tensors: Any) -> Any:
        return sum((weight * one).sum() for weight, one in zip(weights, parts(*tensors), strict=True))

    def loss(tensors: Tensors) -> float:
        with torch.no_grad():
            return float(scalar(cotangents, *(torch.from_numpy(tensors[name]) for name in point)))

    def gradients(weights: list[Any], tensors: Tensors) -> Tensors:
        leaves = call.leaves(tensors)
        with torch.enable_grad():  # torch's own checker asks for it within a backward pass
            found = torch.autograd.grad(scalar(weights, *leaves), leaves, allow_unused=True)
        return {
            name: np.zeros(tensors[name].shape) if one is None else one.resolve_conj().numpy().copy()
            for name, one in zip(point, found, strict=True)
        }

    def natively(*, fast_mode: bool) -> bool:
        return bool(
            torch.autograd.gradcheck(
                partial(scalar, cotangents), tuple(call.leaves(call.point)), fast_mode=fast_mode, raise_exception=False
            )
        )

    def dropped() -> list[Any]:
        fewer = [weight.clone() for weight in cotangents]
        fewer[-1].view(-1)[-1] = 0.0
        return fewer

    return Sample(
        PART,
        name,
        real(loss),
        partial(gradients, cotangents),
        point,
        lacking=partial(gradients, dropped()) if sum(weight.numel() for weight in cotangents) > 1 else None,
        native={"torch slow": partial(natively, fast_mode=False), "torch fast": partial(natively, fast_mode=True)},
        refused=partial(_refused, call),
    )


def _raise(error: Exception, _: Tensors) -> Any:
    raise error


def _refused(call: Call) -> str:
    """Say why torch's own suite does not hold this gradient to be right; empty where it does."""
    import torch

    if any(each.is_active(*SUITE, torch.float64, {}) for each in call.op.skips):
        return "torch's own suite leaves the operator out"
    try:
        torch.autograd.gradcheck(call.outputs, tuple(call.leaves(call.point)), nondet_tol=call.op.gradcheck_nondet_tol)
    except Exception as error:  # whatever a checker of somebody else raises is its answer
        return f"torch's own test refuses it: {str(error).strip().splitlines()[0]}"
    return ""


@cache
def _database() -> dict[str, Any]:
    """Load the database: the operators that have a gradient in float64, by name."""
    if find_spec("torch") is None:
        raise MissingExtraError("torch is not installed. Expected the extra: pip install 'backproof[peers]'.")
    if find_spec("expecttest") is None:  # the base class of torch's tests, of which the database needs the name alone
        sys.modules["expecttest"] = stand_in = types.ModuleType("expecttest")
        stand_in.TestCase = unittest.TestCase  # type: ignore[attr-defined]
    before, sys.argv = sys.argv, sys.argv[:1]  # which torch's test modules read
    try:
        import torch

        with silent("torch.utils.cpp_extension"):
            from torch.testing._internal.common_methods_invocations import op_db
    finally:
        sys.argv = before
    found: Callable[[Any], bool] = lambda op: op.supports_autograd and op.supports_dtype(torch.float64, "cpu")  # noqa: E731
    names = ((op.name + (f".{op.variant_test_name}" if op.variant_test_name else ""), op) for op in op_db if found(op))
    return dict(names)
