"""Deciding: the cut, chosen on the validation rows, what it does to the test rows, and what else one could run."""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from checks.measure.processes import one_thread
from experiments.fraud.payments import Payments
from experiments.fraud.settings import COSTS, Settings, share_or_number
from experiments.model.model import Facts, FraudModel
from experiments.model.threshold import Rule, Threshold
from experiments.runs.judging import Curve, Scores, judged
from experiments.runs.results import Rival
from trainer import Trainer

# Training rows times features up to which rivals are fitted unasked: about five seconds on one core.
MOST_CELLS = 5_000_000


@dataclass(frozen=True)
class Decision:
    """What a run comes to: the model with its cut, and how well it does; the rest is None where it has diverged."""

    model: FraudModel
    scores: Scores | None
    curve: Curve | None
    rivals: list[Rival]


def rule_of(settings: Settings) -> Rule:
    """Give what the cut is chosen for."""
    if any(getattr(settings, name) for name in COSTS):
        return Rule("cost")
    if settings.alerts is None:
        return Rule("precision", settings.precision)
    is_share, limit = share_or_number(settings.alerts) or (True, math.nan)
    return Rule("share" if is_share else "number", limit)


def decided(settings: Settings, payments: Payments, trainer: Trainer, doubt: str | None) -> Decision:
    """Choose the cut on the validation rows, and judge it once on the test rows."""
    data, rule = payments.data, rule_of(settings)
    facts = Facts(
        layer_sizes=list(trainer.network.layer_sizes),
        activation=settings.activation,
        positive_weight=settings.positive_weight,
        preparation=payments.preparation,
        threshold=Threshold(math.inf, "nothing yet"),
        fraud=data.label,
        doubt=doubt,
    )
    model = FraudModel(trainer.parameters, facts)
    known = payments.rows(data.validation, model.probabilities(data.validation.inputs))
    if not np.isfinite(known.probabilities).all():
        return Decision(model, None, None, [])
    model = FraudModel(trainer.parameters, replace(facts, threshold=rule.chosen(known)))
    rows = payments.rows(data.test, model.probabilities(data.test.inputs))
    uncorrected = model.probabilities(data.test.inputs, corrected=False)
    scores, curve = judged(rows, model.threshold, uncorrected, payments.spans(data.test), settings.seed)
    few = data.train.inputs.size <= MOST_CELLS
    asked = settings.baselines == "on" or (settings.baselines == "auto" and few)
    with one_thread() if few else nullcontext():  # more would take several times the work to end a little earlier
        rivals = list(_rivals(payments, rule, settings.seed)) if asked else []
    return Decision(model, scores, curve, rivals)


def _rivals(payments: Payments, rule: Rule, seed: int) -> Iterator[Rival]:
    """Fit what else one could run to the same training rows, and judge it as the network is."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score

    data = payments.data
    models: dict[str, Any] = {
        "logistic regression": LogisticRegression(max_iter=1_000),
        "gradient-boosted trees": HistGradientBoostingClassifier(random_state=seed),
    }
    for name, model in models.items():
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged: it is what one would have run
            model.fit(data.train.inputs, data.train.targets)
        seconds = time.perf_counter() - started
        known, rows = (
            payments.rows(split, model.predict_proba(split.inputs)[:, 1]) for split in (data.validation, data.test)
        )
        called, fraud = rows.probabilities >= rule.chosen(known).cut, rows.targets == 1.0
        right, alarms = int(np.sum(called & fraud)), int(called.sum())
        average = float(average_precision_score(rows.targets, rows.probabilities))
        yield Rival(name, average, right / int(fraud.sum()), right / alarms if alarms else None, seconds)
