"""The command: runs the campaign, counts what came of it, and shows that."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from experiments.figures import Figure, campaign_parser, compared, present
from experiments.screen import silent

ALWAYS = {"float64": 1e-6, "float32": 1e-4}  # the share of a tensor's gradient that is always found
PRICE = {True: 5.0, False: 3.0}  # training steps, compiled and numpy alone


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every figure is met, 1 if not, 2 for bad usage."""
    description = (
        "Plant mistakes between backprop and update, and on one path of backprop alone, and see whether the check "
        "finds them before they are applied; look at correct runs at every iteration; measure what a look costs."
    )
    parser = campaign_parser("applied", description, "a few of everything; under a minute")
    arguments = parser.parse_args(argv)
    started, quick = time.perf_counter(), arguments.quick
    with silent("checks"):  # every mistake that is found would have its line
        figures, lines = _measured(quick=quick)
    return present(figures, lines, arguments.json, {"seconds": round(time.perf_counter() - started)})


def _measured(*, quick: bool) -> tuple[list[Figure], list[str]]:
    """Give the figures, and a line of everything that went wrong."""
    from experiments.applied import campaign  # now that there is something to do: it takes seconds to load
    from experiments.speed.timing import quartiles

    lines: list[str] = []
    figures = []
    for name, trials in (
        (
            "planted between backprop and update: found before the update, by name",
            campaign.changed_between(1 if quick else 9),
        ),
        ("planted on one path of backprop: found at the first check that meets them", campaign.on_one_path()),
    ):
        hits = dict(trials)
        missed = [f"MISSED: {what}" for what, found in hits.items() if not found]
        figures.append(_all(name, sum(hits.values()), len(hits), missed))
        lines += missed
    figures += _sizes(campaign.errors(3 if quick else 120))
    looks: Counter[str] = Counter()
    for what, answers in campaign.correct(1 if quick else 8, 1 if quick else 9):
        looks.update(verdict.value for verdict, _ in answers)
        lines += [f"FALSE ALARM: {what}: {cause}" for verdict, cause in answers if verdict == "FAIL"]
    n = looks.total()
    alarms = f"{looks['FAIL']} of {n:,}"
    figures.append(Figure("false alarms on correct networks", alarms, "0", looks["FAIL"] == 0, numbers=dict(looks)))
    figures.append(Figure("UNDECIDED on correct networks", f"{looks['UNDECIDED']} of {n:,}"))
    same = list(campaign.same_bits())
    figures.append(_all("training ends with the same bits with and without the check", sum(same), len(same), []))
    for dtype, compiled in campaign.SETTINGS:
        taken = quartiles(campaign.steps_a_look(compiled=compiled, dtype=dtype, repetitions=2 if quick else 25))
        name = f"time of the second question, {dtype}, {'compiled' if compiled else 'numpy alone'}: training steps"
        limit = None if quick else PRICE[compiled]  # a busy machine must not fail a test
        figures.append(compared(name, taken, limit, lower=True, unit=""))
    return figures, lines


def _all(name: str, found: int, n: int, failures: list[str]) -> Figure:
    return Figure(name, f"{found:,} of {n:,}", "all", found == n, numbers={"found": found, "n": n}, failures=failures)


def _sizes(trials: Iterator[tuple[str, float, bool]]) -> list[Figure]:
    """Give the smallest error of which all were found, and all that are larger."""
    counts: dict[str, dict[float, list[bool]]] = {}
    for dtype, share, found in trials:
        counts.setdefault(dtype, {}).setdefault(share, []).append(found)
    figures = []
    for dtype, by_share in counts.items():
        always = 1.0
        for share, hits in sorted(by_share.items(), reverse=True):
            if not all(hits):
                break
            always = share
        spread = ", ".join(f"{share:.0e}: {sum(hits)}/{len(hits)}" for share, hits in by_share.items())
        name = f"relative size that is always found, {dtype}: share of a tensor's gradient"
        met = always <= ALWAYS[dtype] * (1 + 1e-9)
        figures.append(Figure(name, f"{always:.0e}", f"≤ {ALWAYS[dtype]:.0e}", met, spread=spread))
    return figures
