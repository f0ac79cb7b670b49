"""Rivals: what users would fit the same network with instead, by Adam on the same rows, each as fast as it goes."""

import os
import statistics
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import average_precision_score
from sklearn.neural_network import MLPClassifier

from datasets import Split, make_fraud
from experiments.figures import Figure, compared
from experiments.speed.timing import quartiles, ratios, side_by_side
from trainer import Adam, CompiledAdam, CompiledNetwork, Network, Trainer
from trainer.network.parameters import Array

SIZES = (30, 64, 32, 1)
WIDE_THREADS = 2
DROPOUT = 0.1
BATCH = 256
LEARNING_RATE = 1e-3
HAS_COMPILER = find_spec("numba") is not None
GOALS = {  # floor and aim of the training rows, float32 and float64
    "MLPClassifier": {"float32": (3.0, 4.0), "float64": (2.0, 3.0)},
    "torch": {"float32": (4.0, 6.0), "float64": (3.5, 5.0)},
    "jax": {"float32": (0.8, 1.1)},
}
Fit = Callable[[], object]


def training_figures(data: Split, epochs: int, repetitions: int, dtype: str) -> tuple[list[Figure], float]:
    """Measure training runs against the rivals; also give the seconds of one step."""
    inputs, targets = data.inputs.astype(dtype), data.targets.astype(dtype)
    # In front, next to each other: that is how they are compared.
    runs: dict[str, Fit] = {
        "backproof, dropout": lambda: own(inputs, targets, epochs, dropout=DROPOUT),
        "products": products(dtype, len(inputs), epochs),
        "backproof": lambda: own(inputs, targets, epochs),
        "products at best": products(dtype, len(inputs), epochs, at_best=True),
    }
    runs |= rivals(inputs, targets, epochs)
    seconds = side_by_side(runs, repetitions)
    steps = epochs * -(-len(inputs) // BATCH)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    note = ", ".join(f"{name} {1e6 * value / steps:.0f} µs a step" for name, value in medians.items())
    figures = []
    for ours, how in (("backproof", "training"), ("numpy alone", "training in numpy alone")):
        if ours not in medians:
            continue
        judged = ours == "backproof"  # with a compiler, what numpy does alone is shown and not judged
        for rival, goals in GOALS.items():
            names = [name for name in medians if name.startswith(rival)]
            if names and dtype in goals:
                fastest = min(names, key=medians.__getitem__)
                name = f"{how}, {dtype}: steps/s against {fastest}"
                ratio = ratios(seconds[fastest], seconds[ours])
                figures.append(compared(name, ratio, *(goals[dtype] if judged else ()), note=note))
        name = f"{how}, {dtype}: time of the matrix products / of a whole step"
        goals_of_share = (0.75,) if judged and dtype == "float32" else ()
        figures.append(compared(name, ratios(seconds["products"], seconds[ours]), *goals_of_share, unit=""))
    with_dropout, note = (
        seconds["backproof, dropout"],
        "the products as numpy makes them of arrays and views as they lie",
    )
    name = f"training, {dtype}, dropout {DROPOUT}: time of the matrix products / of a whole step"
    goals_of_share = (0.6,) if dtype == "float32" else ()
    figures.append(compared(name, ratios(seconds["products"], with_dropout), *goals_of_share, unit="", note=note))
    name, note = f"training, {dtype}: time of the products at best / of a whole step", "each as numpy makes it fastest"
    figures.append(compared(name, ratios(seconds["products at best"], seconds["backproof"]), unit="", note=note))
    return figures, medians["backproof"] / steps


def wide_figures(data: Split, repetitions: int, sizes: tuple[int, ...]) -> list[Figure]:
    """Measure a wide network on two threads against torch, which does most of it in products, too."""
    if not find_spec("torch") or (os.cpu_count() or 1) < WIDE_THREADS:
        return []
    import torch
    from threadpoolctl import threadpool_limits

    inputs, targets = (array[: 10 * BATCH].astype(np.float32) for array in (data.inputs, data.targets))
    epochs, before = 4, torch.get_num_threads()
    runs: dict[str, Fit] = {"backproof": lambda: own(inputs, targets, epochs, sizes=sizes)}
    runs |= {name: run for name, run in torch_eager(inputs, targets, epochs, sizes).items() if name.endswith("fused")}
    torch.set_num_threads(WIDE_THREADS)
    try:
        with threadpool_limits(WIDE_THREADS):
            seconds = side_by_side(runs, repetitions, pause=0.3)
    finally:
        torch.set_num_threads(before)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    fastest = min((name for name in medians if name != "backproof"), key=medians.__getitem__)
    steps = epochs * -(-len(inputs) // BATCH)
    note = ", ".join(f"{name} {1e3 * value / steps:.3g} ms a step" for name, value in medians.items())
    name = f"training, float32, {'-'.join(map(str, sizes))}, {WIDE_THREADS} threads: steps/s against {fastest}"
    return [compared(name, ratios(seconds[fastest], seconds["backproof"]), 0.9, note=note)]


def precision_figure(rows: int, epochs: int, seeds: int) -> Figure:
    """Compare the test average precision with MLPClassifier's, data set by data set, at the same budget."""
    scores: dict[str, list[float]] = {"own": [], "mlp": []}
    for seed in range(seeds):
        data = make_fraud(rows * 5 // 3, SIZES[0], seed=seed)
        inputs, targets = data.train.inputs.astype(np.float32), data.train.targets.astype(np.float32)
        test = data.test.inputs.astype(np.float32)
        probabilities = own(inputs, targets, epochs, seed).predict_proba(test)
        scores["own"].append(average_precision_score(data.test.targets, probabilities))
        probabilities = mlp(inputs, targets, epochs, seed).predict_proba(test)[:, 1]
        scores["mlp"].append(average_precision_score(data.test.targets, probabilities))
    differences = [ours - other for ours, other in zip(scores["own"], scores["mlp"], strict=True)]
    error = statistics.stdev(differences) / seeds**0.5 if seeds > 1 else float("nan")
    own_mean, other_mean, mean = (statistics.fmean(values) for values in (*scores.values(), differences))
    note = f"mean {own_mean:.4f} against {other_mean:.4f}, difference ± standard error {mean:+.4f} ± {error:.4f}"
    name = f"test average precision less MLPClassifier's, {epochs} epochs, {seeds} seeds, paired: mean"
    return compared(name, (mean, *quartiles(differences)[1:]), 0.0, unit="", note=note)


def rivals(inputs: Array, targets: Array, epochs: int, sizes: tuple[int, ...] = SIZES) -> dict[str, Fit]:
    """Give whole training runs by name, as far as they are installed, in the dtype of the inputs."""
    runs: dict[str, Fit] = {"backproof": lambda: own(inputs, targets, epochs, sizes=sizes)}
    if HAS_COMPILER:
        runs["numpy alone"] = lambda: own(inputs, targets, epochs, sizes=sizes, compiled=False)
    runs["MLPClassifier"] = lambda: mlp(inputs, targets, epochs, sizes=sizes)
    if find_spec("torch"):
        runs |= torch_eager(inputs, targets, epochs, sizes)
    if find_spec("jax") and inputs.dtype == np.float32:
        runs["jax"] = jax_scan(inputs, targets, epochs, sizes)
    return runs


def rate_of(sizes: tuple[int, ...]) -> float:
    """Give the learning rate, a smaller one to wide networks, which the usual one saturates.

    Their gradients are of denormal numbers then, and products of these take ten times as long, for whoever makes them.
    """
    return LEARNING_RATE * min(1.0, max(SIZES[1:]) / max(sizes[1:]))


def own(
    inputs: Array,
    targets: Array,
    epochs: int,
    seed: int = 0,
    *,
    sizes: tuple[int, ...] = SIZES,
    dropout: float = 0.0,
    compiled: bool = HAS_COMPILER,
    **options: Any,
) -> Trainer:
    """Fit with backproof's own trainer, history and all; compiled where there is a compiler."""
    dtype: Any = str(inputs.dtype)
    network = (CompiledNetwork if compiled else Network)(sizes, dropout=dropout)
    optimizer = (CompiledAdam if compiled else Adam)(rate_of(sizes))
    settings = {"batch_size": BATCH, "epochs": epochs, "dtype": dtype, "seed": seed}
    trainer = Trainer(network, optimizer=optimizer, **settings, **options)
    trainer.fit(inputs, targets)
    return trainer


def mlp(inputs: Array, targets: Array, epochs: int, seed: int = 0, *, sizes: tuple[int, ...] = SIZES) -> MLPClassifier:
    """Fit with scikit-learn: no penalty, no early stopping, a fixed number of epochs."""
    classifier = MLPClassifier(
        sizes[1:-1],
        alpha=0.0,
        batch_size=BATCH,
        learning_rate_init=rate_of(sizes),
        max_iter=epochs,
        n_iter_no_change=epochs + 1,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is given
        return classifier.fit(inputs, targets)


def products(dtype: str, n_rows: int, epochs: int, *, at_best: bool = False) -> Fit:
    """Give the eight matrix products of a step, and nothing else, as often as a run of `epochs` needs them.

    The factors are arrays and views as textbooks have them; `at_best` has transposed weights copied beforehand, and an
    outer product made by broadcasting.
    """
    rng = np.random.default_rng(0)
    passes = [_eight(rng, dtype, BATCH), _eight(rng, dtype, n_rows % BATCH or BATCH)]
    full, rest = divmod(n_rows, BATCH)
    if at_best:
        passes = [[(a, np.ascontiguousarray(b), out) for a, b, out in triples] for triples in passes]
    each = [
        [(np.multiply if at_best and a.shape[1] == 1 else np.matmul, a, b, out) for a, b, out in triples]
        for triples in passes
    ]

    def run() -> None:
        for _ in range(epochs):
            for _ in range(full):
                for multiply, a, b, out in each[0]:
                    multiply(a, b, out=out)
            if rest:
                for multiply, a, b, out in each[1]:
                    multiply(a, b, out=out)

    return run


def _eight(rng: np.random.Generator, dtype: str, n_rows: int) -> list[tuple[Array, Array, Array]]:
    def array(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    triples = []
    for layer, (n_inputs, n_units) in enumerate(pairwise(SIZES)):
        inputs, weight, gradient = array(n_rows, n_inputs), array(n_units, n_inputs), array(n_rows, n_units)
        triples.append((inputs, weight.T, array(n_rows, n_units)))
        triples.append((gradient.T, inputs, array(n_units, n_inputs)))
        if layer:
            triples.append((gradient, weight, array(n_rows, n_inputs)))
    return triples


def torch_eager(inputs: Array, targets: Array, epochs: int, sizes: tuple[int, ...] = SIZES) -> dict[str, Fit]:
    """Give the plain torch loops worth considering; the fastest is the one to compare with."""
    import torch

    rows, labels = torch.from_numpy(inputs), torch.from_numpy(targets)
    functional = torch.nn.functional

    def fit(adam: dict[str, bool], *, plain: bool) -> None:
        torch.manual_seed(0)
        a, b, c = (torch.nn.Linear(i, o, dtype=rows.dtype) for i, o in pairwise(sizes))
        model = torch.nn.Sequential(a, torch.nn.ReLU(), b, torch.nn.ReLU(), c)
        parameters = list(model.parameters())
        optimizer = torch.optim.Adam(parameters, lr=rate_of(sizes), **adam)
        w1, b1, w2, b2, w3, b3 = parameters
        for _ in range(epochs):
            for chosen in torch.randperm(len(rows)).split(BATCH):
                x, y = rows.index_select(0, chosen), labels.index_select(0, chosen)
                optimizer.zero_grad(set_to_none=True)
                if plain:
                    hidden = functional.linear(functional.linear(x, w1, b1).relu(), w2, b2).relu()
                    logits = functional.linear(hidden, w3, b3).squeeze(1)
                else:
                    logits = model(x).squeeze(1)
                functional.binary_cross_entropy_with_logits(logits, y).backward()
                optimizer.step()

    return {
        f"torch {style} {kind}": partial(fit, {kind: True}, plain=plain)
        for style, plain in (("functional", True), ("Sequential", False))
        for kind in ("fused", "foreach")
    }


def jax_scan(inputs: Array, targets: Array, epochs: int, sizes: tuple[int, ...] = SIZES) -> Fit:
    """Give a jax run: one compiled function an epoch, `lax.scan` over its batches, Adam written out."""
    import jax
    import jax.numpy as jnp

    rows, labels = jnp.asarray(inputs), jnp.asarray(targets)
    full = len(inputs) // BATCH * BATCH

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        logits = (x @ parameters[-1][0] + parameters[-1][1])[:, 0]
        return jnp.mean(jnp.maximum(logits, 0) - logits * y + jnp.log1p(jnp.exp(-jnp.abs(logits))))

    def step(state: Any, chosen: Any) -> Any:
        parameters, first, second, t = state
        value, gradient = jax.value_and_grad(loss)(parameters, rows[chosen], labels[chosen])
        t += 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        rate = rate_of(sizes) * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
        return (parameters, first, second, t), value

    def epoch(state: Any, key: Any) -> Any:
        order = jax.random.permutation(key, len(inputs))
        state, losses = jax.lax.scan(step, state, order[:full].reshape(-1, BATCH))
        if full < len(inputs):
            state, _ = step(state, order[full:])
        return state, losses

    compiled = jax.jit(epoch)

    def fit() -> None:
        keys = jax.random.split(jax.random.key(0), epochs + 1)
        rng = np.random.default_rng(0)
        parameters = [
            (jnp.asarray(rng.standard_normal((i, o)) * np.sqrt(2 / i), jnp.float32), jnp.zeros(o, jnp.float32))
            for i, o in pairwise(sizes)
        ]
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        state = (parameters, zeros, zeros, jnp.zeros((), jnp.float32))
        for key in keys[1:]:
            state, _ = compiled(state, key)
        jax.block_until_ready(state)

    return fit
