"""The compiled network is the network: the same gradients by another hand, and the check looks at the compiled ones."""

import copy
import pickle
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import trainer.compiled
from checks import GradientCheck, GradientCheckError, Verdict, check_gradients
from trainer import (
    Adam,
    CompiledAdam,
    CompiledNetwork,
    CosineSchedule,
    Linear,
    Network,
    Parameters,
    ResumeError,
    Trainer,
    latest_checkpoint,
)
from trainer.callbacks.base import Callback
from trainer.callbacks.checkpoint import Checkpoint
from trainer.compiled.network import _kernels
from trainer.network.layers import SMALL

pytest.importorskip("numba", reason="the extra `fast` is not installed")

TOLERANCE = {"float32": 3e-6, "float64": 1e-14}  # a few roundings of numbers near 1


def rows(dtype, n_rows=11, n_features=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_rows, n_features)).astype(dtype), (rng.random(n_rows) < 0.4).astype(dtype)


def assert_same(mine, plain, dtype):
    size = np.abs(plain[1].vector).max()
    assert mine[0] == pytest.approx(plain[0], rel=TOLERANCE[dtype])
    assert mine[1].vector.dtype == plain[1].vector.dtype
    np.testing.assert_allclose(mine[1].vector, plain[1].vector, rtol=0, atol=TOLERANCE[dtype] * size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(7, 1), (7, 5, 1), (7, 5, 3, 1), (7, 1, 5, 1), (7, 3, 5, 2, 3, 1)])
