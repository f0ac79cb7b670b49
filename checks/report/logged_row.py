"""The fields that one check adds to a row of a history."""

from typing import Any

from checks.judge.power import rounding_floor
from checks.report.report import GradientReport


def logged_row(report: GradientReport) -> dict[str, Any]:
    """Give the fields of one check, as plain data."""
    row = {
        "difference": report.difference,
        "plain_difference": report.plain_difference,
        "threshold": report.threshold,
        "verdict": report.verdict.value,
        "cause": report.cause.value,
        "parameters_checked": report.n_parameters,
        "kinks": report.kinks,
        "rounding": rounding_floor(report),
        "evaluations": report.evaluations,
        "milliseconds": 1e3 * report.seconds,
    }
    if report.culprits:
        worst = report.culprits[0]
        row |= {"worst": worst.label, "gradient": worst.gradient, "numerical": worst.numerical, "ratio": worst.ratio}
    return row
