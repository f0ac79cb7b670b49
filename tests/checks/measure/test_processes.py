"""Processes change nothing but the time: the report is the same bit for bit, wherever its evaluations are made."""

import os

import numpy as np
import pytest
from joblib import parallel_config

from checks import Verdict, check_gradients
from checks.measure.processes import one_thread, run
from checks.training.probe import Probe
from experiments.bugs.bugs import plant
from trainer import Network


def probe(bug=None):
    rng = np.random.default_rng(3)
    network = Network((30, 16, 8, 1), l2=0.1)
    parameters = network.initial_parameters(rng)
    parameters.vector += 0.05 * rng.standard_normal(network.n_parameters)
    if bug:
        network, _ = plant(network, bug)
    inputs, targets = rng.standard_normal((64, 30)), (np.arange(64) % 5 == 0).astype(float)
    return Probe(network, dict(parameters), np.arange(64), inputs, targets, None)


def report(of, *, fast=True, **options):
    fast_way = (lambda name, step: of.coordinate_losses({name: step[None]})[name][0]) if fast else None
    return check_gradients(of.loss, of.gradients, of.parameters, coordinate_losses=fast_way, **options)


def same(one, other):
    first, second = one.to_dict(), other.to_dict()
    for part in (first, second):
        part.pop("seconds")
    np.testing.assert_equal(first, second)
    assert first == second


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("derivative", ["central", "complex"])
@pytest.mark.parametrize("bug", [None, "one-entry"])
def test_the_report_is_the_same_for_any_number_of_processes(backend, fast, derivative, bug):
    of = probe(bug)
    alone = report(of, fast=fast, derivative=derivative)
    assert alone.verdict is (Verdict.FAIL if bug else Verdict.PASS)
    with parallel_config(backend=backend):
        same(report(of, fast=fast, derivative=derivative, n_jobs=2), alone)


def test_the_loss_is_that_at_the_point_where_sweeps_are_all_that_was_evaluated():
    of = probe()
    of.parameters["b1"][...] = 0.0
    alone = report(of, fast=False)
    with parallel_config(backend="threading"):
        same(report(of, fast=False, n_jobs=2), alone)
    assert alone.loss == of.loss(of.parameters)


def test_a_loss_that_takes_no_complex_numbers_is_reported_the_same():
    theta = np.random.default_rng(0).standard_normal(700)

    def loss(x):
        return float(np.sum(np.abs(x) * x))

    one, two = (check_gradients(loss, lambda x: 2 * np.abs(x), theta, derivative="complex", n_jobs=n) for n in (1, 2))
    assert one.notes
    same(two, one)


@pytest.mark.filterwarnings("ignore")  # of the cluster's own start and end
def test_a_dask_cluster_of_two_processes_gives_the_same_report():
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    of = probe()
    alone, slow = report(of), report(of, fast=False)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        parallel_config(backend="dask"),
    ):
        assert len({os.getpid(), *client.run(os.getpid).values()}) == 3
        same(report(of, n_jobs=2), alone)
        same(report(of, fast=False, n_jobs=-1), slow)


def test_one_process_starts_nothing(monkeypatch):
    monkeypatch.setattr("joblib.Parallel", None)
    assert report(probe(), n_jobs=1).verdict is Verdict.PASS
    assert run([lambda: np.ones(1)], 8)[0] == 1  # nor does a single call


def test_results_come_in_the_order_of_the_calls():
    results = run([lambda k=k: np.array([k]) for k in range(20)], 2)
    assert [int(result[0]) for result in results] == list(range(20))


def test_products_keep_to_one_thread_inside_and_get_their_threads_back():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads():  # of the library below numpy; packages that are loaded later bring others
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if "numpy" in pool["filepath"]]

    before = threads()
    with one_thread():
        assert set(threads()) == {1}
    assert threads() == before


@pytest.mark.parametrize("n_jobs", [0, True, 1.5, None])
def test_a_number_of_processes_that_is_none_is_refused(n_jobs):
    with pytest.raises(ValueError, match=r"n_jobs is out of range. Expected .* Received"):
        report(probe(), n_jobs=n_jobs)
