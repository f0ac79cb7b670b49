"""Make the page report.html of a run that was kept with --out, also of one that was cut short."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from checks import GradientReport
from experiments.command import DONE, Parser, UsageError, run_command
from experiments.report.page import page
from experiments.runs.folder import RunFolder
from experiments.runs.judging import Curve
from experiments.runs.reading import read_run
from experiments.runs.record import Record
from experiments.screen import show
from trainer.storage.codec import to_plain
from trainer.storage.durable import File, FolderLost, replace_file

DESCRIPTION = """\
Make report.html of a run: one file that opens by double click and needs no network. It shows the
loss with the checks on it, the difference of every check, the last check entry by entry, how
well fraud is found, and the settings. The main job does this by itself at the end of a run
with --out; this command does it again, and also for a run that was killed or still goes on.
"""

EPILOG = """\
examples:
  python -m experiments.fraud --out runs/first
  python -m experiments.report runs/first
  python -m experiments.report runs/first --to first.html

exit codes:
  0    done
  2    bad input or usage, or matplotlib and jinja2 are missing (the extra `report`); said in one line
  70   nobody has foreseen this; one line says where the details are
  130  interrupted
"""

logger = logging.getLogger("experiments.report")


def add_page(
    folder: RunFolder, report: GradientReport | None, curve: Curve | None, record: Callable[[], Record] | None
) -> None:
    """Add a page to what a run has kept, and what it is drawn from again; without a record, only the latter.

    Where the page cannot be made, a line says so, for the run counts more.
    """
    try:
        if curve is not None:
            folder.write_json("curve.json", to_plain(curve))
        if report is not None:
            folder.write_arrays("check.npz", _entries(report))
        if record is not None:
            _write(folder.place / "report.html", page(record()))
    except ImportError:
        logger.info("report.html was not written: it takes the extra 'report' (matplotlib and jinja2)")
    except FolderLost:
        raise
    except Exception as error:  # drawing must not lose a run that has ended well
        logger.warning("report.html was not written: %s", " ".join(f"{type(error).__name__}: {error}".split()))


def _entries(report: GradientReport) -> dict[str, NDArray[Any]]:
    return {
        f"{part}/{name}": getattr(tensor.entries, part)
        for name, tensor in report.tensors.items()
        if tensor.entries is not None
        for part in ("gradient", "numerical", "aside")
    }


def _write(path: File | Path, text: str) -> None:
    replace_file(path, lambda file: file.write(text.encode("utf-8", errors="replace")))


def main(argv: Sequence[str] | None = None) -> int:
    """Make the page of a run folder and return the exit code; ``--help`` says what each means."""
    parser = Parser("python -m experiments.report", DESCRIPTION, EPILOG)
    parser.add_argument("folder", metavar="DIR", help="what a run left with --out DIR")
    parser.add_argument("--to", metavar="FILE", help="where to write the page (DIR/report.html)")

    def body() -> int:
        options = parser.parse_args(argv)
        target = Path(options.folder) / "report.html" if options.to is None else Path(options.to)
        try:
            text = page(read_run(options.folder))
        except ImportError as error:
            raise UsageError(str(error)) from error
        _write(target, text)
        show(f"{target}")
        return DONE

    return run_command(
        "python -m experiments.report",
        body,
        memory="not enough memory. Expected a run that fits.",
        disk="cannot write. Expected room and permission for the page.",
    )