@pytest.mark.parametrize("options", [{}, {"positive_weight": 3.7, "l2": 0.01}, {"dropout": 0.3}])
def test_loss_and_gradients_are_those_of_the_layers(dtype, sizes, options):
    network, plain = CompiledNetwork(sizes, **options), Network(sizes, **options)
    for seed in range(12):
        parameters = plain.initial_parameters(np.random.default_rng(seed), dtype)
        parameters.vector += np.random.default_rng(seed).standard_normal(parameters.vector.size).astype(dtype) / 10
        parameters.vector *= 10.0 ** (seed % 3 - 1)  # small logits and saturated ones
        inputs, targets = rows(dtype, seed=seed)
        mine, theirs = np.random.default_rng(1), np.random.default_rng(1)
        assert_same(
            network.loss_and_gradients(parameters, inputs, targets, mine),
            plain.loss_and_gradients(parameters, inputs, targets, theirs),
            dtype,
        )
        assert mine.random() == theirs.random()  # the same masks were drawn, and nothing else


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.97])
def test_the_masks_are_those_of_the_layers_in_every_precision(dtype, rate):
    network, plain = (kind((7, 5, 3, 1), dropout=rate) for kind in (CompiledNetwork, Network))
    parameters = plain.initial_parameters(np.random.default_rng(0), dtype)
    parameters["b1"][...] = parameters["b2"][...] = 9  # no unit is off by itself
    for seed in range(9):
        given = parameters, *rows(dtype, 1)
        mine = network.loss_and_gradients(*given, np.random.default_rng(seed))[1]
        theirs = plain.loss_and_gradients(*given, np.random.default_rng(seed))[1]
        for name in mine:
            np.testing.assert_array_equal(mine[name] != 0, theirs[name] != 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wide_layer_whose_weights_are_multiplied_as_they_lie_gives_the_same(dtype):
    network, plain = CompiledNetwork((7, 257, 263, 1), dropout=0.1), Network((7, 257, 263, 1), dropout=0.1)
    parameters = plain.initial_parameters(np.random.default_rng(0), dtype)
    given = parameters, *rows(dtype)
    mine, theirs = (each.loss_and_gradients(*given, np.random.default_rng(1)) for each in (network, plain))
    assert parameters["W2"].size > SMALL
    assert_same(mine, theirs, dtype)


def test_saturated_rows_keep_their_tiny_gradients():
    network = CompiledNetwork((1, 1))
    parameters = Parameters(network.shapes, np.array([1.0, 0.0]))
    for z, y, slope in (
        (40.0, 1.0, -np.exp(-40.0)),
        (-40.0, 0.0, np.exp(-40.0)),
        (-800.0, 1.0, -1.0),
        (800.0, 1.0, 0.0),
    ):
        _, gradients = network.loss_and_gradients(parameters, np.array([[z]]), np.array([y]))
        assert gradients["b1"][0] == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reaches_the_loss(value):
    network, plain = CompiledNetwork((7, 5, 3, 1)), Network((7, 5, 3, 1))
    parameters = plain.initial_parameters(np.random.default_rng(0))
    inputs, targets = rows("float64")
    inputs[2, 1] = value
    with np.errstate(all="ignore"):
        mine = network.loss_and_gradients(parameters, inputs, targets)
        theirs = plain.loss_and_gradients(parameters, inputs, targets)
    assert np.isfinite(mine[0]) == np.isfinite(theirs[0])
    np.testing.assert_array_equal(np.isfinite(mine[1].vector), np.isfinite(theirs[1].vector))


def test_arrays_of_any_kind_are_taken():
    network, plain = CompiledNetwork((7, 5, 3, 1)), Network((7, 5, 3, 1))
    parameters = plain.initial_parameters(np.random.default_rng(0))
    inputs, targets = rows("float64", 22)
    frozen = inputs.copy()
    frozen.flags.writeable = False
    single = parameters.astype(np.float32)
    for point, given, labels in (
        (parameters, np.asfortranarray(inputs), targets),
        (parameters, inputs[::2], targets[::2]),
        (parameters, frozen, targets),
        (parameters, inputs, targets.astype(np.int64)),
        (dict(parameters), inputs, targets),
        (parameters, inputs.round().astype(np.int64), targets),
        (parameters, inputs.astype(">f8"), targets.astype(">f4")),
        (parameters, inputs[:1], targets[:1]),
        (parameters, inputs.astype(np.longdouble), targets),
    ):
        before = given.copy()
        mine = network.loss_and_gradients(point, given, labels)
        assert_same(mine, plain.loss_and_gradients(point, given, labels), "float64")
        np.testing.assert_array_equal(given, before)
    for point, given in ((single, inputs), (parameters, inputs.astype(np.float32))):
        mine = network.loss_and_gradients(point, given, targets)
        assert_same(mine, plain.loss_and_gradients(point, given, targets), "float32")


@pytest.mark.parametrize("shape", [(11, 6), (11, 8), (11,), (2, 11, 7)])
def test_rows_of_the_wrong_shape_are_refused_and_nothing_is_read_beyond_them(shape):
    network = CompiledNetwork((7, 5, 1))
    parameters = network.initial_parameters(np.random.default_rng(0))
    with pytest.raises((ValueError, TypeError, IndexError)):
        network.loss_and_gradients(parameters, np.ones(shape), np.ones(11))


def test_parameters_of_another_network_are_refused():
    network, other = CompiledNetwork((7, 5, 1)), Network((7, 3, 1))
    few = other.initial_parameters(np.random.default_rng(0))
    inputs, targets = rows("float64")
    with pytest.raises(ValueError, match="does not fit"):
        network.loss_and_gradients(few, inputs, targets)
    right = network.initial_parameters(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"shape|mismatch"):
        network.loss_and_gradients(right, inputs, targets, None, few)


def test_too_few_targets_are_refused():
    network = CompiledNetwork((7, 5, 1))
    parameters = network.initial_parameters(np.random.default_rng(0))
    with pytest.raises(ValueError, match="shape"):
        network.loss_and_gradients(parameters, np.ones((11, 7)), np.ones(5))


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_checked_run_passes_and_the_check_changes_nothing(coverage, dtype):
    inputs, targets = rows(dtype, 333)
    ends = []
    for callbacks in ([], [GradientCheck(7, rows=32, coverage=coverage)]):
        fit = Trainer(
            CompiledNetwork((7, 5, 3, 1), dropout=0.1, l2=1e-3),
            optimizer=CompiledAdam(),
            batch_size=32,
            epochs=3,
            dtype=dtype,
            callbacks=callbacks,
        )
        fit.fit(inputs, targets)
        ends.append(fit.parameters.vector)
    assert callbacks[0].proof.passed == callbacks[0].proof.n_checks == 4
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_mistake_in_the_compiled_way_back_halts_the_run(coverage, monkeypatch):
    from trainer.compiled import kernels

    right = kernels.loss_and_gradients

    def mistaken(vector, gradient, *rest):
        loss = right(vector, gradient, *rest)
        gradient[41] *= 1.01  # of W2, which begins at 40
        return loss

    monkeypatch.setattr(kernels, "loss_and_gradients", mistaken)
    fit = Trainer(CompiledNetwork((7, 5, 3, 1)), batch_size=32, callbacks=[GradientCheck(5, coverage=coverage)])
    with pytest.raises(GradientCheckError, match="W2") as caught:
        fit.fit(*rows("float64", 333))
    (culprit,) = caught.value.report.culprits
    assert culprit.label == "W2[0, 1]"
    assert culprit.ratio == pytest.approx(1.01)


def test_a_replaced_layer_takes_effect():
    class Doubled(Linear):
        def forward(self, parameters, inputs, rng):
            outputs, backward = super().forward(parameters, inputs, rng)

            def doubled(output_gradient, gradients):
                below = backward(output_gradient, gradients)
                gradients["W2"][...] *= 2
                return below

            return outputs, doubled

    network = CompiledNetwork((7, 5, 3, 1))
    mistaken = copy.copy(network)
    mistaken.layers[2] = Doubled(2, 5, 3)
    parameters = network.initial_parameters(np.random.default_rng(0))
    inputs, targets = rows("float64")
    verdicts = {}
    for name, one in (("right", network), ("mistaken", mistaken), ("pickled", pickle.loads(pickle.dumps(network)))):
        report = check_gradients(
            lambda p, one=one: one.loss(p, inputs, targets),
            lambda p, one=one: one.loss_and_gradients(p, inputs, targets)[1],
            dict(parameters),
        )
        verdicts[name] = report.verdict
    assert verdicts == {"right": Verdict.PASS, "mistaken": Verdict.FAIL, "pickled": Verdict.PASS}


@pytest.fixture
def swept(monkeypatch):
    """Count the sweeps that are compiled."""
    from trainer.compiled import sweep_kernels

    calls, own = [], sweep_kernels.moved_losses
    monkeypatch.setattr(sweep_kernels, "moved_losses", lambda *given: (calls.extend(given[-1]), own(*given))[1])
    return calls


def test_what_the_compiled_sweep_leaves_out_is_not_calculated_with(monkeypatch):
    from trainer.compiled import sweep_kernels

    own, signaling = sweep_kernels.moved_losses, np.array([0x7FF0000000000001], np.uint64).view(np.float64)

    def garbled(*given):
        losses = own(*given)
        losses.view(np.uint64)[:, : 7 * 3 + 3 + 3 * 5 + 5] = signaling.view(np.uint64)  # of W1 to b2
        return losses

    network = CompiledNetwork((7, 3, 5, 2, 3, 1), l2=0.01)
    parameters, (inputs, targets) = network.initial_parameters(np.random.default_rng(0)), rows("float64")
    steps = repeated(network, 1e-5, -1e-5)
    right = network.coordinate_losses(parameters, inputs, targets, dict(steps))
    monkeypatch.setattr(sweep_kernels, "moved_losses", garbled)
    found = network.coordinate_losses(parameters, inputs, targets, dict(steps))  # or it warns, an error
    assert found.keys() == right.keys() == network.shapes.keys()
    for name, losses in found.items():
        np.testing.assert_array_equal(losses, right[name], name)


def repeated(network, *steps):
    """Give steps for every tensor, from numbers or arrays by name."""
    return {
        name: np.array([np.broadcast_to(step[name] if isinstance(step, dict) else step, shape) for step in steps])
        for name, shape in network.shapes.items()
    }


@pytest.mark.parametrize("sizes", [(7, 1), (7, 5, 1), (7, 5, 3, 1), (7, 1, 5, 1), (7, 3, 5, 2, 3, 1)])
@pytest.mark.parametrize("options", [{}, {"positive_weight": 3.7, "l2": 0.01}])
def test_coordinate_losses_are_those_of_the_layers(sizes, options, swept):
    network, plain = CompiledNetwork(sizes, **options), Network(sizes, **options)
    n_layers = len(sizes) - 1
    for seed in range(5):
        rng = np.random.default_rng(seed)
        parameters = plain.initial_parameters(rng)
        parameters.vector += rng.standard_normal(parameters.vector.size) / 10 * (seed > 0)  # seed 0: biases are zero
        inputs, targets = rows("float64", seed=seed)
        far = {name: rng.standard_normal(shape) for name, shape in network.shapes.items()}
        for steps in (repeated(network, 1e-5, -1e-5), repeated(network, -0.3), repeated(network, far, 2e-4, -7.0)):
            mine, theirs = (one.coordinate_losses(parameters, inputs, targets, steps) for one in (network, plain))
            assert mine.keys() == theirs.keys() == network.shapes.keys()
            for name, shape in network.shapes.items():
                assert mine[name].shape == (len(steps[name]), *shape)
                np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-14, atol=1e-15)
                alone = network.coordinate_losses(parameters, inputs, targets, {name: steps[name]})
                np.testing.assert_allclose(alone[name], mine[name], rtol=1e-14, atol=1e-15)
    assert set(swept) == set(range(max(0, n_layers - 3), n_layers))  # further up, products are better than loops


