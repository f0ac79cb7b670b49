"""The report in words: one line for a log, one screen for a person."""

import math
import textwrap

from checks.explain.mistake import Kind
from checks.report.findings import Findings, TensorReport
from checks.verdict import Cause, Verdict

MOST_NOTES = 3  # sentences about further tensors
VAGUE = (Kind.FLOW, Kind.LINE)  # say nothing about a tensor that may only follow from another
WIDTH = 96  # leaves room for an indent on a page of 100 columns


def summary(report: Findings) -> str:
    """Give the check in one line."""
    parts = [
        f"difference {report.difference:.3e}",
        f"threshold {report.threshold:.0e}",
        report.verdict.value + ("" if report.verdict is Verdict.PASS else f" ({report.cause.value})"),
        f"{report.n_parameters} parameters",
        f"{report.coverage}/{report.derivative}",
        f"{1e3 * report.seconds:.1f} ms",
    ]
    if report.kinks:
        parts.append(f"{report.kinks} kinks set aside")
    if report.applied is not None:
        parts.append(f"applied {report.applied.difference:.1e}")
    if report.verdict is Verdict.FAIL and report.culprits:
        worst = report.culprits[0]
        parts.append(f"{worst.label} is {worst.gradient:.6g}, should be {worst.numerical:.6g}")
    elif report.verdict is Verdict.FAIL and report.applied is not None:
        parts.append(report.applied.sentence.partition(". ")[0])
    elif report.verdict is Verdict.UNDECIDED:
        names = [tensor.name for tensor in report.tensors.values() if tensor.verdict is Verdict.UNDECIDED]
        parts.append("about " + ", ".join(names or report.terms or ["the applied gradient"]))
    return "  ".join(parts)


def table(report: Findings) -> str:
    """Give the report as a screen of text: what, where, why, and the evidence."""
    lines = [f"Gradient check: {headline(report)}", ""]
    width = max(len(name) for name in ("tensor", *report.tensors))
    lines.append(
        f"  {'tensor':<{width}}  {'verdict':<9}  {'difference':>10}  {'worst entry':<16} "
        f"{'gradient':>13} {'numerical':>13}  {'ratio':>9}"
    )
    for tensor in report.tensors.values():
        lines.append(_row(tensor, width))
    lines.append("")
    lines += [] if report.applied is None else [f"  {report.applied}"]
    lines += _findings(report)
    for name, term in report.terms.items():
        if term.verdict is not Verdict.PASS:
            lines += [f"  Term {name!r} on its own: {headline(term)}", *_findings_of_term(term)]
        else:
            lines.append(f"  Term {name!r} on its own: PASS, difference {term.difference:.3e}")
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
    known = not math.isnan(report.difference)
    comparison = ("<=" if report.difference <= report.threshold else ">") if known else "not measured,"
    text = f"{report.verdict} — difference {report.difference:.3e} {comparison} threshold {report.threshold:.0e}"
    worst = max(report.tensors.values(), key=lambda tensor: (math.isnan(tensor.difference), tensor.difference))
    if report.difference <= report.threshold < worst.difference:
        text += f" overall, but {worst.difference:.1e} in {worst.name}"
    return text if report.verdict is Verdict.PASS else f"{text} ({report.cause})"


def _row(tensor: TensorReport, width: int) -> str:
    where = f"{list(tensor.worst_index)}" if tensor.worst_index else "direction" if tensor.confidence < 1 else "-"
    ratio = "" if math.isnan(tensor.ratio) else f"{tensor.ratio:.6g}"
    return (
        f"  {tensor.name:<{width}}  {tensor.verdict:<9}  {tensor.difference:>10.2e}  {where:<16} "
        f"{tensor.gradient:>13.6g} {tensor.numerical:>13.6g}  {ratio:>9}"
    )


def _findings(report: Findings) -> list[str]:
    lines = []
    culprits = report.culprits
    if culprits:
        first, *rest = culprits
        if first.cause is Cause.NOT_FINITE and first.mistake is None:
            return [f"  No tensor could be checked: {first.evidence}."]
        if first.mistake is not None:
            lines.append(f"  {first.mistake.sentence}")
        lines.append(
            f"  Look here first: {first.label}, gradient {first.gradient:.10g}, numerical {first.numerical:.10g}, "
            f"ratio {first.ratio:.6g}."
        )
        lines.append(f"  Evidence: {first.evidence}.")
        if rest:
            names = ", ".join(tensor.name for tensor in rest)
            lines.append(f"  Also wrong: {names}; these may follow, since backprop runs from the output to the input.")
            own = [t.mistake.sentence for t in rest if t.mistake is not None and t.mistake.kind not in VAGUE]
            said = {first.mistake.sentence} if first.mistake is not None else set()
            lines += [f"    {sentence}" for sentence in own[:MOST_NOTES] if sentence not in said]
    for tensor in report.tensors.values():
        if tensor.verdict is Verdict.UNDECIDED:
            lines.append(f"  {tensor.name}: UNDECIDED, {tensor.cause}: {tensor.evidence}.")
        elif tensor.kinks:
            lines.append(f"  {tensor.name}: {tensor.kinks} of {tensor.size} entries set aside at kinks.")
        if tensor.cause is not Cause.NOT_EXERCISED and tensor.untouched:
            lines.append(
                f"  {tensor.name}: {tensor.untouched} of {tensor.size} entries are zero in both and were not exercised."
            )
    if report.verdict is Verdict.PASS:
        excluded = ", ".join(f"{t.name} {t.excluded:.1e}" for t in report.tensors.values())
        confidence = min(t.confidence for t in report.tensors.values())
        how = "" if confidence == 1.0 else f" with {confidence:.0%} probability"
        lines.append(f"  Excludes{how} an error larger than this share of a tensor's gradient: {excluded}.")
    return lines


def _findings_of_term(term: Findings) -> list[str]:
    """Give the gist: with several terms, the whole of each would not fit a screen."""
    lines = []
    if term.culprits:
        first, *rest = term.culprits
        lines.append(f"    {first.mistake.sentence if first.mistake is not None else first.evidence}")
        if rest:
            lines.append(f"    Also wrong: {', '.join(tensor.name for tensor in rest)}.")
    undecided = [tensor for tensor in term.tensors.values() if tensor.verdict is Verdict.UNDECIDED]
    if undecided:
        lines.append(f"    UNDECIDED: {', '.join(f'{tensor.name} ({tensor.cause})' for tensor in undecided)}.")
    return lines
