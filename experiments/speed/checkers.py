"""Checkers: the gradient check of this project, the exercise's, and torch's, on the same network and rows."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from checks import Verdict, relative_difference
from checks.measure.layout import Array
from checks.measure.slopes import central_sweep
from checks.options import STEP
from checks.training.probe import Probe
from datasets import Split
from experiments.bugs.bugs import BUGS, plant
from experiments.figures import Figure, compared
from experiments.peers import FlatProbe, available, check, draw
from experiments.speed.rivals import HAS_COMPILER, SIZES, own
from experiments.speed.timing import quartiles, ratios, side_by_side, stopwatch
from trainer import Callback, CompiledNetwork, Network
from trainer.callbacks.base import HOOKS

MISTAKES = ("weight-1-percent", "one-entry", "one-entry-sign", "one-entry-zero", "one-bias-entry")


def probe_of(data: Split, rows: int, sizes: tuple[int, ...] = SIZES, seed: int = 0, *, compiled: bool = False) -> Probe:
    """Draw rows and put a network beside them, a little off its initial point so that no bias is zero."""
    rng = np.random.default_rng(seed)
    network = (CompiledNetwork if compiled else Network)(sizes)
    parameters = network.initial_parameters(rng)
    parameters.vector += 0.01 * rng.standard_normal(network.n_parameters)
    return draw(network, parameters, data, rows, rng)


def exercise_gradient(probe: Probe, epsilon: float = STEP) -> Array:
    """Approximate the gradient as the exercise does: a copy, a dictionary and two forward passes a parameter."""
    shapes = {name: value.shape for name, value in probe.parameters.items()}
    ends = np.cumsum([value.size for value in probe.parameters.values()])

    def vector_to_dictionary(theta: Array) -> dict[str, Array]:
        pieces = np.split(theta.ravel(), ends[:-1])
        return {name: piece.reshape(shape).copy() for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}

    theta = np.concatenate([value.reshape(-1, 1) for value in probe.parameters.values()])
    approximation = np.zeros_like(theta)
    for i in range(len(theta)):
        theta_plus, theta_minus = np.copy(theta), np.copy(theta)
        theta_plus[i][0] += epsilon
        theta_minus[i][0] -= epsilon
        J_plus, J_minus = probe.loss(vector_to_dictionary(theta_plus)), probe.loss(vector_to_dictionary(theta_minus))
        approximation[i] = (J_plus - J_minus) / (2 * epsilon)
    return approximation.ravel()


def torch_gradcheck(probe: Probe, *, fast_mode: bool) -> Callable[[], bool]:
    """Give torch's check of the same network on the same rows, as its users have it: all of it in torch, in double."""
    import torch

    rows, labels = torch.from_numpy(probe.inputs), torch.from_numpy(probe.targets)
    parameters = [torch.from_numpy(value.copy()).requires_grad_() for value in probe.parameters.values()]

    def loss(*tensors: Any) -> Any:
        hidden = rows
        for weight, bias in zip(tensors[:-2:2], tensors[1:-2:2], strict=True):
            hidden = torch.nn.functional.linear(hidden, weight, bias).relu()
        logits = torch.nn.functional.linear(hidden, tensors[-2], tensors[-1])[:, 0]
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)

    return lambda: bool(torch.autograd.gradcheck(loss, parameters, fast_mode=fast_mode, raise_exception=False))


