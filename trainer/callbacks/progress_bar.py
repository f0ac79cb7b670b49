"""ProgressBar: where a run stands, for people at a terminal and for readers of a log file."""

import logging
import sys
import warnings
from typing import TYPE_CHECKING

from trainer.callbacks.base import Callback, TrainState

if TYPE_CHECKING:
    from tqdm.auto import tqdm

logger = logging.getLogger(__name__)

FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [<{remaining}{postfix}]"  # with the last difference within 79 columns


class ProgressBar(Callback):
    """Shows epoch, iteration, loss, and the last ``difference`` that a gradient check logged.

    On a terminal a tqdm bar on the standard error stream, and in a notebook tqdm's bar for notebooks. Elsewhere no
    bar, which would fill a log file with control characters, but one line an epoch: by ``logging``, of level INFO, or
    on the standard error stream where logging is as Python leaves it, and would show nothing.
    """

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self._difference: float | None = None

    def on_train_begin(self, state: TrainState) -> None:
        """Open the bar."""
        self._difference = None
        if sys.stderr.isatty() or _in_notebook():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without ipywidgets it is a bar of letters, which does as well
                from tqdm.auto import tqdm  # here, for it loads asyncio, and looks whether this is a notebook

            self._bar = tqdm(
                total=state.n_iterations,
                initial=state.iteration,
                file=sys.stderr,
                dynamic_ncols=True,
                bar_format=FORMAT,
            )

    def on_batch_end(self, state: TrainState) -> None:
        """Advance by one iteration."""
        self._difference = state.row.get("difference", self._difference)
        # tqdm redraws about ten times a second, and says when; only then is the text worth making.
        if self._bar is not None and self._bar.update():
            self._describe(self._bar, state)

    def on_epoch_end(self, state: TrainState) -> None:
        """Tell the epoch, where there is no bar."""
        if self._bar is None:
            numbers = {"epoch_loss": "loss", "validation_loss": "validation loss"}
            numbers |= {f"validation_{name}": f"validation {name.replace('_', ' ')}" for name in state.metrics}
            parts = [f"{label} {state.row[key]:.4f}" for key, label in numbers.items() if key in state.row]
            if self._difference is not None:
                parts.append(f"difference {self._difference:.2e}")
            epoch, iteration = f"{state.epoch}/{state.n_epochs}", f"{state.iteration}/{state.n_iterations}"
            _say(f"epoch {epoch}, iteration {iteration}: {', '.join(parts)}")

    def on_train_end(self, state: TrainState) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._describe(self._bar, state)
            self._bar.close()
            self._bar = None

    def _describe(self, bar: "tqdm[None]", state: TrainState) -> None:
        bar.set_description(f"epoch {state.epoch}/{state.n_epochs}", refresh=False)
        numbers = {"loss": f"{state.loss:.4f}"}
        if self._difference is not None:
            numbers["difference"] = f"{self._difference:.2e}"
        bar.set_postfix(numbers)


def _in_notebook() -> bool:
    """Say whether this is the kernel of a notebook: its streams are no terminals, and show a bar all the same."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _say(text: str) -> None:
    if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
        logger.info("%s", text)
    else:
        sys.stderr.write(f"{text}\n")
