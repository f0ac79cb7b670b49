"""The campaign on tables trains the network of the main job, and lets nothing pass that is worse than its rival."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.tables.main import Compared, main

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

Captured = pytest.CaptureFixture[str]


def test_the_quick_campaign_compares_on_every_table(tmp_path: Path, capsys: Captured) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"Day": np.arange(300), "V1": rng.normal(size=300)})
    frame["Class"] = (frame.V1 + rng.normal(size=300) > 1.2).astype(int)
    frame.to_csv(tmp_path / "payments.csv", index=False)
    word = f"{tmp_path / 'payments.csv'} --target Class --split-by Day"
    assert main(["--quick", "--json", str(tmp_path / "tables.json"), word]) == 0
    assert "payments.csv: the network less MLPClassifier" in capsys.readouterr().out
    figures = json.loads((tmp_path / "tables.json").read_text(encoding="utf-8"))["figures"]
    assert [sorted(figure["numbers"]) for figure in figures] == [
        ["MLPClassifier", "boosted trees", "logistic regression", "network"]
    ] * 2
    assert all(0.0 < value <= 1.0 for figure in figures for values in figure["numbers"].values() for value in values)


@pytest.mark.parametrize(("shift", "met"), [(0.0, True), (-0.02, False), (0.02, True)])
def test_lower_by_more_than_the_standard_error_is_not_met(shift: float, met: bool) -> None:
    rival = np.array([0.71, 0.75, 0.80, 0.77, 0.74])
    own = rival + shift + np.array([0.01, -0.01, 0.0, 0.01, -0.01])
    assert Compared("t", own, {"MLPClassifier": rival}).figure().met is met


@pytest.mark.parametrize("word", ["nosuch.csv --target Class", "a.csv --target", "'"])
def test_bad_input_is_one_line(word: str, capsys: Captured) -> None:
    assert main(["--quick", word]) == 2
    assert capsys.readouterr().err.count("\n") == 1
