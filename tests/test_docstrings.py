"""What users may name is told whole, in the form of numpydoc; what nobody exports is told in a few lines."""

import ast
import enum
import importlib
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("checks", "datasets", "experiments", "trainer")
MOST_LINES = 8  # of a docstring of a name that nobody exports
#: A method whose summary begins so has said what comes back.
GIVES = ("Return", "Give", "Say", "Read", "Take", "Iterate", "Compare", "Draw", "Hold")


def source(package: str) -> Iterator[tuple[Path, ast.Module]]:
    """Give the files of a package, read as Python."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def exported(tree: ast.Module) -> list[str]:
    """Give the names in the `__all__` of a file; none where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


EXPORTS = [
    (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), name)
    for package in PACKAGES
    for path, tree in source(package)
    for name in exported(tree)
]


def section(text: str, title: str) -> str | None:
    """Give what stands in a section of a docstring, None where it has no such section."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return found and found[1]


def described(text: str) -> set[str]:
    """Give the names that the parameters and attributes of a docstring tell of."""
    entries = (section(text, "Parameters") or "") + "\n" + (section(text, "Attributes") or "")
    heads = re.findall(r"^(\S.*?)(?: : .*)?$", entries, re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def is_protocol(thing: Any) -> bool:
    """Say whether it is a protocol, whose `__init__` is Python's."""
    return bool(getattr(thing, "_is_protocol", False))


def parameters_of(thing: Any) -> set[str]:
    """Give the names of what is to be passed; nothing for an enum or protocol, or an exception like all."""
    inherited = isinstance(thing, type) and issubclass(thing, BaseException) and "__init__" not in vars(thing)
    if inherited or is_protocol(thing) or (isinstance(thing, type) and issubclass(thing, enum.Enum)):
        return set()
    return set(inspect.signature(thing).parameters) - {"self", "cls"}


def raises(function: Any) -> bool:
    """Say whether an error is raised in the very body of a function; a dataclass made its own and has no source."""
    if not Path(function.__code__.co_filename).exists():
        return False
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(tree))


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Give the public methods and properties that a class defines itself."""
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if not name.startswith("_") and isinstance(function, types.FunctionType):
            yield name, member


def faults(thing: Any) -> list[str]:
    """List what the docstring of an exported class or function leaves out."""
    text = inspect.cleandoc(thing.__doc__ or "")
    if not text:
        return ["it has no docstring"]
    found = [f"the parameter {name} is not told" for name in sorted(parameters_of(thing) - described(text))]
    if not re.match(r"\S[^\n]*[.:]\n?(\n|\Z)", text):
        found.append("the first line is no summary")
    if not isinstance(thing, type):
        return found + faults_of_results(thing, text)
    if (
        "__init__" in vars(thing)
        and not is_protocol(thing)
        and raises(thing.__init__)
        and section(text, "Raises") is None
    ):
        found.append("what making one raises is not told")
    for name, member in members(thing):
        found += [f"{name}: {fault}" for fault in faults_of_member(thing, name, member)]
    return found


def faults_of_member(cls: type, name: str, member: Any) -> list[str]:
    """List what a method or property leaves out that neither class nor base tells; `TrainState` tells itself."""
    function = getattr(member, "__func__", getattr(member, "fget", member))
    text = inspect.cleandoc(function.__doc__ or "")
    if not text:
        return ["it has no docstring"]
    above = [getattr(base, name).__doc__ or "" for base in cls.__mro__[1:] if hasattr(base, name)]
    told = set(re.findall(r"`(\w+)`", "\n".join([text, *above])))
    told = told.union(*(described(inspect.cleandoc(of)) for of in (text, *above)))
    taken = parameters_of(function)
    taken -= {of for of in taken if "TrainState" in str(inspect.signature(function).parameters[of].annotation)}
    found = [f"the parameter {missing} is not told" for missing in sorted(taken - told)]
    found += [] if isinstance(member, property) or above else faults_of_results(function, text)
    if raises(function) and not any(section(of, "Raises") for of in (text, inspect.cleandoc(cls.__doc__ or ""))):
        found.append("what it raises is not told")
    return found


def faults_of_results(function: Any, text: str) -> list[str]:
    """List what a docstring leaves out of what a function returns and raises."""
    found = []
    is_method = "." in function.__qualname__
    gives = inspect.signature(function).return_annotation not in (None, "None")
    if gives and section(text, "Returns") is None and not (is_method and text.startswith(GIVES)):
        found.append("what it returns is not told")
    if not is_method and raises(function) and section(text, "Raises") is None:
        found.append("what it raises is not told")
    return found


@pytest.mark.parametrize(("module", "name"), EXPORTS, ids=[".".join(export) for export in EXPORTS])
def test_an_exported_name_is_told_whole(module: str, name: str) -> None:
    if module == "checks.torch":
        pytest.importorskip("torch")
    assert faults(getattr(importlib.import_module(module), name)) == []


def told(n: int) -> int:
    """Return n.

    Parameters
    ----------
    n : int
        The number.

    Returns
    -------
    int
        The same.
    """
    return n


def test_a_function_that_is_told_whole_has_no_faults() -> None:
    assert faults(told) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("n : int", "m : int", "the parameter n is not told"),
        ("Returns\n    -------", "Notes\n    -----", "what it returns is not told"),
        ("Return n.\n", "Return n\n    and so on.\n", "the first line is no summary"),
        ("return n", 'raise ValueError("no")', "what it raises is not told"),
    ],
)
def test_a_docstring_that_leaves_something_out_is_found(
    before: str, after: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = inspect.getsource(told)
    assert text.count(before) == 1
    (tmp_path / "leaves_out.py").write_text(text.replace(before, after), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "leaves_out", raising=False)
    assert faults(importlib.import_module("leaves_out").told) == [fault]


def docstrings(tree: ast.Module, public: set[str]) -> Iterator[tuple[str, int]]:
    """Give the name and the lines of every docstring, but of what is exported and its public methods."""

    def visit(node: ast.Module | ast.ClassDef | ast.FunctionDef, inside: bool) -> Iterator[tuple[str, int]]:
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                hidden = child.name.startswith("_") and not child.name.endswith("__")
                told = child.name in public if node is tree else inside and not hidden
                if not told:
                    yield child.name, len((ast.get_docstring(child) or "").splitlines())
                yield from visit(child, told)

    return visit(tree, False)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_nobody_exports_is_told_in_a_few_lines(package: str) -> None:
    files = list(source(package))
    public = {name for _, tree in files for name in exported(tree)}
    essays = [
        f"{path.relative_to(ROOT)}: {name} has {lines} lines"
        for path, tree in files
        for name, lines in docstrings(tree, public)
        if lines > MOST_LINES
    ]
    assert essays == []
