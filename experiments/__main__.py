"""List the experiments: ``python -m experiments``."""

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.screen import show


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line an experiment, its command and what it does, and return the exit code, 0."""
    parser = argparse.ArgumentParser("python -m experiments", description="List the experiments, one a line.")
    parser.parse_args(argv)
    lines = [f"python -m experiments.{name:<10} {sentence}" for name, sentence in experiments().items()]
    show("\n".join([*lines, "", "Each explains itself with --help."]))
    return 0


def experiments() -> dict[str, str]:
    """Give the first sentence of every module and package here that can be run, by its name."""
    here = Path(__file__).parent
    modules = {path.stem: path for path in here.glob("[!_]*.py") if "\nif __name__ ==" in path.read_text("utf-8")}
    packages = {path.parent.name: path.with_name("__init__.py") for path in here.glob("*/__main__.py")}
    return {
        name: (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
        for name, path in sorted((modules | packages).items())
    }


if __name__ == "__main__":
    sys.exit(main())
