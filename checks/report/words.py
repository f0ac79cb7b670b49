"""The report in words: one line for a log, one screen for a person."""

import math
import textwrap
from collections import Counter

from checks.explain.mistake import Kind
from checks.report.findings import Findings, TensorReport
from checks.report.remarks import left_open, remarks
from checks.verdict import Verdict

MOST_NOTES = 3  # sentences about further tensors
VAGUE = (Kind.FLOW, Kind.LINE)  # say nothing about a tensor that may only follow from another
WIDTH = 96  # leaves room for an indent on a page of 100 columns
LINE = 62  # of a log, on a terminal of 79 columns: the time and the level before it take 17
HEADINGS = ("tensor", "verdict", "difference", "worst entry", "gradient", "numerical", "ratio")


def line(report: Findings, iteration: int) -> str:
    """Give the check in `LINE` columns of a log: what was concluded, and of the rest what there is room for."""
    why = "" if report.verdict is Verdict.PASS else f" ({report.cause.value})"
    concluded = "  ".join([f"iteration {iteration}", _verdict(report) + why, *_where(report)])
    text = concluded if len(concluded) <= LINE else concluded[: LINE - 1] + "…"
    for part in (
        f"difference {_number(report.difference, '.3e')}",
        "" if report.applied is None else f"applied {_number(report.applied.difference, '.1e')}",
        "" if not report.kinks else f"{report.kinks} kinks",
        f"{1e3 * report.seconds:.1f} ms",
    ):
        if len(text) + 2 + len(part) > LINE:
            break
        text += f"  {part}" * bool(part)
    return text


def _where(report: Findings) -> list[str]:
    if report.verdict is Verdict.PASS:
        return []
    if report.culprits:
        return [f"at {report.culprits[0].label}"]
    first, *rest = _of_verdict(report)
    return [f"about {first}" + f" and {len(rest)} more" * bool(rest)]


def _of_verdict(report: Findings) -> list[str]:
    """Name the tensors that have the report's verdict, or else the terms, or else the gradient that is applied."""
    for parts in (report.tensors, report.terms):
        if names := [name for name, part in parts.items() if part.verdict is report.verdict]:
            return names
    return ["the applied gradient"]


def summary(report: Findings) -> str:
    """Give the check in one line."""
    parts = [
        f"difference {_number(report.difference, '.3e')}",
        f"threshold {report.threshold:.0e}",
        _verdict(report) + ("" if report.verdict is Verdict.PASS else f" ({report.cause.value})"),
        f"{report.n_parameters} parameters",
        f"{report.coverage}/{report.derivative}",
        f"{1e3 * report.seconds:.1f} ms",
    ]
    if report.kinks:
        parts.append(f"{report.kinks} kinks set aside")
    if report.applied is not None:
        parts.append(f"applied {_number(report.applied.difference, '.1e')}")
    if report.verdict is Verdict.FAIL and report.culprits:
        worst = report.culprits[0]
        should = "" if math.isnan(worst.numerical) else f", should be {worst.numerical:.6g}"
        parts.append(f"{worst.label} is {worst.gradient:.6g}{should}")
    elif report.verdict is Verdict.FAIL and report.applied is not None:
        parts.append(report.applied.sentence.partition(". ")[0])
    elif report.verdict is Verdict.UNDECIDED:
        parts.append("about " + ", ".join(_of_verdict(report)))
    quiet = _passed_quietly(report)
    if quiet:
        parts.append("not exercised: " + ", ".join(quiet))
    return "  ".join(filter(None, parts))


def _number(value: float, form: str) -> str:
    return "not measured" if math.isnan(value) else format(value, form)


def _verdict(report: Findings) -> str:
    """Give the verdict, and where a PASS is a coarse one, to what precision."""
    coarse = max(report.column("precision"))
    return f"PASS to {coarse:.0e}" if report.verdict is Verdict.PASS and coarse > 0.0 else report.verdict.value


def _passed_quietly(report: Findings) -> list[str]:
    quiet = report.not_exercised
    return [name for name in quiet if report.tensors[name].verdict is Verdict.PASS]


def table(report: Findings) -> str:
    """Give the report as a screen of text: what, where, why, and the evidence."""
    lines = [f"Gradient check: {headline(report)}", ""]
    width = max(len(name) for name in ("tensor", *report.tensors))
    lines += [_line(cells, width) for cells in (HEADINGS, *rows(report))]
    lines.append("")
    lines += [] if report.applied is None else [f"  {report.applied}"]
    lines += [f"  {line}" for line in findings(report)]
    for name, term in report.terms.items():
        if term.verdict is not Verdict.PASS:
            lines += [f"  Term {name!r} on its own: {headline(term)}", *_findings_of_term(term)]
        else:
            lines.append(f"  Term {name!r} on its own: {_verdict(term)}, difference {_number(term.difference, '.3e')}")
    lines.append(
        f"  {report.evaluations} loss evaluations, {report.seconds:.3g} s, coverage {report.coverage!r}, "
        f"derivative {report.derivative!r}, step {report.step:.0e}, loss {report.loss:.6g}."
    )
    lines += [f"  Note: {note}." for note in report.notes]
    return "\n".join(_wrapped(lines))


def _wrapped(lines: list[str]) -> list[str]:
    """Break long lines between words, further in than they began."""
    return [part for line in lines for part in _wrap(line)]


def _wrap(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False) or [""]


