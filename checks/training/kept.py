"""Kept: a report read back from the plain data of `GradientReport.to_dict`, after they were kept in a file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from checks.explain.entries import Entries
from checks.report.report import GradientReport
from trainer.storage.codec import from_plain


def restored(data: Any, entries: Mapping[str, Entries] | None = None) -> GradientReport:
    """Make a report from its data, and from both gradients by tensor, which are not in these; its `str` is the same.

    `BrokenError`, a ValueError, where the data are something else.
    """
    report: GradientReport = from_plain(GradientReport, data, "report")
    own = entries or {}
    tensors = {name: replace(tensor, entries=own.get(name)) for name, tensor in report.tensors.items()}
    return replace(report, tensors=tensors)
