"""Command: how a command of the experiments ends: bad input in one line, an interruption without a traceback."""

import argparse
import io
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from experiments.screen import printable, show
from trainer import ResumeError
from trainer.callbacks.interruption import Interrupted
from trainer.storage.archive import ArchiveError

DONE, NOT_SO, BAD_USAGE, SIGNALLED = 0, 1, 2, 128  # exit codes; to the last the number of the signal is added


class UsageError(ValueError):
    """What was asked for cannot be done; the message says what was expected and received, in one line."""


class Parser(argparse.ArgumentParser):
    """Reads options; what it cannot read is a `UsageError`."""

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
    except (UsageError, ArchiveError, ResumeError) as error:
        problem = str(error)
    except MemoryError as error:
        problem = f"{memory} Received: {error}."
    except OSError as error:
        problem = f"{disk} Received: {error}."
    except KeyboardInterrupt as error:
        show(interrupted, sys.stderr)
        return signalled(error)
    line = " ".join(problem.split()).removesuffix(".")
    show(printable(f"{prog}: error: {line}. See --help."), sys.stderr)
    return BAD_USAGE


def signalled(error: KeyboardInterrupt) -> int:
    """Give the exit code that a shell expects of what a signal has ended."""
    return SIGNALLED + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
