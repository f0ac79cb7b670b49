"""The parts of the main job: the metric that chooses the epoch, threads where they pay, and word of a compilation."""

import logging
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss
from threadpoolctl import threadpool_info, threadpool_limits

from experiments.fraud.arguments import parse
from experiments.fraud.parts import TRACE, average_precision, network_of, telling_of_compilation, threads_of


@pytest.mark.parametrize("digits", [1, 2, 17])  # few of them make many probabilities the same
def test_the_metric_of_an_epoch_is_scikit_learns_average_precision_less_a_trace_of_its_log_loss(digits: int) -> None:
    rng = np.random.default_rng(digits)
    targets = (rng.random(357) < 0.1).astype(np.float64)
    probabilities = np.clip(np.round(0.3 * targets + rng.random(357), digits), 0.0, 1.0)
    expected = average_precision_score(targets, probabilities) - TRACE * log_loss(targets, probabilities)
    assert average_precision(targets, probabilities) == pytest.approx(expected, rel=1e-13)
    assert np.isnan(average_precision(targets, np.where(targets == 1.0, np.nan, probabilities)))


@pytest.mark.parametrize(("options", "most"), [("", 1), ("--hidden 512 700 --batch-size 256", 2)])
def test_a_small_network_trains_on_one_thread_and_a_large_one_on_those_there_are(options: str, most: int) -> None:
    settings = parse(options.split())
    with threadpool_limits(2):
        before = [pool["num_threads"] for pool in threadpool_info()]
        with threads_of(settings, network_of(settings, 30)[0]):
            assert max(pool["num_threads"] for pool in threadpool_info()) == min(most, max(before))
        assert [pool["num_threads"] for pool in threadpool_info()] == before


@pytest.mark.skipif(find_spec("numba") is None, reason="the extra `fast` is not installed")
def test_a_compilation_is_told_of_once_and_only_while_a_compiled_network_trains(
    caplog: pytest.LogCaptureFixture,
) -> None:
    import numba

    caplog.set_level(logging.INFO)
    for options, times in (([], 0), (["--compiled"], 1)):
        with telling_of_compilation(parse(options)):
            for constant in (1, 2):  # two functions that nobody has compiled
                assert numba.njit(lambda x, constant=constant: x + constant)(1) == 1 + constant
        assert caplog.text.count("compiling") == times
    numba.njit(lambda x: x - 3)(1)
    assert caplog.text.count("compiling") == 1
