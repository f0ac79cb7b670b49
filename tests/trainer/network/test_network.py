"""The network: its gradient against independent slopes over every option, and that nothing is hidden."""

import copy
import itertools

import numpy as np
import pytest

from trainer import Linear, Network, ReLU, WeightedBinaryCrossEntropy

SIZES = [(5, 1), (5, 7, 1), (5, 7, 3, 1), (5, 7, 3, 6, 1)]
OPTIONS = list(
    itertools.product(SIZES, ["relu", "tanh"], [0.0, 0.4], [0.0, 0.3], [1.0, 3.5])
)  # sizes, activation, dropout, l2, positive_weight


class ForbiddenGenerator:
    """Raises whatever is asked of it."""

    def __getattr__(self, name):
        raise AssertionError(f"a random number was drawn: {name}")


def example(sizes, activation="relu", dropout=0.0, l2=0.0, positive_weight=1.0, n_rows=11):
    network = Network(sizes, activation=activation, dropout=dropout, l2=l2, positive_weight=positive_weight)
    rng = np.random.default_rng(1)
    parameters = network.initial_parameters(rng)
    parameters.vector += 0.1 * rng.standard_normal(network.n_parameters)  # biases away from the kink
    inputs = rng.standard_normal((n_rows, sizes[0]))
    targets = (np.arange(n_rows) % 3 == 0).astype(float)
    return network, parameters, inputs, targets


def relative_difference(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


@pytest.mark.parametrize(("sizes", "activation", "dropout", "l2", "positive_weight"), OPTIONS)
def test_the_gradient_is_the_slope_of_the_loss_in_every_parameter(sizes, activation, dropout, l2, positive_weight):
    network, parameters, inputs, targets = example(sizes, activation, dropout, l2, positive_weight)

    def masks():
        return np.random.default_rng(9) if dropout else None

    loss, gradients = network.loss_and_gradients(parameters, inputs, targets, masks())
    assert loss == pytest.approx(network.loss(parameters, inputs, targets, masks()), rel=1e-14)

    by_complex_step, by_central_difference = parameters.zeros_like(), parameters.zeros_like()
    for index in range(network.n_parameters):
        moved = parameters.astype(complex)
        moved.vector[index] += 1e-30j
        value = network.loss(moved, inputs, targets, masks())
        by_complex_step.vector[index] = value.imag / 1e-30
        losses = []
        for h in (1e-6, -1e-6):
            moved = parameters.copy()
            moved.vector[index] += h
            losses.append(network.loss(moved, inputs, targets, masks()))
        by_central_difference.vector[index] = (losses[0] - losses[1]) / 2e-6
    for name in parameters:
        assert relative_difference(gradients[name], by_complex_step[name]) < 1e-13, name  # rounding only
        # eps / h = 2e-10, in the units of the loss
        np.testing.assert_allclose(gradients[name], by_central_difference[name], rtol=1e-6, atol=5e-9, err_msg=name)


def test_the_layers_are_linear_activation_dropout_and_end_with_the_logits():
    network = Network((5, 7, 3, 1), activation="tanh", dropout=0.1)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Linear", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear"]
    assert "Dropout" not in [type(layer).__name__ for layer in Network((5, 7, 1)).layers]
    shapes = {"W1": (7, 5), "b1": (7,), "W2": (3, 7), "b2": (3,), "W3": (1, 3), "b3": (1,)}
    assert list(network.shapes.items()) == list(shapes.items())
    assert network.n_parameters == 35 + 7 + 21 + 3 + 3 + 1


def test_the_forward_pass_by_hand():
    # z1 = (1*2 - 1*1 + 0.5, -1*2 + 0) = (1.5, -2), relu (1.5, 0), logit 2 * 1.5 + 7 * 0 - 1 = 2
    network = Network((2, 2, 1))
    parameters = {
        "W1": np.array([[1.0, -1.0], [-1.0, 0.0]]),
        "b1": np.array([0.5, 0.0]),
        "W2": np.array([[2.0, 7.0]]),
        "b2": np.array([-1.0]),
    }
    inputs = np.array([[2.0, 1.0]])
    np.testing.assert_allclose(network.logits(parameters, inputs), [2.0], rtol=1e-15)
    np.testing.assert_allclose(network.predict_proba(parameters, inputs), [1 / (1 + np.exp(-2))], rtol=1e-15)
    np.testing.assert_array_equal(network.hidden_activations(parameters, inputs)[0], [[1.5, 0.0]])


