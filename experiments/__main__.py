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
    """Give the first sentence of every module here that can be run, by its name."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        source = path.read_text(encoding="utf-8")
        if '\nif __name__ == "__main__":\n' in source:
            found[path.stem] = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return found


if __name__ == "__main__":
    sys.exit(main())
