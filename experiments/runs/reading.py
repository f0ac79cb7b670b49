"""Reading a run folder back, with care: for other people's folders, and for runs that were cut short."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checks import GradientReport
from checks.explain.entries import Entries
from checks.training.kept import restored
from experiments.command import UsageError
from experiments.runs.folder import MOST_JSON, json_object, read_file
from experiments.runs.judging import Curve
from experiments.runs.record import Record
from experiments.runs.results import Results
from trainer import History
from trainer.storage.codec import from_plain

MOST_HISTORY = 512 << 20  # bytes, some five million iterations
MOST_ARRAYS = 512 << 20  # bytes, unpacked: both gradients of thirty million parameters
LARGEST = 1 << 40  # of a side of a tensor
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
        "report": read_file(folder / "report.json", MOST_JSON, lambda path: _report(json_object(path), entries)),
        "curve": read_file(folder / "curve.json", MOST_JSON, _curve),
    }
    record = read_file(
        folder / "history.jsonl", MOST_HISTORY, lambda path: Record.of(settings, History.read(path), **rest)
    )
    return record or Record.of(settings, (), **rest)


def _entries(path: Path) -> dict[str, Entries]:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MOST_ARRAYS:
            raise ValueError(f"unpacked it is larger than {MOST_ARRAYS >> 20} MiB")
    with np.load(path, allow_pickle=False) as arrays:
        names = [key.removeprefix("gradient/") for key in arrays.files if key.startswith("gradient/")]
        return {
            name: Entries(
                np.asarray(arrays[f"gradient/{name}"], dtype=np.float64),
                np.asarray(arrays[f"numerical/{name}"], dtype=np.float64),
                np.full(np.shape(arrays[f"numerical/{name}"]), np.nan),  # its bounds are not kept
                np.asarray(arrays[f"aside/{name}"], dtype=bool),
            )
            for name in names
        }


def _metrics(path: Path) -> Results:
    found: Results = from_plain(Results, json_object(path), "metrics")
    return found


def _report(data: Mapping[str, Any], entries: Mapping[str, Entries]) -> GradientReport:
    report = restored(data, entries)
    if not 0.0 < report.threshold < 1.0:
        raise ValueError(f"the threshold is {report.threshold}")
    for name, tensor in report.tensors.items():
        kept = tensor.entries
        if kept is not None and {kept.gradient.shape, kept.numerical.shape, kept.aside.shape} != {tensor.shape}:
            raise ValueError(f"the entries of {name} in check.npz do not have the shape {tensor.shape}")
        if any(not 0 <= size < LARGEST for size in tensor.shape):
            raise ValueError(f"{name} has the shape {tensor.shape}")
        inside = all(0 <= place < size for place, size in zip(tensor.worst_index, tensor.shape, strict=False))
        if tensor.worst_index and (len(tensor.worst_index) != len(tensor.shape) or not inside):
            raise ValueError(f"{tensor.label} lies outside of the shape {tensor.shape}")
    return report


def _curve(path: Path) -> Curve:
    curve: Curve = from_plain(Curve, json_object(path), "curve")
    if len(curve.recall) != len(curve.precision):
        raise ValueError(f"recall has {len(curve.recall)} points, precision {len(curve.precision)}")
    return curve
