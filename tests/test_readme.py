"""What only the README promises; `test_pages` looks at what every page does."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CODE = [text for language, text in BLOCKS if language == "python"]
TYPED = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]


def test_its_code_shows_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    shared: dict[str, object] = {}
    for text in CODE:
        exec(text, shared)
    shown = capsys.readouterr().out
    assert "FAIL 0.2315" in shown
    assert "none failed" in shown


def test_the_custom_callback_takes_ten_lines() -> None:
    body = CODE[-1].partition("class ")[2].partition("\n\n\n")[0]
    assert len(body.splitlines()) <= 10


def test_it_leads_with_the_two_commands() -> None:
    assert [line.split("#")[0].strip() for line in TYPED[:2]] == ["make fraud", "make test"]


def test_it_names_the_experiments_and_the_tests() -> None:
    named = set(re.findall(r"python -m ([\w.]+)", README))
    assert {"experiments", "experiments.fraud", "experiments.notebook", "pytest"} <= named
