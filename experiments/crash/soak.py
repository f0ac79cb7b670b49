"""Soak: a long training with checks, in a process of its own, that must not grow and must give every file back."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from experiments.figures import Figure
from experiments.screen import show

OPTIONS = "--samples 5000 --hidden 16 8 --batch-size 128 --epochs 1000000000 --check-every 10 --checkpoint-every 100"
OPTIONS += " --no-report"
MOST = 2**20  # bytes of growth
WARM = 60.0  # seconds after which nothing more should be taken; of a short soak a third
WARM_ROWS = 1_500  # of history before the clock starts: at about the 1,000th, memory of 2.4 MB is taken once
PATIENCE = 60.0  # seconds that start and end may take
COLUMNS = ("Rss", "Pss", "Anonymous")  # of /proc/PID/smaps_rollup

Sample = dict[str, float]


def measure(*, minutes: float) -> Figure | None:
    """Train for so long, and judge what the process has taken; None where no ``/proc`` tells."""
    if not Path("/proc/self/smaps_rollup").exists():
        show("no soak: expected /proc/PID/smaps_rollup, which this system does not have", sys.stderr)
        return None
    with TemporaryDirectory(prefix="soak-") as folder:
        out = Path(folder) / "out"
        samples, code, said = _watched(out, 60 * minutes)
        n_rows = _rows_in(out)
    return judge(samples, minutes, code, n_rows, said)


def _rows_in(out: Path) -> int:
    """Count the rows of history that a run has written."""
    history = out / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.exists() else 0


def _watched(out: Path, seconds: float) -> tuple[list[Sample], int, str]:
    """Start the main job, look at it every second, and end it by SIGTERM."""
    command = [sys.executable, "-m", "experiments.fraud", *OPTIONS.split(), "--out", str(out)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    samples: list[Sample] = []
    with (
        out.with_name("screen").open("w+b") as screen,
        subprocess.Popen(command, cwd=root, env=environment, stdout=screen, stderr=screen) as process,
    ):
        begun = time.monotonic()
        while process.poll() is None and _rows_in(out) < WARM_ROWS and time.monotonic() < begun + PATIENCE:
            time.sleep(0.05)
        started = time.monotonic()
        pause = min(1.0, seconds / 20)
        with tqdm(total=round(seconds), unit="s", desc="soak", leave=False) as bar:
            while process.poll() is None and (elapsed := time.monotonic() - started) < seconds:
                with suppress(OSError):  # it may have ended in between
                    samples.append(_sample(process.pid) | {"seconds": elapsed})
                bar.update(round(elapsed) - bar.n)
                time.sleep(pause)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        screen.seek(max(0, screen.seek(0, os.SEEK_END) - 500))
        return samples, code, screen.read().decode(errors="replace")


def _sample(pid: int) -> Sample:
    """Look at the memory of a process, in bytes, and count its descriptors."""
    sample: Sample = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in COLUMNS:
            sample[name] = 1024.0 * int(rest.split()[0])
    # The one of the file that is being written at this moment is no leak, and neither is that of its folder.
    sample["descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
    return sample


def judge(samples: Sequence[Sample], minutes: float, code: int, n_rows: int, said: str) -> Figure:
    """Compare what the process took later with what it had taken when it was warm."""
    warm = min(WARM, 60 * minutes / 3)
    later = [sample for sample in samples if sample["seconds"] >= warm]
    numbers: dict[str, Any] = {"minutes": minutes, "warm": warm, "samples": len(samples), "exit code": code}
    failures = [] if code == 128 + signal.SIGTERM else [f"the run ended with {code}. It said: {said}"]
    growth, leaked = float("nan"), -1
    if len(later) >= 5:
        seconds = [sample["seconds"] for sample in later]
        for name in COLUMNS:
            values = [sample[name] for sample in later]
            numbers[name] = {
                "warm": values[0],
                "growth": max(values) - values[0],
                "last growth": values[-1] - values[0],
                "bytes a minute": 60 * statistics.linear_regression(seconds, values).slope,
            }
        counts = [int(sample["descriptors"]) for sample in later]
        half = len(counts) // 2
        growth, leaked = numbers["Rss"]["growth"], min(counts[half:]) - min(counts[:half])
    else:
        failures.append(f"only {len(later)} samples were taken")
    numbers |= {"history rows": n_rows, "descriptors leaked": leaked, "all samples": list(samples)}
    return Figure(
        f"{minutes:g} min of training with checks at k = 10 ({n_rows:,} rows of history): growth of memory after "
        f"{'the first minute' if warm == WARM else f'{warm:.0f} s'}; descriptors leaked",
        f"{growth / 2**20:.2f} MB; {leaked}",
        "< 1 MB; 0",
        growth < MOST and leaked == 0 and not failures,
        numbers=numbers,
        failures=failures,
    )
