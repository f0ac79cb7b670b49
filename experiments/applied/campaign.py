"""The campaign: runs with planted mistakes, correct runs, and what a look costs."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from checks import GradientCheck
from checks.measure.layout import Array
from checks.training.callback import TrainingHaltedByCheck
from checks.verdict import Cause, Verdict
from experiments.applied.mistakes import PATHS, accumulating, between, networks, spoilt, with_error
from trainer import Adam, Callback, CompiledAdam, CompiledNetwork, Network, Trainer, TrainState

BEGINS = 7  # the iteration at which a mistake between backprop and update begins
SHARES = tuple(10.0**power for power in range(-3, -9, -1))
Precision: TypeAlias = Literal["float64", "float32"]
SETTINGS: list[tuple[Precision, bool]] = [("float64", False), ("float32", False)]
if find_spec("numba"):
    SETTINGS += [("float64", True), ("float32", True)]


def rows(n: int = 1000, seed: int = 0, width: int = 10) -> tuple[Array, Array]:
    """Draw rows, and targets that follow from them but for noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((n, width))
    return inputs, (inputs @ rng.standard_normal(width) + 0.5 * rng.standard_normal(n) > 1.0).astype(float)


def run(network: Network, check: GradientCheck, **options: Any) -> tuple[Trainer, TrainingHaltedByCheck | None]:
    """Train, and give what the check has ended it with, if it has."""
    before, epochs = options.pop("before", ()), options.pop("epochs", 3)
    adam = (CompiledAdam if isinstance(network, CompiledNetwork) else Adam)(1e-2)
    trainer = Trainer(
        network, optimizer=adam, batch_size=64, epochs=epochs, callbacks=[*before, check], seed=3, **options
    )
    try:
        trainer.fit(*rows())
    except TrainingHaltedByCheck as halt:
        return trainer, halt
    return trainer, None


def changed_between(kinds: int) -> Iterator[tuple[str, bool]]:
    """Plant every mistake between backprop and update; say whether it was found before the update, and by its name."""
    for dtype, compiled in SETTINGS:
        for kind, network in list(networks(compiled=compiled).items())[:kinds]:
            for name, spoils in between(dtype, BEGINS).items():
                check = GradientCheck(BEGINS, rows=8, coverage="directions")
                _, halt = run(network, check, dtype=dtype, before=[spoils], epochs=1)
                found = halt is not None and halt.iteration == BEGINS and halt.report.cause is Cause.CHANGED
                yield f"{name}, {kind}, {dtype}{', compiled' * compiled}", found


def on_one_path() -> Iterator[tuple[str, bool]]:
    """Plant every mistake of one path; say whether the first check that meets it has found it."""
    for dtype, compiled in SETTINGS:
        for kind, network in networks(compiled=compiled).items():
            wrong = {
                name: (spoilt(network, path.change), path.meets)
                for name, path in PATHS.items()
                if path.dtype in (None, dtype)
            }
            wrong["accumulation"] = accumulating(network), 5
            for name, (mistaken, meets) in wrong.items():
                _, halt = run(mistaken, GradientCheck(5, rows=8, coverage="directions"), dtype=dtype)
                found = halt is not None and halt.iteration == meets
                yield f"{name}, {kind}, {dtype}{', compiled' * compiled}", found


def errors(n: int) -> Iterator[tuple[str, float, bool]]:
    """Plant an error of a share of one tensor's gradient; say in which precision, how large, whether it is found."""
    for dtype, _ in SETTINGS[:2]:
        for share, how in product(SHARES, ("scaled", "spread", "one entry")):
            for number in range(n):
                network = Network((10, 8, 5, 1))
                tensor = list(network.shapes)[number % len(network.shapes)]
                only = "float32" if dtype == "float32" and number % 2 else None
                mistaken = with_error(network, tensor, share, how, only=only)
                _, halt = run(mistaken, OneLook(seed=number), dtype=dtype, epochs=1)
                yield dtype, share, halt is not None


class OneLook(GradientCheck):
    """A check that ends its run after the first look, since that is all that is asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(10**9, rows=8, coverage="directions", **options)

    def on_batch_end(self, state: TrainState) -> None:
        """End it."""
        super().on_batch_end(state)
        state.request_stop("one look was all")


class EveryLook(GradientCheck):
    """Asks the second question at every iteration, and the first at none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(10**9, rows=8, coverage="directions", **options)
        self.found: list[tuple[Verdict, str]] = []

    def on_batch_begin(self, state: TrainState) -> None:
        """Forget which sizes were seen."""
        self._sizes.clear()
        super().on_batch_begin(state)

    def on_batch_end(self, state: TrainState) -> None:
        """Keep what was found."""
        super().on_batch_end(state)
        self.found.append((Verdict(state.row["applied_verdict"]), state.row.get("applied_cause", "")))


def correct(n_epochs: int, seeds: int) -> Iterator[tuple[str, list[tuple[Verdict, str]]]]:
    """Run correct networks, the longer ones until near convergence; give all that was found at every iteration."""
    for (dtype, compiled), seed, threads in product(SETTINGS, range(seeds), (1, 2)):
        for kind, network in networks(compiled=compiled).items():
            check = EveryLook(seed=seed, on_failure="log")
            options: dict[str, Any] = {"epochs": n_epochs * (10 if seed % 3 == 2 else 1), "dtype": dtype, "seed": seed}
            trainer = Trainer(network, optimizer=Adam(3e-2), batch_size=64, callbacks=[check], **options)
            with threadpool_limits(threads) if threads > 1 else nullcontext():
                trainer.fit(*rows(300, seed))
            yield f"{kind}, {dtype}{', compiled' * compiled}, {threads} threads, seed {seed}", check.found


def same_bits() -> Iterator[bool]:
    """Say whether training with the check ends with the parameters of training without it."""
    for (dtype, compiled), coverage in product(SETTINGS, ("full", "directions")):
        for network in networks(compiled=compiled).values():
            options: dict[str, Any] = {"coverage": coverage, "rows": 8}
            checked, _ = run(network, GradientCheck(5, **options), dtype=dtype)
            alone = Trainer(network, optimizer=checked.optimizer, batch_size=64, epochs=3, dtype=dtype, seed=3)
            alone.fit(*rows())
            yield alone.parameters.vector.tobytes() == checked.parameters.vector.tobytes()


def steps_a_look(*, compiled: bool, dtype: Precision, repetitions: int) -> list[float]:
    """Measure what the second question takes, in training steps of the same batch: whole runs with and without it.

    The first question of a run tries what the loss can do, which takes as long as some ten others.
    """
    data = rows(256 * 40, width=30)
    network = (CompiledNetwork if compiled else Network)((30, 64, 32, 1))
    adam = (CompiledAdam if compiled else Adam)(1e-3)

    def seconds(callbacks: list[Callback]) -> float:
        trainer = Trainer(network, optimizer=adam, batch_size=256, epochs=4, dtype=dtype, callbacks=callbacks)
        started = time.perf_counter()
        trainer.fit(*data)
        return time.perf_counter() - started

    found = []
    for number in range(repetitions + 1):
        alone, looked = seconds([]), seconds([EveryLook()])
        found += [(looked - alone) / alone] if number else []  # the first warms up
    return found
