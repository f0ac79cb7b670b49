"""Shares: how much longer a training takes for its checks, on the reference network and in the main job."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from checks import GradientCheck
from datasets import Split
from experiments.figures import Figure, compared
from experiments.fraud.parts import METRIC, average_precision, network_of, optimizer_of, payments_of
from experiments.fraud.settings import Settings
from experiments.speed.rivals import HAS_COMPILER, own
from experiments.speed.timing import quartiles, stopwatch
from trainer import Trainer, TrainState

#: What each is to be at most, in per cent of the training without checks: compiled, and in numpy alone.
ALONG = {100: (5.0, 3.5), 1000: (0.6, 0.6)}
MAIN_JOB = {"full": (12.0, 15.0), "directions": (6.0, 4.0)}
FIRST = 1.0  # ms, of the first check of a run along a direction


class Timed(GradientCheck):
    """A gradient check that knows how long it took: ``seconds`` in all, and ``each`` iteration in which it was due.

    In the others its hooks return at once, which takes less than to measure it.
    """

    def on_train_begin(self, state: TrainState) -> None:
        """Start afresh."""
        self.seconds, self.each = 0.0, list[float]()
        super().on_train_begin(state)

    def on_batch_begin(self, state: TrainState) -> None:
        """Note the time."""
        began = time.perf_counter()
        super().on_batch_begin(state)
        self._taken = time.perf_counter() - began

    def on_gradients_computed(self, state: TrainState) -> None:
        """Check, and add up the time."""
        n_before = self.proof.n_checks
        seconds = stopwatch(lambda: super(Timed, self).on_gradients_computed(state)) + self._taken
        if self._looks:
            self.seconds += seconds
            self.each += [seconds] * (self.proof.n_checks - n_before)


@dataclass
class Lengthened:
    """By how much checks have lengthened runs of one kind, in per cent, and the milliseconds of single checks."""

    shares: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)

    @classmethod
    def by(cls, check: Callable[[], Timed], fit: Callable[[Timed], object], repetitions: int) -> "Lengthened":
        """Run again and again, each time with a check of its own; the first run warms up."""
        found = cls()
        for number in range(repetitions + 1):
            timed = check()
            seconds = stopwatch(lambda timed=timed: fit(timed))  # type: ignore[misc]
            if number:
                found.shares.append(100 * timed.seconds / (seconds - timed.seconds))
                found.first += [1e3 * seconds for seconds in timed.each[:1]]
                found.later += [1e3 * seconds for seconds in timed.each[1:]]
        return found

    def figure(self, name: str, limit: float) -> Figure:
        """Give the figure, with what single checks take."""
        parts = {"the first check": self.first, "a later one": self.later}
        note = ", ".join(f"{what} {statistics.median(each):.3g} ms" for what, each in parts.items() if each)
        return compared(name, quartiles(self.shares), limit, lower=True, unit="%", note=note)


def kinds() -> Sequence[tuple[int, bool, str]]:
    """Give the kinds of training there are: place of its limit, whether compiled, and how it is called."""
    return ((0, True, "compiled"), (1, False, "numpy alone"))[not HAS_COMPILER :]


def along_figures(data: Split, epochs: int, repetitions: int) -> list[Figure]:
    """Measure both questions along directions on the reference network, and the first check of a run."""
    inputs, targets = data.inputs.astype(np.float32), data.targets.astype(np.float32)
    figures = []
    for place, compiled, how in kinds():
        first: list[float] = []
        for every, limits in ALONG.items():
            n = epochs * (1 if every == min(ALONG) else 4)  # long enough for more than the first, which is dearer

            def fit(timed: Timed, n: int = n, compiled: bool = compiled) -> None:
                own(inputs, targets, n, compiled=compiled, callbacks=[timed])

            found = Lengthened.by(lambda k=every: Timed(k, coverage="directions"), fit, repetitions)  # type: ignore[misc]
            first += found.first
            name = f"both questions along a direction, k = {every}, float32, {how}: lengthen a training by"
            figures.append(found.figure(name, limits[place]))
        if first:
            name = f"the first check of such a run, {how}"
            figures.append(compared(name, quartiles(first), FIRST, lower=True, unit="ms"))
    return figures


def main_job_figures(settings: Settings, repetitions: int) -> list[Figure]:
    """Measure the checks of the main job: the time in them against the rest of its training."""
    payments = payments_of(settings)
    split, held_out = payments.data.train, payments.data.validation
    figures = []
    for place, compiled, how in kinds():
        chosen = replace(settings, compiled=compiled)

        def fit(timed: Timed, chosen: Settings = chosen) -> None:
            trainer = Trainer(
                network_of(chosen, payments.data.n_features)[0],
                optimizer=optimizer_of(chosen),
                batch_size=chosen.batch_size,
                epochs=chosen.epochs,
                dtype=chosen.dtype,
                seed=chosen.seed,
                callbacks=[timed],
            )
            validation, metrics = (held_out.inputs, held_out.targets), {METRIC: average_precision}
            trainer.fit(split.inputs, split.targets, validation, metrics=metrics)

        for coverage, limits in MAIN_JOB.items():
            every = chosen.check_every
            found = Lengthened.by(lambda k=every, c=coverage: Timed(k, coverage=c), fit, repetitions)  # type: ignore[misc]
            name = f"the main job, {coverage}, {how}: both questions lengthen its training by"
            figures.append(found.figure(name, limits[place]))
    return figures
