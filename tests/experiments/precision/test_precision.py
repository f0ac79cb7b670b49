"""The campaign of low precision: every figure is met, and falls where the verdict is made worse."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra torch is not installed")
from checks.judge import coarse
from experiments.precision.main import figures, main, run_case
from experiments.precision.networks import KINDS, MISTAKES, SMALL_MISTAKES


def test_the_quick_campaign_meets_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--json", str(tmp_path / "precision.json")]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert "FALSE ALARM" not in shown
    result = json.loads((tmp_path / "precision.json").read_text(encoding="utf-8"))
    assert all(figure["met"] is not False for figure in result["figures"])
    assert {outcome["mistake"] for outcome in result["outcomes"]} == {"", *MISTAKES, *SMALL_MISTAKES}
    assert {outcome["kind"] for outcome in result["outcomes"]} == set(KINDS)


def test_where_nothing_is_beyond_doubt_everything_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse, "CHANCE", 1e-300)
    monkeypatch.setattr(coarse, "UNHEARD_OF", 1e300)
    outcomes = run_case("one layer, squares", "bfloat16", "inside", 0, "10 %")
    assert [outcome["verdict"] for outcome in outcomes] != ["FAIL"]
    assert any(figure.met is False for figure in figures(outcomes))


def test_a_pass_that_excludes_the_mistake_is_counted() -> None:
    outcomes = run_case("one layer, squares", "float16", "inside", 0, "3 %")
    outcomes[0] |= {"verdict": "PASS", "scale": 0.01}
    beyond = next(figure for figure in figures(outcomes) if figure.name.startswith("PASS on a mistake larger"))
    assert beyond.met is False
