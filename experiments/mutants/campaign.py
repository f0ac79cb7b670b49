"""The campaign: correct networks and planted mistakes, at many points, through every way of checking."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from checks import GradientReport, Verdict
from checks.options import THRESHOLD
from checks.training.probe import Probe
from datasets import Split, make_fraud
from experiments.bugs.bugs import BUGS, entry, plant
from experiments.bugs.planting import Bug
from experiments.mutants.truth import differences, textbook_gradients
from experiments.mutants.units import Outcome, Unit
from experiments.peers import FlatProbe, Rng, available, check, draw
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
        parameters = trained(unit, network, data, stage)
        points = [(rows, f"{stage} steps") for rows in unit.rows for _ in range(unit.repeats)]
        outcomes += check_correct(unit, network, parameters, data, points, rng)
        if stage == unit.stages[-1]:
            textbook = copy.copy(network)
            textbook.criterion = TextbookCriterion(network.positive_weight)
            points = [(rows, f"{stage} steps, p - y") for rows in unit.rows[:2]]
            outcomes += check_correct(unit, textbook, parameters, data, points, rng)
        if stage in unit.mutant_stages:
            outcomes += check_mutants(unit, network, parameters, data, stage, rng)
    if unit.dead_checks:
        dead = with_dead_layer(network, rng)
        points = [(64, "dead layer")] * unit.dead_checks
        outcomes += check_correct(unit, network, dead, replace(data, inputs=np.abs(data.inputs)), points, rng)
    return outcomes


def trained(unit: Unit, network: Network, data: Split, steps: int) -> Parameters:
    """Train for a number of steps, or give the initial parameters."""
    if steps == 0:
        return network.initial_parameters(np.random.default_rng(unit.seed), np.dtype(unit.dtype))
    batch_size = len(data.inputs) if unit.seed % 2 else 64
    epochs = -(-steps // -(-len(data.inputs) // batch_size))
    trainer = Trainer(
        network,
        optimizer=SGD(0.1) if unit.seed % 2 else Adam(1e-3),
        batch_size=batch_size,
        epochs=epochs,
        dtype=unit.dtype,  # type: ignore[arg-type]
        seed=unit.seed,
    )
    trainer.fit(data.inputs, data.targets)
    return trainer.parameters


def with_dead_layer(network: Network, rng: Rng) -> Parameters:
    """Give fresh parameters whose first layer is dead for positive inputs, and whose biases are zero."""
    parameters = network.initial_parameters(rng)
    parameters["W1"][...] = -np.abs(parameters["W1"])
    return parameters


def check_correct(
    unit: Unit, network: Network, parameters: Parameters, data: Split, points: list[tuple[int, str]], rng: Rng
) -> Iterator[Outcome]:
    """Check a right gradient in every mode at fresh probes."""
    for number, (rows, stage) in enumerate(points):
        mask_seed = int(rng.integers(2**32)) if network.dropout and number % 2 else None
        probe = draw(network, parameters, data, rows, rng, mask_seed)
        shared = rows == PEER_ROWS and points.index((rows, stage)) == number
        if shared:
            yield from _ask_peers(probe, "correct")
        for coverage, derivative in MODES:
            report = check(probe, coverage, rng, derivative=derivative)
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
    unit: Unit, network: Network, parameters: Parameters, data: Split, steps: int, rng: Rng
) -> Iterator[Outcome]:
    """Check every mistake that is one at this point, at every layer where it can stand."""
    stage = f"{steps} steps"
    mask_seed = int(rng.integers(2**32))
    right = draw(network, parameters, data, MUTANT_ROWS, rng)
    truths = {
        seed: textbook_gradients(network, right.parameters, right.inputs, right.targets, seed)
        for seed in (None, mask_seed)
    }
    places = [(bug, layer) for bug in BUGS.values() for layer in bug.layers(network)]
    for bug, layer in places:
        seed = mask_seed if bug.needs == "dropout" else None
        truth, at_kink = truths[seed]
        mistaken, _ = plant(network, bug.name, layer=layer)
        probe = replace(right, network=mistaken, mask_seed=seed)
        apart = differences(probe.gradients(right.parameters), truth)
        labels = {"what": "mutant", "bug": bug.name, "layer": layer, "apart": max(apart.values())}
        if at_kink or max(apart.values()) <= THRESHOLD:
            why = "kink" if at_kink else "no mistake here"
            yield labels | _labels(unit, f"{stage} steps", "", "") | {"skipped": why}
            continue
        shared = steps == PEER_STEPS and network.n_parameters <= PEER_PARAMETERS
        if shared:
            yield from _ask_peers(probe, "mutant")
        for coverage in ("full", "directions"):
            report, tries = check(probe, coverage, rng), 1
            while report.verdict is not Verdict.FAIL and coverage == "directions" and tries < CHECKS_WITHIN:
                report, tries = check(probe, coverage, rng), tries + 1
            yield {
                **labels,
                **_labels(unit, stage, coverage, report.derivative),
                "verdict": report.verdict.value,
                "cause": report.cause.value,
                "shared": shared,
                "tries": tries,
                "evaluations": report.evaluations,
                **_judged(report, mistaken, bug, layer),
            }


def _ask_peers(probe: Probe, what: str) -> Iterator[Outcome]:
    """Put the same probe through the checkers that are installed."""
    flat = FlatProbe(probe)
    for name, peer in available().items():
        yield {"what": f"peer {what}", "peer": name, "verdict": "PASS" if peer(flat) else "FAIL"}


def _judged(report: GradientReport, network: Network, bug: Bug, layer: int) -> Outcome:
    """Say whether tensor, index and kind were named right."""
    if not report.culprits:
        return {"tensor_right": False, "index_right": None, "kind_right": False}
    culprit = report.culprits[0]
    single = bug.name.startswith(("one-entry", "one-bias-entry"))
    expected = entry(np.empty(network.shapes[culprit.name]))
    return {
        "tensor_right": culprit.name in bug.tensors(network, layer),
        "index_right": culprit.worst_index == expected if single else None,
        "kind_right": culprit.mistake is not None and culprit.mistake.kind in bug.kinds,
        "named": culprit.label,
        "kind": culprit.mistake.kind.value if culprit.mistake else "",
    }


def _labels(unit: Unit, stage: str, coverage: str, derivative: str) -> Outcome:
    own = {"activation": unit.activation, "dtype": unit.dtype, "rich": unit.rich, "seed": unit.seed}
    shape = "-".join(map(str, unit.sizes))
    return own | {"shape": shape, "stage": stage, "coverage": coverage, "derivative": derivative}
