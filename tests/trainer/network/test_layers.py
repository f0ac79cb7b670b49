"""Every layer: its backward against two independent slopes of its forward, and what its forward accepts."""

import copy

import numpy as np
import pytest

from trainer import Dropout, Linear, ReLU, Tanh

N_ROWS, N_INPUTS, N_UNITS = 5, 7, 3


def relative_difference(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


class ForbiddenGenerator:
    """Raises whatever is asked of it."""

    def __getattr__(self, name):
        raise AssertionError(f"a random number was drawn: {name}")


def example(layer, seed=0):
    """Return parameters, inputs and output weights u of the scalar ``sum(u * outputs)``."""
    rng = np.random.default_rng(seed)
    parameters = {name: rng.standard_normal(shape) for name, shape in layer.shapes.items()}
    inputs = rng.standard_normal((N_ROWS, N_INPUTS))
    outputs, _ = layer.forward(parameters, inputs, None)
    return parameters, inputs, rng.standard_normal(outputs.shape)


def slope(layer, parameters, inputs, weights, direction, mask_seed, *, kind):
    """Return the slope of ``sum(weights * outputs)`` along `direction`, a dict with key "inputs" too."""

    def moved(t):
        rng = None if mask_seed is None else np.random.default_rng(mask_seed)
        at = {name: value + t * direction[name] for name, value in parameters.items()}
        outputs, _ = layer.forward(at, inputs + t * direction["inputs"], rng)
        return np.sum(weights * outputs)

    if kind == "complex":
        return moved(1e-30j).imag / 1e-30
    return (moved(1e-6) - moved(-1e-6)) / 2e-6


LAYERS = {
    "linear": (Linear(1, N_INPUTS, N_UNITS), None),
    "linear to one unit": (Linear(1, N_INPUTS, 1), None),
    "relu": (ReLU(), None),
    "tanh": (Tanh(), None),
    "dropout, no generator": (Dropout(0.4), None),
    "dropout, frozen mask": (Dropout(0.4), 3),
}


@pytest.mark.parametrize("kind", ["complex", "central"])
@pytest.mark.parametrize("case", LAYERS)
def test_backward_is_the_slope_of_forward_in_every_coordinate(case, kind):
    layer, mask_seed = LAYERS[case]
    parameters, inputs, weights = example(layer)
    rng = None if mask_seed is None else np.random.default_rng(mask_seed)
    gradients = {name: np.full_like(value, np.nan) for name, value in parameters.items()}
    _, backward = layer.forward(parameters, inputs, rng)
    analytic = {"inputs": backward(weights.copy(), gradients), **gradients}

    values = {"inputs": inputs, **parameters}
    for name, value in values.items():
        numeric = np.empty_like(value)
        for index in np.ndindex(value.shape):
            direction = {other: np.zeros_like(values[other]) for other in values}
            direction[name][index] = 1.0
            numeric[index] = slope(layer, parameters, inputs, weights, direction, mask_seed, kind=kind)
        # complex: rounding only; central: eps / h = 2e-10 of rounding
        assert relative_difference(analytic[name], numeric) < (1e-14 if kind == "complex" else 1e-8), name


def test_the_first_layer_leaves_out_the_input_gradient_and_nothing_else():
    full, first = Linear(1, N_INPUTS, N_UNITS), Linear(1, N_INPUTS, N_UNITS, needs_input_gradient=False)
    parameters, inputs, weights = example(full)
    results = []
    for layer in (full, first):
        gradients = {name: np.empty_like(value) for name, value in parameters.items()}
        results.append((layer.forward(parameters, inputs, None)[1](weights, gradients), gradients))
    assert results[0][0] is not None
    assert results[1][0] is None
    for name in parameters:
        np.testing.assert_array_equal(results[0][1][name], results[1][1][name])


def test_a_second_forward_does_not_disturb_the_first_backward():
    for layer, mask_seed in LAYERS.values():
        parameters, inputs, weights = example(layer)
        gradients = [{name: np.empty_like(value) for name, value in parameters.items()} for _ in range(2)]
        rng = None if mask_seed is None else np.random.default_rng(mask_seed)
        _, backward = layer.forward(parameters, inputs, copy.deepcopy(rng))
        expected = backward(weights.copy(), gradients[0])
        _, backward = layer.forward(parameters, inputs, copy.deepcopy(rng))
        layer.forward(parameters, -inputs, rng)
        np.testing.assert_array_equal(backward(weights.copy(), gradients[1]), expected)
        for name in parameters:
            np.testing.assert_array_equal(gradients[1][name], gradients[0][name])


@pytest.mark.parametrize("case", LAYERS)
def test_leading_axes_are_independent_passes_that_share_one_mask(case):
    layer, mask_seed = LAYERS[case]
    parameters, inputs, _ = example(layer)
    stack = np.stack([inputs, -inputs, 2 * inputs])
    rng = [None if mask_seed is None else np.random.default_rng(mask_seed) for _ in range(4)]
    outputs, _ = layer.forward(parameters, stack, rng[3])
    for index in range(3):
        single, _ = layer.forward(parameters, stack[index], rng[index])
        np.testing.assert_allclose(outputs[index], single, rtol=1e-14, atol=1e-15)  # BLAS blocks differ


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_the_dtype_stays_and_the_inputs_are_not_touched(case, dtype):
    layer, mask_seed = LAYERS[case]
    parameters, inputs, weights = example(layer)
    parameters = {name: value.astype(dtype) for name, value in parameters.items()}
    inputs = inputs.astype(dtype)
    before = inputs.copy()
    outputs, backward = layer.forward(
        parameters, inputs, None if mask_seed is None else np.random.default_rng(mask_seed)
    )
    assert outputs.dtype == dtype
    if dtype != np.complex128:
        gradients = {name: np.empty_like(value) for name, value in parameters.items()}
        assert backward(weights.astype(dtype), gradients).dtype == dtype
    np.testing.assert_array_equal(inputs, before)


@pytest.mark.parametrize("case", LAYERS)
def test_the_real_part_of_a_complex_pass_is_the_real_pass(case):
    layer, mask_seed = LAYERS[case]
    parameters, inputs, _ = example(layer)
    rng = None if mask_seed is None else np.random.default_rng(mask_seed)
    real, _ = layer.forward(parameters, inputs, copy.deepcopy(rng))
    complex_outputs, _ = layer.forward(parameters, inputs + 1e-30j, rng)
    np.testing.assert_allclose(complex_outputs.real, real, rtol=1e-14, atol=1e-15)


def test_only_one_of_weight_and_bias_may_be_complex():
    layer = Linear(1, N_INPUTS, N_UNITS)
    parameters, inputs, _ = example(layer)
    for name in parameters:
        mixed = parameters | {name: parameters[name] + 1e-30j}
        assert layer.forward(mixed, inputs, None)[0].dtype == complex


def test_the_derivative_of_relu_at_zero_is_zero():
    _, backward = ReLU().forward({}, np.array([[-1.0, 0.0, 1.0]]), None)
    np.testing.assert_array_equal(backward(np.array([[5.0, 7.0, 3.0]]), {}), [[0.0, 0.0, 3.0]])
    outputs, _ = ReLU().forward({}, np.array([[0.0 + 1e-30j]]), None)
    assert outputs[0, 0] == 0


def test_relu_passes_nan_on():
    for value in (np.nan, complex(np.nan, 0)):
        assert np.isnan(ReLU().forward({}, np.array([[value]]), None)[0]).all()


def test_dropout_without_a_generator_is_the_identity():
    inputs = np.ones((N_ROWS, N_INPUTS))
    assert Dropout(0.9).forward({}, inputs, None)[0] is inputs


@pytest.mark.parametrize("layer", [Linear(1, N_INPUTS, N_UNITS), ReLU(), Tanh()])
def test_only_dropout_draws_random_numbers(layer):
    parameters, inputs, _ = example(layer)
    layer.forward(parameters, inputs, ForbiddenGenerator())
    with pytest.raises(AssertionError, match="random"):
        Dropout(0.5).forward({}, inputs, ForbiddenGenerator())


def test_dropout_drops_its_rate_and_keeps_the_mean():
    outputs, _ = Dropout(0.3).forward({}, np.ones((500, 700)), np.random.default_rng(0))
    assert set(np.unique(outputs)) == {0.0, 1 / (1 - round(0.3 * 2**16) / 2**16)}
    # 350,000 draws: the share has a standard deviation of 0.0008
    assert abs(np.mean(outputs == 0) - 0.3) < 0.004
    assert abs(outputs.mean() - 1) < 0.006


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_dropout_rate_outside_zero_to_one_is_refused(rate):
    with pytest.raises(ValueError, match=r"Expected a float in \[0, 1\). Received"):
        Dropout(rate)


def test_the_masks_are_the_same_in_every_precision():
    seeds = range(20)
    for dtype in (np.float32, complex, np.complex64):
        for rate in (0.1, 0.3, 1 / 3, 0.9):
            for seed in seeds:
                theirs, mine = np.random.default_rng(seed), np.random.default_rng(seed)
                expected, _ = Dropout(rate).forward({}, np.ones((31, 7)), theirs)
                outputs, _ = Dropout(rate).forward({}, np.ones((31, 7), dtype), mine)
                np.testing.assert_array_equal(outputs != 0, expected != 0)
                assert outputs.dtype == dtype
                assert mine.bit_generator.state == theirs.bit_generator.state


def splitmix64(state):
    """Give the next state and word, in Python's own integers, as the paper of SplitMix64 has it."""
    state = (state + 0x9E3779B97F4A7C15) % 2**64
    word = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return state, word ^ (word >> 31)


def test_the_bits_of_a_mask_are_those_of_splitmix64_begun_at_one_number_of_the_generator():
    state, bits = 1234567, []
    for _ in range(3):
        state, word = splitmix64(state)
        bits.append(word)
    assert bits == [6457827717110365317, 3203168211198807973, 9817491932198370423]  # published for this seed
    rng, rate = np.random.default_rng(5), 0.3
    outputs, _ = Dropout(rate).forward({}, np.ones((7, 5)), copy.deepcopy(rng))
    state, words = rng.bit_generator.random_raw(), []
    for _ in range(9):  # 36 of 16 bits, for 35 units
        state, word = splitmix64(state)
        words.append(word)
    drawn = np.array(words, np.uint64).view(np.uint16)[:35].reshape(7, 5)
    np.testing.assert_array_equal(outputs != 0, drawn >= round(rate * 2**16))


@pytest.mark.parametrize(("rate", "kept"), [(0.5, 0.5), (0.3, 1 - 19_661 / 2**16), (1e-9, 1.0), (1 - 1e-9, 1 / 2**16)])
def test_what_is_kept_grows_by_the_share_that_is_really_kept(rate, kept):
    outputs, _ = Dropout(rate).forward({}, np.ones((700, 500)), np.random.default_rng(0))
    assert set(np.unique(outputs)) <= {0.0, 1 / kept}
    assert abs(np.mean(outputs != 0) - kept) <= 5 * (kept * (1 - kept) / outputs.size) ** 0.5
    assert kept == pytest.approx(1 - rate, abs=2**-16)
