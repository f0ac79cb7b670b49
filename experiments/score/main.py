"""Score payments by a model that a run has kept: probability and decision for every row of a table."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.tables.pieces import table_pieces
from datasets.tables.read import is_text
from datasets.wording import shown
from experiments.command import DONE, Parser, UsageError, run_command, separator
from experiments.model.model import FILE, FraudModel
from experiments.score.writing import ENDINGS, writer_of
from experiments.screen import printable, show
from trainer.storage.durable import replace_file

if TYPE_CHECKING:
    import pyarrow

ADDED = ("probability", "decision")

DESCRIPTION = """\
Score payments by a model that a run left with --out DIR: add to every row the probability that it is
fraud, and the decision, 1 from the run's threshold on and else 0. The table is read and written in
pieces, however long it is. It needs the columns that the model was trained on; whatever others it
has are handed on.
"""

EPILOG = """\
examples:
  python -m experiments.score runs/first payments.csv --output scored.parquet
  python -m experiments.score runs/first payments.csv.gz | head
      without --output it goes to the standard output, as CSV

A text that no training row holds, and a missing value, are treated as in training. Where a column
lies far outside of what was trained on, a warning says how many rows do.

exit codes:
  0    done
  2    bad input or usage, said in one line; then no output was written
  130  interrupted

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Score a table and return the exit code; ``--help`` says what each means."""
    parser = Parser("python -m experiments.score", DESCRIPTION, EPILOG)
    parser.add_argument("folder", metavar="DIR", help=f"what a run left with --out DIR, or its {FILE}")
    parser.add_argument("table", metavar="FILE", help="payments, in CSV or Parquet, plain or gzip-compressed")
    parser.add_argument(
        "--separator", type=separator, default=",", metavar="C", help="between the columns of a CSV file (,)"
    )
    parser.add_argument("--output", metavar="FILE", help=f"a file ending in {ENDINGS} (the standard output, as CSV)")

    def body() -> int:
        options = parser.parse_args(argv)
        return _score(options.folder, Path(options.table), options.separator, options.output)

    return run_command(
        "python -m experiments.score",
        body,
        memory="not enough memory. Expected room for some thousand rows.",
        disk="cannot read or write. Expected a run's folder, a table, and room and permission for the output.",
    )


def _score(folder: str, path: Path, mark: str, output: str | None) -> int:
    try:
        model, tally = FraudModel.load(folder), Tally()
        write = writer_of(output or ".csv")
        pieces = _scored(model, path, mark, tally, typed=str(output).lower().endswith(".parquet"))
        if output is None:
            with suppress(BrokenPipeError):  # head has seen enough
                write(sys.stdout.buffer, pieces)
        else:
            target = Path(output)
            if target.exists() and path.exists() and target.samefile(path):
                raise UsageError(f"--output is the table itself. Expected another file. Received {output}.")
            replace_file(target, lambda file: write(file, pieces))
    except (ImportError, ValueError) as error:
        raise UsageError(str(error)) from error
    for line in tally.in_words(model):
        show(printable(line), sys.stderr)
    return DONE


@dataclass
class Tally:
    """What was seen of the rows so far."""

    rows: int = 0
    called: int = 0
    # Rows, by their column, how they differ from all training rows, and what share of them may.
    strange: Counter[tuple[str, str, float]] = field(default_factory=Counter)

    def in_words(self, model: FraudModel) -> Iterator[str]:
        """Say how many rows were called fraud, and what is to be thought of."""
        share = self.called / max(1, self.rows)
        yield f"{self.rows:,} rows, {self.called:,} ({share:.2%}) called fraud: probability {model.threshold} or more"
        if model.facts.doubt is not None:
            yield f"warning: {model.facts.doubt}"
        for (name, how, allowed), count in self.strange.items():
            if count > allowed * self.rows:
                yield f"warning: {shown(name)}: {count:,} rows ({count / self.rows:.2%}) {how}"


def _scored(model: FraudModel, path: Path, mark: str, tally: Tally, *, typed: bool) -> "Iterator[pyarrow.Table]":
    """Read a table and give it with both columns added; `typed`, the model's numbers are no texts any more."""
    import pyarrow as pa

    preparation = model.preparation
    numbers = [number.name for number in preparation.numbers]
    plain_ones = [number.name for number in preparation.numbers if number.mark == "."]
    texts = {column.name for column in preparation.columns} - {*plain_ones}
    for table, frame in table_pieces(path, texts, plain_ones, mark):
        taken = sorted({*ADDED} & {*table.column_names})
        if taken:
            raise ValueError(f"The table is scored already. Expected none with a column {taken[0]!r}. Received one.")
        preparation.demand(table.column_names)
        plain = preparation.plain(frame, first_row=tally.rows)
        found = model.probabilities(preparation.transform(plain))
        called = found >= model.threshold.cut
        for name, how, count, allowed in preparation.strange(plain):
            tally.strange[name, how, allowed] += count
        tally.rows, tally.called = tally.rows + len(found), tally.called + int(called.sum())
        for name in (name for name in numbers if typed and is_text(table[name].type)):
            table = table.set_column(table.column_names.index(name), name, pa.array(plain[name], from_pandas=True))
        for name, column in zip(ADDED, (found, called.astype(np.int8)), strict=True):
            table = table.append_column(name, pa.array(column))
        yield table
