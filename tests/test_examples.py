"""The example notebook keeps its word: it runs, and what it shows is what comes out."""

import contextlib
import io
import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "gradient_checking.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def printed(outputs: list[dict[str, Any]]) -> str:
    """Give what a cell wrote to its standard output."""
    return "".join("".join(out["text"]) for out in outputs if out.get("name") == "stdout")


def test_its_code_runs_from_top_to_bottom_and_prints_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    shared: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(CODE, start=1):
        if ".plot(" in source(cell) and not find_spec("matplotlib"):
            continue  # the extra `report` is not installed
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(compile(source(cell), f"{NOTEBOOK.name}, cell {number}", "exec"), shared)
        assert shown.getvalue() == printed(cell["outputs"])
    if find_spec("matplotlib"):
        from matplotlib import pyplot

        pyplot.close("all")


def test_in_a_kernel_it_shows_its_tables_and_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    client = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    runner = client.NotebookClient(notebook, timeout=120, kernel_name="python3", resources={})
    runner.resources = {"metadata": {"path": str(tmp_path)}}
    runner.execute()
    for before, after in zip(CODE, (cell for cell in notebook.cells if cell.cell_type == "code"), strict=True):
        assert printed(after.outputs) == printed(before["outputs"])
        kinds = [sorted(out.get("data", {})) for out in after.outputs if "data" in out]
        assert kinds == [sorted(out["data"]) for out in before["outputs"] if "data" in out]


def test_it_is_small_and_tells_nothing_of_the_machine_that_ran_it() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 100_000
    assert not re.search(r"/(home|root|tmp|Users|work|usr|private)/|[A-Z]:\\\\Users|site-packages", text)
    metadata = json.loads(text)["metadata"]
    assert metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert not any(cell["metadata"] for cell in CELLS)


def test_it_tells_the_story_in_order() -> None:
    headings = re.findall(
        r"^#+ (.*)$", "\n".join(source(cell) for cell in CELLS if cell["cell_type"] == "markdown"), re.M
    )
    words = ("formula", "One dimension", "N dimensions", "kink", "dropout", "trains", "Planting")
    places = [next(place for place, heading in enumerate(headings) if word in heading) for word in words]
    assert places == sorted(places)
