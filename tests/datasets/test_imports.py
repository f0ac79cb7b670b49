"""The rooms of datasets depend on each other one way."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import datasets

HOUSE = Path(datasets.__file__).parent
FLOORS = [  # from the ground up; what stands on one floor may import what is below it
    {"data", "wording", "memory"},
    {"splits", "table_file", "csv_text"},
    {"read", "dates", "money", "suspects", "labels"},
    {"columns"},
    {"features", "preparation", "pieces"},
    {"prepare", "preparer", "fraud", "openml"},
]


def test_a_module_imports_only_what_is_below_it() -> None:
    floor_of = {name: number for number, names in enumerate(FLOORS) for name in names}
    for path in HOUSE.rglob("[!_]*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("datasets."):
                assert floor_of[str(node.module).rpartition(".")[2]] < floor_of[path.stem], (path.name, node.module)


@pytest.mark.parametrize("asked", [("-m", "experiments.fraud"), ("-m", "experiments"), ("-c", "import experiments")])
def test_an_import_that_finds_hugging_faces_package_says_so_in_one_sentence(
    asked: tuple[str, str], tmp_path: Path
) -> None:
    other = tmp_path / "datasets"
    other.mkdir()
    other.joinpath("__init__.py").write_text("def load_dataset(path): ...\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{HOUSE.parent}"}
    command = [sys.executable, *asked]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    for words in ("is not backproof's but another, such as Hugging Face's", str(other), "environment", "PYTHONPATH"):
        assert words in last
    assert asked[0] == "-c" or len(ended.stderr.splitlines()) == 1


def test_who_looks_for_hugging_faces_package_and_finds_this_one_is_told() -> None:
    with pytest.raises(ImportError, match="backproof's package here, and has no load_dataset: for Hugging Face's"):
        from datasets import load_dataset  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'make_frauds'"):
        from datasets import make_frauds  # noqa: F401
    assert not hasattr(datasets, "nothing")
