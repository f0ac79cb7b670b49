"""What the main job leaves behind with --out, however it ends."""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import make_fraud
from experiments.fraud import main as fraud
from experiments.fraud.arguments import parse
from experiments.fraud.main import main
from experiments.fraud.parts import network_of
from experiments.runs.folder import RunFolder
from trainer import Adam, Callback, History, Trainer, TrainState

SMALL = [
    *["--samples=1000", "--features=9", "--hidden", "7", "5", "--epochs=2", "--batch-size=64", "--check-every=5"],
    "--baselines=off",
]
N_CHECKS = 4  # in 20 iterations
PAGE = {"report.html"} if find_spec("matplotlib") and find_spec("jinja2") else set()
BEGUN = {"settings.json", "history.jsonl", "metrics.json", "proof.json", "parameters.npz", "log.txt"} | PAGE
BEGUN |= {"run.json", "lock"}
CHECKED = BEGUN | {"report.json", "check.npz"}
KEPT = CHECKED | {"curve.json", "model.npz"}
Captured = pytest.CaptureFixture[str]


class InterruptedAtSeven(Callback):
    """What Ctrl-C does in the middle of a run."""

    def on_batch_begin(self, state: TrainState) -> None:
        if state.iteration == 7:
            raise KeyboardInterrupt


class StopBeforeUpdateFive(Callback):
    def on_gradients_computed(self, state: TrainState) -> None:
        if state.iteration == 5:
            state.request_stop("here the other run was halted")


def load(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_a_run_leaves_is_whole_and_valid(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    assert main([*SMALL, "--out", str(out)]) == 0
    assert names(out) == KEPT
    settings, metrics, proof = (load(out / f"{name}.json") for name in ("settings", "metrics", "proof"))
    assert settings["hidden"] == [7, 5]
    assert settings["learning_rate"] == 5e-3
    assert metrics["outcome"] == "completed"
    assert (metrics["iterations"], metrics["checks"], metrics["checks_failed"]) == (20, N_CHECKS, 0)
    assert 0 < metrics["checks_share"] < 1
    assert all(0 <= metrics["test"][name] <= 1 for name in ("average_precision", "roc_auc", "recall", "brier"))
    assert (proof["checks"], proof["first_iteration"], proof["last_iteration"]) == (4, 5, 20)
    assert np.load(out / "parameters.npz")["W1"].shape == (7, 9)


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_folder_that_cannot_be_is_refused_before_the_training(place: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert main([*SMALL, "--out", str(tmp_path / place)]) == 2
    assert re.fullmatch(
        r".*--out cannot be written\. Expected a folder.*Received .* is a file.*\n", capsys.readouterr().err
    )
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_an_earlier_run_is_replaced_only_on_request(tmp_path: Path, capsys: Captured) -> None:
    main([*SMALL, "--bug", "dW2", "--out", str(tmp_path)])
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    before = (tmp_path / "metrics.json").read_bytes()
    capsys.readouterr()
    assert main([*SMALL, "--out", str(tmp_path)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert (tmp_path / "metrics.json").read_bytes() == before
    assert main([*SMALL, "--out", str(tmp_path), "--overwrite"]) == 0
    assert names(tmp_path) == KEPT | {"notes.txt"}
    assert load(tmp_path / "report.json")["verdict"] == "PASS"  # none left of the halt
    assert main([*SMALL, "--check-every", "0", "--out", str(tmp_path), "--overwrite"]) == 0
    assert names(tmp_path) == BEGUN | {"curve.json", "model.npz", "notes.txt"}


def test_a_violation_alone_is_an_earlier_run(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "violation-000005.npz").write_text("a finding", encoding="utf-8")
    assert main([*SMALL, "--out", str(tmp_path)]) == 2
    assert "Received" in capsys.readouterr().err
    assert names(tmp_path) == {"violation-000005.npz"}


def test_a_write_that_fails_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json("metrics.json", {"difference": float("nan"), "rows": np.int64(3)})

    def full(*paths: object, **folders: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        folder.write_json("metrics.json", {})
    assert names(tmp_path) == {"metrics.json"}
    assert load(tmp_path / "metrics.json") == {"difference": "nan", "rows": 3}


def test_a_halt_leaves_everything_but_invented_metrics(tmp_path: Path) -> None:
    main([*SMALL, "--bug", "dW2", "--out", str(tmp_path)])
    assert names(tmp_path) == CHECKED | {"violation-000001.npz"}
    metrics = load(tmp_path / "metrics.json")
    assert (metrics["outcome"], metrics["test"], metrics["checks_failed"]) == ("halted", None, 1)
    assert load(tmp_path / "proof.json")["failures"][0]["tensor"] == "W2"
    assert load(tmp_path / "report.json")["culprits"] == ["W2"]
    *_, halted, end = History.read(tmp_path / "history.jsonl")
    assert (halted["iteration"], halted["verdict"], halted["ratio"]) == (1, "FAIL", pytest.approx(2.0))
    assert end["outcome"] == "halted"


def test_a_halt_keeps_the_parameters_from_before_the_suspect_update(tmp_path: Path) -> None:
    main([*SMALL, "--bug", "dW2", "--bug-after", "5", "--out", str(tmp_path)])
    settings = parse(SMALL)
    data = make_fraud(1000, 9).train
    trainer = Trainer(
        network_of(settings, 9)[0], optimizer=Adam(5e-3), batch_size=64, callbacks=[StopBeforeUpdateFive()]
    )
    trainer.fit(data.inputs, data.targets)
    kept = np.load(tmp_path / "parameters.npz")
    assert list(kept) == list(trainer.parameters)
    assert all(np.array_equal(kept[name], trainer.parameters[name]) for name in kept)


def test_an_interrupted_run_keeps_what_it_achieved(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fraud, "ProgressBar", InterruptedAtSeven)
    assert main([*SMALL, "--out", str(tmp_path)]) == 130
    shown = capsys.readouterr()
    assert shown.out == ""
    kept = f"Interrupted after 6 iterations. What was achieved until then is in {tmp_path}; --resume goes on."
    assert shown.err.splitlines()[-1] == kept
    assert names(tmp_path) == CHECKED
    metrics = load(tmp_path / "metrics.json")
    assert (metrics["outcome"], metrics["iterations"], metrics["test"]) == ("interrupted", 6, None)
    assert load(tmp_path / "proof.json")["last_iteration"] == 5
