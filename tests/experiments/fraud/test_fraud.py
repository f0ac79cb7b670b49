"""The main job as its users meet it: what it finds, how it ends, and with which exit code."""

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.fraud import main as fraud
from experiments.fraud.main import main
from experiments.model import FraudModel
from experiments.report.page import headline
from experiments.runs.reading import read_run
from experiments.screen import HEIGHT, WIDTH

SMALL = shlex.split(
    "--samples=1000 --features=9 --hidden 7 5 --epochs=2 --batch-size=64 --check-every=5 --no-report --baselines=off"
)
N_CHECKS = 4  # in 20 iterations
COMPILED = pytest.mark.skipif(find_spec("numba") is None, reason="the extra `fast` is not installed")
Captured = pytest.CaptureFixture[str]


def load(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_a_run_ends_with_the_test_rows_the_cost_and_the_proof(capsys: Captured) -> None:
    assert main(SMALL) == 0
    shown = capsys.readouterr().out
    for words in (
        "average precision  ",
        "ROC AUC  ",
        "recall  ",
        "chosen on the validation rows for a precision",
        "kept is epoch ",
        "20 iterations in ",
        "4 gradient checks",
    ):
        assert words in shown
    assert re.search(r"took [\d.]+ s of it, \d+%", shown)
    assert "compared 4 times" in " ".join(shown.partition("Proof:")[2].split())
    assert max(map(len, shown.splitlines())) <= WIDTH


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    for name, seed in (("one", "3"), ("two", "3"), ("other", "4")):
        main([*SMALL, "--seed", seed, "--out", str(tmp_path / name)])
    one, two, other = (np.load(tmp_path / name / "parameters.npz")["W1"] for name in ("one", "two", "other"))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_halt_exits_with_1_and_a_report_on_one_screen(tmp_path: Path, capsys: Captured) -> None:
    assert main([*SMALL, "--bug", "dW2", "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    report = shown.err.partition("\n\n")[2].splitlines()
    assert report[0] == "Training halted at iteration 1."
    assert len(report) <= HEIGHT
    assert max(map(len, report)) <= WIDTH
    assert re.search(r"Look here first: W2\[\d, \d\], gradient -?[\d.e-]+, numerical -?[\d.e-]+, ratio 2\.", shown.err)


@pytest.mark.parametrize(("after", "caught"), [(0, 1), (2, 5), (5, 5), (6, 10), (11, 15)])
def test_a_late_mistake_halts_at_the_first_check_after_it(after: int, caught: int, capsys: Captured) -> None:
    assert main([*SMALL, "--bug", "sign", "--bug-after", str(after)]) == 1
    assert f"Training halted at iteration {caught}." in capsys.readouterr().err


def test_without_the_applied_gradient_the_first_check_is_the_kth_iteration(tmp_path: Path, capsys: Captured) -> None:
    assert main([*SMALL, "--bug", "sign", "--check-applied", "off", "--out", str(tmp_path)]) == 1
    assert "Training halted at iteration 5." in capsys.readouterr().err
    assert "applied" not in load(tmp_path / "report.json")
    assert (
        "that were applied are those of their batches was not looked at" in load(tmp_path / "proof.json")["paragraph"]
    )


def test_both_questions_are_in_the_log_the_history_and_what_is_kept(tmp_path: Path, capsys: Captured) -> None:
    assert main([*SMALL, "--dtype", "float32", "--out", str(tmp_path)]) == 0
    assert re.search(r"iteration 5 .*PASS .*  applied \d\.\de-0\d$", capsys.readouterr().err, re.MULTILINE)
    applied, proof = load(tmp_path / "report.json")["applied"], load(tmp_path / "proof.json")
    assert (applied["verdict"], applied["dtype"]) == ("PASS", "float32")
    assert (proof["applied"]["checks"], proof["applied"]["passed"], proof["applied"]["failed"]) == (5, 5, 0)
    assert proof["applied"]["batch_sizes"] == [24, 64]  # and so is the last batch of an epoch
    assert (
        "was compared 5 times, at iterations 1 to 20, in float32, on its batch of 24 and 64 rows" in proof["paragraph"]
    )
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["iteration"] for row in rows if row.get("applied_verdict") == "PASS"] == [1, 5, 10, 15, 20]


def test_the_mistakes_of_the_exercise_are_found_together(tmp_path: Path) -> None:
    assert main([*SMALL, "--bug", "notebook", "--out", str(tmp_path)]) == 1
    assert load(tmp_path / "report.json")["culprits"] == ["W2", "b1"]


def test_a_mistake_in_dropout_is_found_on_the_batch_or_by_a_frozen_mask_and_announced_as_unseen_without(
    capsys: Captured,
) -> None:
    mistaken = [*SMALL, "--bug", "dropout-unscaled"]
    assert main([*mistaken, "--check-applied", "off"]) == 0
    assert "--check-applied on can" in capsys.readouterr().err
    assert main([*mistaken, "--check-applied", "off", "--check-dropout", "frozen"]) == 1
    assert main(mistaken) == 1
    shown = capsys.readouterr().err
    assert "can" not in shown.partition("Training halted at iteration 1.")[0].split()
    assert "(backprop is wrong on this batch)" in shown


def test_a_failure_of_the_second_question_alone_is_counted_and_said(capsys: Captured) -> None:
    assert main([*SMALL, "--bug", "dropout-unscaled", "--on-failure", "log"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("DO NOT TRUST THIS MODEL: 5 of 5 gradient checks FAILED; the run went on")
    assert "It is WRONG: at iteration 1 the check failed" in shown


def test_on_failure_stop_ends_in_good_order_and_exits_with_1(tmp_path: Path, capsys: Captured) -> None:
    assert main([*SMALL, "--bug", "sign", "--on-failure", "stop", "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "Training stopped at iteration 1." in shown.err
    assert shown.out.startswith("DO NOT TRUST THIS MODEL: 1 of 1 gradient checks FAILED")
    metrics = load(tmp_path / "metrics.json")
    assert metrics["outcome"] == "stopped"
    assert metrics["test"] is not None


def test_on_failure_log_goes_on_exits_with_0_and_says_so(capsys: Captured) -> None:
    assert main([*SMALL, "--bug", "sign", "--on-failure", "log"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("DO NOT TRUST THIS MODEL: 5 of 5 gradient checks FAILED; the run went on")
    assert shown.err.count("ERROR") == N_CHECKS + 1  # and the first batch


def test_a_run_without_checks_proves_nothing_and_says_so(capsys: Captured) -> None:
    assert main([*SMALL, "--check-every", "0"]) == 0
    shown = capsys.readouterr()
    assert "nothing is shown about the back-propagation" in shown.out
    assert "WARNING --check-every 0" in shown.err


def test_checks_that_the_run_never_reaches_are_warned_of(capsys: Captured) -> None:
    assert main([*SMALL, "--check-every", "21", "--check-applied", "off"]) == 0
    assert "nothing is checked, for the last iteration is 20" in capsys.readouterr().err
    assert main([*SMALL, "--check-every", "21"]) == 0
    shown = capsys.readouterr()
    assert "only the first batches are checked, for the last iteration is 20" in shown.err
    assert "compared 2 times, at iterations 1 to 10" in " ".join(shown.out.split())


@pytest.mark.parametrize(
    "options",
    [
        "--coverage directions",
        "--derivative complex --terms",
        "--check-dropout frozen",
        "--dtype float32 --optimizer sgd",
        pytest.param("--compiled --dtype float32", marks=COMPILED),
        "--activation tanh --dropout 0 --l2 0 --positive-weight 5",
        "--hidden",
        "--hidden 7 5 3 --check-rows 7 --threshold 1e-6 --step 1e-6",
    ],
)
def test_a_correct_network_is_never_halted(options: str, tmp_path: Path) -> None:
    assert main([*SMALL, *options.split(), "--out", str(tmp_path)]) == 0
    metrics = load(tmp_path / "metrics.json")
    assert (metrics["checks"], metrics["checks_failed"]) == (N_CHECKS, 0)


@COMPILED
def test_a_compiled_run_ends_where_the_other_does_and_a_planted_mistake_halts_it(
    tmp_path: Path, capsys: Captured
) -> None:
    for name, options in (("layers", []), ("compiled", ["--compiled"])):
        assert main([*SMALL, *options, "--out", str(tmp_path / name)]) == 0
        assert (", float64, compiled" in capsys.readouterr().err) == bool(options)
    with (
        np.load(tmp_path / "layers" / "parameters.npz") as plain,
        np.load(tmp_path / "compiled" / "parameters.npz") as mine,
    ):
        for name in plain:
            np.testing.assert_allclose(mine[name], plain[name], rtol=0, atol=1e-9)
    assert main([*SMALL, "--compiled", "--bug", "dW2"]) == 1
    assert "FAIL (wrong gradient)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "before the training"),
        (MemoryError("Unable to allocate 224 GiB"), 2, "not enough memory"),
    ],
)
def test_an_end_before_the_training_is_one_line_and_leaves_nothing(
    error: BaseException, code: int, words: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(fraud, "payments_of", fail)
    assert main([*SMALL, "--out", str(tmp_path / "run")]) == code
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


DIVERGING = {
    "at the first step": "--learning-rate 1e300",
    "unchecked": "--learning-rate 1e300 --check-every 0",
    "checked at every step": "--learning-rate 1e300 --check-every 1 --coverage directions",
    "in float32": "--learning-rate 1e5 --optimizer sgd --dtype float32",
}


# No wrong gradient, which would be exit code 1, but steps that are too large; a check sees NaN in neither case.
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("options", DIVERGING.values(), ids=DIVERGING)
@pytest.mark.parametrize("compiled", ["", pytest.param("--compiled", marks=COMPILED)])
def test_a_training_that_diverges_is_bad_input_and_no_wrong_gradient(
    options: str, compiled: str, tmp_path: Path, capsys: Captured
) -> None:
    command = [*SMALL, *options.split(), *compiled.split(), "--out", str(tmp_path)]
    assert main(command) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert re.search(r"error: the training diverged\. Expected .* Received --learning-rate 1", line)
    for name in ("run.json", "metrics.json"):
        assert load(tmp_path / name)["outcome"] == "diverged"
    record = read_run(tmp_path)
    assert headline(record).sentence == f"The training diverged after {record.metrics.iterations} iterations"
    history = (tmp_path / "history.jsonl").read_text().splitlines()[:-1]
    assert main([*command, "--resume"]) == 2  # it goes on from its checkpoint, if there is one, and diverges again
    assert "the training diverged" in capsys.readouterr().err.splitlines()[-1]
    assert len((tmp_path / "history.jsonl").read_text().splitlines()[:-1]) == len(history)


def test_outputs_that_are_not_finite_are_a_divergence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(FraudModel, "probabilities", lambda model, rows, **_: np.full(len(rows), np.nan))
    assert main([*SMALL, "--out", str(tmp_path)]) == 2
    assert "the training diverged" in capsys.readouterr().err.splitlines()[-1]
    metrics = load(tmp_path / "metrics.json")
    assert (metrics["outcome"], metrics["reason"]) == ("diverged", "the outputs are not finite")
