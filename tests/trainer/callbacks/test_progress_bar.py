"""The progress bar: a bar on a terminal, readable lines in a log file, and closed whatever happens."""

import io
import logging
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tqdm import tqdm

from trainer import Callback, Network, ProgressBar, Trainer

INPUTS = np.random.default_rng(0).standard_normal((11, 5))
TARGETS = (np.arange(11) % 3 == 0).astype(float)


class Stream(io.StringIO):
    def __init__(self, *, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


class Check(Callback):
    """Logs a difference at one iteration; raises later if asked to."""

    def __init__(self, fail=False):
        self.fail = fail

    def on_gradients_computed(self, state):
        if state.iteration == 1:
            state.row["difference"] = 1.5e-9
        if self.fail and state.iteration == 3:
            raise ZeroDivisionError


def fit(monkeypatch, *, terminal, fail=False, validation=None):
    stream = Stream(terminal=terminal)
    monkeypatch.setattr("sys.stderr", stream)
    callbacks = [Check(fail), ProgressBar()]
    trainer = Trainer(Network((5, 1)), epochs=3, batch_size=7, callbacks=callbacks)
    trainer.fit(INPUTS, TARGETS, validation)
    return stream.getvalue(), trainer


def test_a_terminal_shows_epoch_iteration_loss_and_the_last_difference(monkeypatch):
    text, trainer = fit(monkeypatch, terminal=True)
    last = text.split("\r")[-1]
    assert "epoch 3/3" in last
    assert "6/6" in last
    assert f"loss={trainer.state.loss:.4f}" in last
    assert "difference=1.50e-09" in last
    assert last.endswith("\n")


def test_a_log_file_gets_one_line_an_epoch_and_no_bar(monkeypatch, caplog):
    with caplog.at_level(logging.INFO, logger="trainer"):
        text, trainer = fit(monkeypatch, terminal=False, validation=(INPUTS, TARGETS))
    assert text == ""
    assert len(caplog.messages) == 3
    losses = trainer.history.column("epoch_loss"), trainer.history.column("validation_loss")
    assert caplog.messages[1] == (
        f"epoch 2/3, iteration 4/6: loss {losses[0][1]:.4f}, validation loss {losses[1][1]:.4f}, difference 1.50e-09"
    )


def test_the_line_has_the_metrics_too(monkeypatch, caplog):
    monkeypatch.setattr("sys.stderr", Stream(terminal=False))
    trainer = Trainer(Network((5, 1)), epochs=1, callbacks=[ProgressBar()])
    with caplog.at_level(logging.INFO, logger="trainer"):
        trainer.fit(INPUTS, TARGETS, (INPUTS, TARGETS), metrics={"average_precision": lambda y, p: 0.25})
    assert caplog.messages[0].endswith(", validation average precision 0.2500")


def test_without_a_terminal_and_without_logging_set_up_something_is_seen_all_the_same(monkeypatch, caplog):
    with caplog.at_level(logging.WARNING, logger="trainer"):  # as Python leaves it
        text, trainer = fit(monkeypatch, terminal=False)
    assert caplog.messages == []
    assert len(text.splitlines()) == 3
    loss = trainer.history.column("epoch_loss")[-1]
    assert text.endswith(f"epoch 3/3, iteration 6/6: loss {loss:.4f}, difference 1.50e-09\n")


def test_in_a_notebook_the_bar_is_the_one_that_tqdm_makes_for_notebooks(monkeypatch, caplog):
    drawn = []

    class Bar(tqdm):
        def close(self):
            drawn.append(str(self))
            super().close()

    kernel = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    with caplog.at_level(logging.INFO, logger="trainer"):
        fit(monkeypatch, terminal=False)
    assert drawn
    assert "epoch 3/3: 100%" in drawn[0]
    assert "difference=1.50e-09" in drawn[0]
    assert caplog.messages == []


def test_a_shell_that_is_no_notebook_gets_lines(monkeypatch):
    shell = SimpleNamespace(config={"TerminalIPythonApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    text, _ = fit(monkeypatch, terminal=False)
    assert "\r" not in text
    assert text.count("\n") == 3


def test_the_last_difference_fits_a_terminal_of_79_columns_in_a_long_run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "79")
    monkeypatch.setattr("sys.stderr", stream := Stream(terminal=True))
    bar = ProgressBar()
    state = Trainer(Network((5, 1)), epochs=1, batch_size=7)
    state.fit(INPUTS, TARGETS)
    run = state.state
    run.n_epochs, run.n_iterations, run.row = 200, 187_500, {"difference": 1.5e-9}
    bar.on_train_begin(run)
    bar.on_batch_end(run)
    bar.on_train_end(run)
    assert re.search(r"loss=[\d.]+, difference=1.50e-09\]", stream.getvalue().split("\r")[-1])


@pytest.mark.parametrize("terminal", [True, False])
def test_an_exception_finds_the_bar_closed(monkeypatch, terminal):
    stream = Stream(terminal=terminal)
    monkeypatch.setattr("sys.stderr", stream)
    bar = ProgressBar()
    with pytest.raises(ZeroDivisionError):
        Trainer(Network((5, 1)), batch_size=7, callbacks=[Check(fail=True), bar]).fit(INPUTS, TARGETS)
    assert stream.getvalue().endswith("\n") or not terminal
    assert bar._bar is None


def test_a_difference_of_an_earlier_run_is_not_shown(monkeypatch, caplog):
    monkeypatch.setattr("sys.stderr", Stream(terminal=False))
    bar = ProgressBar()
    with caplog.at_level(logging.INFO, logger="trainer"):
        for callbacks in ([Check(), bar], [bar]):
            Trainer(Network((5, 1)), epochs=1, callbacks=callbacks).fit(INPUTS, TARGETS)
    assert ["difference" in message for message in caplog.messages] == [True, False]
