"""Screen: the lines of a run as they are shown: log lines, the bar between them, and a report that fits."""

import logging
import os
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tqdm.contrib.logging import logging_redirect_tqdm

from checks import GradientReport, Verdict

WIDTH = 100
HEIGHT = 40
TENSORS = 12  # rows of the table kept where a report is too long
FORMAT = "%(asctime)s %(levelname)-7s %(message)s"

logger = logging.getLogger(__name__)


@contextmanager
def log_lines(*, quiet: bool, file: Path | None) -> Iterator[None]:
    """Show log lines on the standard error stream, above a progress bar if there is one.

    Parameters
    ----------
    quiet : bool
        Show warnings and errors only.
    file : path or None
        Where every line goes as well.
    """
    root = logging.getLogger()
    before = root.level
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    handlers[0].setLevel(logging.WARNING if quiet else logging.INFO)
    if file is not None:
        handlers.append(logging.FileHandler(file, mode="w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT, datefmt="%H:%M:%S"))
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.showwarning = _log_warning
            if not quiet:  # tqdm's own handler knows no level
                stack.enter_context(logging_redirect_tqdm(loggers=[root]))
            yield
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


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


def one_screen(report: GradientReport, title: str) -> str:
    """Give a report as at most `HEIGHT` lines: first the tensors that pass go, then what stands last."""
    lines = [title, *str(report).splitlines()]
    if len(lines) > HEIGHT:
        header = next(number for number, line in enumerate(lines) if line.startswith("  tensor"))
        end = header + 1 + len(report.tensors)
        wrong = [line for line in lines[header + 1 : end] if f" {Verdict.FAIL} " in line]
        shown = wrong[-TENSORS:]  # backprop starts at the output, so the last come first
        lines[header + 1 : end] = [*shown, f"  … of {len(report.tensors)} tensors, {len(wrong)} of which fail"]
    if len(lines) > HEIGHT:
        lines[HEIGHT - 1 :] = [f"  … {len(lines) - HEIGHT + 1} more lines: report.json has it all (--out DIR)"]
    return "\n".join(lines)


def show(text: str, stream: TextIO | None = None) -> None:
    """Print to the standard output, or to another stream; a reader that has gone away (``| head``) is no error."""
    stream = sys.stdout if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # where Python's last flush may go
