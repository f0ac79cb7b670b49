"""A report in a notebook: the table, and nothing that a name can smuggle in."""

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest

from checks import Verdict, check_gradients
from checks.report.html import COLOURS, TENSORS


class Cells(HTMLParser):
    """The text of every cell, and the names of all elements."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def checked(name="w", factor=2.0, n=5):
    point = {name: np.linspace(1.0, 2.0, n), "b": np.ones(3)}
    return check_gradients(
        lambda p: float(np.sum(p[name] ** 3) + np.sum(p["b"] ** 2)),
        lambda p: {name: factor * 3.0 * p[name] ** 2, "b": 2.0 * p["b"]},
        point,
    )


def test_every_tensor_has_a_row_and_the_mistake_is_said():
    report = checked()
    html = report._repr_html_()
    cells = Cells(html).cells
    assert cells[:7] == ["tensor", "verdict", "difference", "worst entry", "gradient", "numerical", "ratio"]
    assert (cells[7], cells[8], cells[10], cells[13]) == ("w", "FAIL", "[4]", "2")
    assert cells[14:16] == ["b", "PASS"]
    assert report.tensors["w"].mistake.sentence in html
    assert COLOURS[Verdict.FAIL] in html


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b", "PASS"])
def test_a_name_is_shown_as_it_is_and_does_nothing(name):
    evil = Cells(checked(name)._repr_html_())
    assert evil.tags == Cells(checked()._repr_html_()).tags
    assert name in evil.cells


def test_of_very_many_tensors_some_are_shown_and_all_are_counted():
    report = checked(factor=1.0)
    one = report.tensors["w"]
    many = dataclasses.replace(report, tensors={f"w{n}": dataclasses.replace(one, name=f"w{n}") for n in range(300)})
    cells = Cells(many._repr_html_())
    assert cells.tags.count("tr") == TENSORS + 2
    assert cells.cells[-1].startswith("… of 300 tensors")


def luminance(colour):
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("paper", ["#ffffff", "#111111"])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_colours_can_be_read_on_light_and_on_dark(verdict, paper):
    first, second = sorted((luminance(COLOURS[verdict]), luminance(paper)))
    assert (second + 0.05) / (first + 0.05) >= 3.0  # WCAG 2.2 for large or bold text
