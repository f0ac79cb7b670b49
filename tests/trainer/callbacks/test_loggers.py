"""Loggers: every row once and at once, a halt among them, and no cell that a spreadsheet would run."""

import copy
import csv
import pickle
import struct
import sys

import numpy as np
import pytest

from checks import GradientCheck
from trainer import Callback, CSVLogger, Network, TensorBoardLogger, Trainer, TrainingHalted
from trainer.callbacks.loggers import _harmless

INPUTS = np.random.default_rng(0).standard_normal((40, 3))
TARGETS = (INPUTS[:, 0] > 0).astype(float)


def train(*callbacks, epochs=2):
    trainer = Trainer(Network((3, 2, 1)), epochs=epochs, batch_size=10, callbacks=callbacks)
    trainer.fit(INPUTS, TARGETS)
    return trainer


def read(path):
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


class Halts(Callback):
    def on_gradients_computed(self, state):
        if state.iteration == 6:
            state.row["verdict"] = "FAIL"
            raise TrainingHalted("=HYPERLINK(1)")


def test_every_row_is_written_once_in_order_and_with_what_others_add(tmp_path):
    path = tmp_path / "run.csv"
    trainer = train(CSVLogger(path), GradientCheck(every=3))  # the logger comes first, and still sees the check
    rows = read(path)
    assert [row["event"] for row in rows] == trainer.history.column("event")
    assert [float(row["loss"]) for row in rows if row["loss"]] == trainer.history.column("loss")
    assert [float(row["difference"]) for row in rows if row["difference"]] == trainer.history.column("difference")
    assert [float(row["epoch_loss"]) for row in rows if row["epoch_loss"]] == trainer.history.column("epoch_loss")
    assert rows[-1]["outcome"] == "completed"


def test_every_row_is_on_disk_when_the_next_iteration_begins(tmp_path):
    path = tmp_path / "run.csv"

    class Looks(Callback):
        def on_batch_begin(self, state):
            seen.append([row["event"] for row in read(path)] == state.history.column("event"))

    seen = []
    train(CSVLogger(path), Looks())
    assert seen == [True] * 8


def test_the_halting_row_and_the_end_are_there(tmp_path):
    path = tmp_path / "run.csv"
    with pytest.raises(TrainingHalted):
        train(CSVLogger(path), Halts())
    halted, end = read(path)[-2:]
    assert (halted["iteration"], halted["verdict"]) == ("6", "FAIL")
    assert (end["outcome"], end["reason"]) == ("halted", "TrainingHalted: =HYPERLINK(1)")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=x", "  =1", "a,b\n=c"])
def test_no_text_is_a_formula(text, tmp_path):
    class Says(Callback):
        def on_gradients_computed(self, state):
            state.row |= {"note": text, "=column": 1, "number": -1.5}

    path = tmp_path / "run.csv"
    train(CSVLogger(path, ["event", "note", "=column", "number"]), Says())
    row = read(path)[0]
    assert row["note"] == (text if text.startswith("a") else "'" + text)
    assert row["'=column"] == "1"
    assert row["number"] == "-1.5"


def test_a_logger_can_be_copied_pickled_and_used_again(tmp_path):
    path = tmp_path / "run.csv"
    logger = CSVLogger(path)
    for used in (logger, copy.deepcopy(logger), pickle.loads(pickle.dumps(logger)), logger):
        train(used, epochs=1)
        assert len(read(path)) == 6


def test_a_file_that_cannot_be_written_is_said_before_training(tmp_path):
    logger = CSVLogger(tmp_path / "missing" / "run.csv")
    with pytest.raises(FileNotFoundError):
        train(logger)


def events_in(folder):
    """Read TensorBoard's record files: length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def test_tensorboard_shows_every_number_by_iteration(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    trainer = train(TensorBoardLogger(tmp_path), GradientCheck(every=3))
    values = [
        (value.tag, event.step, value.simple_value) for event in events_in(tmp_path) for value in event.summary.value
    ]
    losses = [(step, loss) for tag, step, loss in values if tag == "iteration/loss"]
    assert losses == [(i, np.float32(loss)) for i, loss in enumerate(trainer.history.column("loss"), start=1)]
    assert [step for tag, step, _ in values if tag == "iteration/difference"] == [3, 6]
    assert [step for tag, step, _ in values if tag == "epoch/epoch_loss"] == [4, 8]
    assert not any(tag.endswith("/epoch") for tag, _, _ in values)


def test_tensorboard_tells_of_a_halt_in_words(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    with pytest.raises(TrainingHalted):
        train(TensorBoardLogger(tmp_path), Halts())
    words = [value for event in events_in(tmp_path) for value in event.summary.value if value.HasField("tensor")]
    assert [value.tag.split("/")[0] for value in words] == ["verdict", "outcome"]
    assert b"outcome: halted, reason: TrainingHalted" in words[-1].tensor.string_val[0]


def test_tensorboard_can_be_copied_and_used_again(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    logger = TensorBoardLogger(tmp_path / "a")
    train(pickle.loads(pickle.dumps(logger)), epochs=1)
    train(copy.deepcopy(logger), epochs=1)
    assert len(list((tmp_path / "a").iterdir())) >= 1


def test_without_tensorboardx_it_is_said_where_it_comes_from(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'backproof\[tensorboard\]'"):
        TensorBoardLogger("runs")


@pytest.mark.parametrize("before", ["", " ", "\n", "\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\x00", "\u2028"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦"])  # noqa: RUF001 - full-width ones
def test_a_formula_is_none_behind_whatever_is_not_seen_and_in_any_width(before, sign):
    assert _harmless(f"{before}{sign}cmd") == f"'{before}{sign}cmd"
    assert _harmless(f"x{before}{sign}1") == f"x{before}{sign}1"
