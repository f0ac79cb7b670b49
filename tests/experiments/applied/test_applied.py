"""The campaign of the applied gradient: every figure is met, and falls where the check is made worse."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from checks.training import applied
from checks.training.applied import AppliedCheck
from checks.training.step import Watch
from experiments.applied import campaign
from experiments.applied.main import main
from experiments.applied.mistakes import PATHS, between, networks, spoilt, with_error
from trainer import Network


def test_the_quick_campaign_meets_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--json", str(tmp_path / "applied.json")]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert "MISSED" not in shown
    assert "FALSE ALARM" not in shown
    figures = json.loads((tmp_path / "applied.json").read_text(encoding="utf-8"))["figures"]
    assert all(figure["met"] is not False for figure in figures)
    assert sum("training steps" in figure["name"] for figure in figures) in (
        2,
        4,
    )  # compiled, too, where there is numba


def test_without_the_copy_after_backprop_a_change_is_called_by_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(self: Watch, state: object) -> None:
        self._returned = np.zeros(0)

    monkeypatch.setattr(Watch, "_after_backprop", late)
    monkeypatch.setattr(AppliedCheck, "_changed", lambda self, step: None)
    assert not any(found for _, found in campaign.changed_between(1))


def test_a_precision_that_is_believed_loses_what_is_wrong_in_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "SETTINGS", [("float32", False)])
    monkeypatch.setattr(applied, "EASY", 1e20)
    missed = {name.partition(",")[0] for name, found in campaign.on_one_path() if not found}
    assert missed == {"float32", "every second call", "every third call", "every fifth call"}


def test_a_slope_that_is_believed_loses_what_only_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    believed = SimpleNamespace(seen=lambda *claimed: ({}, {}))
    monkeypatch.setattr(AppliedCheck, "_read", lambda self, *step: believed)
    assert not any(found for dtype, _, found in campaign.errors(3) if dtype == "float64")


def test_the_planted_mistakes_are_what_they_are_called() -> None:
    for dtype in ("float64", "float32"):
        vector = np.linspace(-1.0, 1.5, 7, dtype=dtype)
        for name, spoils in between(dtype, 1).items():
            if name != "one tensor stale":
                changed = vector.copy()
                spoils.how(changed)  # type: ignore[attr-defined]
                one_only = "bit" in name or "one entry" in name
                assert np.sum(changed != vector) == (1 if one_only else 7), name
    network = Network((10, 7, 3, 1))
    rng = np.random.default_rng(0)
    parameters, inputs, targets = network.initial_parameters(rng), rng.standard_normal((5, 10)), np.arange(5) % 2
    right = network.loss_and_gradients(parameters, inputs, targets)[1]
    for how in ("scaled", "spread", "one entry"):
        wrong = with_error(network, "W2", 1e-3, how).loss_and_gradients(parameters, inputs, targets)[1]
        apart = np.linalg.norm(wrong["W2"] - right["W2"]) / np.linalg.norm(right["W2"])
        assert apart == pytest.approx(1e-3, rel=1e-9)
        np.testing.assert_array_equal(wrong["W1"], right["W1"])
    calls = spoilt(network, PATHS["every second call"].change)
    first, second = (calls.loss_and_gradients(parameters, inputs, targets)[1]["W2"].copy() for _ in range(2))
    np.testing.assert_array_equal(first, 2.0 * second)
    assert set(networks(compiled=False)) == {"plain", "deep", "dropout", "weighted", "tanh"}