def test_what_is_not_compiled_is_left_to_the_layers(swept):
    network, plain = (kind((7, 5, 3, 1), dropout=0.3) for kind in (CompiledNetwork, Network))
    parameters = plain.initial_parameters(np.random.default_rng(0))
    inputs, targets = rows("float64")
    single, generator = parameters.astype(np.float32), np.random.default_rng(3)
    for point, step, rng in (
        (parameters, 1e-20j, None),
        (parameters, 1e-5, generator),
        (single, np.float32(1e-2), None),
    ):
        given = [inputs.astype(point.vector.dtype), targets, repeated(network, step), rng]
        mine = network.coordinate_losses(point, *copy.deepcopy(given))
        np.testing.assert_equal(mine, plain.coordinate_losses(point, *copy.deepcopy(given)))
    with pytest.raises(ValueError, match="Unknown parameter"):
        network.coordinate_losses(parameters, inputs, targets, {"W9": np.ones((1, 5, 7))})
    assert network.coordinate_losses(parameters, inputs, targets, {}) == {}
    assert not swept


@pytest.mark.parametrize("kind", [CompiledNetwork, Network])
@pytest.mark.parametrize("scale", [1.0, 30.0])  # at 30, rows are told apart up to exp(-40) and less
def test_slopes_of_a_sweep_are_as_sharp_as_those_of_two_losses(kind, scale):
    network = kind((7, 5, 3, 1), positive_weight=3.7)
    parameters = network.initial_parameters(np.random.default_rng(0))
    parameters.vector += 0.1  # biases of zero would be kinks
    parameters["W3"][...] *= scale
    inputs, targets = rows("float64", 33)
    h = 1e-5
    steps = repeated(network, h, -h)
    swept = network.coordinate_losses(parameters, inputs, targets, steps)
    unmoved = network.loss(parameters, inputs, targets)
    for name, (plus, minus) in swept.items():
        exact = Network.coordinate_losses(network, parameters, inputs, targets, {name: 1e-30j * steps[name]})
        slopes, exact = (plus - minus) / (2 * h), exact[name][0].imag / (1e-30 * h)
        # a last place of the loss, twice, and the curvature of the slope
        assert np.abs(slopes - exact).max() <= 2 * np.finfo(float).eps * unmoved / h + 1e-10 * np.abs(exact).max()


