"""Reading a run folder back, with care: for other people's folders, and for runs that were cut short."""

from pathlib import Path

import numpy as np

from checks.explain.entries import Entries
from checks.training.kept import restored
from experiments.command import UsageError
from experiments.runs.folder import MOST_JSON, json_object, read_file
from experiments.runs.judging import Curve
from experiments.runs.record import Record
from experiments.runs.results import Results
from trainer import History
from trainer.storage.archive import read_arrays
from trainer.storage.codec import from_plain

MOST_HISTORY = 512 << 20  # bytes, some five million iterations
MOST_ARRAYS = 512 << 20  # bytes, unpacked: both gradients of thirty million parameters
ENDS = ("completed", "stopped", "halted", "diverged", "interrupted", "failed")


def read_run(path: Path | str) -> Record:
    """Read what a run left with ``--out``; a `UsageError` says if it is none, or which file is broken or too large."""
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"no such folder. Expected what a run left with --out DIR. Received {path}")
    settings = read_file(folder / "settings.json", MOST_JSON, json_object)
    if settings is None or not (folder / "history.jsonl").is_file():
        raise UsageError(f"this folder holds no run. Expected settings.json and history.jsonl. Received {path}")
    metrics = read_file(
        folder / "metrics.json", MOST_JSON, lambda path: from_plain(Results, json_object(path), "metrics")
    )
    proof = read_file(folder / "proof.json", MOST_JSON, json_object)
    state = read_file(folder / "run.json", MOST_JSON, json_object)
    # metrics.json may be that of a part before, if the run was resumed and killed
    outcome = state.get("outcome") if state is not None else None if metrics is None else metrics.outcome
    entries = read_file(folder / "check.npz", MOST_ARRAYS, _entries) or {}
    rest = {
        "outcome": outcome if outcome in ENDS else "unfinished",
        "metrics": metrics,
        "proof": None if proof is None else str(proof.get("paragraph", "")),
        "report": read_file(folder / "report.json", MOST_JSON, lambda path: restored(json_object(path), entries)),
        "curve": read_file(folder / "curve.json", MOST_JSON, _curve),
    }
    record = read_file(
        folder / "history.jsonl", MOST_HISTORY, lambda path: Record.of(settings, History.read(path), **rest)
    )
    return record or Record.of(settings, (), **rest)


def _entries(path: Path) -> dict[str, Entries]:
    arrays = read_arrays(path, MOST_ARRAYS)
    names = [key.removeprefix("gradient/") for key in arrays if key.startswith("gradient/")]
    return {
        name: Entries(
            arrays[f"gradient/{name}"].astype(np.float64),
            arrays[f"numerical/{name}"].astype(np.float64),
            np.full(arrays[f"numerical/{name}"].shape, np.nan),  # its bounds are not kept
            arrays[f"aside/{name}"].astype(bool),
        )
        for name in names
    }


def _curve(path: Path) -> Curve:
    curve: Curve = from_plain(Curve, json_object(path), "curve")
    if len(curve.recall) != len(curve.precision):
        raise ValueError(f"recall has {len(curve.recall)} points, precision {len(curve.precision)}")
    return curve
