"""The structured evaluation equals the plain one: `loss` with one entry moved, one entry at a time."""

import copy
import itertools

import numpy as np
import pytest

from trainer import Dropout, L2Penalty, Linear, Network, ReLU, Tanh, WeightedBinaryCrossEntropy
from trainer.network import sweep

SIZES = [(5, 1), (5, 7, 1), (5, 7, 3, 1), (5, 7, 3, 6, 1)]
STEPS = {
    "real": lambda shape: 1e-3,
    "complex": lambda shape: 1e-30j,
    "array": lambda shape: np.random.default_rng(4).standard_normal(shape),
    "complex array": lambda shape: 1e-30j * np.random.default_rng(4).standard_normal(shape),
}


class CountingNetwork(Network):
    """Counts how often the whole loss is evaluated."""

    n_evaluations = 0

    def loss(self, *arguments, **options):
        type(self).n_evaluations += 1
        return super().loss(*arguments, **options)


def example(sizes, **options):
    network = CountingNetwork(sizes, **options)
    rng = np.random.default_rng(1)
    parameters = network.initial_parameters(rng)
    parameters.vector += 0.1 * rng.standard_normal(network.n_parameters)
    inputs = rng.standard_normal((11, sizes[0]))
    return network, parameters, inputs, (np.arange(11) % 3 == 0).astype(float)


def plain(network, parameters, inputs, targets, name, step, rng):
    steps = np.broadcast_to(step, parameters[name].shape)
    losses = np.empty(steps.shape, np.result_type(steps, parameters[name]))
    for index in np.ndindex(steps.shape):
        moved = parameters[name].astype(losses.dtype)
        moved[index] += steps[index]
        losses[index] = network.loss({**parameters, name: moved}, inputs, targets, copy.deepcopy(rng))
    return losses


def swept(network, parameters, inputs, targets, name, step, rng=None):
    """Give the coordinate losses of one tensor and one step."""
    steps = np.broadcast_to(step, parameters[name].shape)
    return network.coordinate_losses(parameters, inputs, targets, {name: steps[None]}, rng)[name][0]


