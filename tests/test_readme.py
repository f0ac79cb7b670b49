"""The README keeps its word: its code runs, and what it tells one to type exists."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from experiments.arguments import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CODE = [text for language, text in BLOCKS if language == "python"]
TYPED = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
COMMANDS = [shlex.split(line, comments=True) for line in (*TYPED, *re.findall(r"`([^`\n]+)`", README))]


def test_every_block_of_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    shared: dict[str, object] = {}
    for number, text in enumerate(CODE, start=1):
        exec(compile(text, f"README.md, python block {number}", "exec"), shared)
    shown = capsys.readouterr().out
    assert "FAIL 0.2315" in shown
    assert "none failed" in shown


def test_the_custom_callback_takes_ten_lines() -> None:
    body = CODE[-1].partition("class ")[2].partition("\n\n\n")[0]
    assert len(body.splitlines()) <= 10


def test_it_leads_with_the_two_commands() -> None:
    assert [line.split("#")[0].strip() for line in TYPED[:2]] == ["make fraud", "make test"]


def test_every_make_target_exists() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = [words[1] for words in COMMANDS if words[0] == "make"]
    assert set(named) <= set(targets)


def test_every_module_to_be_run_exists() -> None:
    named = [words[words.index("-m") + 1] for words in COMMANDS if "-m" in words]
    assert {"experiments", "experiments.fraud", "experiments.notebook", "pytest"} <= set(named)
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


def test_every_option_of_the_main_job_exists() -> None:
    full = [words[words.index("experiments.fraud") + 1 :] for words in COMMANDS if "experiments.fraud" in words]
    for options in full:
        parse(options)
    known = set(re.findall(r"--[a-z-]+", (ROOT / "experiments" / "arguments.py").read_text(encoding="utf-8")))
    assert {words[0] for words in COMMANDS if words[0].startswith("--")} <= known | {"--help"}


def test_every_extra_to_be_installed_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"\.\[(\w+)\]", README)) <= set(extras)


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
