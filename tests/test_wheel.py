"""A built wheel is whole: every package of the source, the files beside the code, and nothing of the tests."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("trainer", "checks", "datasets", "experiments")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Return the names of the files in a wheel. It is built of a copy: building leaves folders beside the source."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(target)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = target.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def source_files(pattern):
    return {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob(pattern)}


def test_a_wheel_has_every_module_of_every_package(names):
    assert {name for name in names if name.endswith(".py")} == source_files("*.py")
    assert len(source_files("__init__.py")) > len(PACKAGES)


def test_a_wheel_has_the_templates_of_the_report(names):
    templates = {path.name for path in (ROOT / "experiments" / "report" / "templates").iterdir()}
    assert templates
    assert {f"experiments/report/templates/{name}" for name in templates} <= names


def test_a_wheel_tells_type_checkers_that_its_packages_are_typed(names):
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_a_wheel_has_nothing_else(names):
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    assert not [name for name in names if name.endswith((".pyc", ".npz"))]
