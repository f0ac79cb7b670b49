"""Judging: how well fraud is found among rows that neither training nor threshold has seen, and how sure that is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.model.threshold import Array, Rows, Threshold

POINTS = 500  # of the curve that are kept; more than a picture shows
BINS = 10  # of the calibration curve
CONFIDENCE = 0.95
# Samples that an interval is made of, and row by row how many numbers may be drawn for them: a second's work.
SAMPLES, LEAST_SAMPLES, DRAWN = 1_000, 100, 2e7

Interval = tuple[float, float]


@dataclass(frozen=True)
class Scores:
    """How well fraud is found among the test rows; recall and precision are those of the cut.

    The intervals hold 95 % of what samples of these rows give, by the names of the scores.
    """

    average_precision: float
    roc_auc: float
    recall: float
    precision: float | None  # none where nothing is called fraud
    brier: float  # mean squared distance of the probabilities from what the rows turned out to be
    brier_uncorrected: float  # before `positive_weight` was put right
    alarms: int
    cost: float | None  # where one was named, and what it would be if nothing was called fraud
    cost_of_nothing: float | None
    intervals: dict[str, Interval] = field(default_factory=dict)
    worse_of_late: str | None = None  # in words, where rows have a time and the last ones are found worse


@dataclass(frozen=True)
class Confusion:
    """How many rows are fraud, and how many were called so."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True)
class Bin:
    """Rows of about the same probability."""

    mean: float  # of the probabilities
    share: float  # of fraud
    rows: int


@dataclass(frozen=True)
class Span:
    """The test rows of one week, or of one span of another time."""

    name: str
    rows: int
    frauds: int
    found: int  # frauds that were called so
    alarms: int

    @property
    def recall(self) -> float | None:
        """Share of the frauds that were found; None without any."""
        return self.found / self.frauds if self.frauds else None

    @property
    def precision(self) -> float | None:
        """Share of the alarms that were right; None without any."""
        return self.found / self.alarms if self.alarms else None


@dataclass(frozen=True)
class Curve:
    """What `curve.json` holds: recall and precision at every cut, the strictest last, and what the chosen cut gives."""

    recall: list[float]
    precision: list[float]
    share: float  # of fraud: the precision of guessing
    cut: float  # the probability from which on a payment is called fraud
    rule: str  # what it was chosen for
    cut_recall: float
    cut_precision: float | None
    confusion: Confusion
    calibration: list[Bin]
    uncorrected: list[Bin]  # the same before `positive_weight` was put right
    spans: list[Span] = field(default_factory=list)


def judged(
    rows: Rows, threshold: Threshold, uncorrected: Array, spans: Mapping[str, NDArray[np.bool_]], seed: int = 0
) -> tuple[Scores, Curve] | tuple[None, None]:
    """Judge the cut that was chosen elsewhere, or give None where the probabilities are not finite.

    `uncorrected` are the probabilities before `positive_weight` was put right; `spans` say which rows are of which.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score

    targets, found = rows.targets, rows.probabilities
    if not np.isfinite(found).all():
        return None, None
    called, fraud = found >= threshold.cut, targets == 1.0
    right, alarms = int(np.sum(called & fraud)), int(np.sum(called))
    cut_recall, cut_precision = right / int(fraud.sum()), right / alarms if alarms else None
    parts = [
        Span(name, int(of.sum()), *(int(np.sum(of & some)) for some in (fraud, fraud & called, called)))
        for name, of in spans.items()
    ]
    priced = bool(np.any(rows.missed) or np.any(rows.alarm))
    scores = Scores(
        average_precision=float(average_precision_score(targets, found)),
        roc_auc=float(roc_auc_score(targets, found)),
        recall=cut_recall,
        precision=cut_precision,
        brier=float(brier_score_loss(targets, found)),
        brier_uncorrected=float(brier_score_loss(targets, uncorrected)),
        alarms=alarms,
        cost=rows.cost(called) if priced else None,
        cost_of_nothing=rows.cost(np.zeros_like(called)) if priced else None,
        intervals=intervals(rows, threshold.cut, np.random.default_rng(seed)),
        worse_of_late=worse_of_late(parts),
    )
    precision, recall, _ = precision_recall_curve(targets, found)
    along = np.cumsum(np.abs(np.diff(recall, prepend=1.0)) + np.abs(np.diff(precision, prepend=precision[0])))
    shown = np.unique(np.searchsorted(along, np.linspace(0.0, along[-1], POINTS)))  # evenly along the curve
    curve = Curve(
        recall=recall[shown].tolist(),
        precision=precision[shown].tolist(),
        share=float(fraud.mean()),
        cut=threshold.cut,
        rule=threshold.rule,
        cut_recall=cut_recall,
        cut_precision=cut_precision,
        confusion=Confusion(right, alarms - right, int(fraud.sum()) - right, int(np.sum(~called & ~fraud))),
        calibration=list(_calibration(found, targets)),
        uncorrected=list(_calibration(uncorrected, targets)),
        spans=parts,
    )
    return scores, curve


def average_precision(found: NDArray[np.integer], alarms: NDArray[np.integer]) -> float:
    """Give the average precision of all cuts, from the strictest on: of the frauds found, and of the alarms.

    The same as scikit-learn's, in a quarter of the time for some thousand rows: what they are is known here.
    """
    gained = np.diff(found, prepend=0)
    return float(np.sum(gained * found / np.maximum(alarms, 1)) / found[-1])


def cuts(probabilities: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give the order from the most probable on, and the place in it of the last row above each cut."""
    order = np.argsort(-probabilities, kind="stable")
    return order, np.flatnonzero(np.append(np.diff(probabilities[order]) != 0.0, True))


