"""Lay out what `make docs` renders: README, docs and examples as they lie here, and a page of names a package."""

import ast
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("trainer", "checks", "checks.torch", "datasets")


def reference(package: str) -> str:
    """Give the page of a package: the names in its `__all__`, read and not imported, which mkdocstrings fills in."""
    text = (ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    assigned = {node.targets[0].id: node.value for node in ast.parse(text).body if isinstance(node, ast.Assign)}
    names = ast.literal_eval(assigned["__all__"])
    parts = [f"# {package}", *(f"::: {package}.{name}" for name in sorted(names, key=str.lower))]
    return "\n\n".join(parts) + "\n"


def lay_out(target: Path) -> None:
    """Make the folder afresh."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "reference").mkdir(parents=True)
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for package in PACKAGES:
        (target / "reference" / f"{package}.md").write_text(reference(package), encoding="utf-8")


if __name__ == "__main__":
    lay_out(ROOT / "build" / "pages")