def full_figures(data: Split, repetitions: int, sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    """Measure the full check on 256 rows against the exercise's loop and torch's slow mode."""
    probe, best = probe_of(data, 256, sizes), probe_of(data, 256, sizes, compiled=HAS_COMPILER)
    objective = best.objective()
    ours = np.concatenate([central_sweep(objective, name, STEP)[0] for name in objective.layout.slices])
    apart = relative_difference(ours, exercise_gradient(probe))
    runs: dict[str, Callable[[], object]] = {"backproof": partial(check, best, "full", complex_confirmed=True)}
    if HAS_COMPILER:
        runs["numpy alone"] = partial(check, probe, "full", complex_confirmed=True)
    runs["exercise"] = partial(exercise_gradient, probe)
    if find_spec("torch"):
        runs["torch"] = torch_gradcheck(probe, fast_mode=False)
    seconds = side_by_side(runs, repetitions)
    note = (
        f"{probe.network.n_parameters} parameters; numbers {apart:.1g} apart; {_milliseconds(seconds)}; "
        "torch has the network in torch, in double, with its own gradient"
    )
    peers: dict[str, tuple[str, float, float]] = {
        "exercise": ("the exercise's loop", 10, 25),
        "torch": ("torch's `gradcheck` in slow mode", 15, 40),
    }
    figures = []
    for name, how in (("backproof", "full check"), ("numpy alone", "full check in numpy alone")):
        for peer, (called, *goals) in peers.items():
            if name in seconds and peer in seconds:
                judged = goals if name == "backproof" else ()
                ratio = ratios(seconds[peer], seconds[name])
                figures.append(compared(f"{how}, 256 rows: against {called}", ratio, *judged, note=note))
    return figures


def fast_figures(data: Split, repetitions: int) -> list[Figure]:
    """Measure one random direction against torch's fast mode: time, and what each of them finds."""
    if not find_spec("torch"):
        return []
    probe = probe_of(data, 64)
    ours = partial(check, probe, "directions", np.random.default_rng(0), complex_confirmed=True)
    seconds = side_by_side({"backproof": ours, "torch": torch_gradcheck(probe, fast_mode=True)}, repetitions)
    fast, mine, total = found(data)
    note = f"found of {total} mistakes of 1 % or in one entry: {mine}, torch {fast}; {_milliseconds(seconds)}"
    name = '`coverage="directions"`, 64 rows: against `gradcheck(fast_mode=True)`'
    return [compared(name, ratios(seconds["torch"], seconds["backproof"]), 3, 10, note=note)]


def found(data: Split) -> tuple[int, int, int]:
    """Count the small mistakes that torch's fast mode finds, those that one random direction finds, and all."""
    right = probe_of(data, 64)
    rng = np.random.default_rng(0)
    fast = mine = total = 0
    for name in MISTAKES:
        for layer in BUGS[name].layers(right.network):
            mistaken, _ = plant(right.network, name, layer=layer)
            probe = replace(right, network=mistaken)
            if relative_difference(probe.gradients(probe.parameters), right.gradients(probe.parameters)) == 0.0:
                continue  # the entry happens to be zero: no mistake
            total += 1
            fast += not available()["torch fast"](FlatProbe(probe))
            mine += check(probe, "directions", rng, complex_confirmed=True).verdict is Verdict.FAIL
    return fast, mine, total


def callback_figures(data: Split, epochs: int, repetitions: int) -> list[Figure]:
    """Measure seven callbacks that override every hook with an empty body, against none."""
    inputs, targets = data.inputs.astype(np.float32), data.targets.astype(np.float32)
    idle = type("Idle", (Callback,), {hook: lambda self, state: None for hook in HOOKS})

    def fit(callbacks: list[Callback]) -> None:
        own(inputs, targets, epochs, callbacks=callbacks)

    seconds = side_by_side({"none": lambda: fit([]), "seven": lambda: fit([idle() for _ in range(7)])}, repetitions)
    more = [100 * (b / a - 1) for a, b in zip(seconds["none"], seconds["seven"], strict=True)]
    # A hook takes a fraction of a microsecond, which whole runs cannot resolve: the calls alone are timed too.
    state: Any = None
    hooks = [getattr(idle(), name) for name in ("on_batch_begin", "on_gradients_computed", "on_batch_end")] * 7
    calls = statistics.median(stopwatch(lambda: [hook(state) for hook in hooks]) for _ in range(1000))
    step = statistics.median(seconds["none"]) / (epochs * -(-len(inputs) // 256))
    note = (
        f"the {len(hooks)} calls take {1e6 * calls:.2f} µs of a step of {1e6 * step:.0f} µs; {_milliseconds(seconds)}"
    )
    name = "seven callbacks that do nothing, at every hook: share of a step"
    return [compared(name, quartiles(more), 2.0, 0.5, lower=True, unit="%", note=note)]


def _milliseconds(seconds: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {1e3 * statistics.median(values):.3g} ms" for name, values in seconds.items() if values)
