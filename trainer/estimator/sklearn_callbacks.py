"""scikit-learn's own callbacks, new in its version 1.9: they see the epochs of a run; without them, nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from trainer.callbacks.base import Callback, TrainState


def _unchanged(method: Any) -> Any:
    return method


CallbackSupport: Any = type("NoSupport", (), {})  # the base class of an estimator that takes them
with_callbacks: Any = _unchanged  # decorates its fit: whatever happens, every callback is torn down
with suppress(ImportError):
    from sklearn import callback as sklearn_callback

    CallbackSupport, with_callbacks = sklearn_callback.CallbackSupportMixin, sklearn_callback.with_callbacks


class EpochTasks(Callback):
    """Tells scikit-learn's callbacks of every epoch, as a task of the fit, and stops where one says so."""

    def __init__(self, estimator: Any, context: Any, data: dict[str, Any]) -> None:
        self._estimator = estimator
        self._context = context
        self._data = data
        self._epoch: Any = None

    def on_epoch_begin(self, state: TrainState) -> None:
        """Begin a task."""
        self._epoch = self._context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def on_epoch_end(self, state: TrainState) -> None:
        """End it; a callback may look at the estimator as it is now, and its True is a request to stop."""
        shown = {"reconstruction_attributes": lambda: {"parameters_": state.parameters.copy()}}
        if self._epoch.call_on_fit_task_end(estimator=self._estimator, **self._data, **shown):
            state.request_stop("a scikit-learn callback asked for it")
        self._epoch = None

    def close(self) -> None:
        """End the task of an epoch that a stop cut short, as one of which there is nothing to show."""
        if self._epoch is not None:
            self._epoch.call_on_fit_task_end(estimator=self._estimator)


@contextmanager
def fit_task(estimator: Any, n_epochs: int, X: Any, y: Any, sample_weight: Any) -> Iterator[list[Callback]]:
    """Tell scikit-learn's callbacks, if there are any, of a fit: its begin, and its end unless it raises.

    It yields what the trainer has to call beside its own callbacks.
    """
    if not getattr(estimator, "_skl_callbacks", ()):
        yield []
        return
    data = {"X": X, "y": y, "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
    context = estimator._init_callback_context(max_subtasks=n_epochs)
    context.call_on_fit_task_begin(estimator=estimator, **data)
    tasks = EpochTasks(estimator, context, data)
    yield [tasks]
    tasks.close()
    context.call_on_fit_task_end(estimator=estimator, **data, reconstruction_attributes={})
