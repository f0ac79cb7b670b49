"""Record: what one run left behind, as data that a page or a picture is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checks import GradientReport, Verdict
from trainer.network.parameters import Array

COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")


@dataclass(frozen=True)
class Check:
    """One gradient check, as the history has it; what it lacks is NaN or empty."""

    iteration: int
    loss: float
    difference: float
    threshold: float
    rounding: float
    verdict: Verdict
    cause: str
    worst: str


@dataclass(frozen=True)
class Curve:
    """How well fraud is found among the test rows, at every cut; see `experiments.runs.curve`.

    Attributes
    ----------
    recall, precision : ndarray of shape (n_points,)
        Of the cuts, the strictest last.
    share : float
        Of fraud among the test rows: the precision of guessing.
    cut : float
        The probability from which on a payment is called fraud.
    cut_recall, cut_precision : float
        At that cut.
    confusion : dict of str to int
        The `COUNTS` at that cut.
    """

    recall: Array
    precision: Array
    share: float
    cut: float
    cut_recall: float
    cut_precision: float
    confusion: dict[str, int]


@dataclass(frozen=True)
class Record:
    """What a run left behind; None or empty where a run was cut short.

    Attributes
    ----------
    settings : dict
        The options, and ``"versions"``.
    losses : ndarray of shape (n_iterations, 2)
        Iteration and loss of every update.
    epochs : ndarray of shape (n_epochs, 3)
        Iteration, loss over the epoch, and validation loss (NaN without).
    checks : list of Check
        In the order they ran.
    outcome : str
        That of the metrics, or ``"unfinished"``.
    metrics : dict or None
    proof : str or None
        The paragraph.
    report : GradientReport or None
        The last check, which after a halt is the failing one.
    curve : Curve or None
    """

    settings: Mapping[str, Any]
    losses: Array
    epochs: Array
    checks: list[Check] = field(default_factory=list)
    outcome: str = "unfinished"
    metrics: Mapping[str, Any] | None = None
    proof: str | None = None
    report: GradientReport | None = None
    curve: Curve | None = None
