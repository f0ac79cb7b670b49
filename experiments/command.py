"""Command: how a command of the experiments ends: bad input in one line, an interruption without a traceback."""

import argparse
import io
import re
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from tempfile import NamedTemporaryFile
from typing import NoReturn

from experiments.screen import printable, show
from trainer import ResumeError
from trainer.callbacks.interruption import Interrupted
from trainer.storage.archive import ArchiveError
from trainer.storage.durable import FolderLost, NoFileOfOurs

#: Exit codes; that of what nobody has foreseen is EX_SOFTWARE of sysexits.h, to the last that of the signal is added.
DONE, NOT_SO, BAD_USAGE, UNFORESEEN, SIGNALLED = 0, 1, 2, 70, 128
REFUSAL = re.compile(r"Expected .*Received", re.DOTALL)  # how every refusal of the packages reads

LONGEST = 200  # characters of an error that is told in one line


class UsageError(ValueError):
    """What was asked for cannot be done; the message says what was expected and received, in one line."""


class Parser(argparse.ArgumentParser):
    """Reads options as they are spelled, and shows help as it is laid out; what it cannot read is a `UsageError`."""

    def __init__(
        self, prog: str, description: str, epilog: str, usage: str | None = None, max_help_position: int = 24
    ) -> None:
        layout = partial(argparse.RawDescriptionHelpFormatter, max_help_position=max_help_position, width=100)
        super().__init__(prog, usage, description, epilog, formatter_class=layout, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Refuse."""
        raise UsageError(message)


def separator(text: str) -> str:
    """Read what stands between the columns of a CSV file, which is hard to type if it is a tab."""
    mark = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(mark) != 1 or not mark.isascii() or mark in '"\r\n':
        raise argparse.ArgumentTypeError(f"invalid value. Expected one character, or tab. Received {text!r}.")
    return mark


def run_command(
    prog: str, body: Callable[[], int], *, memory: str, disk: str, interrupted: str = "Interrupted."
) -> int:
    """Run what a command does, and give its exit code; where memory or a file cannot be had, say what was expected."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without × still gets the result
    try:
        return body()
    except (UsageError, ArchiveError, ResumeError, FolderLost, NoFileOfOurs) as error:
        problem = str(error)
    except MemoryError as error:
        problem = f"{memory} Received: {error}."
    except OSError as error:
        problem = f"{disk} Received: {error}."
    except KeyboardInterrupt as error:
        show(interrupted, sys.stderr)
        return signalled(error)
    except Exception as error:
        if not isinstance(error, ValueError | TypeError) or not REFUSAL.search(str(error)):
            return _unforeseen(prog, error)
        problem = str(error)  # what the library refuses
    line = " ".join(problem.split()).removesuffix(".")
    show(printable(f"{prog}: error: {line}. See --help."), sys.stderr)
    return BAD_USAGE


def _unforeseen(prog: str, error: Exception) -> int:
    """Say in one line that this should not be, and where the details are."""
    where = "nowhere, for no file could be written"
    with suppress(OSError), NamedTemporaryFile("w", prefix="backproof-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
        where = file.name
    said = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
    show(printable(f"{prog}: error: this was not foreseen: {said}. The details are in {where}"), sys.stderr)
    return UNFORESEEN


def signalled(error: KeyboardInterrupt) -> int:
    """Give the exit code that a shell expects of what a signal has ended."""
    return SIGNALLED + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
