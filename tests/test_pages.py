"""The README and every page under docs keep their word: their code runs, and what they tell one to type exists."""

import importlib.util
import pkgutil
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from experiments.fraud.arguments import parse
from experiments.fraud.settings import OPTIONS, spelled

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
OPTIONAL = {re.split(r"\W", name)[0].lower() for names in EXTRAS.values() for name in names}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Give the words of every line that is to be typed, and of everything set as code in the text."""
    typed = [line for text in blocks(page, "sh") for line in text.splitlines()]
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [words for line in (*typed, *re.findall(r"`([^`\n]+)`", prose)) if (words := split(line))]


def split(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # an apostrophe of Python's, say
        return []


def test_the_search_sees_blocks_and_code_in_the_text(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`--out DIR` or `it's`\n\n```sh\nmake test  # all\n```\n\n```python\nx = 1\n```\n", encoding="utf-8"
    )
    assert commands(page) == [["make", "test"], ["--out", "DIR"]]
    assert blocks(page, "python") == ["x = 1\n"]


@every_page
def test_every_block_of_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shared: dict[str, object] = {"__name__": "__main__"}
    for number, text in enumerate(blocks(page, "python"), start=1):
        code = compile(text, f"{page.name}, python block {number}", "exec")
        try:
            exec(code, shared)
        except ModuleNotFoundError as error:
            if str(error.name).split(".")[0].lower() not in OPTIONAL:
                raise
            pytest.skip(f"{error.name} is an extra, and is not installed")


@every_page
def test_every_make_target_exists(page: Path) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {words[1] for words in commands(page) if words[0] == "make" and len(words) > 1} <= set(targets)


@every_page
def test_every_module_to_be_run_exists(page: Path) -> None:
    named = [words[words.index("-m") + 1] for words in commands(page) if "-m" in words]
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


def exists(name: str) -> bool:
    """Say whether a path or a dotted name leads anywhere; one that takes an extra may not be importable here."""
    if "/" in name:
        return (ROOT / name).exists() or (ROOT / f"{name}.py").exists()
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return any(part in OPTIONAL for part in name.split("."))
    return True


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_file_and_name_of_a_package_exists(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    named = re.findall(r"\b(?:trainer|checks|datasets|experiments|tests|docs|examples)(?:[./][\w-]+)+", prose)
    assert [name for name in named if not exists(name)] == []


def test_a_file_or_name_that_is_not_there_does_not_exist() -> None:
    there = ["trainer/loop", "trainer.Interruption", "trainer.Trainer.fit"]
    nowhere = ["trainer/no_room", "trainer.no_name", "trainer.Trainer.sit"]
    assert [name for name in there + nowhere if exists(name)] == there


@every_page
def test_every_option_exists(page: Path) -> None:
    for words in commands(page):
        if "experiments.fraud" in words:
            parse([word for word in words[words.index("experiments.fraud") + 1 :] if word != "--help"])
    files = [*(ROOT / "experiments").rglob("*.py"), ROOT / "pytest_backproof.py"]
    sources = [path.read_text(encoding="utf-8") for path in files]
    known = set(re.findall(r"\"(--[a-z-]+)\"", "\n".join(sources))) | {"--help", *map(spelled, OPTIONS)}
    named = {words[0].partition("=")[0] for words in commands(page) if words[0].startswith("--")}
    assert named <= known


@every_page
def test_every_extra_to_be_installed_exists(page: Path) -> None:
    named = re.findall(r"(?:\.|backproof)\[([\w,]+)\]'", page.read_text(encoding="utf-8"))
    assert {extra for names in named for extra in names.split(",")} <= set(EXTRAS)


@every_page
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
