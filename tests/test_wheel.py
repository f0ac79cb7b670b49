"""A built wheel is whole: every package of the source, the files beside the code, and nothing of the tests."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("trainer", "checks", "datasets", "experiments")
PLUGIN = "pytest_backproof.py"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Return the files in a wheel, the text of each by its name. It is built of a copy: that leaves folders behind."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", PLUGIN):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(target)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = target.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def source_files(pattern):
    return {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob(pattern)}


def test_a_wheel_has_every_module_of_every_package(names):
    assert {name for name in names if name.endswith(".py")} == source_files("*.py") | {PLUGIN}
    assert len(source_files("__init__.py")) > len(PACKAGES)


def test_a_wheel_has_the_templates_of_the_report(names):
    templates = {path.name for path in (ROOT / "experiments" / "report" / "templates").iterdir()}
    assert templates
    assert {f"experiments/report/templates/{name}" for name in templates} <= set(names)


def test_a_wheel_tells_type_checkers_that_its_packages_are_typed(names):
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)


def test_pytest_finds_the_plugin_in_a_wheel(names):
    (entry_points,) = [text.decode() for name, text in names.items() if name.endswith("entry_points.txt")]
    assert entry_points.split() == ["[pytest11]", "pytest_backproof", "=", "pytest_backproof"]
    # Of every package in a wheel that has a plugin, pytest warns where it was imported before, but for this word.
    assert [name for name in PACKAGES if b"PYTEST_DONT_REWRITE" not in names[f"{name}/__init__.py"]] == []


def test_a_wheel_has_nothing_else(names):
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {*PACKAGES, PLUGIN}
    assert not [name for name in names if name.endswith((".pyc", ".npz"))]
