"""The file of a violation: written before a run halts; read, field by field, as if a stranger had written it."""

import re
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from checks.measure.layout import Array
from checks.options import Options
from checks.report.report import GradientReport
from checks.training.violation import ARGUMENTS, STEP_ARRAYS, Violation, is_argument
from checks.verdict import Verdict
from trainer.storage.archive import Archive, ArchiveError, read_archive, write_archive
from trainer.storage.codec import BrokenError, fields_from_plain, from_plain, to_plain
from trainer.storage.durable import File, Folder

KIND, VERSION = "violation", 1
TENSORS = ("parameters", "gradients", "numerical")  # an array of each for every parameter
ROWS = ("index", "inputs", "targets")
SHOWN = 60  # characters of a value that is refused
TERMS = {"legitimate rows": "class 0", "fraud rows": "class 1"}  # as version 0.1 called them


def keep_violation(folder: Folder, iteration: int, *case: Any, **more: Any) -> Path:
    """Write the case of a failed check into a folder, which is made if need be; nothing there is replaced.

    It is ``violation-000100.npz``, or ``violation-000100-2.npz`` if an earlier run has left another one there. The very
    same, as when a run that was halted is resumed, is kept once.
    """
    folder.make()
    violation = Violation.of(iteration, *case, **more)
    for number in count(1):
        name = f"violation-{iteration:06d}{'' if number == 1 else f'-{number}'}.npz"
        if folder.status(name) is None:
            write_violation(folder / name, violation)
        elif not _holds(folder / name, violation):
            continue
        return folder.path / name
    raise AssertionError("numbers do not end")


def _holds(file: File, violation: Violation) -> bool:
    """Say whether a file has this very case."""
    try:
        kept = read_violation(file)
    except (OSError, ArchiveError):
        return False
    ours, theirs = _members(violation), _members(kept)
    return (kept.iteration, kept.mask_seed, kept.options, kept.network) == (
        *(violation.iteration, violation.mask_seed, violation.options, violation.network),
    ) and all(np.array_equal(ours[name], theirs.get(name, ours[name][:0]), equal_nan=True) for name in ours)


def write_violation(path: File | Path | str, violation: Violation) -> None:
    """Write a violation, whole or not at all."""
    facts = to_plain(violation) | {"names": list(violation.parameters)}
    write_archive(path, KIND, VERSION, _members(violation), facts)


def _members(violation: Violation) -> dict[str, Array]:
    """Give its arrays by their names in the file."""
    arrays = {name: getattr(violation, name) for name in ROWS}
    for group in TENSORS:
        arrays |= {
            f"{group}.{key}": getattr(violation, group)[name] for name, key in _keys(violation.parameters).items()
        }
    return arrays | {f"step.{name}": value for name, value in violation.step.items()}


def read_violation(path: File | Path | str) -> Violation:
    """Read a violation. Nothing in it is run, imported or believed before it is looked at.

    `ArchiveError` if it is damaged, is something else, or holds what no check has left.
    """
    archive = read_archive(path, KIND, VERSION)
    try:
        facts = fields_from_plain(Violation, archive.facts, "violation")
        names = from_plain(list[str], archive.facts.get("names"), "violation.names")
        _hold(len(set(names)) == len(names) > 0, "names", "different names", names)
        _hold_facts(facts)
        arrays = _arrays(archive, names)
        for name in ("masks", "directions"):
            _hold((facts.get(name) is None) == (not arrays["step"]), name, "those of a step", facts.get(name))
        answer = facts["report"].get("applied")
        _hold((answer is None) == (not arrays["step"]), "report", "an answer about the step, if one is kept", answer)
    except BrokenError as error:
        raise ArchiveError(f"{path} is no violation: {error}") from error
    return Violation(**facts, **arrays)


