"""Codec: a dataclass as plain data for JSON, and back, each field held against its annotation.

What is read back may have been written by a stranger: a field that is not what its annotation says is refused by
name, and nothing of it is run or believed.
"""

import math
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

T = TypeVar("T")

WORDS = ("nan", "inf", "-inf")  # of numbers for which JSON has none
LARGEST = 2**63 - 1  # that a count may be: an int64
SHOWN = 60  # characters of a value that is refused


class BrokenError(ValueError):
    """Data are not what was written: the message names the field, what was expected, and what was received."""


class Within(NamedTuple):
    """The range of a number or of a length, both ends included: ``Annotated[int, Within(0)]``; a plain pair will do."""

    least: float
    most: float = math.inf


class As(NamedTuple):
    """What plain data must be that stay plain data: ``Annotated[dict[str, Any], As(GeneratorState)]``."""

    kind: Any


FINITE = Within(-sys.float_info.max, sys.float_info.max)  # of a float
BIT_128 = 2**128 - 1


@dataclass(frozen=True)
class Words:
    """The two numbers of a PCG64."""

    state: Annotated[int, Within(0, BIT_128)]
    inc: Annotated[int, Within(0, BIT_128)]


@dataclass(frozen=True)
class GeneratorState:
    """The state of numpy's default generator."""

    bit_generator: Literal["PCG64"]
    state: Words
    has_uint32: Annotated[int, Within(0, 1)]
    uinteger: Annotated[int, Within(0, 2**32 - 1)]


Generator: TypeAlias = Annotated[dict[str, Any], As(GeneratorState)]


def to_plain(value: Any) -> Any:
    """Give a dataclass, or whatever it holds, as JSON has it; what is neither number, text nor collection as its text.

    A field whose metadata say ``kept=False`` stays out, and one that says ``may_lack=True`` where it is None.
    """
    if is_dataclass(value) and not isinstance(value, type):
        kept = {part: getattr(value, part.name) for part in _kept(type(value))}
        return {part.name: to_plain(own) for part, own in kept.items() if own is not None or not _may_lack(part)}
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "to_text"):
        return value.to_text()
    if isinstance(value, Mapping):
        return {str(key): to_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(to_plain(part) for part in value)
    if isinstance(value, np.generic | np.ndarray):
        return to_plain(value.tolist())
    return value if value is None or isinstance(value, str | int | float) else str(value)


def from_plain(kind: Any, value: Any, name: str = "value") -> Any:
    """Read back what `to_plain` gave of a value of this annotation; anything else is a BrokenError."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if isinstance(arguments[1], As):
            from_plain(arguments[1].kind, value, name)
            return value
        return _within(from_plain(arguments[0], value, name), arguments[1], name)
    if kind is Any:
        return value
    if origin is Literal:
        return _matching(value in arguments, value, name, " or ".join(map(repr, arguments)))
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (only,) = (argument for argument in arguments if argument is not type(None))
        return from_plain(only, value, name)
    read = _CONTAINERS.get(origin or kind)
    if read is not None:
        return read(arguments, value, name)
    if is_dataclass(kind):
        made: Any = kind
        return made(**fields_from_plain(kind, value, name))
    if hasattr(kind, "from_text"):
        return _made(kind.from_text, value, name, "text")
    if issubclass(kind, Enum):
        return _made(kind, value, name, " or ".join(repr(member.value) for member in kind))
    return _single(kind, value, name)


def _single(kind: type, value: Any, name: str) -> Any:
    """Read a number, a text, a truth value or None."""
    if kind is float:
        if value in WORDS:
            return float(value)
        fits = type(value) is float or (type(value) is int and abs(value) <= 2**53)
        return float(_matching(fits, value, name, "a number"))
    words = {int: "an integer", str: "text", bool: "true or false"}
    return _matching(type(value) is kind, value, name, words.get(kind, kind.__name__))


def fields_from_plain(kind: Any, value: Any, name: str) -> dict[str, Any]:
    """Read back the kept fields of a dataclass, for one that is made with more than these."""
    _matching(isinstance(value, Mapping), value, name, "an object")
    hints, found = _hints(kind), {}
    for part in _kept(kind):
        if part.name in value:
            found[part.name] = from_plain(hints[part.name], value[part.name], f"{name}.{part.name}")
        elif not _may_lack(part):
            raise BrokenError(f"The {name}.{part.name} is missing. Expected what was written. Received nothing.")
    return found


def _list(arguments: tuple[Any, ...], value: Any, name: str) -> list[Any]:
    _matching(isinstance(value, list | tuple), value, name, "a list")
    return [from_plain(arguments[0], part, f"{name}[{number}]") for number, part in enumerate(value)]


def _set(arguments: tuple[Any, ...], value: Any, name: str) -> set[Any]:
    return set(_list(arguments, value, name))


def _tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if arguments[-1] is Ellipsis:
        return tuple(_list(arguments, value, name))
    fits = isinstance(value, list | tuple) and len(value) == len(arguments)
    _matching(fits, value, name, f"a list of {len(arguments)}")
    parts = enumerate(zip(arguments, value, strict=True))
    return tuple(from_plain(kind, part, f"{name}[{number}]") for number, (kind, part) in parts)


def _dict(arguments: tuple[Any, ...], value: Any, name: str) -> dict[str, Any]:
    _matching(isinstance(value, Mapping) and all(isinstance(key, str) for key in value), value, name, "an object")
    kind = arguments[1] if arguments else Any
    return {key: from_plain(kind, part, f"{name}.{key}") for key, part in value.items()}


_CONTAINERS: dict[Any, Callable[[tuple[Any, ...], Any, str], Any]] = {
    list: _list,
    set: _set,
    tuple: _tuple,
    dict: _dict,
    Mapping: _dict,
}


def _within(value: T, limits: tuple[float, float], name: str) -> T:
    least, most = limits
    size: Any = len(value) if hasattr(value, "__len__") else value
    expected = "a length of " if hasattr(value, "__len__") else "a number of "
    expected += f"at least {least:g}" if most == math.inf else f"{least:g} to {most:g}"
    return _matching(value is None or least <= size <= most, value, name, expected)


def _made(make: Callable[[Any], T], value: Any, name: str, expected: str) -> T:
    try:
        return make(_matching(isinstance(value, str), value, name, expected))
    except BrokenError:
        raise
    except ValueError as error:
        raise BrokenError(f"The {name} is broken. Expected {expected}. Received {_short(value)}.") from error


def _matching(fits: bool, value: T, name: str, expected: str) -> T:
    if not fits:
        raise BrokenError(f"The {name} is broken. Expected {expected}. Received {_short(value)}.")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _kept(kind: Any) -> tuple[Any, ...]:
    return tuple(part for part in fields(kind) if part.metadata.get("kept", True))


def _may_lack(part: Any) -> bool:
    return bool(part.metadata.get("may_lack", False))
