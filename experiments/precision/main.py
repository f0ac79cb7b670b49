"""The command: runs the campaign, counts what came of it, and shows that."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product

from experiments.figures import Figure, campaign_parser, present

#: What must be found, and what is aimed at. The other mistakes are only shown.
MUST = {"10 %": 0.999, "×2": 0.999, "sign": 0.999, "zero": 0.999, "1 %": 1.0, "one entry 10 %": 1.0}
AIM = {"3 %": 0.99, "0.1 %": 0.99}
#: Where rounding all of a deep module moves its loss as far as the segments do: only an aim.
OUT_OF_REACH = {(dtype, "whole", "10 %") for dtype in ("bfloat16", "float16")}
#: By how much mistakes are off, as a share of the whole gradient, or of its largest entry.
SCALES = {"10 %": 0.1, "×2": 1.0, "sign": -2.0, "zero": -1.0, "3 %": 0.03, "1 %": 0.01, "0.1 %": 0.001}
ENTRIES = {"one entry ×2": 1.0, "one entry 20 %": 0.2, "one entry 10 %": 0.1}
#: The largest share of right tensors that may be left open.
UNDECIDED = {"float32": 0.05}
MOST = 600  # evaluations a tensor, half of them for entries that are zero
#: Seeds of right networks and of those with mistakes.
FULL, QUICK = (150, 60), (1, 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every figure is met, 1 if not, 2 for bad usage."""
    description = (
        "Judge right gradients of torch networks that compute in bfloat16, float16 or float32 (a FAIL is a false "
        "alarm), and planted mistakes (anything else is a miss), by the loss alone. Needs the extra torch."
    )
    parser = campaign_parser("precision", description, "a few networks of each kind; half a minute")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    arguments = parser.parse_args(argv)
    from joblib import Parallel, delayed  # now that there is something to do: these take seconds to load
    from tqdm import tqdm

    from experiments.precision.networks import DTYPES, KINDS, PLACES, mistakes_of

    started = time.perf_counter()
    n_right, n_wrong = QUICK if arguments.quick else FULL
    right = [(*case, "") for case in product(KINDS, DTYPES, PLACES, range(n_right))]
    wrong: list[tuple[str, str, str, int, str]] = []
    for dtype in DTYPES:
        wrong += product(KINDS, [dtype], PLACES, range(n_wrong), mistakes_of(dtype))
    # Of every third there are still all kinds, dtypes and mistakes.
    cases = right + (wrong[::3] if arguments.quick else wrong)
    runs = Parallel(n_jobs=1 if arguments.quick else arguments.jobs, return_as="generator_unordered")(
        delayed(run_case)(*case) for case in cases
    )
    outcomes = [outcome for done in tqdm(runs, total=len(cases), unit="network", desc="networks") for outcome in done]
    said = {"seconds": round(time.perf_counter() - started)}
    return present(figures(outcomes), details(outcomes), arguments.json, said, outcomes=outcomes)


def run_case(kind: str, dtype: str, place: str, seed: int, mistake: str) -> list[dict[str, object]]:
    """Judge one network, and give what came of it as plain data."""
    from checks.torch.twin import one_thread
    from experiments.precision.networks import findings

    case = {"kind": kind, "dtype": dtype, "place": place, "seed": seed, "mistake": mistake}
    with one_thread():
        return [case | asdict(found) for found in findings(kind, dtype, place, seed, mistake)]


def figures(outcomes: Sequence[dict[str, object]]) -> list[Figure]:
    """Count what the campaign is about."""
    rows = []
    for dtype, place in sorted({(str(o["dtype"]), str(o["place"])) for o in outcomes}):
        own = [o for o in outcomes if (o["dtype"], o["place"]) == (dtype, place)]
        where = f"{dtype}, {'in the layers' if place == 'inside' else 'the whole module'}"
        right = Counter(o["verdict"] for o in own if not o["mistake"])
        n = right.total()
        rows.append(Figure(f"FAIL on right tensors, {where}", f"{right['FAIL']} of {n:,}", "0", right["FAIL"] == 0))
        most_open, left = UNDECIDED.get(dtype), right["UNDECIDED"]
        goal, met = (f"< {100.0 * most_open:g} %", left < most_open * n) if most_open else ("", None)
        rows.append(Figure(f"UNDECIDED on right tensors, {where}", _share(left, n), goal, met))
        for mistake in dict.fromkeys(str(o["mistake"]) for o in own if o["mistake"]):
            verdicts = [str(o["verdict"]) for o in own if o["mistake"] == mistake]
            must, aim = MUST.get(mistake), AIM.get(mistake)
            if (dtype, place, mistake) in OUT_OF_REACH:
                must, aim = None, must
            rows.append(_found(f"{mistake} found, {where}", verdicts, must, aim))
    beyond = [o for o in outcomes if _is_beyond(o)]
    n_wrong = sum(bool(o["mistake"]) for o in outcomes)
    rows.append(
        Figure(
            "PASS on a mistake larger than it excludes",
            _share(len(beyond), n_wrong),
            "≤ 1 %",
            len(beyond) <= 0.01 * n_wrong,
        )
    )
    most = max(int(str(o["evaluations"])) for o in outcomes)
    rows.append(Figure("most evaluations a tensor", str(most), f"≤ {MOST}", most <= MOST))
    return rows


def _found(name: str, verdicts: Sequence[str], must: float | None, aim: float | None) -> Figure:
    found, n = verdicts.count("FAIL"), len(verdicts)
    measured = f"{_share(found, n)}, PASS {verdicts.count('PASS')}"
    goals = [f"{'≥' if goal is must else 'aim ≥'} {100.0 * goal:g} %" for goal in (must, aim) if goal is not None]
    met, aim_met = (None if goal is None else found >= goal * n for goal in (must, aim))
    return Figure(name, measured, ", ".join(goals), met, aim_met)


def _is_beyond(outcome: dict[str, object]) -> bool:
    """Say whether a PASS excluded the very mistake that is there."""
    mistake, scale, entry = (outcome[key] for key in ("mistake", "scale", "entry"))
    if outcome["verdict"] != "PASS" or not mistake:
        return False
    if mistake in ENTRIES:  # as a share of the largest entry claimed
        size = ENTRIES[str(mistake)]
        return float(str(entry)) < size / (1.0 + size)
    size = SCALES[str(mistake)]
    return float(str(scale)) < (abs(size) / (1.0 + size) if size > -1.0 else -1.0 - size)


def details(outcomes: Sequence[dict[str, object]]) -> list[str]:
    """List every false alarm and every miss of what must be found."""
    lines = []
    for o in outcomes:
        where = f"{o['kind']}, {o['dtype']} {o['place']}, seed {o['seed']}, {o['tensor']}: {o['evidence']}"
        if not o["mistake"] and o["verdict"] == "FAIL":
            lines.append(f"FALSE ALARM: {where}")
        elif o["mistake"] in MUST and o["verdict"] != "FAIL":
            lines.append(f"MISSED: {o['mistake']}, {where}")
    return lines


def _share(count: int, n: int) -> str:
    return f"{count:,} of {n:,} ({100.0 * count / max(n, 1):.2f} %)"
