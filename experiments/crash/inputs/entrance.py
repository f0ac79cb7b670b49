"""Entrance: somewhere that input comes in, and what may come of it: a right result or a clear error."""

import re
import resource
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from experiments.command import UsageError

LONGEST = 20  # seconds that a case may take
MEMORY = 6 * 2**30  # bytes of addresses that a case may take: what asks for more gets a MemoryError
ROOT = Path(__file__).parents[3]
OURS = tuple(str(ROOT / package) for package in ("trainer", "checks", "datasets", "experiments"))
HERE = str(ROOT / "experiments" / "crash")
GRAMMAR = re.compile(r"Expected .*Received", re.DOTALL)
CLEAR: tuple[type[Exception], ...] = (ValueError, TypeError, OSError)
WITH_ROWS = (*CLEAR, MemoryError, Warning)  # where rows, or a loss, of any size or value are handed in


class TookTooLong(BaseException):
    """A case hangs."""


@dataclass(frozen=True)
class Entrance:
    """Somewhere that input comes in."""

    name: str
    inputs: Any  # a strategy of hypothesis
    enter: Callable[[Any], object]  # gets one input; what it returns is right, or it raises
    share: float = 1.0  # of the cases, relative to the others
    clear: tuple[type[Exception], ...] = CLEAR  # what an error may be


def attempt(entrance: Entrance, given_input: Any) -> tuple[str, str]:
    """Try one input: "right", "refused", "refused in foreign words", or "traceback" and which."""
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("error")
            entrance.enter(given_input)
    except entrance.clear as error:
        if isinstance(error, UsageError):  # argparse has words of its own
            return "refused", ""
        if _is_foreign(error) or isinstance(error, (OSError, MemoryError, Warning)):
            return "refused in foreign words", _place(error)
        return ("refused", "") if GRAMMAR.search(str(error)) else ("traceback", _place(error))
    except SystemExit as error:
        return ("refused", "") if error.code in (0, 2) else ("traceback", _place(error))
    except (Exception, TookTooLong) as error:
        return "traceback", _place(error)
    return "right", ""


def _is_foreign(error: BaseException) -> bool:
    """Say whether another library has raised it, or a loss that was handed in: then its words are not ours."""
    frames = traceback.extract_tb(error.__traceback__)
    innermost = frames[-1].filename if frames else ""
    return not innermost.startswith(OURS) or (len(frames) > 2 and innermost.startswith(HERE))


def _place(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(OURS)]
    inner = [f for f in frames if not f.filename.startswith(HERE)] or frames
    where = f"{Path(inner[-1].filename).relative_to(ROOT)}:{inner[-1].lineno} {inner[-1].name}" if inner else "?"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:160]}"


@contextmanager
def _limited() -> Iterator[None]:
    """Bound time and memory, where the system can."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"more than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, ring)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
