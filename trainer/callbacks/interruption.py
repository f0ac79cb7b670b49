"""Interruption: lets a signal end a run between two iterations, so that what was achieved can be kept."""

import logging
import signal
import threading
from types import FrameType
from typing import Any, Self

from trainer.callbacks.base import Callback, TrainState
from trainer.callbacks.checkpoint import Checkpoint

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a polite end, and a terminal that goes away

logger = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; ``number`` says which, and 128 plus it is the exit code that a shell expects."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption(Callback):
    """Ends a run on Ctrl-C, SIGTERM or SIGHUP: after the iteration at hand and, if there is one, a checkpoint.

    Enter it as a context around everything that a signal may end, and put it last into the list of callbacks. Outside
    of a training, and on a second signal, it raises at once. A signal that was ignored before, as SIGHUP is under
    ``nohup``, stays ignored, and off the main thread, where Python takes no signals, nothing is changed.

    Parameters
    ----------
    checkpoint : Checkpoint, optional
        Where to save before the run ends.

    Raises
    ------
    Interrupted
        A KeyboardInterrupt, out of `fit`, or out of whatever a signal met within the context.
    """

    def __init__(self, checkpoint: Checkpoint | None = None) -> None:
        self.checkpoint = checkpoint
        self._is_training = False
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *raised: object) -> None:
        """Give them back."""
        while self._before:
            signal.signal(*self._before.popitem())

    def on_train_begin(self, state: TrainState) -> None:
        """From here on, a signal waits for the end of an iteration."""
        self._is_training, self._received = True, None

    def on_batch_end(self, state: TrainState) -> None:
        """End the run, if a signal has come."""
        if self._received is not None:
            # Said here and not where the signal is met: a stream may be in the middle of a write there.
            logger.warning("%s: ending after iteration %d", signal.Signals(self._received).name, state.iteration)
            if self.checkpoint is not None:
                self.checkpoint.save(state)
            raise Interrupted(self._received)

    def on_train_end(self, state: TrainState) -> None:
        """From here on, a signal raises at once."""
        self._is_training = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self._is_training or self._received is not None:
            raise Interrupted(number)
        self._received = number
