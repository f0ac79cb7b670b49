"""The command: trains the main job's network and its rivals on every table, and compares their average precision."""

import shlex
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.command import UsageError, run_command
from experiments.figures import Figure, campaign_parser, present
from experiments.fraud.arguments import parse
from experiments.fraud.parts import METRIC, average_precision, best_epoch_of, network_of, optimizer_of, payments_of
from experiments.fraud.settings import Settings
from trainer import Trainer
from trainer.network.parameters import Array

SEEDS, QUICK_SEEDS, QUICK_EPOCHS = 5, 2, 3
DESCRIPTION = (
    "Train the network of the main job, as its defaults have it, MLPClassifier of the same shape, logistic regression "
    "and boosted trees on the same rows, and compare their average precision on the test rows, over several seeds. A "
    "table is given with the options of the main job that read it, as one word: "
    "'creditcard.csv --target Class --split-by Time'. The synthetic table is always among them."
)


@dataclass(frozen=True)
class Compared:
    """What every contestant has reached on one table: average precision on the test rows, one a seed."""

    table: str
    network: Array
    rivals: dict[str, Array]

    def figure(self) -> Figure:
        """Hold the network against `MLPClassifier`: not lower by more than the standard error of the difference."""
        gain = self.network - self.rivals["MLPClassifier"]
        error = float(gain.std(ddof=1) / len(gain) ** 0.5)
        others = ", ".join(f"{name} {values.mean():.3f}" for name, values in self.rivals.items())
        numbers = {"network": self.network.tolist()} | {name: of.tolist() for name, of in self.rivals.items()}
        name = f"{self.table}: the network less MLPClassifier"
        required, met = f"≥ -{error:.3f}", bool(gain.mean() >= -error)
        shown = f"{gain.mean():+.3f} ± {error:.3f}"
        return Figure(
            name, shown, required, met, spread=f"network {self.network.mean():.3f}, {others}", numbers=numbers
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every figure is met, 1 if not, 2 for bad usage."""
    parser = campaign_parser("tables", DESCRIPTION, f"{QUICK_SEEDS} seeds of {QUICK_EPOCHS} epochs; judges nothing")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="a file and the options that read it, as one word")

    def body() -> int:
        arguments, started = parser.parse_args(argv), time.perf_counter()
        quick = arguments.quick
        try:
            asked = [["--samples", "2000"] if quick else [], *(["--data", *shlex.split(of)] for of in arguments.tables)]
        except ValueError as error:
            raise UsageError(f"a table is no words. Expected a file and options. Received {error}.") from error
        settings = [parse(words) for words in asked]  # all of them, before anything is trained
        figures = [
            compared(one, QUICK_SEEDS if quick else SEEDS, QUICK_EPOCHS if quick else one.epochs).figure()
            for one in settings
        ]
        if quick:
            figures = [replace(figure, required="", met=None) for figure in figures]
        return present(figures, [], arguments.json, {"seconds": round(time.perf_counter() - started)})

    return run_command(
        "python -m experiments.tables",
        body,
        memory="not enough memory. Expected tables that fit.",
        disk="cannot read or write. Expected tables, and room for --json.",
    )


def compared(settings: Settings, seeds: int, epochs: int) -> Compared:
    """Train every contestant on one table with every seed; a table that is split at random is split anew."""
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        for name, value in contest(replace(settings, seed=seed, epochs=epochs)):
            found.setdefault(name, []).append(value)
    values = {name: np.array(of) for name, of in found.items()}
    table = "synthetic" if settings.data is None else Path(settings.data).name
    return Compared(table, values.pop("network"), values)


def contest(settings: Settings) -> Iterator[tuple[str, float]]:
    """Train the network and its rivals on the same rows, and give their average precision on the same test rows."""
    from sklearn.metrics import average_precision_score

    payments = payments_of(settings)
    train, held_out, test = payments.data.train, payments.data.validation, payments.data.test
    trainer = Trainer(
        network_of(settings, payments.data.n_features)[0],
        optimizer=optimizer_of(settings),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seed=settings.seed,
        callbacks=[best_epoch_of(settings)],
    )
    metrics = {METRIC: average_precision}
    trainer.fit(train.inputs, train.targets, (held_out.inputs, held_out.targets), metrics=metrics)
    yield "network", float(average_precision_score(test.targets, trainer.predict_proba(test.inputs)))
    for name, rival in rivals_of(settings).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged: it is what one would have run
            rival.fit(train.inputs, train.targets)
        yield name, float(average_precision_score(test.targets, rival.predict_proba(test.inputs)[:, 1]))


def rivals_of(settings: Settings) -> dict[str, Any]:
    """Build what else one could run, each as it comes but for its seed, and the shape of the network."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    return {
        "MLPClassifier": MLPClassifier(tuple(settings.hidden), random_state=settings.seed),
        "logistic regression": LogisticRegression(max_iter=1_000),
        "boosted trees": HistGradientBoostingClassifier(random_state=settings.seed),
    }