def headline(report: Findings) -> str:
    """Give the verdict with its number and cause."""
    text = f"{_verdict(report)} — difference {_number(report.difference, '.3e')}"
    if not math.isnan(report.difference):
        is_coarse = report.verdict is Verdict.PASS and report.difference > report.threshold
        comparison = "<=" if report.difference <= report.threshold else ">"
        text += "," if is_coarse else f" {comparison}"
    else:
        text += ","
    text += f" threshold {report.threshold:.0e}"
    quiet = set(report.not_exercised)
    known = [tensor for tensor in report.tensors.values() if not math.isnan(tensor.difference)]
    worst = max((t for t in known if t.name not in quiet), key=lambda tensor: tensor.difference, default=None)
    if worst is not None and report.difference <= report.threshold < worst.difference:
        text += f" overall, but {worst.difference:.1e} in {worst.name}"
    return text if report.verdict is Verdict.PASS else f"{text} ({report.cause}{_elsewhere(report)})"


def _elsewhere(report: Findings) -> str:
    """Say where the verdict comes from, if not from a tensor of the whole gradient."""
    if report.verdict in report.column("verdict"):
        return ""
    terms = [name for name, term in report.terms.items() if term.verdict is report.verdict]
    return f", in term {terms[0]!r}" if terms else ", of the gradient about to be applied"


def rows(report: Findings) -> list[tuple[str, ...]]:
    """Give the cells of the table, a row for every tensor, under `HEADINGS`."""
    tensors = list(report.tensors.values())
    along = Counter((tensor.gradient, tensor.numerical) for tensor in tensors if not tensor.worst_index)
    return [_row(tensor, along[tensor.gradient, tensor.numerical] > 1) for tensor in tensors]


def _row(tensor: TensorReport, is_shared: bool) -> tuple[str, ...]:
    """Give a row; slopes along one direction through several tensors are marked as those of the whole direction."""
    numbers = [_cell(value) for value in (tensor.gradient, tensor.numerical, _finite(tensor.ratio))]
    where = str(list(tensor.worst_index)) if tensor.worst_index else "-"
    if not tensor.worst_index and tensor.confidence < 1.0:
        where = "whole direction" if is_shared else "direction"
        if tensor.gradient_norm == 0.0:
            numbers = ["-"] * 3  # what was read there is the others'
    return (tensor.name, tensor.verdict.value, _cell(tensor.difference, ".2e"), where, *numbers)


def _cell(value: float, form: str = ".6g") -> str:
    return "-" if math.isnan(value) else format(value, form)


def _finite(ratio: float) -> float:
    return ratio if math.isfinite(ratio) else math.nan


def _line(cells: tuple[str, ...], width: int) -> str:
    name, verdict, difference, where, gradient, numerical, ratio = cells
    return f"  {name:<{width}}  {verdict:<9}  {difference:>10}  {where:<16} {gradient:>13} {numerical:>13}  {ratio:>9}"


def findings(report: Findings) -> list[str]:
    """Give what was found, a paragraph each: what is wrong first, then what else there is to know."""
    lines = []
    culprits = report.culprits
    if culprits:
        first, *rest = culprits
        if first.mistake is not None:
            lines.append(first.mistake.sentence)
        lines.append(f"Look here first: {first.label}{_compared(first)}.")
        if first.evidence:
            lines.append(f"Evidence{_evidence(first)}.")
        if rest:
            lines += _also_wrong(first, rest)
    lines += remarks(report)
    if report.verdict is Verdict.PASS:
        lines += _excluded(report)
    return lines


def _evidence(tensor: TensorReport) -> str:
    return f": {tensor.evidence.rstrip('.')}" if tensor.evidence else ""


def _compared(tensor: TensorReport) -> str:
    """Give both numbers, and their ratio where there is one."""
    if math.isnan(tensor.numerical):
        return f", gradient {tensor.gradient:.10g}; there was nothing to measure"
    both = f", gradient {tensor.gradient:.10g}, numerical {tensor.numerical:.10g}"
    if tensor.numerical == 0.0:
        return f"{both} (the loss has no slope there)"
    return f"{both}, ratio {tensor.ratio:.6g}" if math.isfinite(tensor.ratio) else both


def _also_wrong(first: TensorReport, rest: list[TensorReport]) -> list[str]:
    names = ", ".join(tensor.name for tensor in rest)
    sentences = [tensor.mistake.sentence if tensor.mistake is not None else "" for tensor in rest]
    said = first.mistake.sentence if first.mistake is not None else None
    if all(sentence == said for sentence in sentences):
        return [f"Also wrong: {names}; by the same mistake."]
    lines = [f"Also wrong: {names}; these may follow, since backprop runs from the output to the input."]
    own = {t.mistake.sentence: None for t in rest if t.mistake is not None and t.mistake.kind not in VAGUE}
    return lines + [f"  {sentence}" for sentence in own if sentence != said][:MOST_NOTES]


def _excluded(report: Findings) -> list[str]:
    """Say what a pass excludes, of the tensors in which something was tested."""
    quiet = set(report.not_exercised)
    tensors = [t for t in report.tensors.values() if math.isfinite(t.excluded) and t.name not in quiet]
    if not tensors:
        return []
    excluded = ", ".join(f"{tensor.name} {tensor.excluded:.1e}" for tensor in tensors)
    confidence = min(tensor.confidence for tensor in tensors)
    how = "" if confidence == 1.0 else f" with {confidence:.0%} probability"
    return [f"Excludes{how} an error larger than this share of a tensor's gradient: {excluded}."]


def _findings_of_term(term: Findings) -> list[str]:
    """Give the gist: with several terms, the whole of each would not fit a screen."""
    lines = []
    if term.culprits:
        first, *rest = term.culprits
        lines.append(f"    {first.mistake.sentence if first.mistake is not None else first.label + _compared(first)}")
        if rest:
            lines.append(f"    Also wrong: {', '.join(tensor.name for tensor in rest)}.")
    return lines + [f"    {line}" for line in left_open(term)]
