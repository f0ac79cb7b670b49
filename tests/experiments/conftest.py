"""Run folders of the main job, made once for all tests that only read them."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["--samples=1000", "--features=9", "--hidden", "7", "5", "--epochs=2", "--batch-size=64", "--check-every=5"]
SMALL += ["--baselines=off"]
RUNS = {
    "completed": [],
    "halted": ["--bug", "dW2", "--bug-after", "6"],
    "along": ["--coverage", "directions", "--bug", "sign"],
    "on the batch": ["--bug", "dropout-unscaled"],
    "one question": ["--check-applied", "off"],
    "unchecked": ["--check-every", "0"],
    "deep": ["--hidden", "17", "13", "7", "5", "3"],
    "failing": ["--on-failure", "log", "--bug", "dW2", "--terms"],
}


MAKE = """
import sys
from experiments.fraud.main import main
*small, root = sys.argv[1:]
for name, options in RUNS.items():
    main([*small, *options, "--quiet", "--out", f"{root}/{name}"])
"""


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a function: the folder of a run, by its name in `RUNS`; to be read and not written.

    A process of its own makes them: what the first test to ask for one has patched would otherwise be in it. The
    processes of a suite share them.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kept"

    def folder(name: str) -> Path:
        root.mkdir(exist_ok=True)
        with (root / "made").open("a+") as made:
            fcntl.flock(made, fcntl.LOCK_EX)
            if not made.tell():
                command = [sys.executable, "-c", MAKE.replace("RUNS", repr(RUNS)), *SMALL, str(root)]
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
                made.write("all of them")
        return root / name

    return folder


@pytest.fixture
def own(kept: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Give a function: a copy of the folder of a run, to be spoilt."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(kept(name), tmp_path / name))

    return copied
