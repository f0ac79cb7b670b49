"""The trainer stands on its own: it imports nothing of the packages that are built on it."""

import ast
from functools import cache
from pathlib import Path

import pytest

import trainer

ROOT = Path(trainer.__file__).parent
FILES = sorted(ROOT.glob("**/*.py"))
MODULES = {
    ".".join(("trainer", *path.relative_to(ROOT).with_suffix("").parts)): path
    for path in FILES
    if path.name != "__init__.py"
}
#: Each may import those before it, and itself.
FLOORS = ["argument", "network", "optimizers compiled batches storage", "callbacks", "loop", "trainer", "estimator"]


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


@cache
def imported_modules(path):
    """Return the modules of the trainer that a file imports, those for annotations only included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "trainer":
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & MODULES.keys()


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way_and_never_in_a_circle(name):
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
    room = name.split(".")[1]
    for other in imported_modules(MODULES[name]):
        assert floor[other.split(".")[1]] <= floor[room], other
    reached, left = set(), {name}
    while left:
        left = set().union(*(imported_modules(MODULES[one]) for one in left)) - reached
        reached |= left
    assert name not in reached
