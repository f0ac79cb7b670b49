"""Reading a run folder back, with care: for other people's folders, and for runs that were cut short."""

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from checks import GradientReport, Verdict
from checks.report.plain import restored
from checks.report.report import Entries
from experiments.runs.record import COUNTS, Check, Curve, Record
from experiments.command import UsageError
from trainer import History

MOST_JSON = 64 << 20  # bytes of one file; a report of thousands of tensors takes one MiB
MOST_HISTORY = 512 << 20  # bytes, some five million iterations
MOST_ARRAYS = 512 << 20  # bytes, unpacked: both gradients of thirty million parameters
BROKEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, EOFError, MemoryError)
LARGEST = 1 << 40  # of a side of a tensor
ENDS = ("completed", "stopped", "halted", "interrupted", "failed")


def read_run(path: Path | str) -> Record:
    """Read a run folder.

    Parameters
    ----------
    path : path
        What a run left with ``--out``; nothing in it is taken for granted.

    Raises
    ------
    UsageError
        If it is none, or one of its files is broken or too large.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"no such folder. Expected what a run left with --out DIR. Received {path}")
    settings = _json(folder / "settings.json")
    if settings is None or not (folder / "history.jsonl").is_file():
        raise UsageError(f"this folder holds no run. Expected settings.json and history.jsonl. Received {path}")
    metrics, proof, report, curve = (_json(folder / f"{n}.json") for n in ("metrics", "proof", "report", "curve"))
    state = _json(folder / "run.json")  # metrics.json may be that of a part before, if the run was resumed and killed
    entries = _guarded(folder / "check.npz", MOST_ARRAYS, _entries) or {}
    return Record(
        settings=settings,
        **_guarded(folder / "history.jsonl", MOST_HISTORY, _history),
        outcome=_outcome(metrics if state is None else state),
        metrics=metrics,
        proof=None if proof is None else str(proof.get("paragraph", "")),
        report=_made(folder / "report.json", report, lambda data: _report(data, entries)),
        curve=_made(folder / "curve.json", curve, _curve),
    )


def _guarded(path: Path, most: int, read: Any) -> Any:
    """Read a file, None if there is none; refuse it where it is too large or not what it should be."""
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > most:
            raise UsageError(f"a file is too large. Expected at most {most >> 20} MiB. Received {path}")
        return read(path)
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"a file cannot be read. Expected permission to. Received {path}: {error.strerror}") from error
    except (*BROKEN, zipfile.BadZipFile, zlib.error) as error:
        raise _broken(path, error) from error


def _made(path: Path, data: Any, make: Any) -> Any:
    try:
        return None if data is None else make(data)
    except BROKEN as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: BaseException) -> UsageError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return UsageError(f"a file is broken. Expected what a run of this version wrote. Received {path}: {reason}")


def _json(path: Path) -> dict[str, Any] | None:
    def read(path: Path) -> dict[str, Any]:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise TypeError(f"not an object but {type(data).__name__}")
        return data

    found: dict[str, Any] | None = _guarded(path, MOST_JSON, read)
    return found


def _history(path: Path) -> dict[str, Any]:
    losses, epochs, checks = [], [], []
    for row in History.read(path):
        kind = row["event"]
        if kind == "iteration":
            losses.append((int(row["iteration"]), float(row["loss"])))
            if "verdict" in row:
                checks.append(_check(row))
        elif kind == "epoch":
            validation = row.get("validation_loss")
            epochs.append(
                (int(row["iteration"]), float(row["epoch_loss"]), math.nan if validation is None else float(validation))
            )
    return {
        "losses": np.array(losses, dtype=np.float64).reshape(-1, 2),
        "epochs": np.array(epochs, dtype=np.float64).reshape(-1, 3),
        "checks": checks,
    }


def _check(row: Mapping[str, Any]) -> Check:
    return Check(
        iteration=int(row["iteration"]),
        loss=float(row["loss"]),
        difference=float(row["difference"]),
        threshold=_share(float(row["threshold"])),
        rounding=float(row.get("rounding", math.nan)),
        verdict=Verdict(row["verdict"]),
        cause=str(row.get("cause", "")),
        worst=str(row.get("worst", "")),
    )


def _share(threshold: float) -> float:
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"the threshold is {threshold}")
    return threshold


def _outcome(state: Mapping[str, Any] | None) -> str:
    outcome = None if state is None else state.get("outcome")
    return outcome if outcome in ENDS else "unfinished"


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
                np.asarray(arrays[f"aside/{name}"], dtype=bool),
            )
            for name in names
        }


def _report(data: Mapping[str, Any], entries: Mapping[str, Entries]) -> GradientReport:
    report = restored(data, entries)
    _share(report.threshold)
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


def _curve(data: Mapping[str, Any]) -> Curve:
    recall, precision = (np.array(data[name], dtype=np.float64) for name in ("recall", "precision"))
    if recall.ndim != 1 or recall.shape != precision.shape:
        raise ValueError(f"recall has the shape {recall.shape}, precision {precision.shape}")
    return Curve(
        recall=recall,
        precision=precision,
        **{name: float(data[name]) for name in ("share", "cut", "cut_recall", "cut_precision")},
        confusion={name: int(data["confusion"][name]) for name in COUNTS},
    )
