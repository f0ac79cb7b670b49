"""Processes: independent calls, made here or in the processes of joblib, each of them on one thread.

Whatever runs the calls, each is the same arithmetic: a matrix product on several threads may round differently,
and many processes of several threads each would fight over the cores.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any


def run(calls: Sequence[Callable[[], Any]], n_jobs: int) -> list[Any]:
    """Make every call, and return the results in order; ``n_jobs`` is joblib's, and so is the backend in force.

    What goes to other processes is pickled by cloudpickle, so that a lambda can go.
    """
    if n_jobs == 1 or len(calls) == 1:
        with one_thread():
            return [call() for call in calls]
    from joblib import Parallel, delayed  # comes with scikit-learn; not needed where n_jobs is 1

    results: list[Any] = Parallel(n_jobs=n_jobs)(delayed(_alone)(call) for call in calls)
    return results


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep matrix products to one thread for a while."""
    controller = _controller()
    with controller.limit(limits=1) if controller is not None else nullcontext():
        yield


def _alone(call: Callable[[], Any]) -> Any:
    with one_thread():
        return call()


@lru_cache(maxsize=1)
def _controller() -> Any:
    """Find the libraries that have threads; it takes a millisecond, so once. None where nobody can tell."""
    try:
        from threadpoolctl import ThreadpoolController  # comes with scikit-learn
    except ImportError:
        return None
    return ThreadpoolController()
