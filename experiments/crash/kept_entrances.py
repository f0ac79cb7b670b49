"""Further entrances: what a run has kept for its replay and its page, and tables of one's own."""

import io
import json
import shlex
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from checks.training.violation_file import read_violation
from datasets import prepare, read_table
from experiments.crash.bad_inputs import Entrance
from experiments.crash.bad_values import json_values, mutated, words
from experiments.fraud.main import main
from experiments.replay import main as replay
from experiments.report import main as report
from trainer.storage.archive import read_archive, write_archive

RUN = shlex.split("--samples 60 --features 3 --fraud-rate 0.2 --hidden 3 --batch-size 16 --epochs 1 --check-every 2")
PAGE_FILES = ("settings.json", "metrics.json", "proof.json", "report.json", "run.json", "history.jsonl", "check.npz")
ROWS = [["7", f"{row}.5", "DE" if row % 3 else "FR", "01"[row % 2]] for row in range(12)]
TABLE = [["Time", "V1", "Country", "Class"], *ROWS]


def kept_entrances(folder: Path) -> list[Entrance]:
    """List them; files go into a folder. Tables are read where the extra ``tables`` is there."""
    halted = folder / "halted"
    _quietly(main, [*RUN, "--quiet", "--bug", "dW2", "--out", str(halted)])
    violation = next(halted.glob("violation-*.npz"))
    case = read_archive(violation, "violation", 1)
    forged = folder / "violation.npz"
    files = {name: (halted / name).read_bytes() for name in PAGE_FILES if (halted / name).exists()}

    def read_forged(facts: Any) -> None:
        if isinstance(facts, dict):  # which write_archive takes
            write_archive(forged, "violation", 1, case.arrays, facts)
            read_violation(forged)

    def shown(content: bytes) -> None:
        forged.write_bytes(content)
        _command(replay.main, [str(forged)])

    def page(changed: tuple[str, bytes]) -> None:
        name, content = changed
        (halted / name).write_bytes(content)
        try:
            _command(report.main, [str(halted), "--to", str(folder / "page.html")])
        finally:
            (halted / name).write_bytes(files[name])

    data = {name: json.loads(raw) for name, raw in files.items() if name.endswith(".json")}
    as_json = st.sampled_from(sorted(data)).flatmap(
        lambda name: mutated(data[name]).map(lambda tree: (name, json.dumps(tree).encode()))
    )
    as_bytes = st.tuples(st.sampled_from(sorted(files)), st.binary(max_size=60))
    known = [
        Entrance("violation, forged", mutated(case.facts), read_forged, 2),
        Entrance("replay, noise", _damaged(violation.read_bytes()), shown, 0.5),
        Entrance("report, files of a run", as_json, page, 0.3 if find_spec("matplotlib") else 1),
        Entrance("report, noise", as_bytes, page, 0.3 if find_spec("matplotlib") else 1),
    ]
    return known if find_spec("pyarrow") is None else [*known, *_tables(folder)]


def _tables(folder: Path) -> list[Entrance]:
    path = folder / "table.csv"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        prepare(read_table(path), "Class")

    cells = st.lists(st.lists(words | st.sampled_from(["", "1", "nan", "=1+1", '"']), max_size=5), max_size=7)
    mixed = mutated(TABLE).filter(lambda table: isinstance(table, list)) | cells
    text = mixed.map(
        lambda rows: "\n".join(",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)
    )
    return [
        Entrance("table", text.map(lambda all_of_it: all_of_it.encode(errors="replace")), read, 2),
        Entrance("table, noise", st.binary(max_size=200), read, 0.5),
        Entrance("table, JSON", json_values.map(lambda tree: json.dumps(tree).encode()), read, 0.3),
    ]


def _damaged(content: bytes) -> st.SearchStrategy[bytes]:
    places = st.integers(0, len(content) - 1)
    flipped = st.tuples(places, st.integers(1, 255)).map(
        lambda two: content[: two[0]] + bytes([content[two[0]] ^ two[1]]) + content[two[0] + 1 :]
    )
    return flipped | places.map(lambda end: content[:end]) | st.binary(max_size=99)


def _command(command: Any, argv: list[str]) -> None:
    """Run a command; bad input must be one line and exit code 2."""
    said, code = _quietly(command, argv)
    if code not in (0, 1, 2) or "Traceback" in said:
        raise RuntimeError(f"exit code {code}: {said}")
    if code == 2 and len(said.splitlines()) != 1:
        raise RuntimeError(f"bad usage is not one line: {said}")


def _quietly(command: Any, argv: list[str]) -> tuple[str, int]:
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        code = command(argv)
    return said.getvalue(), code
