"""Networks to check a violation again: the recorded one rebuilt, or one that the user names."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

import checks
import trainer
from checks.training.violation import Violation, described, path_of, without_module
from experiments.bugs.bugs import plant
from experiments.command import UsageError
from trainer import CompiledNetwork, Network
from trainer.storage.archive import ArchiveError

#: What somebody's code may raise; ``sys.exit(0)`` there says nothing about a gradient.
ANYTHING = (Exception, SystemExit, GeneratorExit)

#: Where a line is that no user wrote: the packages here, numpy, and Python's importing.
HERE = Path(__file__).parents[1]
NOT_THE_USERS = tuple(
    str(folder) for folder in (HERE, *(Path(str(p.__file__)).parent for p in (checks, trainer, np, importlib)))
)


def rebuilt(violation: Violation) -> tuple[Network | None, str]:
    """Build the network of a violation again, if it is of `trainer`'s parts or a known bug; say what, or why not."""
    recorded, settings = violation.network, violation.settings
    kind = {path_of(kind): kind for kind in (Network, CompiledNetwork)}.get(without_module(recorded["class"]))
    if kind is None:
        return None, f"its class was {recorded['class']}, and no class is imported because a file names it"
    try:
        network = kind(**recorded["arguments"])
    except ImportError as error:
        return None, f"it cannot be made here: {error}"
    except Exception as error:  # whatever the recorded arguments make of it
        reason = f"{type(error).__name__}: {error}"
        raise ArchiveError(f"the record makes no network. Expected arguments that fit. Received {reason}") from error
    shapes = shapes_of(violation)
    if network.shapes != shapes:
        raise ArchiveError(
            f"the recorded parameters do not fit their network. Expected {network.shapes}. Received {shapes}."
        )
    how = f"trainer.{kind.__name__} rebuilt from the record"
    bug, after = settings.get("bug"), settings.get("bug_after")
    if isinstance(bug, str):
        try:
            network, switch = plant(network, bug)
        except ValueError as error:
            return None, str(error)
        switch.active = not isinstance(after, int) or violation.iteration >= after
        how += f", with the planted mistake {bug}"
    here = described(network)
    if here["arguments"] != recorded["arguments"] or _parts(here) != _parts(recorded):
        foreign = sorted(path for path in recorded["parts"] if without_module(path) not in _parts(here))
        return None, f"it had parts of its own: {', '.join(foreign or recorded['parts'])}"
    return network, how


def _parts(network: Mapping[str, Any]) -> list[str]:
    return [without_module(path) for path in network["parts"]]


def named(path: str, violation: Violation) -> Any:
    """Find the network that the user names; a class or function gets those of the recorded arguments that it takes."""
    module_name, _, name = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *name.split(".")]):
        raise UsageError(f"--against names no network. Expected module:Network. Received {path!r}")
    here = str(Path.cwd())  # where a module is looked for first
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ANYTHING as error:
        raise UsageError(
            f"--against cannot be imported. Expected a module, in {here} or installed. Received {in_words(error)}"
        ) from error
    try:
        found = reduce(getattr, name.split("."), module)
    except ANYTHING as error:
        raise UsageError(
            f"--against is not there. Expected {name} in {getattr(module, '__file__', module_name)}. "
            f"Received {'no such name' if isinstance(error, AttributeError) else in_words(error)}"
        ) from error
    if isinstance(found, type) or not is_network(found):
        found = _made(path, found, violation.network["arguments"])
    if not is_network(found):
        raise UsageError(
            f"--against is no network. Expected the methods loss and loss_and_gradients, or a class or function that "
            f"makes a network. Received {path_of(type(found))}"
        )
    shapes = getattr(found, "shapes", None)
    if isinstance(shapes, Mapping):
        own = {name: tuple(shape) for name, shape in shapes.items()}
        if own != shapes_of(violation):
            raise UsageError(f"--against does not fit the case. Expected {shapes_of(violation)}. Received {own}")
    return found


def shapes_of(violation: Violation) -> dict[str, tuple[int, ...]]:
    """Give name and shape of every parameter."""
    return {name: value.shape for name, value in violation.parameters.items()}


def is_network(value: Any) -> bool:
    """Say whether something has the two methods that a check needs."""
    return all(callable(getattr(value, name, None)) for name in ("loss", "loss_and_gradients"))


def in_words(error: BaseException) -> str:
    """Say what somebody's code raised, and where."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if not frame.filename.startswith((*NOT_THE_USERS, "<"))]
    if not lines or isinstance(error, SyntaxError):  # whose text says where
        return text
    return f"{text} ({lines[-1].filename}, line {lines[-1].lineno})"


def _made(path: str, maker: Any, arguments: Mapping[str, Any]) -> Any:
    if not callable(maker):
        return maker
    given = dict(arguments)
    if "layer_sizes" in given:
        given["layer_sizes"] = tuple(given["layer_sizes"])
    try:
        takes = inspect.signature(maker).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
            given = {name: value for name, value in given.items() if name in takes}
        return maker(**given)
    except ANYTHING as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise UsageError(
            f"--against makes no network. Expected one from {path}({shown}). Received {in_words(error)}"
        ) from error
