"""The curve of precision against recall over all cuts, and the confusion at one of them, as plain data."""

from typing import Any

import numpy as np

from experiments.runs.results import PRECISION
from trainer.network.parameters import Array

POINTS = 500  # of the curve that are kept; more than a picture shows


def curve(probabilities: Array, targets: Array) -> dict[str, Any]:
    """Measure how many frauds each cut finds, and how many of its alarms are right.

    Parameters
    ----------
    probabilities, targets : ndarray of shape (n_rows,)
        Of fraud, finite; 1 for fraud and 0 for none, both present.

    Returns
    -------
    dict
        What `experiments.runs.record.Curve` holds. The cut is the one with the largest recall at a precision of at least
        `PRECISION`; where there is none, infinity: nothing is called fraud.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, cuts = precision_recall_curve(targets, probabilities)
    good = np.flatnonzero(precision >= PRECISION)
    most = good[recall[good] == recall[good].max()]
    chosen = int(most[np.argmax(precision[most])])
    cut = float(cuts[chosen]) if chosen < cuts.size else float("inf")
    called, fraud = probabilities >= cut, targets == 1.0
    along = np.cumsum(np.abs(np.diff(recall, prepend=1.0)) + np.abs(np.diff(precision, prepend=precision[0])))
    shown = np.unique(np.searchsorted(along, np.linspace(0.0, along[-1], POINTS)))  # evenly along the curve
    return {
        "recall": recall[shown],
        "precision": precision[shown],
        "share": float(fraud.mean()),
        "cut": cut,
        "cut_recall": float(recall[chosen]),
        "cut_precision": float(precision[chosen]),
        "confusion": {
            "true_positives": int(np.sum(called & fraud)),
            "false_positives": int(np.sum(called & ~fraud)),
            "false_negatives": int(np.sum(~called & fraud)),
            "true_negatives": int(np.sum(~called & ~fraud)),
        },
    }
