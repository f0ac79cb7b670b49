"""Bad inputs: whatever is passed to a loader, to the library or to the command line, no error is of the wrong kind.

What the loaders and the functions are is in `entrances`, what they are given in `bad_values`.
"""

import re
import resource
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from tqdm import tqdm

from experiments.crash.small_run import in_memory, silent
from experiments.figures import Figure
from experiments.fraud.settings import UsageError

CASES, QUICK_CASES = 24_000, 800
LONGEST = 20  # seconds that a case may take
MEMORY = 6 * 2**30  # bytes of addresses that a case may take: what asks for more gets a MemoryError
ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / package) for package in ("trainer", "checks", "datasets", "experiments"))
HERE = tuple(
    str(ROOT / "experiments" / name) for name in ("bad_inputs.py", "bad_values.py", "entrances.py", "kept_entrances.py")
)
GRAMMAR = re.compile(r"Expected .*Received", re.DOTALL)
CLEAR: tuple[type[Exception], ...] = (ValueError, TypeError, OSError)
WITH_ROWS = (*CLEAR, MemoryError, Warning)  # where rows, or a loss, of any size or value are handed in


class TookTooLong(BaseException):
    """A case hangs."""


@dataclass(frozen=True)
class Entrance:
    """Somewhere that input comes in.

    Attributes
    ----------
    name : str
    inputs : hypothesis strategy
    enter : callable
        Gets one input. What it returns is right, or it raises; a `ValueError` of its own is a complaint.
    share : float, default=1.0
        Of the cases, relative to the others.
    clear : tuple of type
        What an error may be.
    """

    name: str
    inputs: Any
    enter: Callable[[Any], object]
    share: float = 1.0
    clear: tuple[type[Exception], ...] = CLEAR


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
    inner = [f for f in frames if f.filename not in HERE] or frames
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


def explore(entrance: Entrance, cases: int, number: int) -> tuple[Counter[str], dict[str, str]]:
    """Try so many inputs of one entrance; give the counts, and of each kind of failure one input."""
    counts: Counter[str] = Counter()
    failures: dict[str, str] = {}

    def case(given_input: Any) -> None:
        result, which = attempt(entrance, given_input)
        counts[result] += 1
        bar.update()
        if result == "traceback":
            failures.setdefault(re.sub(r":\s.*", "", which, count=1), f"{which} ← {given_input!r:.300}")

    with tqdm(total=cases, unit="case", desc=entrance.name, leave=False) as bar:
        quiet = settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        drawn: Any = given(entrance.inputs)
        seed(number)(quiet(drawn(case)))()
    return counts, failures


def judge(results: dict[str, Counter[str]], failures: list[str], required: int) -> Figure:
    """Count what ended in anything but a clear error or a right result."""
    total = sum(results.values(), Counter[str]())
    return Figure(
        f"bad inputs to loaders, library and command line ({total.total():,} cases): errors of the wrong kind",
        f"{total['traceback']:,}",
        f"0 of at least {required:,}",
        not total["traceback"] and total.total() >= required,
        numbers={"cases": total.total(), **total, "by entrance": {name: dict(one) for name, one in results.items()}},
        failures=failures,
    )


def measure(*, quick: bool, number: int) -> Figure:
    """Try bad inputs everywhere, and judge what came of them."""
    from experiments.crash.entrances import entrances

    cases = QUICK_CASES if quick else CASES
    results: dict[str, Counter[str]] = {}
    failures: list[str] = []
    with silent(), in_memory() as folder:
        doors = entrances(folder)
        unit = 1.05 * cases / sum(entrance.share for entrance in doors)
        for entrance in doors:
            results[entrance.name], wrong = explore(entrance, 1 + round(unit * entrance.share), number)
            failures += [f"{entrance.name}: {what}" for what in wrong.values()]
    return judge(results, failures, cases)
