"""A set of rows: it counts each once, whatever their number, and comes back from text."""

import json

import numpy as np
import pytest

from checks.training.rows import RowSet


@pytest.mark.parametrize("n_rows", [0, 5, 100])
def test_it_holds_what_a_set_holds(n_rows):
    rng = np.random.default_rng(0)
    rows, plain = RowSet(n_rows), set()
    for _ in range(20):
        drawn = rng.integers(0, 100, size=7)
        rows.add(drawn)
        plain |= set(drawn.tolist())
        assert len(rows) == len(plain)
    again = RowSet(n_rows)
    again.add(sorted(plain))
    assert again == rows


def test_it_takes_lists_and_no_rows_at_all():
    rows = RowSet()
    rows.add([])
    assert len(rows) == 0
    rows.add([3, 0, 3])
    assert len(rows) == 2


@pytest.mark.parametrize("n_rows", [0, 7, 8, 1_000_003])
def test_it_comes_back_from_text_of_a_sixth_of_a_byte_a_row(n_rows):
    rows = RowSet(n_rows)
    rows.add(range(0, n_rows, 3))
    text = json.loads(json.dumps(rows.to_text()))
    assert RowSet.from_text(text) == rows
    assert len(text) <= n_rows / 6 + 8
    back = RowSet.from_text(text)
    back.add([n_rows + 20])
    assert back != rows
    assert len(back) == len(rows) + 1
