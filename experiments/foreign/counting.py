"""Counting: the figures of the campaign, what each must be, and a line of everything that went wrong."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from experiments.figures import Figure
from experiments.foreign.judging import COVERAGES, Outcome

UNDECIDED = {"operators": 0.015, "special": 10 / 402}  # shares of right gradients that may be left open
FOUND = 0.95  # of what torch's slow check finds at rates
PRICES = {"full": ("torch slow", 0.93), "directions": ("torch fast", 1.09)}  # CPU time, as it was before
HALF = ("first entry ×1.5", "first entry ×2", "first entry ×0.5", "first entry ×0")


def figures(outcomes: Sequence[Outcome], *, quick: bool) -> list[Figure]:
    """Count what the campaign is about, for the parts that were run."""
    rows: list[Figure] = []
    for part in ("operators", "special", "lax"):
        own = [o for o in outcomes if o["part"] == part]
        rows += _of_part(part, own) if own else []
    families = [o for o in outcomes if o["part"] == "families"]
    if families:
        rows += _rates(_named(families, "rate")) + _bends(_named(families, "bend"))
        process = _named(families, "process")
        rows.append(_none("Gaussian process: FAIL on right gradients", _verdicts(process, "right"), "FAIL", "CRASH"))
        rows += _kinds(_named(families, "kind"))
    # A PASS that says "to 2e-2" does not claim to see less; sizes are half of a share.
    passes = [
        o
        for o in outcomes
        if _ours(o, "wrong") and o["shown"] and not o["exposes"] and not 2.0 * o["size"] < o.get("precision", 0.0)
    ]
    rows.append(_none("PASS on planted mistakes, of all parts and both coverages", passes, "PASS"))
    operators = [o for o in outcomes if o["part"] == "operators"]
    if operators:
        rows += [_price(operators, coverage, judged=not quick) for coverage in COVERAGES]
    return rows + list(_side_by_side(outcomes))


def _of_part(part: str, own: Sequence[Outcome]) -> list[Figure]:
    rows = []
    for coverage in COVERAGES:
        right = _verdicts(own, "right", coverage)
        rows += [
            _none(f"{part}, {coverage}: FAIL on right gradients", right, "FAIL"),
            _none(f"{part}, {coverage}: crashes", _verdicts(own, None, coverage), "CRASH"),
            _share(f"{part}, {coverage}: UNDECIDED", right, "UNDECIDED", most=UNDECIDED.get(part)),
        ]
    for coverage in COVERAGES:
        shown = [o for o in _verdicts(own, "wrong", coverage) if o["shown"]]
        rows.append(_share(f"{part}, {coverage}: planted mistakes FAIL", shown, "FAIL", least=1.0))
    return rows


def _rates(own: Sequence[Outcome]) -> list[Figure]:
    rows = [_none("rates: FAIL on right gradients", _verdicts(own, "right"), "FAIL", "CRASH")]
    percent = [o for o in own if o["what"] == "wrong" and o["mistake"] == "×1.01"]
    found = {o["name"] for o in percent if o["checker"] == "torch slow" and not o["accepted"]}
    fair = {o["name"] for o in own if o["what"] == "right" and o["checker"] == "torch slow" and o["accepted"]}
    for coverage in COVERAGES:
        asked = [o for o in percent if o.get("coverage") == coverage and o["name"] in found & fair]
        rows.append(_share(f"rates, {coverage}: ×1.01 FAIL where torch slow finds it", asked, "FAIL", least=FOUND))
    return rows


def _bends(own: Sequence[Outcome]) -> list[Figure]:
    rows = []
    for coverage in COVERAGES:
        wrong = _verdicts(own, "wrong", coverage)
        counts = Counter(o["verdict"] for o in wrong)
        measured = " / ".join(str(counts[verdict]) for verdict in ("PASS", "UNDECIDED", "FAIL"))
        name = f"bends, {coverage}: wrong gradients PASS / UNDECIDED / FAIL of {len(wrong)}"
        rows.append(Figure(name, measured, "no PASS", counts["PASS"] == 0, numbers=dict(counts)))
        half = [o for o in wrong if o["mistake"] in HALF]
        rows.append(_share(f"bends, {coverage}: wrong by half and more FAIL", half, "FAIL", least=1.0))
        right = _verdicts(own, "right", coverage)
        rows.append(_none(f"bends, {coverage}: FAIL on right gradients", right, "FAIL", "CRASH"))
        kinks = [o for o in right if o["cause"] == "kink" or o.get("kinks")]
        rows.append(
            Figure(f"bends, {coverage}: right ones called a kink", f"{len(kinks)} of {len(right)}", "0", not kinks)
        )
    return rows


def _kinds(own: Sequence[Outcome]) -> list[Figure]:
    answers = [o for o in own if _ours(o, "right") or _ours(o, "wrong")]
    right = [o for o in answers if _is_right(o)]
    name = "kinds: the verdict that is right there"
    return [Figure(name, f"{len(right)} of {len(answers)}", "all", len(right) == len(answers))]


def _is_right(o: Outcome) -> bool:
    must: str = "FAIL" if o["what"] == "wrong" else o["exposes"]
    verdict: str = o["verdict"]
    if must.startswith("not "):
        return verdict not in (must.removeprefix("not "), "CRASH")
    return verdict == must


def _price(operators: Sequence[Outcome], coverage: str, *, judged: bool) -> Figure:
    """Give the CPU time of a sample that both accept, over that of the peer: the median, for a few take most of it."""
    peer, most = PRICES[coverage]
    right = [o for o in operators if o["what"] == "right" and o["accepted"]]
    ours = {o["name"]: o["seconds"] for o in right if o.get("coverage") == coverage}
    theirs = {o["name"]: o["seconds"] for o in right if o["checker"] == peer}
    both = ours.keys() & theirs.keys()
    above, below = sum(ours[name] for name in both), sum(theirs[name] for name in both)
    ratio = statistics.median([ours[each] / theirs[each] for each in both]) if both else float("nan")
    name = f"CPU time on samples that pass, {coverage} / {peer}"
    numbers = {"ours": above, "theirs": below, "samples": len(both), "median": ratio}
    return Figure(name, f"{ratio:.2f}", f"≤ {most}", ratio <= most if judged else None, numbers=numbers)


def _side_by_side(outcomes: Sequence[Outcome]) -> Iterable[Figure]:
    """Count what everybody refuses of the right gradients, and of the wrong ones that a step shows."""
    for what, verb in (("right", "refused of the right"), ("wrong", "refused of the planted")):
        answers: dict[str, list[bool]] = {}
        for o in outcomes:
            if o["what"] == what and not o["exposes"] and o.get("shown", True):
                name = f"backproof {o['coverage']}" if o["checker"] == "backproof" else o["checker"]
                refused = o["verdict"] == "FAIL" if "verdict" in o else not o["accepted"]
                answers.setdefault(f"{o['part']}: {name}", []).append(refused)
        for name, refusals in answers.items():
            yield Figure(f"side by side, {verb}, {name}", f"{sum(refusals):,} of {len(refusals):,}")


def _named(outcomes: Sequence[Outcome], what: str) -> list[Outcome]:
    return [o for o in outcomes if o["name"].startswith(f"{what} ")]


def _ours(o: Outcome, what: str) -> bool:
    return bool(o["what"] == what and o["checker"] == "backproof")


def _verdicts(outcomes: Sequence[Outcome], what: str | None, coverage: str | None = None) -> list[Outcome]:
    """Give what the check said of right or of wrong gradients, or of both."""
    return [
        o
        for o in outcomes
        if o.get("checker") == "backproof"
        and o["what"] in ((what,) if what else ("right", "wrong"))
        and coverage in (None, o["coverage"])
    ]


def _none(name: str, asked: Sequence[Outcome], *verdicts: str) -> Figure:
    hits = [o for o in asked if o["verdict"] in verdicts]
    numbers = {"count": len(hits), "total": len(asked)}
    return Figure(name, f"{len(hits):,} of {len(asked):,}", "0", not hits, numbers=numbers)


def _share(
    name: str, asked: Sequence[Outcome], verdict: str, *, least: float | None = None, most: float | None = None
) -> Figure:
    count, total = sum(o["verdict"] == verdict for o in asked), len(asked)
    share = count / total if total else float("nan")
    required, met = "", None
    if most is not None:
        required, met = f"≤ {100 * most:.3g} %", count <= most * total
    elif least is not None:
        required, met = "all" if least == 1.0 else f"≥ {100 * least:g} %", count >= least * total
    numbers = {"count": count, "total": total, "share": share}
    return Figure(name, f"{count:,} of {total:,} ({100 * share:.2f} %)", required, met, numbers=numbers)


def details(outcomes: Sequence[Outcome], *, verbose: bool) -> list[str]:
    """List every FAIL on a right gradient and every PASS on a wrong one, and what is UNDECIDED by its cause."""
    lines: list[str] = []
    own = [o for o in outcomes if o.get("checker") == "backproof"]
    for o in own:
        right, verdict = o["what"] == "right", o["verdict"]
        if o["exposes"] and not _is_right(o):
            lines.append(f"KIND: {_where(o)}: {verdict} ({o['cause']}), must be {o['exposes'] if right else 'FAIL'}")
        elif verdict == "CRASH":
            lines.append(f"CRASH: {_where(o)}: {o['cause']}")
        elif right and verdict == "FAIL" and not o["exposes"]:
            lines.append(f"FALSE ALARM: {_where(o)}, difference {o['difference']:.2e}: {o['evidence']}")
        elif o["what"] == "wrong" and verdict == "PASS":
            hidden = "" if o["shown"] else ", hidden from every step"
            lines.append(f"MISSED: {_where(o)}, size {o['size']:.1e}{hidden}")
        elif o["what"] == "wrong" and o["shown"] and verdict == "UNDECIDED" and verbose:
            lines.append(f"OPEN: {_where(o)}, size {o['size']:.1e}: {o['cause']}: {o['evidence']}")
        elif right and verdict == "UNDECIDED" and verbose:
            lines.append(f"UNDECIDED: {_where(o)}: {o['cause']}: {o['evidence']}")
    for what, counted in (("right", "UNDECIDED on right"), ("wrong", "UNDECIDED on planted")):
        open_ = [o for o in own if o["what"] == what and o["verdict"] == "UNDECIDED" and o.get("shown", True)]
        causes = Counter(f"{o['part']}, {o['coverage']}: {o['cause']}" for o in open_)
        lines += [f"{counted} {count} ×: {why}" for why, count in causes.most_common()]
    unseen = Counter(o["verdict"] for o in own if o["what"] == "wrong" and not o["shown"])
    if unseen:
        verdicts = ", ".join(f"{count} × {verdict}" for verdict, count in unseen.most_common())
        lines.append(f"planted mistakes that no step shows, in both coverages: {verdicts}")
    apart = {o["name"]: o["reason"] for o in outcomes if o["what"] == "apart"}
    if verbose:
        lines += [f"APART: {name}: {reason}" for name, reason in apart.items()]
    reasons = Counter(reason.partition(":")[0] for reason in apart.values())
    samples = len({o["name"] for o in outcomes})
    said = ", ".join(f"{count} × {why}" for why, count in reasons.most_common()) or "none"
    return [*lines, f"{samples:,} samples, of which apart: {said}"]


def _where(o: Outcome) -> str:
    mistake = f", {o['mistake']}" if o["what"] == "wrong" else ""
    return f"{o['name']}{mistake}, {o['coverage']}"
