"""The location: one wrong entry among thousands is named within sixty evaluations, and a spread error is not one."""

import math

import numpy as np
import pytest

from checks import Verdict, check_gradients
from checks.explain.mistake import Kind
from checks.judge.location import locate
from checks.measure.slopes import Reading, Slope


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000])
def test_halving_finds_any_position_in_a_logarithm_of_readings(size):
    rng = np.random.default_rng(size)
    place = slice(4, 4 + size)
    for position in rng.choice(size, min(size, 20), replace=False):
        error = np.zeros(size + 9)
        error[4 + position] = 3.0
        readings = []

        def read(direction, error=error, readings=readings):
            readings.append(direction)
            return Reading(direction, float(error @ direction), Slope(0.0, 1e-12))

        direction = np.zeros(size + 9)
        direction[place] = rng.standard_normal(size)
        found = locate(read, place, Reading(direction, float(error @ direction), Slope(0.0, 1e-12)), 1e-9)
        assert (found.position, found.alone) == (position, True)
        assert len(readings) == math.ceil(math.log2(size)) or size in (3, 5, 7, 1000)
        assert len(readings) <= math.ceil(math.log2(size))


def test_halving_tells_two_wrong_entries_from_one():
    rng = np.random.default_rng(0)
    for _ in range(50):
        error = np.zeros(37)
        error[rng.choice(37, 2, replace=False)] = 1.0

        def read(direction, error=error):
            return Reading(direction, float(error @ direction), Slope(0.0, 1e-12))

        direction = rng.standard_normal(37)
        found = locate(read, slice(0, 37), read(direction), 1e-9)
        assert not found.alone
        assert error[found.position] == 1.0


def test_noise_as_large_as_the_mismatch_is_no_proof_of_a_single_entry():
    error = np.zeros(37)
    error[5] = 1.0
    direction = np.ones(37)

    def read(d):
        return Reading(d, float(error @ d), Slope(0.0, 1.0))

    assert not locate(read, slice(0, 37), read(direction), 0.9).alone


WAYS = {
    "complex, confirmed before": {"complex_confirmed": True},
    "complex": {},
    "central": {"derivative": "central"},
    "real only": {},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("relative", [0.01, -2.0])
def test_one_wrong_entry_among_4097_parameters_is_named_within_sixty_evaluations(case, way, relative):
    most = (
        300 if way == "real only" else 60
    )  # without a second witness, noise is measured before anything is called wrong
    network = case((30, 64, 32, 1), n_rows=65, activation="tanh")
    assert sum(value.size for value in network.parameters.values()) == 4_097
    right = network.gradients(network.parameters)
    rng = np.random.default_rng(6)
    evaluations = []
    for name, value in right.items():
        index = tuple(int(rng.integers(size)) for size in value.shape)
        wrong = {own: array.copy() for own, array in right.items()}
        wrong[name][index] += relative * (wrong[name][index] or 1.0)
        loss = network.refusing if way == "real only" else network.loss
        report = check_gradients(loss, wrong, network.parameters, coverage="directions", rng=rng, **WAYS[way])
        assert report.verdict is Verdict.FAIL, name
        assert [(t.name, t.worst_index) for t in report.culprits] == [(name, index)]
        assert report.evaluations <= most, (name, report.evaluations)
        evaluations.append(report.evaluations)
        if value.size > 1:
            assert report.culprits[0].mistake.kind is Kind.ONE_ENTRY
            assert f"the other {value.size - 1} entries agree" in report.culprits[0].mistake.sentence
        found = report.culprits[0]
        assert found.gradient == wrong[name][index]
        assert found.numerical == pytest.approx(right[name][index], rel=1e-4)
    assert np.median(evaluations) <= most


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mistake", ["doubled", "noise", "two entries", "one row"])
def test_an_error_in_several_entries_is_never_called_one_entry(case, way, mistake):
    network = case((12, 9, 5, 1), n_rows=33, activation="tanh")
    rng = np.random.default_rng(1)
    for seed in range(4):
        wrong = network.gradients(network.parameters)
        W2 = wrong["W2"]
        if mistake == "doubled":
            W2 *= 2.0
        elif mistake == "noise":
            W2 += 1e-3 * rng.standard_normal(W2.shape)
        elif mistake == "two entries":
            W2[[0, 3], [5, 2]] += 0.1
        else:
            W2[2] *= 0.5
        loss = network.refusing if way == "real only" else network.loss
        report = check_gradients(
            loss,
            wrong,
            network.parameters,
            coverage="directions",
            rng=np.random.default_rng(seed),
            **WAYS[way],
        )
        assert [tensor.name for tensor in report.culprits] == ["W2"]
        assert report.culprits[0].mistake.kind is not Kind.ONE_ENTRY


def test_a_dense_error_near_the_noise_is_never_called_one_entry():
    # The noise of central differences passed for agreement of the other half, and the sentence claimed it.
    for seed in range(30):
        rng = np.random.default_rng(seed)
        inputs, point, error = rng.standard_normal((9, 7)), rng.standard_normal(7), rng.standard_normal(7)

        def loss(x, inputs=inputs):
            return float(0.5 * np.mean((inputs @ x) ** 2) + 1e3)

        for size in (1e-4, 1e-5, 3e-6, 1e-6):
            wrong = inputs.T @ (inputs @ point) / 9 + size * error
            report = check_gradients(loss, wrong, point, coverage="directions", rng=rng)
            for tensor in report.culprits:
                assert tensor.mistake.kind is not Kind.ONE_ENTRY


def test_a_mistake_in_all_of_a_large_tensor_is_told_from_a_sample_of_its_entries():
    point = np.random.default_rng(0).normal(size=10_007)
    report = check_gradients(
        lambda x: (x**3).sum(), lambda x: 6.0 * x**2, point, coverage="directions", rng=np.random.default_rng(0)
    )
    (culprit,) = report.culprits
    assert culprit.mistake.kind is Kind.SCALED
    assert culprit.gradient == pytest.approx(2.0 * culprit.numerical)
    assert report.evaluations < 700  # 512 in the sample
