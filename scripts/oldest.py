"""Print the oldest versions that pyproject.toml allows, as pins for pip: what the core and these extras need."""

import re
import tomllib
from pathlib import Path

EXTRAS = ("report", "tables", "fast", "test")


def oldest() -> list[str]:
    """Turn every lower bound into a pin; an extra that names others of this project is followed by those themselves."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = [
        *project["dependencies"],
        *(bound for extra in EXTRAS for bound in project["optional-dependencies"][extra]),
    ]
    named = [bound for bound in bounds if not bound.startswith(project["name"])]
    if open_ended := [bound for bound in named if not re.fullmatch(r"[\w-]+>=[\d.]+", bound)]:
        raise ValueError(f"A requirement has no lower bound. Expected name>=version. Received {open_ended}")
    return [bound.replace(">=", "==") for bound in named]


if __name__ == "__main__":
    print(*oldest(), sep="\n")
