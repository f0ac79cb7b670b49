"""The campaign: correct networks and planted mistakes, at many points, through every way of checking."""

import copy
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np

from checks import GradientReport, Verdict, check_gradients
from checks.options import THRESHOLD
from checks.training.probe import Probe, Sampler
from datasets import make_fraud
from experiments.bugs.bugs import BUGS, entry, plant
from experiments.mutants.truth import differences, textbook_gradients
from experiments.mutants.units import Outcome, Unit
from experiments.peers import FlatProbe, available
from trainer import SGD, Adam, Network, Parameters, Trainer, WeightedBinaryCrossEntropy
from trainer.network.parameters import Array

MODES = tuple(product(("full", "directions"), ("central", "complex")))
N_ROWS = 860  # 60 % of them train: 516, so that a probe of 512 rows can be drawn
MUTANT_ROWS = 61
PEER_ROWS = 64  # the size of the probe that the peers see too, the first of it at every stage
PEER_STEPS = 300  # the stage at which the peers see the mistakes too
PEER_PARAMETERS = 1_000  # in networks up to this size, since torch's slow mode takes seconds on larger ones
CHECKS_WITHIN = 3  # checks that a mistake may take to be found along random directions


class TextbookCriterion(WeightedBinaryCrossEntropy):
    """The loss with the gradient of the textbook, ``w·(p - y)/n_rows``: right, but it cancels where p is near y."""

    def value_and_gradient(self, logits: Array, targets: Array) -> tuple[float, Array]:
        """Give the value, and the gradient as everybody writes it."""
        value, _ = super().value_and_gradient(logits, targets)
        weights = np.where(targets == 1, self.positive_weight, 1.0)
        return value, weights * (1.0 / (1.0 + np.exp(-logits)) - targets) / len(targets)


def run_unit(unit: Unit) -> list[Outcome]:
    """Train one network through its stages and check it, right and wrong, at each."""
    data = make_fraud(N_ROWS, unit.sizes[0], fraud_rate=0.2, seed=unit.seed).train
    rng = np.random.default_rng([unit.seed, *unit.sizes])
    network = unit.network()
    outcomes: list[Outcome] = []
    for stage in unit.stages:
        parameters = trained(unit, network, data.inputs, data.targets, stage)
        points = [(rows, f"{stage} steps") for rows in unit.rows for _ in range(unit.repeats)]
        outcomes += check_correct(unit, network, parameters, data.inputs, data.targets, points, rng)
        if stage == unit.stages[-1]:
            textbook = copy.copy(network)
            textbook.criterion = TextbookCriterion(network.positive_weight)
            points = [(rows, f"{stage} steps, p - y") for rows in unit.rows[:2]]
            outcomes += check_correct(unit, textbook, parameters, data.inputs, data.targets, points, rng)
        if stage in unit.mutant_stages:
            outcomes += check_mutants(unit, network, parameters, data.inputs, data.targets, stage, rng)
    if unit.dead_checks:
        dead = with_dead_layer(network, rng)
        points = [(64, "dead layer")] * unit.dead_checks
        outcomes += check_correct(unit, network, dead, np.abs(data.inputs), data.targets, points, rng)
    return outcomes


