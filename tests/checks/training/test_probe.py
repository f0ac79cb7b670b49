"""The probe: stratified rows, float64 copies, frozen masks, and terms that add up to the loss."""

from types import SimpleNamespace

import numpy as np
import pytest

from checks.training.probe import Storage, without_l2
from checks.training.rows import Sampler
from trainer import Network


@pytest.mark.parametrize("rows", [2, 3, 5, 7, 64, 200])
@pytest.mark.parametrize("n_positive", [1, 2, 10, 2_500, 4_990, 4_999])
def test_every_probe_holds_both_classes_however_rare_one_is(rows, n_positive):
    rng = np.random.default_rng(0)
    targets = rng.permutation(np.arange(5_000) < n_positive).astype(float)
    sampler = Sampler(targets, rows)
    for _ in range(20):
        index = sampler.draw(rng)
        drawn = int(targets[index].sum())
        assert 1 <= drawn < len(index) <= rows
        assert len(set(index.tolist())) == len(index)
        assert np.all(np.diff(index) > 0)
        share = n_positive / 5_000
        least = min(n_positive, 5_000 - n_positive, max(1, round(rows / 8)))
        assert least <= drawn <= max(round(rows * share), least) or rows - drawn == least


def test_a_probe_of_64_rows_holds_an_eighth_of_a_class_of_02_percent():
    targets = (np.arange(10_000) < 20).astype(np.float32)
    index = Sampler(targets, 64).draw(np.random.default_rng(0))
    assert (len(index), int(targets[index].sum())) == (64, 8)


def test_fewer_rows_than_asked_for_are_all_taken():
    targets = np.array([0.0, 1.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(Sampler(targets, 64).draw(np.random.default_rng(0)), np.arange(5))


def test_every_row_has_its_turn_and_every_draw_is_fresh():
    targets = (np.arange(40) % 4 == 0).astype(float)
    sampler, rng = Sampler(targets, 8), np.random.default_rng(0)
    draws = [tuple(sampler.draw(rng)) for _ in range(60)]
    assert set(np.ravel(draws)) == set(range(40))
    assert len(set(draws)) > 50


def state(dtype=np.float64, **options):
    rng = np.random.default_rng(0)
    network = Network((7, 5, 3, 1), **options)
    inputs = rng.standard_normal((40, 7)).astype(dtype)
    targets = (np.arange(40) % 4 == 0).astype(dtype)
    return SimpleNamespace(
        network=network,
        parameters=network.initial_parameters(rng, dtype),
        inputs=inputs,
        targets=targets,
        batch=(inputs[:3], targets[:3]),
    )


def probe(own, *, frozen=False, rows=11):
    storage = Storage(own.parameters, lends=False)
    return storage.draw(own, Sampler(own.targets, rows), np.random.default_rng(3), frozen=frozen)


def test_a_float32_run_is_probed_in_float64_on_copies():
    own = state(np.float32)
    drawn = probe(own)
    for name, value in drawn.parameters.items():
        assert value.dtype == np.float64
        assert not np.shares_memory(value, own.parameters[name])
        np.testing.assert_array_equal(value.astype(np.float32), own.parameters[name])
    assert drawn.inputs.dtype == drawn.targets.dtype == np.float64
    assert np.asarray(drawn.loss(drawn.parameters)).dtype == np.float64
    assert all(value.dtype == np.float64 for value in drawn.gradients(drawn.parameters).values())


def test_a_frozen_mask_is_the_same_in_every_evaluation_and_another_in_every_probe():
    own = state(dropout=0.5)
    rng, sampler = np.random.default_rng(0), Sampler(own.targets, 11)
    losses = []
    for _ in range(5):
        drawn = Storage(own.parameters, lends=False).draw(own, sampler, rng, frozen=True)
        same = {drawn.loss(drawn.parameters) for _ in range(5)}
        assert len(same) == 1
        whole = drawn.network.loss(drawn.parameters, drawn.inputs, drawn.targets)
        losses.append(same.pop() - whole)
    assert len(set(losses)) == 5
    assert 0.0 not in losses


@pytest.mark.parametrize("frozen", [False, True])
def test_coordinate_losses_are_the_loss_with_one_entry_moved(frozen):
    own = state(dropout=0.5, l2=1e-2)
    drawn = probe(own, frozen=frozen)
    moved = drawn.coordinate_losses({"W2": np.full((1, 3, 5), 0.1)})["W2"][0]
    parameters = {name: value.copy() for name, value in drawn.parameters.items()}
    parameters["W2"][2, 1] += 0.1
    assert moved[2, 1] == pytest.approx(drawn.loss(parameters), rel=1e-13)


def test_the_terms_add_up_to_the_loss_and_so_do_their_gradients():
    own = state(l2=1e-2, positive_weight=3.0)
    drawn = probe(own)
    terms = drawn.terms()
    assert list(terms) == ["class 0", "class 1", "l2"]
    shares = {"class 0": np.mean(drawn.targets == 0), "class 1": np.mean(drawn.targets == 1), "l2": 1.0}
    total = sum(shares[name] * loss(drawn.parameters) for name, (loss, _) in terms.items())
    assert total == pytest.approx(drawn.loss(drawn.parameters), rel=1e-12)
    for name, right in drawn.gradients(drawn.parameters).items():
        parts = [share * terms[term][1](drawn.parameters).get(name, 0.0) for term, share in shares.items()]
        np.testing.assert_allclose(sum(parts), right, rtol=1e-10, atol=1e-14)


def test_taking_the_regulariser_away_leaves_the_network_as_it_was():
    network = Network((7, 5, 3, 1), l2=1e-2)
    bare = without_l2(network)
    assert (network.l2, network.penalty.strength) == (1e-2, 1e-2)
    assert (bare.l2, bare.penalty.strength) == (0.0, 0.0)


def test_what_was_exercised_is_counted_by_hand():
    own = state(np.float32)
    own.parameters["b1"][...] = [-1e3, 0.0, 1e3, 0.0, -1e3]  # the first and the last unit are dead
    own.parameters["b2"][...] = 1e6
    drawn = probe(own)
    exercised = drawn.exercised(thorough=True)
    assert (exercised.active_units, exercised.units) == (6, 8)
    assert exercised.rows.tolist() == drawn.index.tolist()
    assert exercised.positive_rows.tolist() == [row for row in drawn.index.tolist() if own.targets[row] == 1]
    assert drawn.inactivity() == "layer 1: 2 of 5 units dead"
    assert drawn.exercised(thorough=False).units == 0  # not looked at
