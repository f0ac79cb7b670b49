"""What is said of the test rows is what independent formulas give, and the cut does not come from them."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from experiments.model.threshold import Rows, Threshold
from experiments.runs.judging import POINTS, Span, intervals, judged, worse_of_late

N = 397


def rows_of(seed: int, n: int = N, share: float = 0.3) -> Rows:
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < share).astype(float)
    return Rows(np.round(np.clip(0.4 * targets + 0.6 * rng.random(n), 0.0, 1.0), 2), targets)


@pytest.mark.parametrize("seed", range(3))
def test_scores_and_counts_at_the_cut_are_those_of_scikit_learn_and_of_counting(seed: int) -> None:
    rows = rows_of(seed)
    scores, curve = judged(rows, Threshold(0.55, "a test"), rows.probabilities, {})
    assert scores is not None
    assert curve is not None
    assert scores.average_precision == average_precision_score(rows.targets, rows.probabilities)
    assert scores.roc_auc == roc_auc_score(rows.targets, rows.probabilities)
    assert scores.brier == scores.brier_uncorrected == brier_score_loss(rows.targets, rows.probabilities)
    called = rows.probabilities >= 0.55
    right, wrong = int(rows.targets[called].sum()), int((1 - rows.targets[called]).sum())
    counts = curve.confusion
    assert (counts.true_positives, counts.false_positives, scores.alarms) == (right, wrong, right + wrong)
    assert counts.false_negatives + counts.true_negatives == N - right - wrong
    assert scores.recall == pytest.approx(right / rows.targets.sum())
    assert scores.precision == pytest.approx(right / (right + wrong))


def test_where_nothing_is_called_fraud_there_is_no_precision() -> None:
    scores, curve = judged(rows_of(0), Threshold(np.inf, "a test"), rows_of(0).probabilities, {})
    assert (scores.recall, scores.precision, scores.alarms, curve.cut_precision) == (0.0, None, 0, None)
    assert "precision" not in scores.intervals


def test_a_cost_is_counted_and_held_against_doing_nothing() -> None:
    rows = Rows(np.array([0.9, 0.8, 0.3, 0.2, 0.1]), np.array([1.0, 0, 1, 0, 0]), np.array([50.0, 1, 7, 1, 1]), 4.0)
    scores, _ = judged(rows, Threshold(0.5, "the lowest cost"), rows.probabilities, {})
    assert (scores.cost, scores.cost_of_nothing) == (7.0 + 4.0, 57.0)


def test_an_interval_is_as_wide_as_samples_from_the_same_source_spread() -> None:
    """The standard deviation of a percentile interval's centre, seen over tables that were drawn anew."""
    found = [
        average_precision_score(rows.targets, rows.probabilities) for rows in (rows_of(seed) for seed in range(200))
    ]
    widths = [
        np.diff(intervals(rows_of(seed), 0.5, np.random.default_rng(0))["average_precision"])[0] for seed in (1, 2)
    ]
    assert np.mean(widths) == pytest.approx(4.0 * np.std(found), rel=0.3)


def test_an_interval_holds_its_score_and_is_the_same_for_the_same_seed() -> None:
    rows = rows_of(5)
    scores, _ = judged(rows, Threshold(0.5, ""), rows.probabilities, {}, seed=7)
    again, _ = judged(rows, Threshold(0.5, ""), rows.probabilities, {}, seed=7)
    assert scores == again
    for name, (low, high) in scores.intervals.items():
        assert low < getattr(scores, name) < high


def test_the_calibration_curve_counts_every_row_once() -> None:
    rows = rows_of(1)
    _, curve = judged(rows, Threshold(0.5, ""), np.sqrt(rows.probabilities), {})
    for bins in (curve.calibration, curve.uncorrected):
        assert sum(part.rows for part in bins) == N
        assert sum(part.share * part.rows for part in bins) == pytest.approx(rows.targets.sum())
    own = (rows.probabilities >= 0.4) & (rows.probabilities < 0.5)
    assert curve.calibration[4].mean == pytest.approx(rows.probabilities[own].mean())


def test_a_long_curve_is_thinned_and_keeps_its_corners() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random(20_000) < 0.02).astype(float)
    rows = Rows(1.0 / (1.0 + np.exp(-3.0 * targets - rng.standard_normal(20_000))), targets)
    _, found = judged(rows, Threshold(0.5, ""), rows.probabilities, {})
    assert 100 < len(found.recall) <= POINTS
    assert (found.recall[0], found.recall[-1]) == (1.0, 0.0)
    assert np.max(-np.diff(found.recall)) < 0.02


def test_last_weeks_that_are_worse_are_named_and_chance_is_not() -> None:
    good = [Span(f"week {number}", 1_000, 50, 40, 44) for number in range(6)]
    assert worse_of_late(good) is None
    assert worse_of_late([*good[:4], Span("week 4", 1_000, 50, 37, 42), good[5]]) is None
    words = worse_of_late([*good, Span("week 6", 1_000, 50, 20, 22), Span("week 7", 1_000, 50, 22, 25)])
    assert words == "recall 0.42 from week 6 on, 0.80 before"
    assert worse_of_late(good[:1]) is None
