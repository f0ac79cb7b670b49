"""Kept: a report and what a check knows as plain data, with both gradients entry by entry, and read back from them."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from checks.explain.entries import Entries
from checks.measure.layout import Array
from checks.report.findings import Count
from checks.report.report import GradientReport
from checks.training.proof import Proof
from trainer.storage.codec import BrokenError, Generator, from_plain, to_plain

LARGEST = 1 << 40  # of a side of a tensor


@dataclass(frozen=True)
class KeptEntries:
    """The entries of one tensor, the bytes of each array in base64; their bounds are not kept."""

    gradient: str
    numerical: str
    aside: str


@dataclass(frozen=True)
class KeptReport:
    """A report with its entries by tensor."""

    report: GradientReport
    entries: dict[str, KeptEntries]


def kept(report: GradientReport) -> dict[str, Any]:
    """Give a report as plain data, its entries included."""
    entries = {name: tensor.entries for name, tensor in report.tensors.items() if tensor.entries is not None}
    return {
        "report": to_plain(report.to_dict()),
        "entries": {
            name: {
                "gradient": _text(own.gradient, np.float64),
                "numerical": _text(own.numerical, np.float64),
                "aside": _text(own.aside, np.bool_),
            }
            for name, own in entries.items()
        },
    }


def restored(data: Any, entries: Mapping[str, Entries] | None = None) -> GradientReport:
    """Make a report from its data, or a `KeptReport`, and from both gradients by tensor; its `str` is the same.

    `BrokenError`, a ValueError, where the data are something else.
    """
    if isinstance(data, KeptReport):
        report, shapes = data.report, {name: tensor.shape for name, tensor in data.report.tensors.items()}
        entries = {name: _entries(one, shapes.get(name, ()), name) for name, one in data.entries.items()}
    else:
        report = from_plain(GradientReport, data, "report")
    own = entries or {}
    for name, tensor in report.tensors.items():
        _hold(all(size < LARGEST for size in tensor.shape), name, "a shape", tensor.shape)
        inside = all(place < size for place, size in zip(tensor.worst_index, tensor.shape, strict=False))
        fits = not tensor.worst_index or (len(tensor.worst_index) == len(tensor.shape) and inside)
        _hold(fits, name, f"an index within {tensor.shape}", tensor.worst_index)
        if name in own:
            shapes_there = {own[name].gradient.shape, own[name].numerical.shape, own[name].aside.shape}
            _hold(shapes_there == {tensor.shape}, name, f"entries of shape {tensor.shape}", shapes_there)
    _hold(0.0 < report.threshold < 1.0, "threshold", "a number between 0 and 1", report.threshold)
    tensors = {name: replace(tensor, entries=own.get(name)) for name, tensor in report.tensors.items()}
    return replace(report, tensors=tensors)


def _text(array: Array, dtype: Any) -> str:
    return base64.b64encode(np.asarray(array, dtype).tobytes()).decode()


def _entries(data: KeptEntries, shape: tuple[int, ...], name: str) -> Entries:
    arrays = []
    for text, dtype in ((data.gradient, np.float64), (data.numerical, np.float64), (data.aside, np.bool_)):
        try:
            arrays.append(np.frombuffer(base64.b64decode(text, validate=True), dtype).reshape(shape).copy())
        except ValueError as error:
            _hold(False, name, f"entries of shape {shape}", error)
    gradient, numerical, aside = arrays
    return Entries(gradient, numerical, np.full(shape, np.nan), aside)


def _hold(fits: bool, name: str, expected: str, received: Any) -> None:
    if not fits:
        raise BrokenError(f"The report of {name} is broken. Expected {expected}. Received {received}.")


@dataclass(frozen=True)
class AppliedState:
    """What a checkpoint keeps of the second question."""

    rng: Generator
    sizes: list[Count]
    complex_trust: bool | None


@dataclass(frozen=True)
class CheckState:
    """What a checkpoint keeps of a `GradientCheck`; version 0.1 had one question, and not the last report."""

    settings: str
    rng: Generator
    complex_confirmed: bool
    proof: Proof
    applied: AppliedState | None = field(default=None, metadata={"may_lack": True})
    report: KeptReport | None = field(default=None, metadata={"may_lack": True})
    faithful: list[str] = field(default_factory=list, metadata={"may_lack": True})
    n_kept: Count = field(default=0, metadata={"may_lack": True})
    violation: str | None = field(default=None, metadata={"may_lack": True})