def test_the_likelier_class_is_the_one_of_more_than_half_the_probability():
    network, parameters, inputs, _ = example((5, 7, 3, 1))
    for bias in (-0.3, 0.3):  # logits near zero, on either side
        parameters["b3"][:] = bias
        parameters["W3"] *= 0.1
        likely = 1.0 / (1.0 + np.exp(-network.logits(parameters, inputs))) > 0.5
        np.testing.assert_array_equal(network.predict(parameters, inputs), likely)
        assert likely.any() == (bias > 0)


def test_rows_of_one_class_are_refused_unless_they_are_only_to_be_looked_at():
    network, _, inputs, _ = example((5, 7, 3, 1))
    with pytest.raises(ValueError, match="one class only"):
        network.checked_rows(inputs, np.zeros(len(inputs)), np.float64)
    rows = network.checked_rows(inputs, np.zeros(len(inputs)), np.float64, both_classes=False)
    assert len(rows.targets) == len(inputs)


def test_without_a_generator_nothing_is_drawn_and_with_one_it_is():
    network, parameters, inputs, targets = example((5, 7, 3, 1), dropout=0.4)
    evaluation = network.loss(parameters, inputs, targets)
    assert evaluation == network.loss(parameters, inputs, targets)
    without_dropout = Network((5, 7, 3, 1))
    assert evaluation == without_dropout.loss(parameters, inputs, targets)
    assert evaluation != network.loss(parameters, inputs, targets, np.random.default_rng(0))
    without_dropout.loss(parameters, inputs, targets, ForbiddenGenerator())
    with pytest.raises(AssertionError, match="random"):
        network.loss(parameters, inputs, targets, ForbiddenGenerator())


def test_every_hidden_layer_has_a_mask_of_its_own():
    network, parameters, inputs, _ = example((5, 7, 7, 1), activation="tanh", dropout=0.5)
    rng = np.random.default_rng(2)
    outputs, dropped = inputs, []
    for layer in network.layers:
        outputs, _ = layer.forward(parameters, outputs, rng)
        if type(layer).__name__ == "Dropout":
            dropped.append(outputs == 0)
    assert not np.array_equal(dropped[0], dropped[1])


def test_hidden_activations_are_what_each_hidden_layer_passes_on():
    network, parameters, inputs, _ = example((5, 7, 3, 1), dropout=0.4)
    first, second = network.hidden_activations(parameters, inputs)
    np.testing.assert_allclose(first, np.maximum(inputs @ parameters["W1"].T + parameters["b1"], 0))
    np.testing.assert_allclose(second, np.maximum(first @ parameters["W2"].T + parameters["b2"], 0))
    assert example((5, 1))[0].hidden_activations(example((5, 1))[1], inputs) == []


def test_no_call_leaves_a_trace():
    network, parameters, inputs, targets = example((5, 7, 3, 1), dropout=0.4, l2=0.1, positive_weight=3.0)
    before = copy.deepcopy(vars(network) | {"layers": [vars(layer) for layer in network.layers]})
    values = [array.copy() for array in (parameters.vector, inputs, targets)]
    first = network.loss_and_gradients(parameters, inputs, targets)[1]
    network.loss_and_gradients(parameters, inputs[:3], targets[:3], np.random.default_rng(0))
    network.coordinate_losses(parameters, inputs, targets, {"W1": np.full((2, *network.shapes["W1"]), 1e-5)})
    second = network.loss_and_gradients(parameters, inputs, targets)[1]
    np.testing.assert_array_equal(first.vector, second.vector)
    for array, value in zip((parameters.vector, inputs, targets), values, strict=True):
        np.testing.assert_array_equal(array, value)
    after = vars(network) | {"layers": [vars(layer) for layer in network.layers]}
    after["criterion"] = before["criterion"] = after["penalty"] = before["penalty"] = None
    assert after == before


def test_reused_storage_gives_the_same_gradients_and_forgets_the_old_ones():
    network, parameters, inputs, targets = example((5, 7, 3, 1), l2=0.1)
    fresh = network.loss_and_gradients(parameters, inputs, targets)[1]
    out = parameters.zeros_like()
    out.vector[:] = np.nan
    returned = network.loss_and_gradients(parameters, inputs, targets, None, out)[1]
    assert returned is out
    np.testing.assert_array_equal(out.vector, fresh.vector)


def test_float32_stays_float32():
    network, parameters, inputs, targets = example((5, 7, 3, 1), dropout=0.4, l2=0.1, positive_weight=3.0)
    single = parameters.astype(np.float32)
    inputs = inputs.astype(np.float32)
    rng = np.random.default_rng(0)
    assert network.logits(single, inputs, rng).dtype == np.float32
    assert network.predict_proba(single, inputs).dtype == np.float32
    loss, gradients = network.loss_and_gradients(single, inputs, targets.astype(np.float32), rng)
    assert gradients.vector.dtype == np.float32
    assert type(loss) is float
    exact = network.loss_and_gradients(parameters, inputs, targets)[1].vector
    rough = network.loss_and_gradients(single, inputs, targets.astype(np.float32))[1].vector
    assert relative_difference(exact, rough) < 1e-5  # float32 eps 1.2e-7 over some dozens of roundings


