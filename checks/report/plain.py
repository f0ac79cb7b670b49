"""Restoring: a report from the plain data that `GradientReport.to_dict` gave, after it was kept in a file."""

from collections.abc import Mapping
from typing import Any

from checks.explain.mistake import Kind, Mistake
from checks.report.report import Entries, GradientReport, TensorReport
from checks.verdict import Cause, Verdict


def restored(data: Mapping[str, Any], entries: Mapping[str, Entries] | None = None) -> GradientReport:
    """Make a report from its data; its `str` is that of the original.

    Parameters
    ----------
    data : mapping
        What `GradientReport.to_dict` gave. Numbers may be their text, such as ``"nan"``, for which JSON has no word.
    entries : mapping of str to Entries, optional
        Both gradients of the tensors by name, which are not in the data.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If that is not what the data are.
    """
    own = entries or {}
    if not data["tensors"]:
        raise ValueError("it has no tensors")
    return GradientReport(
        difference=float(data["difference"]),
        plain_difference=float(data["plain_difference"]),
        threshold=float(data["threshold"]),
        tensors={str(name): _tensor(str(name), part, own.get(name)) for name, part in data["tensors"].items()},
        coverage=str(data["coverage"]),
        derivative=str(data["derivative"]),
        loss=float(data["loss"]),
        step=float(data["step"]),
        evaluations=int(data["evaluations"]),
        seconds=float(data["seconds"]),
        terms={str(name): restored(term) for name, term in data.get("terms", {}).items()},
        notes=tuple(map(str, data["notes"])),
    )


def _tensor(name: str, data: Mapping[str, Any], entries: Entries | None) -> TensorReport:
    mistake = data.get("mistake")
    return TensorReport(
        name=name,
        shape=tuple(map(int, data["shape"])),
        verdict=Verdict(data["verdict"]),
        cause=Cause(data["cause"]),
        difference=float(data["difference"]),
        gradient_norm=float(data["gradient_norm"]),
        worst_index=tuple(map(int, data["worst_index"])),
        gradient=float(data["gradient"]),
        numerical=float(data["numerical"]),
        kinks=int(data["kinks"]),
        untouched=int(data["untouched"]),
        excluded=float(data["excluded"]),
        confidence=float(data["confidence"]),
        evidence=str(data["evidence"]),
        mistake=None if mistake is None else _mistake(mistake),
        entries=entries,
    )


def _mistake(data: Mapping[str, Any]) -> Mistake:
    factor = data["factor"]
    return Mistake(Kind(data["kind"]), str(data["sentence"]), None if factor is None else float(factor))