def test_a_subclass_with_a_loss_of_its_own_is_swept_by_that(swept):
    class Doubled(CompiledNetwork):
        def loss(self, *given, **named):
            return 2 * super().loss(*given, **named)

    network = Doubled((3, 2, 1))
    parameters = network.initial_parameters(np.random.default_rng(0))
    inputs, targets = rows("float64", n_features=3)
    moved = parameters.copy()
    moved["W1"][1, 2] += 0.1
    losses = network.coordinate_losses(parameters, inputs, targets, {"W1": np.full((1, 2, 3), 0.1)})["W1"][0]
    assert losses[1, 2] == pytest.approx(network.loss(moved, inputs, targets), rel=1e-14)
    assert not swept


def test_a_full_check_is_swept_compiled_and_gives_the_verdicts_of_the_layers(swept):
    rng = np.random.default_rng(0)
    inputs, targets = rows("float64", 33)
    for options in ({}, {"l2": 0.01, "positive_weight": 2.5}):
        reports = []
        for kind in (CompiledNetwork, Network):
            network = kind((7, 5, 3, 1), **options)
            parameters = network.initial_parameters(np.random.default_rng(1))
            for factor in (1.0, 1.001):

                def gradients(p, network=network, factor=factor):
                    right = network.loss_and_gradients(p, inputs, targets)[1]
                    return dict(right) | {"W2": factor * right["W2"]}

                def sweep(name, step, network=network, parameters=parameters):
                    return network.coordinate_losses(parameters, inputs, targets, {name: step[None]})[name][0]

                def loss(p, network=network):
                    return network.loss(p, inputs, targets)

                report = check_gradients(loss, gradients, dict(parameters), coordinate_losses=sweep, rng=rng)
                assert not report.notes
                reports.append({name: tensor.verdict for name, tensor in report.tensors.items()})
        assert reports[:2] == reports[2:]
        assert reports[0] == dict.fromkeys(network.shapes, Verdict.PASS)
        assert reports[1] == reports[0] | {"W2": Verdict.FAIL}
    assert set(swept) == {0, 1, 2}


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path):
    inputs, targets = rows("float64", 333)

    class Stop(Callback):
        def on_batch_end(self, state):
            if state.iteration == 17:
                raise KeyboardInterrupt

    def fit(path, *callbacks, **options):
        one = Trainer(
            CompiledNetwork((7, 5, 3, 1), dropout=0.2),
            optimizer=CompiledAdam(),
            batch_size=32,
            epochs=3,
            callbacks=[*callbacks, Checkpoint(path, every=5)],
        )
        one.fit(inputs, targets, **options)
        return one

    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", Stop())
    resumed = fit(tmp_path / "cut", resume=latest_checkpoint(tmp_path / "cut"))
    np.testing.assert_array_equal(resumed.parameters.vector, whole.parameters.vector)
    assert resumed.history.column("loss") == whole.history.column("loss")


