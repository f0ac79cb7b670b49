"""The library stands on its own: only its callback, and the file in which that keeps a failure, know the trainer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import checks

#: What single files may import beyond numpy: an extra, and what scikit-learn brings along.
EXTRAS = {
    "torch/module.py": {"torch"},
    "torch/twin.py": {"torch"},
    "measure/processes.py": {"joblib", "threadpoolctl"},
    "report/plot.py": {"matplotlib"},
}

#: What single files may import of the trainer: the callback the hooks, and the file of a violation the container that
#: checkpoints use as well. It belongs to the callback, and a check without a training run never loads it.
OF_TRAINER = {
    "training/callback.py": {"trainer.callbacks.base"},
    "training/kept.py": {"trainer.storage.codec"},
    "training/proof.py": {"trainer.storage.codec"},
    "training/violation.py": {"trainer.storage.codec"},
    "training/violation_file.py": {"trainer.storage.archive", "trainer.storage.codec"},
}

HOME = Path(checks.__file__).parent
FILES = sorted(HOME.glob("**/*.py"))


def imported_modules(source):
    """Return every module that is imported absolutely, wherever in the file it stands."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module)
    return modules


def test_the_search_sees_every_kind_of_import():
    source = "import a.b as c\ndef f():\n    from d.e import g\nif True:\n    import h\n"
    assert imported_modules(source) == {"a.b", "d.e", "h"}
    assert len(FILES) > 15


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_only_the_callback_and_its_file_import_the_trainer_and_no_more_than_they_need(path):
    modules = imported_modules(path.read_text(encoding="utf-8")) - {"importlib.metadata"}  # which imports nothing
    of_trainer = {module for module in modules if module.split(".")[0] == "trainer"}
    assert of_trainer == OF_TRAINER.get(path.relative_to(HOME).as_posix(), set())
    assert not {module.split(".")[0] for module in modules} & {"datasets", "experiments", "tests", "importlib"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_nothing_but_numpy_and_the_standard_library_is_needed_but_where_it_says_so(path):
    roots = {module.split(".")[0] for module in imported_modules(path.read_text(encoding="utf-8"))}
    assert roots <= set(sys.stdlib_module_names) | {"numpy", "checks", "trainer"} | EXTRAS.get(
        path.relative_to(HOME).as_posix(), set()
    )


def loaded_by(code):
    """Return the names of the modules that a fresh process has loaded after this code."""
    code += "; import sys; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_checks_alone_loads_nothing_of_the_trainer_until_its_callback_is_asked_for():
    assert not [name for name in loaded_by("import checks") if name.partition(".")[0] == "trainer"]
    assert "trainer" in loaded_by("import checks; checks.GradientCheck")
    with pytest.raises(AttributeError, match="no attribute 'GradientChek'"):
        checks.GradientChek  # noqa: B018


def test_what_keeps_a_violation_is_loaded_only_when_a_check_has_failed():
    assert not [name for name in loaded_by("from checks import GradientCheck") if "violation" in name]


def test_everything_exported_exists_and_nothing_twice():
    assert len(set(checks.__all__)) == len(checks.__all__)
    assert all(hasattr(checks, name) for name in checks.__all__)
