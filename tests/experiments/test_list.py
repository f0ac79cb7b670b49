"""The list of experiments."""

import re

import pytest

from experiments.__main__ import main as list_experiments

Captured = pytest.CaptureFixture[str]


def test_the_list_of_experiments_has_a_line_for_each(capsys: Captured) -> None:
    assert list_experiments([]) == 0
    listed = capsys.readouterr().out
    for name in ("fraud", "notebook"):
        assert re.search(rf"^python -m experiments\.{name} +\S.*\.$", listed, re.MULTILINE)
    assert ".bugs" not in listed