def intervals(rows: Rows, cut: float, rng: np.random.Generator) -> dict[str, Interval]:
    """Say between what the scores lie in 95 % of samples, drawn with replacement, of as many rows of each class.

    The percentile bootstrap (Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13).
    """
    order, ends = cuts(rows.probabilities)
    probabilities, fraud = rows.probabilities[order], rows.targets[order] == 1.0
    n_called = int(np.count_nonzero(probabilities >= cut))
    classes = [np.flatnonzero(fraud), np.flatnonzero(~fraud)]
    found: dict[str, list[float]] = {"average_precision": [], "recall": [], "precision": []}
    for _ in range(int(np.clip(DRAWN / len(order), LEAST_SAMPLES, SAMPLES))):
        drawn = np.concatenate([rng.choice(own, own.size) for own in classes])
        times = np.bincount(drawn, minlength=len(order))  # that each row is in the sample
        right, alarms = np.cumsum(times * fraud), np.cumsum(times)
        found["average_precision"].append(average_precision(right[ends], alarms[ends]))
        if n_called:
            found["recall"].append(right[n_called - 1] / right[-1])
            if alarms[n_called - 1]:
                found["precision"].append(right[n_called - 1] / alarms[n_called - 1])
    sides = [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0]
    ranges = {name: np.quantile(values, sides) for name, values in found.items() if values}
    return {name: (float(low), float(high)) for name, (low, high) in ranges.items()}


def _calibration(probabilities: Array, targets: Array) -> Iterator[Bin]:
    """Give the bins of equal width that hold rows."""
    places = np.minimum((probabilities * BINS).astype(np.intp), BINS - 1)
    for place in np.unique(places):
        own = places == place
        yield Bin(float(probabilities[own].mean()), float(targets[own].mean()), int(own.sum()))


def worse_of_late(spans: list[Span]) -> str | None:
    """Say that the last third of the spans is worse than what was before, where chance does not explain it."""
    n_late = max(1, len(spans) // 3)
    early, late = spans[:-n_late], spans[-n_late:]
    if not early:
        return None
    for name, part, whole in (("recall", "found", "frauds"), ("precision", "found", "alarms")):
        (a, n), (b, m) = [(_sum(some, part), _sum(some, whole)) for some in (early, late)]
        if n and m and a / n - b / m > 2.0 * (_variance(a, n) + _variance(b, m)) ** 0.5:
            return f"{name} {b / m:.2f} from {late[0].name} on, {a / n:.2f} before"
    return None


def _sum(spans: list[Span], name: str) -> int:
    return sum(getattr(span, name) for span in spans)


def _variance(successes: int, tries: int) -> float:
    """Give the variance of a share, as if one more success and failure had been seen (Agresti and Coull, 1998)."""
    share: Any = (successes + 2) / (tries + 4)
    return float(share * (1.0 - share) / (tries + 4))