@pytest.mark.parametrize(
    "options", [{}, {"max_norm": 50.0}, {"weight_decay": 0.1, "learning_rate": CosineSchedule(3e-3, 5)}]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_adam_gives_the_numbers_of_adam_bit_for_bit(dtype, options):
    rng = np.random.default_rng(0)
    start = rng.standard_normal(1_003).astype(dtype)
    gradients = [(rng.standard_normal(1_003) * 10.0 ** rng.integers(-9, 9)).astype(dtype) for _ in range(7)]
    ends = []
    for kind in (Adam, CompiledAdam):
        optimizer = kind(**{"learning_rate": 3e-3, "beta_1": 0.8, "epsilon": 1e-6} | options)
        vector, state = start.copy(), optimizer.initial_state(start.size, dtype)
        for gradient in gradients:
            optimizer.update(vector, gradient, state)
        ends.append([vector, *state.moments.values()])
        assert state.n_updates == 7
    for mine, plain in zip(*ends, strict=True):
        np.testing.assert_array_equal(mine, plain)
    assert not np.array_equal(ends[0][0], start)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_of_a_large_vector_on_threads_are_updated_to_the_same_bits(threads, monkeypatch):
    monkeypatch.setattr("trainer.compiled.network.PART", 100)
    monkeypatch.setattr("trainer.compiled.network._n_threads", lambda: threads)
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal((2, 1_003))
    ends = []
    for optimizer in (Adam(), CompiledAdam()):
        vector, state = start.copy(), optimizer.initial_state(start.size)
        for _ in range(3):
            optimizer.update(vector, gradient, state)
        ends.append([vector, *state.moments.values()])
    np.testing.assert_array_equal(*ends)


def test_adam_takes_as_many_threads_as_products_may():
    for limit in (1, 2):
        with threadpool_limits(limit):
            assert trainer.compiled.network._n_threads() == limit


def test_a_run_with_adam_goes_on_with_compiled_adam_to_the_same_bits_and_with_another_network_not_at_all(tmp_path):
    inputs, targets = rows("float64", 333)

    def fit(epochs, optimizer, network=Network, folder=tmp_path / "cut", **options):
        saves = Checkpoint(folder, every=11)
        one = Trainer(network((7, 5, 1)), optimizer=optimizer, batch_size=32, epochs=epochs, callbacks=[saves])
        one.fit(inputs, targets, **options)
        return one.parameters.vector

    whole = fit(3, Adam(), folder=tmp_path / "whole")
    fit(1, Adam())
    np.testing.assert_array_equal(fit(3, CompiledAdam(), resume=latest_checkpoint(tmp_path / "cut")), whole)
    with pytest.raises(ResumeError, match="network differs"):
        fit(5, Adam(), CompiledNetwork, resume=latest_checkpoint(tmp_path / "cut"))


def test_another_activation_is_refused():
    with pytest.raises(ValueError, match=r"Expected activation 'relu'\. Received 'tanh'"):
        CompiledNetwork((7, 5, 1), activation="tanh")


@pytest.mark.parametrize("make", [lambda: CompiledNetwork((7, 5, 1)), CompiledAdam])
def test_without_numba_there_is_one_clear_error(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "trainer.compiled.kernels", raising=False)
    monkeypatch.delattr(trainer.compiled, "kernels", raising=False)
    _kernels.cache_clear()
    with pytest.raises(ImportError, match=r"Expected numba installed, as by pip install -e '.\[fast\]'"):
        make()
    _kernels.cache_clear()