@pytest.mark.parametrize(("activation", "variance"), [("relu", 2 / 400), ("tanh", 2 / 700)])
def test_initial_weights_have_the_variance_that_keeps_the_signal(activation, variance):
    network = Network((400, 300, 1), activation=activation)
    parameters = network.initial_parameters(np.random.default_rng(0))
    # 120,000 draws: the variance is known to 0.4 % (one standard deviation), the mean to 0.3 % of a std
    assert parameters["W1"].var() == pytest.approx(variance, rel=0.02)
    assert abs(parameters["W1"].mean()) < 0.015 * np.sqrt(variance)
    assert not parameters["b1"].any()
    assert not parameters["b2"].any()


def test_both_precisions_start_from_the_same_point():
    network = Network((5, 7, 1))
    double, single = (network.initial_parameters(np.random.default_rng(3), dtype) for dtype in (np.float64, np.float32))
    np.testing.assert_array_equal(double.vector.astype(np.float32), single.vector)
    assert single.vector.dtype == np.float32


class DoubledWeight(Linear):
    def forward(self, parameters, inputs, rng):
        outputs, backward = super().forward(parameters, inputs, rng)

        def wrong(output_gradient, gradients):
            input_gradient = backward(output_gradient, gradients)
            gradients[self.weight][...] *= 2
            return input_gradient

        return outputs, wrong


class SumInsteadOfMean(WeightedBinaryCrossEntropy):
    def value_and_gradient(self, logits, targets):
        value, gradient = super().value_and_gradient(logits, targets)
        return value, gradient * len(logits)


def test_a_layer_replaced_in_a_copy_takes_effect_there_and_only_there():
    network, parameters, inputs, targets = example((5, 7, 3, 1))
    faulty = copy.copy(network)
    faulty.layers[2] = DoubledWeight(2, 7, 3)
    right = network.loss_and_gradients(parameters, inputs, targets)[1]
    wrong = faulty.loss_and_gradients(parameters, inputs, targets)[1]
    np.testing.assert_array_equal(wrong["W2"], 2 * right["W2"])
    np.testing.assert_array_equal(wrong["W1"], right["W1"])
    assert type(network.layers[2]) is Linear


def test_a_criterion_replaced_in_a_copy_takes_effect():
    network, parameters, inputs, targets = example((5, 7, 3, 1))
    faulty = copy.copy(network)
    faulty.criterion = SumInsteadOfMean()
    right = network.loss_and_gradients(parameters, inputs, targets)[1].vector
    wrong = faulty.loss_and_gradients(parameters, inputs, targets)[1].vector
    np.testing.assert_allclose(wrong, 11 * right, rtol=1e-12)


def test_a_gradient_that_no_layer_writes_is_zero_and_not_the_last_one():
    class Forgetful(ReLU):
        def forward(self, parameters, inputs, rng):
            return super().forward(parameters, inputs, rng)[0], lambda output_gradient, gradients: None

    network, parameters, inputs, targets = example((5, 7, 1))
    out = network.loss_and_gradients(parameters, inputs, targets)[1]
    assert out["W1"].any()
    faulty = copy.copy(network)
    faulty.layers[1] = Forgetful()
    faulty.loss_and_gradients(parameters, inputs, targets, None, out)
    assert not out["W1"].any()
    assert out["W2"].any()


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ((5,), {}, ValueError, "Invalid layer_sizes"),
        ((5, 3), {}, ValueError, "Invalid layer_sizes"),
        ((5, 0, 1), {}, ValueError, "Invalid layer_sizes"),
        ((), {}, ValueError, "Invalid layer_sizes"),
        ((5, 2.5, 1), {}, TypeError, "not an integer"),
        ((5, True, 1), {}, TypeError, "not an integer"),
        ((5, 1), {"activation": "sigmoid"}, ValueError, "Unknown activation"),
        ((5, 1), {"dropout": 1.0}, ValueError, "Invalid dropout"),
        ((5, 1), {"l2": -1.0}, ValueError, "Invalid L2"),
        ((5, 1), {"positive_weight": 0.0}, ValueError, "Invalid positive_weight"),
    ],
)
def test_arguments_out_of_range_are_refused(sizes, options, error, message):
    with pytest.raises(error, match=f"{message}.*Expected .* Received"):
        Network(sizes, **options)
