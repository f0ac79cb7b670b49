"""Remains: what a run left in its folder, whether it is whole, and whether it is what another run left."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from trainer.callbacks.checkpoint import NAME, checkpoints
from trainer.callbacks.snapshot import Snapshot
from trainer.network.parameters import Array
from trainer.storage.history import History

WHOLE = ("settings.json", "run.json", "metrics.json", "proof.json", "report.json")
TIMED = ("milliseconds", "seconds")  # what no two runs share


def torn(out: Path) -> list[str]:
    """Name the files that stand under their good name and are not whole."""
    names = []
    for path in sorted(out.glob("*")):
        try:
            if path.name in WHOLE:
                json.loads(path.read_bytes())
            elif NAME.fullmatch(path.name):
                Snapshot.read(path)
            elif path.name == "parameters.npz":
                loaded(path)
            elif path.name == "history.jsonl":
                History.read(path)
        except Exception as error:
            names.append(f"{path.name}: {error}")
    return names


def state(out: Path) -> dict[str, Any]:
    """Give what ``run.json`` says, if it is there."""
    try:
        said: dict[str, Any] = json.loads((out / "run.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return said


def outcome(out: Path) -> str | None:
    """Give the outcome that ``run.json`` tells."""
    return state(out).get("outcome")


def differences(ours: Path, theirs: Path) -> list[str]:
    """Name what is not, to the last bit, as in the run that was never interrupted."""
    found = []
    if _not_same(loaded(ours / "parameters.npz"), loaded(theirs / "parameters.npz")):
        found.append("parameters")
    if _timeless(ours / "history.jsonl") != _timeless(theirs / "history.jsonl"):
        found.append("history")
    if without_times(_json(ours / "proof.json")) != without_times(_json(theirs / "proof.json")):
        found.append("proof")
    saved, others = checkpoints(ours), checkpoints(theirs)
    if [path.name for path in saved] != [path.name for path in others]:
        found.append("names of the checkpoints")
    elif any(
        _not_same(Snapshot.read(one).arrays, Snapshot.read(other).arrays)
        for one, other in zip(saved, others, strict=True)
    ):
        found.append("moments of the optimizer")
    if outcome(ours) != outcome(theirs):
        found.append(f"outcome {outcome(ours)}")
    return found


def loaded(path: Path) -> dict[str, Array]:
    """Read every array of a file."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:  # closed if it is torn, too
        return {name: file[name] for name in file}


def _not_same(ours: dict[str, Array], theirs: dict[str, Array]) -> bool:
    return ours.keys() != theirs.keys() or any(
        (ours[name].dtype, ours[name].shape, ours[name].tobytes())
        != (theirs[name].dtype, theirs[name].shape, theirs[name].tobytes())
        for name in ours
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _timeless(path: Path) -> Any:
    return without_times(History.read(path).rows)


def without_times(value: Any) -> Any:
    """Leave out what the clock says; NaN becomes a string, which equals itself."""
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if name not in TIMED}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return repr(value) if isinstance(value, float) else value
