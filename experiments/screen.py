"""Screen: the lines of a run as they are shown: log lines, the bar between them, and a report that fits."""

import logging
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, cast

from tqdm import tqdm

from checks import GradientReport, Verdict
from trainer.storage.durable import File

WIDTH = 100
HEIGHT = 40
PASSES = 50  # checks of a long run that pass and are shown on a terminal, about
TENSORS = 12  # rows of the table kept where a report is too long
#: What `checks` says of classes and targets, and what it is of payments.
OF_PAYMENTS = {
    r"(rows of )?class 0": "legitimate rows",
    r"(rows of )?class 1": "fraud rows",
    "with target 1": "with fraud",
}
FORMAT = "%(asctime)s %(levelname)-7s %(message)s"

logger = logging.getLogger(__name__)


class Lasting:
    """A stream that goes on without what it stands for: what cannot be written is lost, and nothing raised."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Give whatever else the stream has."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError):
            self._stream.flush()

    def close(self) -> None:
        """Close it."""
        with suppress(OSError):
            self._stream.close()


class AboveBar(logging.StreamHandler[TextIO]):
    """Shows log lines above a progress bar; of the checks that pass every `stride`-th, the first among them."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self._stride, self._passed = stride, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Count the checks that pass, and let one in so many through; anything else is shown."""
        if record.name.startswith("checks.") and record.levelno < logging.WARNING:
            self._passed += 1
            if self._passed % self._stride != 1 % self._stride:
                return False
        return bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line where the bar is, which is drawn again below it."""
        try:
            tqdm.write(self.format(record), file=self.stream)
            self.flush()
        except Exception:
            self.handleError(record)


def stride_of(n_checks: int) -> int:
    """Return of how many checks that pass one is shown: a terminal has room for `PASSES`, a pipe or a file for all."""
    return max(1, round(n_checks / PASSES)) if sys.stderr.isatty() else 1


@contextmanager
def log_lines(*, quiet: bool, file: File | Path | None, go_on: bool = False, stride: int = 1) -> Iterator[None]:
    """Show log lines (if quiet, only warnings and errors) above a progress bar, and write every line to a file as well.

    Of the checks that pass every `stride`-th is shown. A terminal that goes away, or a full disk, costs lines and
    nothing else.
    """
    root, stream = logging.getLogger(), None
    before = root.level
    stderr, sys.stderr = sys.stderr, cast(TextIO, Lasting(sys.stderr))
    handlers: list[logging.Handler] = [AboveBar(stride)]
    handlers[0].setLevel(logging.WARNING if quiet else logging.INFO)
    if file is not None:
        raw = File.of(file).open("a" if go_on else "w")
        stream = cast(TextIO, Lasting(TextIOWrapper(BufferedWriter(raw), encoding="utf-8")))
        handlers.append(logging.StreamHandler(stream))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _log_warning
            yield
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        sys.stderr = stderr
        if stream is not None:
            stream.close()


@contextmanager
def silent(package: str) -> Iterator[None]:
    """Drop what a package logs, as where every failure that is provoked on purpose would have its line."""
    logger = logging.getLogger(package)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    logger.warning("%s: %s (%s:%d)", category.__name__, message, Path(filename).name, lineno)


def wrapped(lines: Iterable[str]) -> list[str]:
    """Break lines at `WIDTH` columns; the rest of a line is indented further than its beginning."""
    broken: list[str] = []
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())]
        broken += textwrap.wrap(line, WIDTH, subsequent_indent=indent + "  ") or [""]
    return broken


def of_payments(said: object) -> str:
    """Give what `checks` says, as text, in the words of payments."""
    text = str(said)
    for pattern, words in OF_PAYMENTS.items():
        text = re.sub(rf"\b{pattern}\b", words, text)
    return text


def one_screen(report: GradientReport, title: str) -> str:
    """Give a report as at most `HEIGHT` lines: first the tensors that pass go, then what stands last."""
    lines = [title, *of_payments(report).splitlines()]
    if len(lines) > HEIGHT:
        header = next(number for number, line in enumerate(lines) if line.startswith("  tensor"))
        end = header + 1 + len(report.tensors)
        wrong = [line for line in lines[header + 1 : end] if f" {Verdict.FAIL} " in line]
        shown = wrong[-TENSORS:]  # backprop starts at the output, so the last come first
        lines[header + 1 : end] = [*shown, f"  … of {len(report.tensors)} tensors, {len(wrong)} of which fail"]
    if len(lines) > HEIGHT:
        lines[HEIGHT - 1 :] = [f"  … {len(lines) - HEIGHT + 1} more lines: report.json has it all (--out DIR)"]
    return "\n".join(lines)


def printable(text: str) -> str:
    """Give text that anybody may have written, in a file or as an option, without what could steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def show(text: str, stream: TextIO | None = None) -> None:
    """Print to the standard output, or to another stream; one that takes no more (``| head``, a disk) is no error."""
    stream = sys.stdout if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # where Python's last flush may go
