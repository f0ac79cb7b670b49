"""Softmax: losses and slopes by other formulas, and the network's gradient by the complex step."""

import numpy as np
import pytest
from scipy.special import log_softmax

from checks import GradientCheck, check_gradients
from trainer import Adam, SoftmaxNetwork, Trainer
from trainer.network.softmax import SoftmaxCrossEntropy, softmax

RNG = np.random.default_rng(0)
LOGITS = 5 * RNG.standard_normal((11, 4))
CLASSES = RNG.integers(4, size=11)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e3])
def test_a_rows_loss_is_that_of_scipy(scale):
    expected = -log_softmax(scale * LOGITS, axis=1)[np.arange(11), CLASSES]
    criterion = SoftmaxCrossEntropy()
    np.testing.assert_allclose(criterion.per_row(scale * LOGITS, CLASSES), expected, rtol=1e-13, atol=1e-15)
    loss, gradient = criterion.value_and_gradient(scale * LOGITS, CLASSES)
    assert loss == pytest.approx(expected.mean(), rel=1e-13)
    np.testing.assert_allclose(gradient, (softmax(scale * LOGITS) - np.eye(4)[CLASSES]) / 11, atol=1e-16)


def test_what_is_left_where_it_is_sure_and_right_does_not_cancel():
    logits, classes = np.array([[60.0, 0.0, 0.0]]), np.array([0])
    loss, gradient = SoftmaxCrossEntropy().value_and_gradient(logits, classes)
    assert loss == pytest.approx(2 * np.exp(-60.0), rel=1e-14)
    np.testing.assert_allclose(gradient, [np.exp(-60.0) * np.array([-2.0, 1.0, 1.0])], rtol=1e-14)


@pytest.mark.parametrize("weights", [None, (1.0, 0.5, 3.0, 2.0)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_gradient_of_the_network_is_the_slope_of_its_loss(weights, activation):
    network = SoftmaxNetwork((5, 7, 4), activation=activation, l2=0.1, class_weights=weights)
    parameters = network.initial_parameters(RNG)
    inputs = RNG.standard_normal((11, 5))
    report = check_gradients(
        lambda p: network.loss(p, inputs, CLASSES),
        lambda p: network.loss_and_gradients(p, inputs, CLASSES)[1],
        dict(parameters),
        derivative="complex",
    )
    assert report.difference < 1e-14
    moved = network.coordinate_losses(parameters, inputs, CLASSES, {"b2": np.full((1, 4), 0.25)})["b2"][0]
    other = parameters.copy()
    other["b2"][2] += 0.25
    assert moved[2] == network.loss(other, inputs, CLASSES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_trains_on_class_numbers_of_any_kind_and_every_check_passes(dtype, tmp_path):
    inputs = RNG.standard_normal((120, 5))
    classes = inputs[:, :3].argmax(axis=1)
    vectors = []
    np.save(tmp_path / "classes.npy", classes.astype(np.uint8))
    for targets in (classes, classes.astype(float), np.load(tmp_path / "classes.npy", mmap_mode="r")):
        check = GradientCheck(every=20, dropout="frozen")
        network = SoftmaxNetwork((5, 7, 3), dropout=0.1)
        trainer = Trainer(network, optimizer=Adam(0.02), batch_size=13, epochs=20, dtype=dtype, callbacks=[check])
        trainer.fit(inputs, targets)
        vectors.append(trainer.parameters.vector)
        assert check.proof.passed == check.proof.n_checks == 10
    assert np.mean(trainer.predict(inputs) == classes) > 0.85
    assert len({vector.tobytes() for vector in vectors}) == 1


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1, 3], "Expected integers from 0 to 2. Received 3 in row 2"),
        ([0, 1, -1], "Received -1 in row 2"),
        ([0.5, 1, 2], "Received 0.5 in row 0"),
        ([0, 1], "Expected 3 targets. Received 2"),
        ([1, 1, 1], "3 rows of class 1"),
        (np.eye(3), r"Received \(3, 3\)"),
    ],
)
def test_targets_that_are_no_class_numbers_are_refused(targets, message):
    with pytest.raises(ValueError, match=message):
        Trainer(SoftmaxNetwork((2, 3))).fit(np.ones((3, 2)), targets)


@pytest.mark.parametrize(
    ("sizes", "options"),
    [((5, 1), {}), ((5,), {}), ((5, 3), {"class_weights": (1.0,)}), ((5, 2), {"class_weights": (1.0, 0.0)})],
)
def test_arguments_out_of_range_are_refused(sizes, options):
    with pytest.raises(ValueError, match=r"Invalid .*\. Expected .* Received"):
        SoftmaxNetwork(sizes, **options)