def assert_equal_to_rounding(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    # a dozen roundings of numbers near 1; the imaginary parts are slopes times 1e-30
    np.testing.assert_allclose(actual.real, expected.real, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(actual.imag, expected.imag, rtol=1e-11, atol=1e-45)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("sizes", "activation", "dropout", "l2", "positive_weight"),
    list(itertools.product(SIZES, ["relu", "tanh"], [0.0, 0.4], [0.0, 0.3], [1.0, 3.5])),
)
def test_structured_equals_plain(sizes, activation, dropout, l2, positive_weight, step):
    network, parameters, inputs, targets = example(
        sizes, activation=activation, dropout=dropout, l2=l2, positive_weight=positive_weight
    )
    rng = np.random.default_rng(9) if dropout else None
    for name in parameters:
        steps = STEPS[step](parameters[name].shape)
        CountingNetwork.n_evaluations = 0
        actual = swept(network, parameters, inputs, targets, name, steps, rng)
        assert CountingNetwork.n_evaluations == 1  # the base alone: the structured way was taken
        assert_equal_to_rounding(actual, plain(network, parameters, inputs, targets, name, steps, rng))


@pytest.mark.parametrize("block", [1, 100, 500])  # a column, three, and all at once
def test_the_size_of_a_block_changes_nothing(block, monkeypatch):
    network, parameters, inputs, targets = example((7, 5, 3, 1), dropout=0.4)
    rng = np.random.default_rng(9)
    expected = {name: swept(network, parameters, inputs, targets, name, 0.1, rng) for name in parameters}
    monkeypatch.setattr(sweep, "BLOCK", block)
    for name in parameters:
        actual = swept(network, parameters, inputs, targets, name, 0.1, rng)
        assert_equal_to_rounding(actual, expected[name])


def test_the_generator_is_not_advanced_and_the_arguments_not_touched():
    network, parameters, inputs, targets = example((5, 7, 3, 1), dropout=0.4)
    rng = np.random.default_rng(9)
    before = copy.deepcopy((rng.bit_generator.state, parameters.vector, inputs, targets))
    swept(network, parameters, inputs, targets, "W2", 0.1, rng)
    after = (rng.bit_generator.state, parameters.vector, inputs, targets)
    assert before[0] == after[0]
    for old, new in zip(before[1:], after[1:], strict=True):
        np.testing.assert_array_equal(old, new)


def test_complex_parameters_may_be_moved_by_a_real_step():
    network, parameters, inputs, targets = example((5, 7, 3, 1), activation="tanh", l2=0.3)
    direction = np.random.default_rng(2).standard_normal(network.n_parameters)
    moved = parameters.astype(complex)
    moved.vector += 1e-30j * direction
    for name in parameters:
        actual = swept(network, moved, inputs, targets, name, 1e-3)
        assert_equal_to_rounding(actual, plain(network, moved, inputs, targets, name, 1e-3, None))


def test_float32_stays_float32():
    network, parameters, inputs, targets = example((5, 7, 1), l2=0.3)
    single = parameters.astype(np.float32)
    losses = swept(network, single, inputs.astype(np.float32), targets, "W1", np.float32(0.01))
    assert losses.dtype == np.float32
    expected = swept(network, parameters, inputs, targets, "W1", 0.01)
    np.testing.assert_allclose(losses, expected, rtol=2e-6)  # float32 eps 1.2e-7, a dozen roundings


class ScaledLinear(Linear):
    """Another function of its parameters: no perturbation of one column by a constant."""

    def forward(self, parameters, inputs, rng):
        W = parameters[self.weight]
        scaled = {**parameters, self.weight: W / np.sqrt(np.sum(W * W))}
        return super().forward(scaled, inputs, rng)


class RowMean(ReLU):
    """Not elementwise, and says so."""

    elementwise = False

    def forward(self, parameters, inputs, rng):
        outputs, backward = super().forward(parameters, inputs, rng)
        return outputs - outputs.mean(axis=-1, keepdims=True), backward


class BatchMean(ReLU):
    """Mixes the rows, and so says that it is not elementwise."""

    elementwise = False

    def forward(self, parameters, inputs, rng):
        outputs, backward = super().forward(parameters, inputs, rng)
        return outputs - outputs.mean(axis=-2, keepdims=True), backward


class LouderLoss(CountingNetwork):
    def loss(self, parameters, inputs, targets, rng=None):
        return super().loss(parameters, inputs, targets, rng) + (parameters["W1"] ** 4).sum()


class Quartic(L2Penalty):
    def value(self, parameters, names):
        return sum((parameters[name] ** 4).sum() for name in names)

    def change(self, weight, step):
        return (weight + step) ** 4 - weight**4


class HalfCriterion(WeightedBinaryCrossEntropy):
    def per_row(self, logits, targets):
        return super().per_row(logits, targets) / 2


def replace(network, what):
    changed = copy.copy(network)
    if what == "linear":
        changed.layers[2] = ScaledLinear(2, 7, 3)
    elif what == "activation":
        changed.layers[1] = RowMean()
    elif what == "another activation":
        changed.layers[1] = Tanh()
    elif what == "dropout":
        changed.layers.insert(2, Dropout(0.3))
    elif what == "loss":
        changed.__class__ = LouderLoss
    elif what == "penalty":
        changed.penalty = Quartic(0.1)
    else:
        changed.criterion = HalfCriterion()
    return changed


@pytest.mark.parametrize(
    "what", ["linear", "activation", "another activation", "dropout", "loss", "penalty", "criterion"]
)
@pytest.mark.parametrize("step", [1e-3, 1e-30j])
def test_whatever_is_replaced_the_losses_are_those_of_the_network_as_it_is(what, step):
    original, parameters, inputs, targets = example((5, 7, 3, 1))
    network = replace(original, what)
    rng = np.random.default_rng(9)
    for name in parameters:
        actual = swept(network, parameters, inputs, targets, name, step, rng)
        assert_equal_to_rounding(actual, plain(network, parameters, inputs, targets, name, step, rng))
        untouched = swept(original, parameters, inputs, targets, name, step, rng)
        assert not np.allclose(actual, untouched, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ({"W9": np.ones((1, 1, 5))}, ValueError, r"Unknown parameter. Expected one of W1, b1. Received 'W9'"),
        (
            {"W1": np.ones((1, 5))},
            ValueError,
            r"of W1 have the wrong shape. Expected \(1, 1, 5\). Received \(1, 5\)",
        ),
        (
            {"W1": np.ones((2, 1, 5)), "b1": np.ones((3, 1))},
            ValueError,
            r"of b1 .* Expected \(2, 1\). Received \(3, 1\)",
        ),
        ({"W1": 1e-5}, ValueError, r"steps of W1 have the wrong shape. Expected \(n_steps, 1, 5\). Received \(\)"),
        ({"W1": np.ones((0, 1, 5))}, ValueError, r"Expected \(n_steps, 1, 5\). Received \(0, 1, 5\)"),
        ("W1", TypeError, r"steps are of the wrong kind. Expected a mapping .* Received str"),
    ],
)
def test_steps_that_are_none_are_refused(steps, error, message):
    network, parameters, inputs, targets = example((5, 1))
    with pytest.raises(error, match=message):
        network.coordinate_losses(parameters, inputs, targets, steps)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_all_tensors_and_steps_at_once_give_what_each_gives_alone(sizes, activation):
    network, parameters, inputs, targets = example(sizes, activation=activation, l2=0.3)
    rng = np.random.default_rng(5)
    steps = {name: rng.standard_normal((3, *shape)) for name, shape in network.shapes.items()}
    together = network.coordinate_losses(parameters, inputs, targets, steps)
    assert together.keys() == steps.keys()
    for name, several in steps.items():
        for losses, step in zip(together[name], several, strict=True):
            assert_equal_to_rounding(losses, swept(network, parameters, inputs, targets, name, step))


