"""A history in a notebook, and as a data frame."""

import builtins
import re

import pytest

from trainer import History
from trainer.storage.table import EPOCHS


def filled(n_epochs=3, verdict="PASS", outcome="completed"):
    history = History()
    for epoch in range(1, n_epochs + 1):
        history.append({"event": "iteration", "epoch": epoch, "iteration": 2 * epoch - 1, "loss": 1.0 / epoch})
        checked = {"verdict": verdict, "difference": 1e-10}
        history.append({"event": "iteration", "epoch": epoch, "iteration": 2 * epoch, "loss": 0.5} | checked)
        losses = {"epoch_loss": 0.25, "validation_loss": None}
        history.append({"event": "epoch", "epoch": epoch, "iteration": 2 * epoch} | losses)
    history.append({"event": "end", "outcome": outcome})
    return history


def cells(html):
    return [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh][^>]*>.*?</t[dh]>", html)]


def test_a_history_shows_its_epochs_its_checks_and_its_end():
    html = filled()._repr_html_()
    assert cells(html)[:3] == ["epoch", "iteration", "epoch loss"]
    assert cells(html)[3:] == ["1", "2", "0.2500", "2", "4", "0.2500", "3", "6", "0.2500"]
    assert re.sub("<.*?>", "", html).startswith("6 iterations, 3 PASS: completed")


def test_of_many_epochs_the_last_are_shown():
    shown = cells(filled(40)._repr_html_())[3:]
    assert shown[::3] == [str(epoch) for epoch in range(41 - EPOCHS, 41)]


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_text_of_a_row_does_nothing(evil):
    html = filled(verdict=evil, outcome=evil)._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("alert(1)") == 2


def test_an_empty_history_shows_that():
    assert "0 iterations" in History()._repr_html_()


def test_a_data_frame_has_a_line_for_every_row():
    pandas = pytest.importorskip("pandas")
    frame = filled().to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 10
    assert frame[frame.event == "iteration"].iteration.tolist() == [1, 2, 3, 4, 5, 6]
    assert frame.difference.count() == 3


def test_without_pandas_it_says_what_is_missing(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **options):
        if name == "pandas":
            raise ImportError("No module named 'pandas'")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match="pip install pandas"):
        filled().to_dataframe()
