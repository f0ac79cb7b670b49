"""A report as plain data for JSON; `trainer.storage.codec` reads it back, as the annotations of the findings say."""

from dataclasses import asdict
from typing import Any

from checks.report.findings import DEFAULTS, Findings, TensorReport

SCALARS = (
    *("difference", "plain_difference", "threshold", "coverage", "derivative", "step", "loss", "n_parameters"),
    *("kinks", "evaluations", "seconds"),
)


def to_dict(report: Findings) -> dict[str, Any]:
    """Give everything but the single entries, and what follows from it: verdict, cause, culprits, counts."""
    data: dict[str, Any] = {"verdict": report.verdict.value, "cause": report.cause.value}
    data |= {name: getattr(report, name) for name in SCALARS}
    data["notes"] = list(report.notes)
    data["culprits"] = [tensor.name for tensor in report.culprits]
    data["tensors"] = {name: _tensor(tensor) for name, tensor in report.tensors.items()}
    if report.applied is not None:
        data["applied"] = asdict(report.applied) | {
            "verdict": report.applied.verdict.value,
            "cause": report.applied.cause.value,
        }
    if report.terms:
        data["terms"] = {name: to_dict(term) for name, term in report.terms.items()}
    return data


def _tensor(tensor: TensorReport) -> dict[str, Any]:
    data = {name: getattr(tensor, name) for name in DEFAULTS if name not in ("mistake", "entries")}
    data |= {"shape": list(tensor.shape), "worst_index": list(tensor.worst_index)}
    data |= {"verdict": tensor.verdict.value, "cause": tensor.cause.value, "ratio": tensor.ratio}
    if tensor.mistake is not None:
        data["mistake"] = asdict(tensor.mistake) | {"kind": tensor.mistake.kind.value}
    return data
