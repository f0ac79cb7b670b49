"""Structures: what people keep parameters in, taken apart into leaves that are named by their path: `layers[0].W`."""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from numbers import Number
from typing import Any, Literal, TypeAlias

import numpy as np

SINGLE = "parameters"  # the leaf's name where there is a bare number or a bare array
#: Where a field of a dataclass says that it is no parameter: equinox and jax, flax.
SETTINGS = (("static", True), ("pytree_node", False))
REFUSAL = "{role} have another structure than the parameters. Expected {what}. Received {got}."


@dataclass(frozen=True)
class Leaf:
    """A number or an array."""

    name: str
    is_number: bool = False  # and handed on as one

    def leaves(self, value: Any, role: str) -> Iterator[tuple[str, Any]]:
        """Give the leaf of a structure of this form, with its name."""
        if isinstance(value, Mapping):
            what = "a number" if self.is_number else "an array"
            raise TypeError(REFUSAL.format(role=role, what=what, got=type(value).__name__))
        yield self.name, value

    def built(self, values: Iterator[Any]) -> Any:
        """Give the structure of this form that has these leaves."""
        value = next(values)
        return value[()] if self.is_number else value


@dataclass(frozen=True)
class Constant:
    """What is no parameter, and is handed on as it is."""

    value: Any

    def leaves(self, value: Any, role: str) -> Iterator[tuple[str, Any]]:
        """Give nothing."""
        yield from ()

    def built(self, values: Iterator[Any]) -> Any:
        """Give it back."""
        return self.value


@dataclass(frozen=True)
class Branch:
    """A dict, list, tuple, named tuple or dataclass of others."""

    kind: Literal["mapping", "sequence", "dataclass"]
    path: str
    keys: tuple[Any, ...]  # the user's own, which need not be text
    parts: tuple["Form", ...]
    shell: Any  # what to make one of: a type, or a dataclass's instance without its arrays

    def leaves(self, value: Any, role: str) -> Iterator[tuple[str, Any]]:
        """Give the leaves of a structure of this form, with their names; refuse another form."""
        for part, inner in zip(self.parts, self._values(value, role), strict=True):
            yield from part.leaves(inner, role)

    def built(self, values: Iterator[Any]) -> Any:
        """Give the structure of this form that has these leaves."""
        made = [part.built(values) for part in self.parts]
        if self.kind == "mapping":
            return dict(zip(self.keys, made, strict=True))
        if self.kind == "sequence":
            return self.shell(made)
        new = copy.copy(self.shell)
        for name, part in zip(self.keys, made, strict=True):
            object.__setattr__(new, name, part)  # it may be frozen
        return new

    def _values(self, value: Any, role: str) -> list[Any]:
        of = f"{role} of {self.path}" if self.path else role
        names = [str(key) for key in self.keys]
        if self.kind == "mapping" and isinstance(value, Mapping):
            return _by_name(value, names, self.parts, of)
        if self.kind == "dataclass" and all(hasattr(value, name) for name in names):
            return [getattr(value, name) for name in names]
        if self.kind == "sequence" and isinstance(value, Iterable) and not isinstance(value, Mapping | str):
            given = list(value)
            if len(given) != len(names):
                raise ValueError(f"{of} have the wrong length. Expected {len(names)} arrays. Received {len(given)}.")
            return given
        expected = names if self.kind != "sequence" else [path_of(self.path, key) for key in self.keys]
        raise TypeError(REFUSAL.format(role=of, what=f"a {self.kind} with {expected}", got=type(value).__name__))


@dataclass(frozen=True, eq=False)
class Blocks:
    """One array whose numbers have names: blocks that follow each other. It is a structure, and its own form."""

    array: np.ndarray[Any, Any]
    shapes: Mapping[str, tuple[int, ...]]

    def leaves(self, value: Any, role: str) -> Iterator[tuple[str, Any]]:
        """Give the blocks of this array, or of another one of its shape, with their names."""
        vector, start = np.ravel(value.array if isinstance(value, Blocks) else value), 0
        for name, shape in self.shapes.items():
            end = start + math.prod(shape)
            yield name, vector[start:end].reshape(shape)
            start = end

    def built(self, values: Iterator[Any]) -> Any:
        """Give the array that has these blocks."""
        return np.concatenate([np.ravel(value) for value in values]).reshape(self.array.shape)


Form: TypeAlias = Leaf | Constant | Branch | Blocks


def form_of(value: Any, path: str = "") -> Form:
    """Find out how a structure is built, and name its leaves."""
    if isinstance(value, np.ndarray):
        return Leaf(path or SINGLE)
    if isinstance(value, Blocks):
        return value
    if isinstance(value, Mapping):
        parts = tuple(form_of(inner, path_of(path, str(key))) for key, inner in value.items())
        return Branch("mapping", path, tuple(value), parts, dict)
    if is_dataclass(value) and not isinstance(value, type):
        return _of_dataclass(value, path)
    if isinstance(value, list | tuple) and (hasattr(value, "_fields") or not _is_array(value, at_root=not path)):
        keys = getattr(value, "_fields", None) or range(len(value))
        parts = tuple(form_of(inner, path_of(path, key)) for key, inner in zip(keys, value, strict=True))
        made = getattr(value, "_make", tuple if isinstance(value, tuple) else list)
        return Branch("sequence", path, tuple(keys), parts, made)
    if value is None and path:  # no bias, say
        return Constant(value)
    return Leaf(path or SINGLE, not path and np.ndim(value) == 0 and not isinstance(value, list | tuple))


def path_of(path: str, key: str | int) -> str:
    """Name what lies under a key, or at a position: `layers[0]`, `layers[0].W`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _of_dataclass(value: Any, path: str) -> Form:
    """Take the arrays, floats and structures of a dataclass; all its other fields are settings."""
    forms = {}
    for each in fields(value):
        inner, is_setting = getattr(value, each.name, None), any(each.metadata.get(key) is no for key, no in SETTINGS)
        if not is_setting and not (inner is None or callable(inner) or isinstance(inner, str | int)):
            forms[each.name] = form_of(inner, path_of(path, each.name))
    shell = copy.copy(value)
    for name in forms:
        object.__setattr__(shell, name, None)
    return Branch("dataclass", path, tuple(forms), tuple(forms.values()), shell)


def _is_array(value: list[Any] | tuple[Any, ...], *, at_root: bool) -> bool:
    """Say whether a list is meant as one array: of numbers, or of lists of numbers where it has a name."""

    def is_number(part: Any) -> bool:
        return isinstance(part, Number | str) or getattr(part, "shape", None) == ()

    def is_part(part: Any) -> bool:
        return is_number(part) or (isinstance(part, list | tuple) and bool(part) and all(map(is_part, part)))

    return all(map(is_number if at_root else is_part, value))


def _by_name(value: Mapping[Any, Any], names: list[str], parts: tuple[Form, ...], of: str) -> list[Any]:
    """Look values up by name, or by the classic one of a gradient: ``dW1`` for ``W1``."""
    given = {str(key): inner for key, inner in value.items()}
    needed = [name for name, part in zip(names, parts, strict=True) if not isinstance(part, Constant)]
    classic = "" if all(name in given for name in needed) else "d"
    found = {name: classic + name if classic + name in given else name for name in names}
    for name in needed:
        if found[name] not in given:
            raise ValueError(f"{of} lack {name!r}. Expected the names {names}. Received {list(given)}.")
    return [given.get(found[name]) for name in names]