def _hold_facts(facts: dict[str, Any]) -> None:
    """Refuse facts that no check has left, beyond what their annotations say."""
    told = facts["report"]
    if isinstance(told.get("terms"), dict):
        told["terms"] = {TERMS.get(name, name): term for name, term in told["terms"].items()}
    report = from_plain(GradientReport, told, "report")
    _hold(report.verdict is Verdict.FAIL, "report", "that of a failed check", report.verdict.value)
    facts["report"] = report.to_dict()
    options = facts["options"]
    try:
        Options(**{name: value for name, value in options.items() if name != "terms"})
    except (TypeError, ValueError) as error:
        raise BrokenError(f"The options are broken. Expected those of a check. Received {error}") from error
    _hold(isinstance(options.get("terms"), bool), "options", "terms, true or false", options)
    network = facts["network"]
    _hold(set(network) == {"class", "parts", "arguments"}, "network", "class, parts and arguments", network)
    from_plain(str, network["class"], "network.class")
    from_plain(list[str], network["parts"], "network.parts")
    for name, value in from_plain(dict[str, Any], network["arguments"], "network.arguments").items():
        _hold(name in ARGUMENTS and is_argument(value), "network.arguments", "those of a network", {name: value})


def _arrays(archive: Archive, names: list[str]) -> dict[str, Any]:
    """Give the arrays, each held against what it must be: numbers of 8 bytes that belong together."""
    keys = _keys(names)
    expected = {*ROWS, *(f"{group}.{key}" for group in TENSORS for key in keys.values())}
    of_step = {name: f"step.{name}" for name in STEP_ARRAYS if f"step.{name}" in archive.arrays}
    if of_step:  # all of it, or nothing
        expected |= {f"step.{name}" for name in STEP_ARRAYS}
    if expected != set(archive.arrays):
        wrong = ", ".join(sorted(expected ^ set(archive.arrays)))
        raise BrokenError(f"The arrays are others. Expected {len(expected)} of them. Received a difference in {wrong}.")

    def one(name: str, kinds: str, what: str, accepts: Callable[[Array], Any], shape: Any = None) -> Array:
        array = archive.arrays[name]
        fits = array.dtype.kind in kinds and array.dtype.itemsize == 8 and shape in (None, array.shape)
        of_shape = "" if shape is None else f" of shape {shape}"
        _hold(fits and accepts(array), name, f"{what}{of_shape}", f"{array.dtype} of shape {array.shape}")
        return array.astype(array.dtype.newbyteorder("="), copy=False)  # the byte order of this machine

    index = one("index", "iu", "positions of rows", lambda index: index.ndim == 1 and len(index) > 0)
    inputs = one("inputs", "f", "finite rows", lambda x: x.ndim == 2 and np.isfinite(x).all())
    targets = one("targets", "f", "0 or 1", lambda y: np.isin(y, (0.0, 1.0)).all(), index.shape)
    _hold(len(inputs) == len(index), "inputs", f"{len(index)} rows", f"{len(inputs)}")
    tensors: dict[str, dict[str, Array]] = {}
    for group in TENSORS:  # NaN is a finding, too
        like = tensors.get("parameters", {})
        tensors[group] = {
            name: one(f"{group}.{key}", "f", "float64", lambda _: True, like[name].shape if like else None)
            for name, key in keys.items()
        }
    _hold(any(value.size for value in tensors["parameters"].values()), "parameters", "at least one", "none")
    step = {name: one(member, "f", "float64", lambda _: True) for name, member in of_step.items()}
    if step:
        size, rows = sum(value.size for value in tensors["parameters"].values()), len(step["targets"])
        vectors = [step[name].shape for name in STEP_ARRAYS if name not in ("inputs", "targets")]
        _hold(vectors == [(size,)] * 4, "step", f"vectors of {size} numbers", vectors)
        fits = step["inputs"].shape == (rows, inputs.shape[1]) and step["targets"].shape == (rows,) and rows > 0
        fits = fits and bool(np.isfinite(step["inputs"]).all()) and bool(np.isin(step["targets"], (0.0, 1.0)).all())
        _hold(fits, "step.inputs", f"finite rows of {inputs.shape[1]} numbers, targets 0 or 1", step["inputs"].shape)
    return {"index": index, "inputs": inputs, "targets": targets, **tensors, "step": step}


def _hold(fits: Any, name: str, expected: str, received: Any) -> None:
    if not fits:
        text = received if isinstance(received, str) else repr(received)
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        raise BrokenError(f"The {name} is broken. Expected {expected}. Received {shown}.")


def _keys(names: Iterable[str]) -> dict[str, str]:
    """Give each parameter a name that a member of an archive can have: its own, or its position."""
    return {
        name: name if re.fullmatch(r"\w+", name, re.ASCII) else f"tensor-{position}"
        for position, name in enumerate(names)
    }
