"""A report as a table for notebooks: everything escaped, no style sheet, at home on light and dark."""

from html import escape

from checks.report.findings import Findings
from checks.report.remarks import remarks
from checks.report.words import HEADINGS, headline, rows
from checks.verdict import Verdict

#: Light enough for a dark page and dark enough for a white one: contrast above 4 on both.
COLOURS = {Verdict.PASS: "#2f80c3", Verdict.FAIL: "#df4a14", Verdict.UNDECIDED: "#a17a00"}
TENSORS = 100  # rows; the data have all
REMARKS = 10  # a tensor each, at most
CELL = "padding:0.2em 0.8em 0.2em 0;text-align:{};border-bottom:1px solid rgba(128,128,128,0.25)"
LEFT = (0, 1, 3)  # columns of text


def table(report: Findings) -> str:
    """Give the verdict, a row for every tensor, and what is wrong first, if anything is."""
    tensors = report.tensors
    lines = [f"<tr>{_cells(cells, 'td')}</tr>" for cells in rows(report)[:TENSORS]]
    if len(tensors) > TENSORS:
        lines.append(f'<tr><td colspan="{len(HEADINGS)}">… of {len(tensors)} tensors</td></tr>')
    first = report.culprits[0] if report.culprits else None
    found = "" if first is None else (first.mistake.sentence if first.mistake else first.evidence)
    paragraphs = [found, str(report.applied or ""), *remarks(report)[:REMARKS]]
    return (
        f'<div><p><strong style="color:{COLOURS[report.verdict]}">{escape(report.verdict)}</strong>'
        f"{escape(headline(report).removeprefix(report.verdict))}</p>"
        '<table style="border-collapse:collapse;background:none;font-variant-numeric:tabular-nums">'
        f"<thead><tr>{_cells(HEADINGS, 'th')}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        f"{''.join(f'<p>{escape(text)}</p>' for text in paragraphs if text)}</div>"
    )


def _cells(texts: tuple[str, ...], tag: str) -> str:
    cells = []
    for number, text in enumerate(texts):
        style = CELL.format("left" if number in LEFT else "right")
        if tag == "td" and HEADINGS[number] == "verdict":
            style += f";font-weight:600;color:{COLOURS[Verdict(text)]}"
        cells.append(f'<{tag} style="{style}">{escape(text)}</{tag}>')
    return "".join(cells)