def dead_rows(network, parameters, inputs):
    """Return on how many rows each unit of the first layer is off."""
    return (network.hidden_activations(parameters, inputs)[0] == 0).sum(axis=0)


@pytest.mark.parametrize("shift", [0.0, -1.5, -100.0, 100.0])
@pytest.mark.parametrize("step", [1e-3, 1e-30j, 0.5])
def test_rows_on_which_nothing_changes_may_be_left_out(shift, step):
    network, parameters, inputs, targets = example((5, 7, 3, 6, 1))
    parameters["b1"][...] += shift  # from no row to every row off; half a step of 0.5 switches some on
    if shift == -1.5:
        assert 0 < dead_rows(network, parameters, inputs).min() < len(inputs)
    for name in parameters:
        actual = swept(network, parameters, inputs, targets, name, step)
        assert_equal_to_rounding(actual, plain(network, parameters, inputs, targets, name, step, None))


@pytest.mark.parametrize("step", [1e-3, 1e-30j])
def test_no_row_is_left_out_where_a_later_layer_mixes_the_rows(step):
    network, parameters, inputs, targets = example((5, 7, 3, 6, 1))
    network.layers[3] = BatchMean()
    CountingNetwork.n_evaluations = 0
    actual = swept(network, parameters, inputs, targets, "W1", step)
    assert CountingNetwork.n_evaluations == 1
    assert_equal_to_rounding(actual, plain(network, parameters, inputs, targets, "W1", step, None))


@pytest.mark.parametrize("columns", [1, 100, 1_000])
def test_the_number_of_columns_held_at_once_changes_nothing(columns, monkeypatch):
    network, parameters, inputs, targets = example((5, 7, 3, 1))
    expected = {name: swept(network, parameters, inputs, targets, name, 0.1) for name in parameters}
    monkeypatch.setattr(sweep, "COLUMNS", columns)
    for name in parameters:
        actual = swept(network, parameters, inputs, targets, name, 0.1)
        assert_equal_to_rounding(actual, expected[name])


def test_only_rows_with_a_kink_in_reach_are_evaluated_entry_by_entry(monkeypatch):
    network, parameters, inputs, targets = example((5, 7, 3, 6, 1), l2=0.3, positive_weight=3.5)
    seen, own = [], sweep._Column._add_bent
    monkeypatch.setattr(
        sweep._Column,
        "_add_bent",
        lambda self, *given: (seen.append(np.argwhere(given[-1]).tolist()), own(self, *given)),
    )
    swept(network, parameters, inputs, targets, "W1", 1e-6)
    assert not seen
    sums = inputs @ parameters["W1"].T + parameters["b1"]
    for side in (1, -1):  # unit 2 is on, or off, by less than a step on row 4
        near = parameters.copy()
        near["b1"][2] += side * 1e-7 - sums[4, 2]
        seen.clear()
        actual = swept(network, near, inputs, targets, "W1", 1e-6)
        assert seen == [[[2, 4]]]
        assert_equal_to_rounding(actual, plain(network, near, inputs, targets, "W1", 1e-6, None))
    second = np.maximum(sums, 0) @ parameters["W2"].T + parameters["b2"]
    near = parameters.copy()
    near["b2"][1] -= second[6, 1]  # a kink of the next layer
    seen.clear()
    actual = swept(network, near, inputs, targets, "W1", 1e-6)
    assert {row for _, row in seen[0]} == {6}
    assert_equal_to_rounding(actual, plain(network, near, inputs, targets, "W1", 1e-6, None))
