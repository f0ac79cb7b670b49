"""Loggers: the rows of a run, written where runs are watched, through the hooks that everybody has."""

import csv
import os
import unicodedata
from collections.abc import Mapping, Sequence
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, TextIO

from trainer.callbacks.base import Callback, TrainState
from trainer.storage.codec import LARGEST, Within, from_plain
from trainer.storage.durable import File
from trainer.storage.json_rows import Row

COLUMNS = ("event", "epoch", "iteration", "loss", "epoch_loss", "validation_loss")
CHECK_COLUMNS = ("difference", "threshold", "verdict", "cause", "worst", "gradient", "numerical", "ratio")
END_COLUMNS = ("outcome", "reason")
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for the beginning of a formula
UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")  # control characters, such as a byte order mark, and separators


class RowLogger(Callback):
    """Gives every row of the history to `write` once, soon after it was made; the last is the row of the end."""

    def __init__(self) -> None:
        self._seen = 0
        self._is_open = False

    def open(self, state: TrainState) -> None:
        """Prepare to write."""

    def write(self, row: Row) -> None:
        """Write one `row`; its ``"event"`` is ``"iteration"``, ``"epoch"`` or ``"end"``."""

    def close(self) -> None:
        """Let go of what `open` has opened."""

    def on_train_begin(self, state: TrainState) -> None:
        """Open."""
        self._seen = len(state.history)
        self._is_open = False
        self.open(state)
        self._is_open = True

    def on_epoch_begin(self, state: TrainState) -> None:
        """Write the row of the epoch before."""
        self._write_new(state)

    def on_batch_end(self, state: TrainState) -> None:
        """Write the row of this iteration."""
        self._write_new(state)

    def on_train_end(self, state: TrainState) -> None:
        """Write what is left, and the end."""
        if self._is_open:
            self._is_open = False
            try:
                self._write_new(state)
                self.write(state.row)
            finally:
                self.close()

    def _write_new(self, state: TrainState) -> None:
        for row in state.history.last(len(state.history) - self._seen):
            self.write(row)
        self._seen = len(state.history)


class CSVLogger(RowLogger):
    """Writes a table of comma-separated values, one line a row, flushed as written.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.

    Parameters
    ----------
    path : path
        Replaced when a run begins, and gone on with when one is resumed.
    columns : sequence of str, optional
        Keys of the rows, one column each; a row that lacks a key leaves the cell empty. Default: the losses, what a
        gradient check logs, and how the run ended.

    Raises
    ------
    OSError
        Out of `fit`, before training, if the file cannot be written.
    ResumeError
        Out of `fit`, if a run is resumed and the file is shorter than it was at the checkpoint.
    """

    def __init__(self, path: Path | str, columns: Sequence[str] = (*COLUMNS, *CHECK_COLUMNS, *END_COLUMNS)) -> None:
        super().__init__()
        self.path = path
        self.columns = columns
        self._raw: FileIO | None = None
        self._file: TextIO | None = None

    def open(self, state: TrainState) -> None:
        """Open the file and write the names of the columns."""
        self._raw = File.of(self.path).open("c" if state.resumed else "w")
        self._file = TextIOWrapper(self._raw, encoding="utf-8", newline="", write_through=True)
        if not self._raw.seek(0, os.SEEK_END):
            self._put(self.columns)

    def state_dict(self) -> dict[str, Any]:
        """Give how long the file is, which is on disk by then."""
        if self._raw is None:
            return {"n_bytes": 0}
        os.fsync(self._raw.fileno())
        return {"n_bytes": self._raw.tell()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take away what was written after the checkpoint."""
        n_bytes: int = from_plain(Annotated[int, Within(0, LARGEST)], state["n_bytes"], "n_bytes")
        if self._raw is None or self._raw.seek(0, os.SEEK_END) < n_bytes:
            raise ValueError(f"Expected {self.path} to hold {n_bytes:,} bytes. Received a shorter file.")
        self._raw.truncate(n_bytes)
        self._raw.seek(n_bytes)

    def write(self, row: Row) -> None:
        """Write one line."""
        self._put([row.get(column) for column in self.columns])

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = self._raw = None

    def _put(self, cells: Sequence[Any]) -> None:
        if self._file is not None:
            csv.writer(self._file).writerow([_harmless(cell) for cell in cells])


class TensorBoardLogger(RowLogger):
    """Writes every number of a row as a scalar for TensorBoard, under ``event/key``, by iteration.

    Parameters
    ----------
    folder : path
        TensorBoard's ``--logdir``, or a folder in it.

    Raises
    ------
    ImportError
        If tensorboardX is missing, which comes with the extra ``tensorboard``.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__()
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoardLogger writes through tensorboardX. Expected it installed, as by "
                f"pip install 'backproof[tensorboard]'. Received {error}."
            ) from error
        self.folder = folder
        self._make_writer = SummaryWriter
        self._writer: Any = None

    def open(self, state: TrainState) -> None:
        """Open a file of events."""
        # What an interrupted run wrote beyond its checkpoint, TensorBoard then leaves out.
        self._writer = self._make_writer(str(self.folder), purge_step=state.iteration + 1 if state.resumed else None)

    def write(self, row: Row) -> None:
        """Write the numbers of one row, and its verdict or outcome as text."""
        for key, value in row.items():
            if isinstance(value, int | float) and key not in ("epoch", "iteration"):
                self._writer.add_scalar(f"{row['event']}/{key}", float(value), row["iteration"])
        for key in ("verdict", "outcome"):
            if row.get(key, "PASS") != "PASS":
                text = ", ".join(f"{name}: {row[name]}" for name in row if isinstance(row[name], str))
                self._writer.add_text(key, text, row["iteration"])
        if row["event"] != "iteration":
            self._writer.flush()

    def close(self) -> None:
        """Close the file of events."""
        self._writer.close()
        self._writer = None


def _harmless(cell: Any) -> Any:
    """Keep a text from being read as a formula (OWASP, CSV injection), behind whatever is not seen and in any width."""
    if not isinstance(cell, str):
        return cell
    seen = next((c for c in cell if not c.isspace() and unicodedata.category(c) not in UNSEEN), "")
    is_formula = unicodedata.normalize("NFKC", seen).startswith(FORMULA) or cell.startswith(("\t", "\r", "\n"))
    return f"'{cell}" if is_formula else cell
