"""The file of a violation: written before a run halts; read, field by field, as if a stranger had written it."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import numpy as np

from checks.measure.layout import Array
from checks.options import validate_options
from checks.report.report import GradientReport
from checks.training.probe import Probe
from checks.training.violation import ARGUMENTS, Violation, is_argument
from checks.verdict import Verdict
from trainer.storage.archive import Archive, ArchiveError, read_archive, write_archive

KIND, VERSION = "violation", 1
TENSORS = ("parameters", "gradients", "numerical")  # an array of each for every parameter
ROWS = ("index", "inputs", "targets")
SHOWN = 60  # characters of a value that is refused


def keep_violation(folder: Path, probe: Probe, report: GradientReport, iteration: int, *case: Any, **more: Any) -> Path:
    """Write the case of a failed check into a folder, which is made if need be; nothing there is replaced.

    Parameters
    ----------
    folder : path
    probe, report, iteration, *case, **more
        As in `Violation.of`.

    Returns
    -------
    Path
        ``violation-000100.npz``, or ``violation-000100-2.npz`` if an earlier run has left one there.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, number = f"violation-{iteration:06d}", 1
    while (path := folder / f"{name}{'' if number == 1 else f'-{number}'}.npz").exists():
        number += 1
    write_violation(path, Violation.of(probe, report, iteration, *case, **more))
    return path