def trained(unit: Unit, network: Network, inputs: Any, targets: Any, steps: int) -> Parameters:
    """Train for a number of steps, or give the initial parameters."""
    if steps == 0:
        return network.initial_parameters(np.random.default_rng(unit.seed), np.dtype(unit.dtype))
    batch_size = len(inputs) if unit.seed % 2 else 64
    epochs = -(-steps // -(-len(inputs) // batch_size))
    trainer = Trainer(
        network,
        optimizer=SGD(0.1) if unit.seed % 2 else Adam(1e-3),
        batch_size=batch_size,
        epochs=epochs,
        dtype=unit.dtype,  # type: ignore[arg-type]
        seed=unit.seed,
    )
    trainer.fit(inputs, targets)
    return trainer.parameters


def with_dead_layer(network: Network, rng: np.random.Generator) -> Parameters:
    """Give fresh parameters whose first layer is dead for positive inputs, and whose biases are zero."""
    parameters = network.initial_parameters(rng)
    parameters["W1"][...] = -np.abs(parameters["W1"])
    return parameters


def check_correct(
    unit: Unit,
    network: Network,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    points: list[tuple[int, str]],
    rng: np.random.Generator,
) -> Iterator[Outcome]:
    """Check a right gradient in every mode at fresh probes."""
    for number, (rows, stage) in enumerate(points):
        mask_seed = int(rng.integers(2**32)) if network.dropout and number % 2 else None
        probe = draw(network, parameters, inputs, targets, rows, mask_seed, rng)
        shared = rows == PEER_ROWS and points.index((rows, stage)) == number
        if shared:
            yield from _ask_peers(probe, "correct")
        for coverage, derivative in MODES:
            report = check(probe, coverage, derivative, rng)
            yield {
                "what": "correct",
                "shared": shared,
                **_labels(unit, stage, coverage, derivative),
                "verdict": report.verdict.value,
                "cause": report.cause.value,
                "rows": rows,
                "kinks": report.kinks,
                "evidence": "" if report.verdict is Verdict.PASS else str(report),
            }


def check_mutants(
    unit: Unit,
    network: Network,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    steps: int,
    rng: np.random.Generator,
) -> Iterator[Outcome]:
    """Check every mistake that is one at this point, at every layer where it can stand."""
    stage = f"{steps} steps"
    mask_seed = int(rng.integers(2**32))
    right = draw(network, parameters, inputs, targets, MUTANT_ROWS, None, rng)
    truths = {
        seed: textbook_gradients(network, right.parameters, right.inputs, right.targets, seed)
        for seed in (None, mask_seed)
    }
    for name, layer in ((name, layer) for name, bug in BUGS.items() for layer in bug.layers(network)):
        bug = BUGS[name]
        seed = mask_seed if bug.needs == "dropout" else None
        truth, at_kink = truths[seed]
        mistaken, _ = plant(network, name, layer=layer)
        probe = Probe(mistaken, right.parameters, right.index, right.inputs, right.targets, seed)
        apart = differences(probe.gradients(right.parameters), truth)
        labels = {"what": "mutant", "bug": name, "layer": layer, "apart": max(apart.values())}
        if at_kink or max(apart.values()) <= THRESHOLD:
            yield {
                **labels,
                **_labels(unit, f"{stage} steps", "", ""),
                "skipped": "kink" if at_kink else "no mistake here",
            }
            continue
        shared = steps == PEER_STEPS and network.n_parameters <= PEER_PARAMETERS
        if shared:
            yield from _ask_peers(probe, "mutant")
        for coverage in ("full", "directions"):
            report, tries = check(probe, coverage, None, rng), 1
            while report.verdict is not Verdict.FAIL and coverage == "directions" and tries < CHECKS_WITHIN:
                report, tries = check(probe, coverage, None, rng), tries + 1
            yield {
                **labels,
                **_labels(unit, stage, coverage, report.derivative),
                "verdict": report.verdict.value,
                "cause": report.cause.value,
                "shared": shared,
                "tries": tries,
                "evaluations": report.evaluations,
                **_judged(report, mistaken, name, layer),
            }


def _ask_peers(probe: Probe, what: str) -> Iterator[Outcome]:
    """Put the same probe through the checkers that are installed."""
    flat = FlatProbe(probe)
    for name, peer in available().items():
        yield {"what": f"peer {what}", "peer": name, "verdict": "PASS" if peer(flat) else "FAIL"}


def _judged(report: GradientReport, network: Network, name: str, layer: int) -> Outcome:
    """Say whether tensor, index and kind were named right."""
    if not report.culprits:
        return {"tensor_right": False, "index_right": None, "kind_right": False}
    bug, culprit = BUGS[name], report.culprits[0]
    single = name.startswith(("one-entry", "one-bias-entry"))
    expected = entry(np.empty(network.shapes[culprit.name]))
    return {
        "tensor_right": culprit.name in bug.tensors(network, layer),
        "index_right": culprit.worst_index == expected if single else None,
        "kind_right": culprit.mistake is not None and culprit.mistake.kind in bug.kinds,
        "named": culprit.label,
        "kind": culprit.mistake.kind.value if culprit.mistake else "",
    }


def draw(
    network: Network, parameters: Parameters, inputs: Any, targets: Any, rows: int, mask_seed: int | None, rng: Any
) -> Probe:
    """Draw a probe, as the callback does."""
    index = Sampler(targets, rows).draw(rng)
    copies = {name: np.array(value, dtype=np.float64) for name, value in parameters.items()}
    return Probe(network, copies, index, inputs[index], targets[index], mask_seed)


def check(probe: Probe, coverage: str, derivative: str | None, rng: np.random.Generator) -> GradientReport:
    """Check a probe, as the callback does."""
    return check_gradients(
        probe.loss,
        probe.gradients,
        probe.parameters,
        coverage=coverage,
        derivative=derivative,
        rng=rng,
        coordinate_losses=probe.coordinate_losses,
        hints=probe.hints(),
    )


def _labels(unit: Unit, stage: str, coverage: str, derivative: str) -> Outcome:
    kept = {name: value for name, value in asdict(unit).items() if name in ("activation", "dtype", "rich", "seed")}
    return {
        **kept,
        "shape": "-".join(map(str, unit.sizes)),
        "stage": stage,
        "coverage": coverage,
        "derivative": derivative,
    }
