"""A history as a table for notebooks: the epochs, the checks, and how it ended; everything escaped."""

from collections import deque
from collections.abc import Iterable
from html import escape

from trainer.storage.json_rows import Row

EPOCHS = 12  # rows of the table: the last ones
COLUMNS = ("epoch", "iteration", "epoch_loss", "validation_loss")
CELL = "padding:0.2em 0.8em 0.2em 0;text-align:right;border-bottom:1px solid rgba(128,128,128,0.25)"
#: Readable on a white page and on a dark one.
COLOURS = {"PASS": "#2f80c3", "FAIL": "#df4a14", "UNDECIDED": "#a17a00"}


def table(rows: Iterable[Row]) -> str:
    """Give the last epochs as rows, and in a line what there is besides; `rows` are read once, however many."""
    epochs: deque[Row] = deque(maxlen=EPOCHS)
    verdicts: dict[str, int] = {}
    n_epochs, iterations, end = 0, 0, ""
    for row in rows:
        kind = row.get("event")
        if kind == "epoch":
            epochs.append(row)
            n_epochs += 1
        elif kind == "iteration":
            iterations += 1
            if "verdict" in row:
                verdicts[str(row["verdict"])] = verdicts.get(str(row["verdict"]), 0) + 1
        elif kind == "end":
            end = str(row.get("outcome", ""))
    known = [name for name in COLUMNS if any(row.get(name) is not None for row in epochs)]
    head = "".join(f'<th style="{CELL}">{name.replace("_", " ")}</th>' for name in known)
    body = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in known)}</tr>" for row in epochs)
    checks = "".join(f", {_check(verdict, count)}" for verdict, count in verdicts.items())
    left = f"<p>… the last {EPOCHS} of {n_epochs:,} epochs</p>" if n_epochs > EPOCHS else ""
    style = "border-collapse:collapse;background:none;font-variant-numeric:tabular-nums"
    return (
        f"<div><p>{iterations:,} iterations{checks}{f': {escape(end)}' if end else ''}</p>"
        f'{left}<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _check(verdict: str, count: int) -> str:
    colour = COLOURS.get(verdict, "inherit")
    return f'{count:,} <span style="font-weight:600;color:{colour}">{escape(verdict)}</span>'


def _cell(value: object) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
    return f'<td style="{CELL}">{escape(text)}</td>'
