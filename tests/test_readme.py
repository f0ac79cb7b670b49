"""What only the README promises; `test_pages` looks at what every page does."""

import html
import re
import shlex
from pathlib import Path

import pytest

from experiments.fraud.main import main

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
    assert "FAIL J[4, 0]" in shown
    assert "none failed" in shown


def test_the_custom_callback_takes_ten_lines() -> None:
    body = CODE[-1].partition("class ")[2].partition("\n\n\n")[0]
    assert len(body.splitlines()) <= 10


def test_it_leads_with_the_two_commands() -> None:
    assert [line.split("#")[0].strip() for line in TYPED[:2]] == ["make fraud", "make test"]


def test_it_names_the_experiments_and_the_tests() -> None:
    named = set(re.findall(r"python -m ([\w.]+)", README))
    assert {"experiments", "experiments.fraud", "experiments.notebook", "pytest"} <= named


def test_every_picture_is_there_is_small_and_says_what_it_shows() -> None:
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', README) + re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert {"docs/report.png", "docs/report-dark.png", "docs/halt.svg"} == set(pictures)
    assert all(0 < (ROOT / picture).stat().st_size < 200_000 for picture in pictures)
    assert README.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]{10,}"', README))


def test_the_picture_of_the_halt_is_what_a_run_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """All words are compared, and no numbers: their last digits are the machine's."""
    drawn = re.findall(r"<text[^>]*>(.*?)</text>", (ROOT / "docs" / "halt.svg").read_text(encoding="utf-8"))
    typed, *shown, end = [html.unescape(line) for line in drawn]
    assert (typed[0], end) == ("$", "$ ")
    assert main(shlex.split(typed)[4:]) == 1
    real = capsys.readouterr().err
    assert re.findall(r"[A-Za-z]{2,}", "".join(real.split())) == re.findall(
        r"[A-Za-z]{2,}", "".join("".join(shown).split())
    )
    assert re.search(r"Look here first: W2\[8, \d+\], gradient -?[\d.]+, numerical -?[\d.]+, ratio 2\.", real)
    assert "ratio 2." in "".join(shown)
