"""The classic gradient-checking exercise, number for number, and the answers to what it leaves open.

One dimension first, J = theta * x; then LINEAR -> RELU -> LINEAR -> RELU -> LINEAR -> SIGMOID with the
exercise's two planted mistakes (dW2 doubled, db1 quadrupled) and without. Every number is computed as
you watch; the exercise's own stands beside it as "reference". Every function imports under the name it
has there. Examples are columns, as in the exercise: A = W @ A_prev + b.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from checks import Verdict, check_gradients, numerical_gradient, relative_difference

Array = NDArray[np.float64]
Named = Mapping[str, Array]
Cache = tuple[Array, ...]

SHAPES = {"W1": (5, 4), "b1": (5, 1), "W2": (3, 5), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
EPSILON = 1e-7  # the exercise's own step
WIDER = 1e-5  # near eps**(1/3), where rounding and truncation of a central difference meet
THRESHOLDS = (1e-7, 1.2e-7, 2e-7)  # all three are found in published copies of the exercise


def forward_propagation(x: float, theta: float) -> float:
    """Cost of the one-dimensional model, ``J = theta * x`` (dimensionless)."""
    return theta * x


def backward_propagation(x: float, theta: float) -> float:
    """Slope of that cost, ``dJ/dtheta = x``."""
    return x


def gradient_check(x: float, theta: float, epsilon: float = EPSILON) -> float:
    """Relative difference between `backward_propagation` and a central difference with step `epsilon`."""
    gradapprox = numerical_gradient(lambda t: forward_propagation(x, t), theta, step=epsilon)
    return relative_difference(backward_propagation(x, theta), gradapprox)


def forward_propagation_n(X: Array, Y: Array, parameters: Named) -> tuple[float, Cache]:
    """Cost in nats, ``sum(-log(A3) * Y - log(1 - A3) * (1 - Y)) / m``, and what the backward pass needs.

    `X` is (4, m), one example a column, dimensionless, `Y` (m,), 0 or 1; the parameters have the shapes in `SHAPES`.
    """
    W1, b1, W2, b2, W3, b3 = (parameters[name] for name in SHAPES)
    Z1 = W1 @ X + b1
    A1 = np.maximum(0.0, Z1)
    Z2 = W2 @ A1 + b2
    A2 = np.maximum(0.0, Z2)
    Z3 = W3 @ A2 + b3
    A3 = 1.0 / (1.0 + np.exp(-Z3))
    cost = 1.0 / X.shape[1] * np.sum(-np.log(A3) * Y - np.log(1.0 - A3) * (1.0 - Y))
    return float(cost), (Z1, A1, W1, b1, Z2, A2, W2, b2, Z3, A3, W3, b3)


def backward_propagation_n(X: Array, Y: Array, cache: Cache) -> dict[str, Array]:
    """Gradients of the cost, ``dW1 db1 ... db3``: ``dZ3 = A3 - Y``, then the chain rule layer by layer."""
    _, A1, _, _, _, A2, W2, _, _, A3, W3, _ = cache
    dZ3 = A3 - Y
    dZ2 = (W3.T @ dZ3) * (A2 > 0)
    dZ1 = (W2.T @ dZ2) * (A1 > 0)
    gradients = {}
    for layer, dZ, A_prev in ((1, dZ1, X), (2, dZ2, A1), (3, dZ3, A2)):
        gradients[f"dW{layer}"] = 1.0 / X.shape[1] * (dZ @ A_prev.T)
        gradients[f"db{layer}"] = 1.0 / X.shape[1] * np.sum(dZ, axis=1, keepdims=True)
    return gradients


def backward_propagation_n_faulty(X: Array, Y: Array, cache: Cache) -> dict[str, Array]:
    """Gradients as the exercise hands them out, with its two mistakes: ``dW2 * 2`` and ``db1 * 4``."""
    gradients = backward_propagation_n(X, Y, cache)
    return gradients | {"dW2": gradients["dW2"] * 2.0, "db1": gradients["db1"] * 4.0}


def dictionary_to_vector(parameters: Named) -> tuple[Array, list[str]]:
    """All parameters in one column of shape (47, 1), and for each entry the name of its tensor."""
    theta = np.concatenate([parameters[name].reshape(-1, 1) for name in SHAPES])
    return theta, [name for name in SHAPES for _ in range(parameters[name].size)]


def vector_to_dictionary(theta: Array) -> dict[str, Array]:
    """Undo `dictionary_to_vector`: fresh arrays of the shapes in `SHAPES`, out of 47 entries."""
    ends = np.cumsum([rows * columns for rows, columns in SHAPES.values()])
    if theta.size != ends[-1]:
        raise ValueError(f"Wrong size of `theta`. Expected {ends[-1]} entries. Received: shape {theta.shape}")
    pieces = zip(SHAPES.items(), np.split(theta.ravel(), ends[:-1]), strict=True)
    return {name: piece.reshape(shape).copy() for (name, shape), piece in pieces}


def gradients_to_vector(gradients: Named) -> Array:
    """All gradients in one column of shape (47, 1), in the order of `dictionary_to_vector`."""
    return np.concatenate([gradients[f"d{name}"].reshape(-1, 1) for name in SHAPES])


def gradient_check_n(parameters: Named, gradients: Named, X: Array, Y: Array, epsilon: float = EPSILON) -> float:
    """Relative difference between `gradients` and central differences over all 47 parameters.

    ``||grad - gradapprox|| / (||grad|| + ||gradapprox||)`` in Euclidean norms, dimensionless.
    """
    return relative_difference(gradients_to_vector(gradients), _slopes(_cost(X, Y), parameters, epsilon))


def worked_example() -> tuple[Array, Array, dict[str, Array]]:
    """Draw inputs, labels and parameters as the exercise does after ``np.random.seed(1)``, in its order."""
    random = np.random.RandomState(1)  # the legacy generator, because the reference numbers come from it
    X = random.randn(4, 3)
    return X, np.array([1.0, 1.0, 0.0]), {name: random.randn(*shape) for name, shape in SHAPES.items()}


def _cost(X: Array, Y: Array) -> Callable[[Named], float]:
    return lambda parameters: forward_propagation_n(X, Y, parameters)[0]


def _slopes(cost: Callable[[Named], float], parameters: Named, epsilon: float = EPSILON) -> Array:
    return dictionary_to_vector(numerical_gradient(cost, parameters, step=epsilon))[0]


def _row(label: str, computed: object, reference: str) -> str:
    return f"   {label:<32}{computed!s:>23}   {reference}"


def _one_dimension() -> Iterator[str]:
    x, theta = 2.0, 4.0
    J, dtheta = forward_propagation(x, theta), backward_propagation(x, theta)
    yield f"1. ONE DIMENSION: J = theta * x at x = {x:g}, theta = {theta:g}: J = {J:g}, dtheta = {dtheta:g}"
    yield _row("", "computed", "reference")
    yield _row("epsilon 1e-07", gradient_check(x, theta), "2.919335883291695e-10")
    yield _row("epsilon 1e-05", gradient_check(x, theta, WIDER), "7.826683745609991e-12")


def _n_dimensions() -> Iterator[str]:
    X, Y, parameters = worked_example()
    J, cache = forward_propagation_n(X, Y, parameters)
    faulty, correct = backward_propagation_n_faulty(X, Y, cache), backward_propagation_n(X, Y, cache)
    difference = gradient_check_n(parameters, correct, X, Y)
    yield f"2. N DIMENSIONS: a 4-5-3-1 network, {X.shape[1]} examples, J = {J:.6f}"
    yield _row("", "computed", "reference")
    handed_out = f"{gradient_check_n(parameters, faulty, X, Y):.12f}"
    yield _row("as handed out: dW2 * 2, db1 * 4", handed_out, "0.285093156781")
    yield _row("corrected", f"{difference:.7e}", "1.1890913e-07")
    yield _row("corrected, in older copies", "", "1.18904178766e-07, 1.18855520e-07")
    yield _row("corrected, epsilon 1e-05", f"{gradient_check_n(parameters, correct, X, Y, WIDER):.7e}", "-")
    yield "   The last digits are rounding noise; they vary with the machine and the version of numpy."
    yield "   Thresholds in use, and what each says about the corrected network at epsilon = 1e-07:"
    for threshold in THRESHOLDS:  # NaN is not below any of them
        words = "works perfectly fine" if difference <= threshold else "THERE IS A MISTAKE"
        yield f"     {threshold:.1e}   {words}"
    both_zero = (gradients_to_vector(correct) == 0) & (_slopes(_cost(X, Y), parameters) == 0)
    blind = [dictionary_to_vector(parameters)[1][entry] for entry in np.flatnonzero(both_zero)]
    where = ", ".join(f"{blind.count(name)} in {name}" for name in dict.fromkeys(blind))
    yield f"   Entry by entry, {len(blind)} of {both_zero.size} differences are 0/0: {where}."


def _verdicts() -> Iterator[str]:
    X, Y, parameters = worked_example()
    cache = forward_propagation_n(X, Y, parameters)[1]
    yield "3. WHAT BACKPROOF SAYS: print(check_gradients(loss, gradients, parameters))"
    for backward in (backward_propagation_n_faulty, backward_propagation_n):
        gradients = {name.removeprefix("d"): value for name, value in backward(X, Y, cache).items()}
        report = check_gradients(_cost(X, Y), gradients, parameters)
        yield f"   {backward.__name__}:"
        text = report.summary() if report.verdict is Verdict.PASS else str(report)
        yield textwrap.indent(text, " " * 4)


def _open_questions() -> Iterator[str]:
    X, Y, parameters = worked_example()
    J, cache = forward_propagation_n(X, Y, parameters)
    gradients = backward_propagation_n(X, Y, cache)
    grad, A3, m, rng = gradients_to_vector(gradients), cache[9].max(), X.shape[1], np.random.default_rng(0)

    def under_dropout(p: Named) -> float:
        return forward_propagation_n(X * rng.integers(0, 2, X.shape), Y, p)[0]

    def on_logits(p: Named) -> float:
        Z3 = forward_propagation_n(X, Y, p)[1][8]
        return float(np.mean(np.logaddexp(0.0, Z3) - Y * Z3))

    first, second = under_dropout(parameters), under_dropout(parameters)
    dropped = relative_difference(grad, _slopes(under_dropout, parameters))
    dead_1, dead_2 = (int(np.sum((A == 0).all(axis=1))) for A in (cache[1], cache[5]))
    live, norm = np.count_nonzero(grad), float(np.linalg.norm(grad))
    share = np.sqrt(live) / (2 * norm)  # from the error of every live slope to the relative difference
    rounded = np.finfo(np.float64).eps * abs(J) / EPSILON
    cancelled = np.spacing(A3) / (1 - A3) / m / (2 * EPSILON)
    wider = gradient_check_n(parameters, gradients, X, Y, WIDER)
    logits = relative_difference(grad, _slopes(on_logits, parameters))
    yield "4. WHAT THE EXERCISE LEAVES OPEN"
    yield "   Why can the check not run under dropout?"
    yield "     Every evaluation draws another mask, so J moves though theta does not: dropping half of the"
    yield f"     inputs, {first:.3f}, then {second:.3f}. Divided by 2 * epsilon that buries the slope:"
    yield f"     difference {dropped:.7f}. Answer: dropout is off during a check. A network here draws"
    yield "     a mask only from a generator that it is handed, and the check hands it none."
    yield "   Where does the 0/0 come from?"
    yield f"     ReLU switches {dead_1} unit of layer 1 and {dead_2} of layer 2 off on all {m} examples. What"
    yield "     leads into or out of a dead unit does not move J: both gradients are exactly 0. Answer:"
    yield "     compare norms, read 0/0 as 0, and say which parameters the check was blind to."
    yield "   Why does a threshold of 1e-7 at epsilon = 1e-7 call a correct network wrong?"
    yield f"     J = {J:.2f} is rounded to eps * |J|, so a slope to eps * |J| / epsilon = {rounded:.1e}. Over"
    yield f"     {live} live entries and ||grad|| = {norm:.2f} that is a difference of {share * rounded:.1e}."
    yield f"     The cost adds more: log(1 - A3) cancels at A3 = {A3:.5f}, where one unit in the last place"
    yield f"     of A3 moves a slope by {cancelled:.1e}, a difference of {share * cancelled:.1e}: the size of"
    yield f"     the threshold. Answer: epsilon near eps**(1/3), such as {WIDER:.0e}, reads {wider:.1e}."
    yield f"     The same cost on logits cancels nothing and reads {logits:.1e} even at epsilon = 1e-7."


def main(argv: Sequence[str] | None = None) -> int:
    """Show the exercise on one screen and return the exit code, 0."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m experiments.notebook", description=__doc__, formatter_class=raw)
    parser.epilog = "Takes no options, reads no data, writes nothing, and ends within seconds."
    parser.parse_args(argv)
    for section in (_one_dimension, _n_dimensions, _verdicts, _open_questions):
        print(*section(), sep="\n", end="\n\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