def write_violation(path: Path | str, violation: Violation) -> None:
    """Write a violation, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    facts = {name: value for name, value in vars(violation).items() if name not in (*TENSORS, *ROWS)}
    names = list(violation.parameters)
    arrays = {name: getattr(violation, name) for name in ROWS}
    for group in TENSORS:
        arrays |= {f"{group}.{key}": getattr(violation, group)[name] for name, key in _keys(names).items()}
    write_archive(path, KIND, VERSION, arrays, facts | {"names": names})


def read_violation(path: Path | str) -> Violation:
    """Read a violation. Nothing in it is run, imported or believed before it is looked at.

    Raises
    ------
    ArchiveError
        If it is damaged, is something else, or holds what no check has left.
    OSError
        If it cannot be read.
    """
    return _Reader(path, read_archive(path, KIND, VERSION)).violation()


class _Reader:
    """Takes fields out of an archive, each held against what it must be."""

    def __init__(self, path: Path | str, archive: Archive) -> None:
        self.path = path
        self.archive = archive

    def violation(self) -> Violation:
        """Give the case, or refuse it."""
        names = self.fact("names", "different names", lambda names: _are_texts(names) and len(set(names)) == len(names))
        expected = {*ROWS, *(f"{group}.{key}" for group in TENSORS for key in _keys(names).values())}
        if not names or expected != set(self.archive.arrays):
            raise self.refusal("arrays", ", ".join(sorted(expected)), ", ".join(sorted(self.archive.arrays)))
        index = self.array("index", "positions of rows", None, "iu", lambda index: index.ndim == 1 and len(index) > 0)
        inputs = self.array("inputs", "finite rows", None, "f", lambda x: x.ndim == 2 and np.isfinite(x).all())
        targets = self.array("targets", "0 or 1", index.shape, "f", lambda y: np.isin(y, (0.0, 1.0)).all())
        if len(inputs) != len(index):
            raise self.refusal("number of inputs", f"{len(index)} rows", f"{len(inputs)}")
        parameters = self.tensors("parameters", names, None)
        if not any(value.size for value in parameters.values()):
            raise self.refusal("number of parameters", "at least one", "none")
        report = self.fact(
            "report", "a report of a failed check", lambda r: _is_report(r) and r["verdict"] == Verdict.FAIL
        )
        return Violation(
            iteration=self.fact("iteration", "an integer >= 1", lambda value: _is_integer(value, 1, 2**63)),
            text=self.fact("text", "text", lambda value: isinstance(value, str)),
            report=report,
            loss=self.fact("loss", "a number", _is_number),
            dtype=self.fact("dtype", "float32 or float64", lambda value: value in ("float32", "float64")),
            parameters=parameters,
            gradients=self.tensors("gradients", names, parameters),
            numerical=self.tensors("numerical", names, parameters),
            index=index,
            inputs=inputs,
            targets=targets,
            mask_seed=self.fact("mask_seed", "a seed or null", lambda v: v is None or _is_integer(v, 0, 2**32)),
            options=self.fact("options", "those of a check", _are_options),
            generator=self.fact("generator", "the state of a PCG64", _is_generator),
            complex_confirmed=self.fact("complex_confirmed", "true or false", lambda value: isinstance(value, bool)),
            network=self.fact("network", "class, parts and arguments", _is_network),
            settings=self.fact("settings", "an object", lambda value: isinstance(value, dict)),
            versions=self.fact("versions", "texts by name", lambda v: isinstance(v, dict) and _are_texts(v.values())),
        )

    def fact(self, name: str, expected: str, accepts: Callable[[Any], bool]) -> Any:
        """Give one fact."""
        if name not in self.archive.facts:
            raise self.refusal(name, expected, "nothing")
        value = self.archive.facts[name]
        if not accepts(value):
            raise self.refusal(name, expected, short_repr(value))
        return value

    def array(
        self, name: str, expected: str, shape: tuple[int, ...] | None, kinds: str, accepts: Callable[[Array], Any]
    ) -> Array:
        """Give one array; numbers of 8 bytes, in the byte order of this machine."""
        array = self.archive.arrays[name]
        fits = array.dtype.kind in kinds and array.dtype.itemsize == 8 and shape in (None, array.shape)
        if not fits or not accepts(array):
            of_shape = "" if shape is None else f" of shape {shape}"
            raise self.refusal(name, f"{expected}{of_shape}", f"{array.dtype} of shape {array.shape}")
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def tensors(self, group: str, names: list[str], like: dict[str, Array] | None) -> dict[str, Array]:
        """Give an array for each parameter; NaN is a finding, too."""
        return {
            name: self.array(f"{group}.{key}", "float64", None if like is None else like[name].shape, "f", _anything)
            for name, key in _keys(names).items()
        }

    def refusal(self, name: str, expected: str, received: str) -> ArchiveError:
        """Say what is wrong with a field."""
        short = received if len(received) <= SHOWN else f"{received[:SHOWN]}…"
        return ArchiveError(f"{self.path} is no violation: {name}. Expected {expected}. Received {short}.")


def _keys(names: Iterable[str]) -> dict[str, str]:
    """Give each parameter a name that a member of an archive can have: its own, or its position."""
    return {
        name: name if re.fullmatch(r"\w+", name, re.ASCII) else f"tensor-{position}"
        for position, name in enumerate(names)
    }


def _anything(array: Array) -> bool:
    return True


def _are_texts(values: Any) -> bool:
    return (
        not isinstance(values, str | dict) and isinstance(values, Iterable) and all(isinstance(v, str) for v in values)
    )


def _is_integer(value: Any, least: int, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < below


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_integer(value, -(2**53), 2**53)


def _is_report(report: Any, *, is_term: bool = False) -> bool:
    if not isinstance(report, dict):
        return False
    tensors, terms = report.get("tensors"), report.get("terms", {})
    judged = [report, *tensors.values()] if isinstance(tensors, dict) and tensors else [None]
    return (
        all(isinstance(part, dict) and part.get("verdict") in list(Verdict) for part in judged)
        and _are_texts(report.get("culprits"))
        and isinstance(report.get("cause"), str)
        and _is_number(report.get("difference"))
        and isinstance(terms, dict)
        and not (is_term and terms)
        and all(_is_report(term, is_term=True) for term in terms.values())
    )


def _are_options(options: Any) -> bool:
    names = {"coverage", "derivative", "threshold", "step", "terms"}
    if not isinstance(options, dict) or set(options) != names or not isinstance(options["terms"], bool):
        return False
    plain = {name: value for name, value in options.items() if name != "terms"}
    if not _is_number(plain["threshold"]) or not (plain["step"] is None or _is_number(plain["step"])):
        return False
    try:
        validate_options(**plain)
    except ValueError:
        return False
    return True


def _is_generator(state: Any) -> bool:
    try:
        np.random.PCG64(0).state = state
    except (TypeError, ValueError, KeyError, OverflowError):
        return False
    return True


def _is_network(network: Any) -> bool:
    return (
        isinstance(network, dict)
        and set(network) == {"class", "parts", "arguments"}
        and isinstance(network["class"], str)
        and _are_texts(network["parts"])
        and isinstance(network["arguments"], dict)
        and set(network["arguments"]) <= set(ARGUMENTS)
        and all(is_argument(value) for value in network["arguments"].values())
    )
