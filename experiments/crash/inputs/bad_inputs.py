"""Bad inputs: whatever is passed to a loader, to the library or to the command line, no error is of the wrong kind."""

import re
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from tqdm import tqdm

from experiments.crash.inputs.entrance import Entrance, attempt
from experiments.crash.inputs.entrances import entrances
from experiments.crash.small_run import in_memory
from experiments.figures import Figure
from experiments.screen import silent

CASES, QUICK_CASES = 24_000, 800


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
    cases = QUICK_CASES if quick else CASES
    results: dict[str, Counter[str]] = {}
    failures: list[str] = []
    with silent("trainer"), in_memory() as folder:
        doors = entrances(folder)
        unit = 1.05 * cases / sum(entrance.share for entrance in doors)
        for entrance in doors:
            results[entrance.name], wrong = explore(entrance, 1 + round(unit * entrance.share), number)
            failures += [f"{entrance.name}: {what}" for what in wrong.values()]
    return judge(results, failures, cases)
