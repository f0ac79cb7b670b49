"""The examples keep their word: the notebook shows what comes out; models learn, and halt where they are wrong."""

import contextlib
import importlib.util
import io
import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from checks import GradientCheck, GradientCheckError, Verdict
from trainer import Trainer

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


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def right(trainer: Trainer, check: GradientCheck) -> bool:
    """Say whether every check of a run passed, and both questions were asked."""
    proof = check.proof
    return (
        trainer.outcome == "completed" and proof.passed == proof.n_checks > 0 < proof.applied.passed == proof.applied.n
    )


def test_the_exercises_own_functions_take_ten_lines_and_its_two_mistakes_are_found() -> None:
    exercise = example("exercise")
    body = (
        Path(exercise.__file__ or "").read_text(encoding="utf-8").partition("class Exercise")[2].partition("\n\n\n")[0]
    )
    assert len([line for line in body.splitlines() if line]) <= 10
    trainer, check = exercise.fitted(exercise.Exercise())
    assert right(trainer, check)
    losses = trainer.history.column("epoch_loss")
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(GradientCheckError) as caught:
        exercise.fitted(exercise.AsHandedOut())
    tensors = caught.value.report.tensors
    assert {name for name in tensors if tensors[name].verdict is Verdict.FAIL} == {"W2", "b1"}


def test_softmax_regression_is_as_good_as_scikit_learns_on_the_digits() -> None:
    from sklearn.linear_model import LogisticRegression

    softmax = example("softmax")
    trainer, check = softmax.fitted(softmax.Softmax(64, 10))
    assert right(trainer, check)
    inputs, unseen, labels, truth = softmax.digits()
    theirs = LogisticRegression(max_iter=1_000).fit(inputs, labels).score(unseen, truth)
    assert np.mean(trainer.predict(unseen) == truth) > theirs - 0.01
    assert "of each of the 10 classes" in str(check.proof)
    np.testing.assert_allclose(trainer.predict_proba(unseen).sum(axis=1), 1)
    with pytest.raises(GradientCheckError):
        softmax.fitted(softmax.NotShifted(64, 10))


def test_a_regression_net_is_as_good_as_least_squares_on_the_diabetes_table() -> None:
    from sklearn.linear_model import LinearRegression

    regression = example("regression")
    trainer, check = regression.fitted(regression.Regression(10, 7))
    assert right(trainer, check)
    inputs, unseen, targets, truth = regression.diabetes()
    theirs = np.mean((LinearRegression().fit(inputs, targets).predict(unseen) - truth) ** 2)
    assert np.mean((trainer.predict(unseen) - truth) ** 2) < 1.05 * theirs
    with pytest.raises(GradientCheckError) as caught:
        regression.fitted(regression.OfSigmoid(10, 7))
    assert caught.value.report.culprits[0].name == "c"


def test_a_small_convolution_learns_and_its_flipped_filter_is_found() -> None:
    convolution = example("convolution")
    trainer, check = convolution.fitted(convolution.Convolution())
    assert right(trainer, check)
    _, unseen, _, truth = convolution.digits()
    assert np.mean(trainer.predict(unseen) == truth) > 0.9
    with pytest.raises(GradientCheckError) as caught:
        convolution.fitted(convolution.Flipped())
    assert [tensor.name for tensor in caught.value.report.culprits] == ["filters"]
