"""Trains from a memory-mapped file larger than the memory it may use, and reports the peak."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.figures import Figure, compared
from trainer import Network, Trainer

FEATURES = 30
CHUNK = 262_144  # rows written together
LIMIT = 500.0  # MB of resident memory that 10⁷ rows may take


def write(folder: Path, n_rows: int) -> None:
    """Write `n_rows` rows of 30 float32 columns, and their targets, as two .npy files."""
    rng = np.random.default_rng(0)
    names = {"inputs.npy": (n_rows, FEATURES), "targets.npy": (n_rows,)}
    inputs, targets = (
        np.lib.format.open_memmap(folder / name, "w+", np.float32, shape) for name, shape in names.items()
    )
    for start in range(0, n_rows, CHUNK):
        rows = rng.standard_normal((min(CHUNK, n_rows - start), FEATURES), dtype=np.float32)
        inputs[start : start + CHUNK] = rows
        targets[start : start + CHUNK] = rows[:, :3].sum(axis=1) > 2


def train(folder: Path) -> dict[str, float]:
    """Train one epoch on the files as they are; return rows, seconds, peak resident megabytes and losses."""
    started = time.perf_counter()
    inputs, targets = (np.load(folder / name, mmap_mode="r") for name in ("inputs.npy", "targets.npy"))
    before = peak_megabytes()
    trainer = Trainer(Network((FEATURES, 64, 32, 1)), epochs=1, dtype="float32")
    losses = trainer.fit(inputs, targets).column("loss")
    return {
        "rows": len(inputs),
        "seconds": time.perf_counter() - started,
        "before": before,
        "peak": peak_megabytes(),
        "first_loss": float(np.mean(losses[:10])),
        "last_loss": float(np.mean(losses[-10:])),
    }


def peak_megabytes() -> float:
    """Return the largest resident set that this process has had, in units of 10⁶ bytes (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def measure(n_rows: int, threads: int = 1) -> Figure:
    """Write the files, train in a process of its own, and give the row of the table."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, n_rows)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        command = [sys.executable, "-m", "experiments.mapped", "--train", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        result = json.loads(done.stdout)
    detail = (
        f"a file of {size:.0f} MB, {result['seconds']:.1f} s for the epoch, loss {result['first_loss']:.3f} to "
        f"{result['last_loss']:.3f}; {result['before']:.0f} MB were the interpreter and its packages"
    )
    peak = result["peak"]
    name = f"training from a memory-mapped file of {n_rows:,} rows: peak resident memory"
    return compared(name, (peak, peak, peak), LIMIT, lower=True, unit="MB", note=detail)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the row, and return the exit code: 0 if the memory stays below the limit, 1 if not."""
    parser = argparse.ArgumentParser("python -m experiments.mapped", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="of the file: 120 bytes each, for a while (default: %(default)s)"
    )
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.train is not None:
        print(json.dumps(train(arguments.train)))
        return 0
    figure = measure(arguments.rows)
    print(f"{figure.name}: {figure.measured} ({figure.required}); {figure.note}")
    return 0 if figure.met else 1


if __name__ == "__main__":
    sys.exit(main())
