"""The rooms of datasets depend on each other one way."""

import ast
from pathlib import Path

import datasets

HOUSE = Path(datasets.__file__).parent
FLOORS = [  # from the ground up; what stands on one floor may import what is below it
    {"data", "wording", "memory"},
    {"splits", "table_file", "csv_text"},
    {"read", "dates", "money", "suspects", "labels"},
    {"columns"},
    {"features", "preparation", "pieces"},
    {"prepare", "fraud", "openml"},
]


def test_a_module_imports_only_what_is_below_it() -> None:
    floor_of = {name: number for number, names in enumerate(FLOORS) for name in names}
    for path in HOUSE.rglob("[!_]*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("datasets."):
                assert floor_of[str(node.module).rpartition(".")[2]] < floor_of[path.stem], (path.name, node.module)
