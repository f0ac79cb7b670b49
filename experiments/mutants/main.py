"""The command: runs the campaign, counts what came of it, and shows that."""

import time
from collections import Counter
from collections.abc import Sequence

from experiments.figures import Figure, campaign_parser, present
from experiments.mutants.units import Outcome, full_units, quick_units


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every figure is met, 1 if not, 2 for bad usage."""
    description = (
        "Check correct networks (a FAIL is a false alarm) and networks with planted mistakes (anything else is a "
        "miss). What is a mistake is decided by textbook back-propagation in extended precision."
    )
    parser = campaign_parser("mutants", description, "three small shapes only; under a minute")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    arguments = parser.parse_args(argv)
    from joblib import Parallel, delayed  # now that there is something to do: these take seconds to load
    from tqdm import tqdm

    from experiments.mutants.campaign import run_unit

    started = time.perf_counter()
    units = quick_units() if arguments.quick else full_units()
    runs = Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")(delayed(run_unit)(unit) for unit in units)
    outcomes: list[Outcome] = []
    for done in tqdm(runs, total=len(units), unit="network", desc="networks"):
        outcomes += done
    said = {"seconds": round(time.perf_counter() - started)}
    return present(figures(outcomes), details(outcomes), arguments.json, said, outcomes=outcomes)


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Count what the campaign is about."""
    correct = [o for o in outcomes if o["what"] == "correct"]
    undecided = "UNDECIDED on correct networks", "UNDECIDED, dead layers aside"
    result = [_share("FAIL on correct networks", [o["verdict"] == "FAIL" for o in correct], most=0.0)]
    for name, own in zip(undecided, (correct, [o for o in correct if o["stage"] != "dead layer"]), strict=True):
        result.append(_share(name, [o["verdict"] == "UNDECIDED" for o in own], most=0.01))
    for coverage, within, least in (("full", "", 1.0), ("directions", ", within 3 checks", 0.999)):
        own = [o for o in _mutants(outcomes) if o["coverage"] == coverage]
        found = [o for o in own if o["verdict"] == "FAIL"]
        indices = [o["index_right"] for o in found if o["index_right"] is not None]
        result += [
            _share(f"mistakes found, {coverage}{within}", [o["verdict"] == "FAIL" for o in own], least=least),
            _share(f"right tensor, {coverage}", [o["tensor_right"] for o in found], least=1.0),
            _share(f"right index of single entries, {coverage}", indices, least=1.0),
            _share(f"right kind, {coverage}", [o["kind_right"] for o in found], least=0.95),
        ]
    return result + _side_by_side(outcomes)


def _side_by_side(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Count what the peers said of the probes they were shown, and what backproof said of the very same."""
    rows: list[Figure] = []
    for what, verb in (("correct", "FAIL on correct networks"), ("mutant", "mistakes found")):
        peers = [o for o in outcomes if o["what"] == f"peer {what}"]
        ours = [o for o in outcomes if o["what"] == what and o.get("shared") and peers]
        answers: dict[str, list[bool]] = {}
        for o in [*ours, *peers]:
            answers.setdefault(o.get("peer") or f"backproof {o['coverage']}", []).append(o["verdict"] == "FAIL")
        rows += [_share(f"side by side, {verb}: {name}", fails) for name, fails in answers.items()]
    return rows


def _mutants(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if o["what"] == "mutant" and "skipped" not in o]


def _share(name: str, hits: Sequence[bool], *, least: float | None = None, most: float | None = None) -> Figure:
    count, total = sum(hits), len(hits)
    share = count / total if total else float("nan")
    required, met = "", None
    if most is not None:
        required, met = f"≤ {100 * most:g} %" if most else "0", count <= most * total
    elif least is not None:
        required, met = "100 %" if least == 1.0 else f"≥ {100 * least:g} %", count >= least * total
    measured = f"{count:,} of {total:,} ({100 * share:.2f} %)"
    return Figure(name, measured, required, met, numbers={"count": count, "total": total, "share": share})


def details(outcomes: Sequence[Outcome]) -> list[str]:
    """List the causes of what is UNDECIDED, and every alarm, miss and misnaming by name."""
    correct = [o for o in outcomes if o["what"] == "correct"]
    undecided = [f"{o['cause']} ({o['coverage']}, {o['stage']})" for o in correct if o["verdict"] == "UNDECIDED"]
    lines = [f"UNDECIDED {count} ×: {why}" for why, count in Counter(undecided).most_common()]
    lines += [f"FALSE ALARM: {_where(o)}\n{o['evidence']}" for o in correct if o["verdict"] == "FAIL"]
    wrong: Counter[str] = Counter()
    for o in _mutants(outcomes):
        mistake = f"{o['bug']} at layer {o['layer']}, {o['coverage']}"
        if o["verdict"] != "FAIL":
            lines.append(f"MISSED: {mistake}, {_where(o)}: {o['verdict']} ({o['cause']}), truly {o['apart']:.2e} apart")
        elif not o["tensor_right"] or o["index_right"] is False:
            lines.append(f"WRONG PLACE: {mistake}, {_where(o)}: {o['named']}")
        elif not o["kind_right"]:
            wrong[f"{mistake}: called {o['kind']!r}"] += 1
    lines += [f"WRONG KIND {count} ×: {what}" for what, count in wrong.most_common(20)]
    kinds = len({o["bug"] for o in _mutants(outcomes)})
    skipped = Counter(o["skipped"] for o in outcomes if "skipped" in o)
    left_out = ", ".join(f"{count} × {why}" for why, count in skipped.items()) or "none"
    return [*lines, f"{kinds} kinds of mistakes; left out: {left_out}"]


def _where(o: Outcome) -> str:
    return f"{o['shape']} {o['activation']} {o['dtype']} seed {o['seed']}, {o['stage']}"
