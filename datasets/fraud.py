"""A synthetic table of card payments, a few of which are fraud.

It looks like the anonymised card tables that banks publish: numbered columns without a name or a unit, and
far fewer frauds than honest payments. Nothing in it was ever a real payment.
"""

import math

import numpy as np

from datasets.data import Array, FraudData, Split
from datasets.splits import ROWS_PER_CLASS, at_random

MAX_SEED = 2**32 - 1  # what numpy's legacy generator, which scikit-learn draws from, accepts
CLUSTERS_PER_CLASS = 3  # several kinds of fraud: a straight line through the table is not enough
# Half the spacing of the clusters, before scaling. Average precision on the test rows at the defaults, seeds
# 0 to 3: 0.70 to 0.96 for a 30-16-8-1 network after 470 updates (Adam 5e-3, 10 epochs of batches of 256, two
# initialisations each), 0.33 to 0.86 for a logistic regression, 0.02 for guessing.
CLASS_SEPARATION = 1.8


def make_fraud(n_samples: int = 20_000, n_features: int = 30, *, fraud_rate: float = 0.02, seed: int = 0) -> FraudData:
    """Make a table of payments, split it, and standardise it.

    Parameters
    ----------
    n_samples : int, default=20_000
        Rows in all three parts together.
    n_features : int, default=30
        Columns, at least 2. Half of them tell frauds from honest payments, a third are linear mixtures of
        those, and the rest are noise; the columns are shuffled.
    fraud_rate : float, default=0.02
        Share of the rows that are fraud, strictly between 0 and 1: ``round(n_samples * fraud_rate)`` rows.
    seed : int, default=0
        Same seed, same table, to the last bit on the same machine with any number of threads. From 0 to 2**32 - 1.

    Returns
    -------
    FraudData
        `train`, `validation` and `test`, each with `inputs` and `targets`.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range, or if there are too few rows for each part to
        hold a row of each class: ``n_samples * min(fraud_rate, 1 - fraud_rate)`` must be at least 5.

    Notes
    -----
    Column ``Vj``, j = 1 ... n_features, stands for what the numbered columns of a published card table stand
    for: a score computed from a payment whose meaning is kept secret. It has no unit. It is standardised as
    ``(raw - mean) / standard deviation``, both taken over the training rows only, so that nothing about the
    validation and test rows reaches the training.

    No label is flipped: the difficulty comes from clusters that overlap. Each class is a mixture of three
    Gaussian clusters (two below six columns, which have no room for more).

    References
    ----------
    I. Guyon, "Design of experiments for the NIPS 2003 variable selection benchmark", 2003, which
    `sklearn.datasets.make_classification` implements.
    """
    from sklearn.preprocessing import StandardScaler

    _refuse_bad_arguments(n_samples, n_features, fraud_rate, seed)
    raw, targets = _payments(n_samples, n_features, round(n_samples * fraud_rate), seed)
    parts = at_random(targets, seed)
    scaler = StandardScaler().fit(raw[parts[0]])
    train, validation, test = (
        Split(np.ascontiguousarray(scaler.transform(raw[rows]), dtype=np.float64), targets[rows]) for rows in parts
    )
    return FraudData(train, validation, test, tuple(f"V{column}" for column in range(1, n_features + 1)))


def _payments(n_samples: int, n_features: int, n_fraud: int, seed: int) -> tuple[Array, Array]:
    """Raw rows, exactly `n_fraud` fraud: make_classification rounds per cluster, so make more and cut."""
    from sklearn.datasets import make_classification
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    n_informative = max(2, n_features // 2)
    n_clusters = min(CLUSTERS_PER_CLASS, 2**n_informative // 2)  # one vertex of a hypercube for each cluster
    n_made = n_samples + 2 * n_clusters
    with threadpool_limits(1, user_api="blas"):  # how many there are decides the last bits of a matrix product
        raw, labels = make_classification(
            n_made,
            n_features,
            n_informative=n_informative,
            n_redundant=n_features // 3,
            n_clusters_per_class=n_clusters,
            weights=[1 - (n_fraud + n_clusters) / n_made],
            flip_y=0.0,
            class_sep=CLASS_SEPARATION,
            random_state=seed,
        )
    fraud = np.flatnonzero(labels == 1)[:n_fraud]
    honest = np.flatnonzero(labels == 0)[: n_samples - n_fraud]
    kept = np.sort(np.concatenate([fraud, honest]))
    return raw[kept], labels[kept].astype(np.float64)


def _refuse_bad_arguments(n_samples: int, n_features: int, fraud_rate: float, seed: int) -> None:
    for name, value, least, most in (
        ("n_samples", n_samples, 1, math.inf),
        ("n_features", n_features, 2, math.inf),
        ("seed", seed, 0, MAX_SEED),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
            within = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise ValueError(f"Invalid `{name}`. Expected an integer {within}. Received: {name}={value!r}")
    is_number = isinstance(fraud_rate, int | float | np.integer | np.floating)
    if not is_number or not 0 < fraud_rate < 1:  # NaN and True fail the comparison
        raise ValueError(
            f"Invalid `fraud_rate`. Expected a number strictly between 0 and 1. Received: fraud_rate={fraud_rate!r}"
        )
    rarer = min(float(fraud_rate), 1 - float(fraud_rate))
    needed = np.ceil(np.round(ROWS_PER_CLASS / rarer, 6))
    if n_samples < needed:
        raise ValueError(
            f"Too few rows for each of train, validation and test to hold a row of each class. Expected "
            f"n_samples >= {needed:.10g} at fraud_rate={fraud_rate:g}. Received: n_samples={n_samples}"
        )
