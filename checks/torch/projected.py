"""The outputs of a function as one number, of which there is a gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from checks.check import Terms
from checks.torch.twin import Tensors, Twin, as_real, named_tensors

#: Outputs that are looked at one by one, too; of more, only the sum over all of them.
SEVERAL = 9


class Projected:
    """The sum of the products of all outputs and random cotangents, which are drawn at the first evaluation.

    Outputs that have no gradient then are left out.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._names: list[str] | None = None
        self._cotangents: dict[str, torch.Tensor] = {}
        self._sizes: dict[str, torch.Tensor] = {}
        self._only: str | None = None

    def __call__(self, outputs: Tensors, _: Tensors) -> torch.Tensor:
        """Give the sum, or the part of one output."""
        named = named_tensors((outputs,), ["output"])
        found = {name: tensor for name, tensor in named if tensor.is_floating_point() or tensor.is_complex()}
        if self._names is None:
            self._draw(found)
        if list(found) != self._names:
            raise ValueError(f"the outputs change. Expected {self._names}, as at first. Received {list(found)}.")
        chosen = [name for name in self._cotangents if self._only in (None, name)]
        return torch.stack([self._part(name, found[name]) for name in chosen]).sum()

    def _part(self, name: str, output: torch.Tensor) -> torch.Tensor:
        """Sum an output up. Beside a sum that happens to cancel, rounding would look too large for what it is."""
        products = self._cotangents[name] * as_real(output.to_dense()).double()
        if name not in self._sizes:
            self._sizes[name] = torch.copysign(torch.linalg.vector_norm(products), products.sum()).detach()
        return products.sum() + self._sizes[name]

    def _draw(self, outputs: dict[str, torch.Tensor]) -> None:
        """Draw what the precision of an output holds exactly, or its gradient would be that of other cotangents."""
        self._names = list(outputs)
        for name, tensor in outputs.items():
            if tensor.requires_grad:
                real = as_real(tensor.detach().to_dense())
                drawn = torch.from_numpy(np.asarray(self._rng.standard_normal(real.shape)))
                self._cotangents[name] = drawn.to(real).double()
        if not self._cotangents:
            expected = "Expected one that autograd has followed from an input"
            received = self._names or "no tensor of floating point"
            raise ValueError(f"no output has a gradient. {expected}. Received {received}.")

    def terms(self, twin: Twin) -> Terms | None:
        """Give the part of each of several outputs, so that a wrong one is named, and none is drowned by a larger."""

        def alone(name: str, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def of_one(parameters: Any) -> Any:
                self._only = name
                try:
                    return call(parameters)
                finally:
                    self._only = None

            return of_one

        terms = {name: (alone(name, twin.loss), alone(name, twin.gradients)) for name in self._cotangents}
        return terms if 1 < len(terms) <= SEVERAL else None

    def notes(self) -> list[str]:
        """Say what the check rests on, and what it leaves out."""
        n = sum(cotangent.numel() for cotangent in self._cotangents.values())
        notes = [f"one random combination of the {n} outputs stands for all of them"] if n > 1 else []
        left_out = [name for name in self._names or () if name not in self._cotangents]
        return notes + ([f"{', '.join(left_out)} without a gradient: not compared"] if left_out else [])
