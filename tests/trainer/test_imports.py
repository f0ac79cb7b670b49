"""The trainer stands on its own: it imports nothing of the packages that are built on it."""

import ast
from pathlib import Path

import pytest

import trainer

FILES = sorted(Path(trainer.__file__).parent.glob("**/*.py"))


def imported_packages(source):
    """Return the first word of every absolute import, wherever in the file it stands."""
    packages = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.split(".")[0])
    return packages


def test_the_search_sees_every_kind_of_import():
    source = "import checks.x as y\ndef f():\n    from experiments.z import w\nfrom datasets import v\n"
    assert imported_packages(source) == {"checks", "experiments", "datasets"}
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_trainer_imports_nothing_of_the_other_packages(path):
    packages = imported_packages(path.read_text(encoding="utf-8"))
    assert not packages & {"checks", "datasets", "experiments", "tests"}
    assert "importlib" not in packages


def test_everything_exported_exists_and_nothing_twice():
    assert len(set(trainer.__all__)) == len(trainer.__all__)
    assert all(hasattr(trainer, name) for name in trainer.__all__)
