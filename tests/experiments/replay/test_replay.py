"""Replay: the report that was shown is shown again, the case is checked again, and a fix is proven on it."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import GradientCheck
from checks.training.callback import TrainingHaltedByCheck
from experiments.bugs.bugs import plant
from experiments.fraud import main as fraud
from experiments.replay.main import main
from trainer import Callback, Network, Trainer, TrainState
from trainer.storage.archive import read_archive, write_archive

ROOT = Path(__file__).parents[3]
KEPT_BY_0_1 = ROOT / "tests" / "kept_by_0_1"
SMALL = (
    "--samples=400 --features=5 --hidden 5 3 --epochs=1 --batch-size=32 --check-every=2 --check-rows=16 --quiet"
    " --baselines=off --no-report"
)
COMPILED = pytest.mark.skipif(find_spec("numba") is None, reason="the extra `fast` is not installed")
Captured = pytest.CaptureFixture[str]

WRONG = """
from trainer import Network

class Net(Network):
    def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
        loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng, out)
        gradients["b1"][...] *= FACTOR
        return loss, gradients
"""


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let --against put the current folder in front, and take it and what came from there away again."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def halted_job(folder: Path, options: str = "--bug dW2") -> Path:
    assert fraud.main([*SMALL.split(), *options.split(), "--out", str(folder)]) == 1
    (kept,) = folder.glob("violation-*.npz")
    return kept


def halted_library(folder: Path, network: Network, **options: Any) -> tuple[Path, TrainingHaltedByCheck]:
    rng = np.random.default_rng(0)
    targets = rng.permutation((np.arange(60) < 20).astype(float))
    check = GradientCheck(2, rows=9, violations=folder, **options)
    with pytest.raises(TrainingHaltedByCheck) as caught:
        Trainer(network, callbacks=[check], batch_size=10).fit(rng.standard_normal((60, 5)), targets)
    assert caught.value.violation is not None
    return caught.value.violation, caught.value


def flat(shown: str) -> str:
    return " ".join(shown.split())


def flat_end(shown: str) -> str:
    before, word, end = shown.rpartition("\nReproduced ")
    return before + word + flat(end)


def one_line(shown: str) -> str:
    assert shown.count("\n") == 1, shown
    assert shown.startswith("python -m experiments.replay: error: ")
    assert shown.endswith(". See --help.\n")
    return shown


@pytest.mark.parametrize("network", ["Network", pytest.param("CompiledNetwork", marks=COMPILED)])
def test_a_violation_that_version_0_1_kept_is_replayed(network: str, capsys: Captured) -> None:
    kept = KEPT_BY_0_1 / f"violation-{network}.npz"
    assert re.match(r"trainer\.\w+:", read_archive(kept, "violation", 1).facts["network"]["class"])  # as modules were
    assert main([str(kept)]) == 0
    shown = flat(capsys.readouterr().out)
    assert f"trainer.{network} rebuilt from the record, with the planted mistake dW2" in shown
    assert "Reproduced" in shown
    assert shown.endswith(": FAIL (wrong gradient) in W2.")


@pytest.mark.parametrize("processor", [{}, {"OPENBLAS_CORETYPE": "Prescott"}], ids=["this one", "an old one"])
def test_the_replayed_report_is_the_one_that_was_shown_to_the_last_digit(
    processor: dict[str, str], tmp_path: Path, capsys: Captured
) -> None:
    kept = halted_job(tmp_path / "run", "--bug notebook --terms --dtype float32")
    shown = capsys.readouterr().err.partition("Training halted at iteration 1.\n")[2]
    assert "Look here first" in shown
    moved = tmp_path / "another machine" / "case.npz"
    moved.parent.mkdir()
    kept.rename(moved)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | processor
    replayed = subprocess.run(
        [sys.executable, "-m", "experiments.replay", moved.name],
        cwd=moved.parent,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert f"\n\n{shown}\nChecked again here" in replayed.stdout
    end = flat(replayed.stdout.partition("\nReproduced ")[2])
    told = "FAIL (wrong gradient) in W2, b1; the gradient about to be applied: FAIL (backprop is wrong on this batch)"
    assert end.endswith(f": {told}.")
    assert processor or end.startswith("to the last digit: ")


@pytest.mark.parametrize(
    "options",
    [
        "--bug dW2",
        "--bug db1 --coverage directions",
        "--bug sign --dtype float32 --terms",
        "--bug missing-mask --l2 0.01",
        "--bug loss-halved --coverage directions --terms",
        "--bug l2-forgotten --derivative complex",
        "--bug dropout-unscaled --check-dropout frozen",
        "--bug class-weight-forgotten --positive-weight 3",
        "--bug last-row --bug-after 2 --activation tanh",
        "--bug l2-sign --on-failure stop",
        "--bug dropout-unmasked --dtype float32",
        "--bug dW2 --check-applied off",
        pytest.param("--bug dW2 --compiled", marks=COMPILED),
    ],
)
def test_a_halt_of_the_main_job_is_reproduced_and_the_right_network_passes(
    options: str, tmp_path: Path, capsys: Captured
) -> None:
    kept = halted_job(tmp_path, options)
    capsys.readouterr()
    assert main([str(kept)]) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"\nReproduced to the last digit: (FAIL|PASS; the gradient about to be applied: FAIL)", flat_end(shown)
    )
    table = [line for line in shown.partition("Checked again here")[2].splitlines() if re.match(r"  [Wb]\d ", line)]
    assert len(table) == 6
    assert all(line.endswith("identical      identical") for line in table), shown
    assert ("the gradient about to be applied: FAIL" in flat(shown)) == ("off" not in options)
    assert main([str(kept), "--against", "trainer:Network"]) == 0
    assert "PASS in" in flat(capsys.readouterr().out).partition("Right on the case that failed at iteration ")[2]


def test_the_wrong_network_of_a_user_still_fails_and_the_corrected_one_passes_on_the_case_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_wrong.py").write_text(WRONG.replace("FACTOR", "4"), encoding="utf-8")
    (tmp_path / "mine_fixed.py").write_text(WRONG.replace("FACTOR", "1"), encoding="utf-8")
    space: dict[str, Any] = {"__name__": "mine_wrong"}
    exec(WRONG.replace("FACTOR", "4"), space)
    kept, error = halted_library(tmp_path, space["Net"]((5, 3, 1), l2=1e-2, positive_weight=2.0))
    assert main([str(kept)]) == 0
    shown = capsys.readouterr().out
    assert f"\n\n{error.report}\n\nNot checked again: its class was mine_wrong:Net" in shown
    assert "mine_wrong" not in sys.modules
    assert main([kept.name, "--against", "mine_wrong:Net"]) == 1
    shown = capsys.readouterr().out
    assert "against: mine_wrong:Net(layer_sizes=[5, 3, 1], activation='relu', dropout=0.0, l2=0.01" in shown
    told = r" NOT right on the case that failed at iteration 1, difference \S+: FAIL in b1, FAIL in the gradient about "
    assert re.search(told, flat(shown))
    assert main([kept.name, "--against", "mine_fixed:Net"]) == 0
    shown = capsys.readouterr().out
    assert "Gradient check: PASS" in shown
    told = r" Right on the case that failed at iteration 1, difference \S+e-1\d: PASS in b1, the gradient about to"
    assert re.search(told, flat(shown))


def test_the_corrected_network_gets_the_recorded_rows_parameters_and_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    mistaken, switch = plant(Network((5, 3, 1), dropout=0.4), "dropout-unscaled")
    switch.active = True
    kept, _ = halted_library(tmp_path, mistaken, dropout="frozen")
    code = "from trainer import Network\ndef make(layer_sizes):\n    return Network(layer_sizes{})\n"
    (tmp_path / "masked.py").write_text(code.format(", dropout=0.4"), encoding="utf-8")
    (tmp_path / "unmasked.py").write_text(code.format(""), encoding="utf-8")
    assert main([kept.name, "--against", "masked:make"]) == 0
    assert "another function" not in capsys.readouterr().out
    assert main([kept.name, "--against", "unmasked:make"]) == 0
    assert re.search(r"Note: its loss there is 0\.\d+, and was 0\.\d+: it is another function", capsys.readouterr().out)


def test_a_case_whose_masks_another_version_drew_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    kept = halted_job(tmp_path, "--bug dropout-unscaled --check-dropout frozen")
    capsys.readouterr()
    monkeypatch.setattr("trainer.network.layers.GAMMA", np.uint64(2**63 - 25))
    code = main([str(kept)])
    shown = flat(capsys.readouterr().out)
    assert "it is another function, or another version drew its dropout masks. " in shown
    assert ("NOT reproduced" if code else "Reproduced in its verdict, from other numbers") in shown


def test_what_a_callback_changed_is_blamed_on_no_network(tmp_path: Path, capsys: Captured) -> None:
    class Scaler(Callback):
        def on_gradients_computed(self, state: TrainState) -> None:
            state.gradients.vector *= 2.0

    for callbacks, blamed in (([Scaler(), None], "before"), ([None, Scaler()], "after")):
        rng = np.random.default_rng(0)
        targets = rng.permutation((np.arange(60) < 20).astype(float))
        check = GradientCheck(2, rows=9, violations=tmp_path / blamed)
        trainer = Trainer(Network((5, 3, 1)), callbacks=[own or check for own in callbacks], batch_size=10)
        with pytest.raises(TrainingHaltedByCheck) as caught:
            trainer.fit(rng.standard_normal((60, 5)), targets)
        assert f"callbacks {blamed} the check: Scaler" in flat(str(caught.value.report))
        kept = str(caught.value.violation)
        assert main([kept]) == 0
        shown = flat(capsys.readouterr().out)
        assert "FAIL (changed after backprop) then, PASS (agrees) here A callback changed the gradient" in shown
        assert shown.endswith("PASS; the gradient about to be applied: PASS (agrees).")
        assert main([kept, "--against", "trainer:Network"]) == 0
        shown = flat(capsys.readouterr().out)
        assert "Note: A callback changed the gradient after backprop. No network makes or mends that" in shown
        assert shown.endswith("PASS in the gradient about to be applied.")


def test_a_network_that_is_wrong_on_batches_only_is_told_from_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    on_batches = WRONG.replace("        gradients", "        if len(targets) == 10:\n            gradients")
    space: dict[str, Any] = {"__name__": "mine_wrong"}
    exec(on_batches.replace("FACTOR", "4"), space)
    (tmp_path / "ten_wrong.py").write_text(on_batches.replace("FACTOR", "4"), encoding="utf-8")
    (tmp_path / "ten_fixed.py").write_text(on_batches.replace("FACTOR", "1"), encoding="utf-8")
    kept, _ = halted_library(tmp_path, space["Net"]((5, 3, 1)))
    assert main([kept.name, "--against", "ten_wrong:Net"]) == 1
    assert flat(capsys.readouterr().out).endswith("FAIL in the gradient about to be applied.")
    assert main([kept.name, "--against", "ten_fixed:Net"]) == 0
    assert flat(capsys.readouterr().out).endswith("PASS in the gradient about to be applied.")


def test_an_instance_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = halted_job(tmp_path / "run")
    code = "from trainer import Network\nclass Place:\n    network = Network((5, 5, 3, 1), l2=1e-4)\n"
    (tmp_path / "instances.py").write_text(code, encoding="utf-8")
    assert main([str(kept), "--against", "instances:Place.network"]) == 0


def test_a_term_that_is_no_longer_there_is_not_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = halted_job(tmp_path / "run", "--bug sign --terms")
    (tmp_path / "no_l2.py").write_text(
        "from trainer import Network\nnetwork = Network((5, 5, 3, 1))\n", encoding="utf-8"
    )
    assert main([str(kept), "--against", "no_l2:network"]) == 1
    assert "not checked in W2 of term 'l2'." in flat(capsys.readouterr().out)


def test_terms_are_told_by_the_names_that_version_0_1_gave_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = halted_job(tmp_path / "run", "--bug sign --terms")
    archive = read_archive(kept, "violation", 1)
    terms = archive.facts["report"]["terms"]
    assert len(terms) == 3
    names = ("legitimate rows", "fraud rows", "l2")
    archive.facts["report"]["terms"] = dict(zip(names, terms.values(), strict=True))
    write_archive(kept, "violation", 1, archive.arrays, archive.facts)
    capsys.readouterr()
    assert main([str(kept)]) == 0
    assert "Reproduced to the last digit" in flat(capsys.readouterr().out)
    assert main([str(kept), "--against", "trainer:Network"]) == 0
    assert "PASS in W2, W2 of term 'legitimate rows', W2 of term 'fraud rows', W2 of term 'l2'" in flat(
        capsys.readouterr().out
    )


def test_a_mistake_that_the_file_cannot_hold_is_not_called_reproduced(tmp_path: Path, capsys: Captured) -> None:
    network = Network((5, 3, 1))
    right = network.loss_and_gradients

    def wrong(*arguments: Any) -> Any:
        loss, gradients = right(*arguments)
        gradients["W1"][...] *= 2.0
        return loss, gradients

    network.loss_and_gradients = wrong  # type: ignore[method-assign]
    kept, _ = halted_library(tmp_path, network)
    assert main([str(kept)]) == 1
    shown = capsys.readouterr().out
    told = "FAIL (wrong gradient) in W1; the gradient about to be applied: FAIL (backprop is wrong on this batch) then"
    assert f"NOT reproduced: {told}, PASS; the gradient about to be applied: PASS (agrees) here." in flat(shown)
    assert re.search(r"  W1 +FAIL +PASS +3\.3e-01 off +\S+e-1\d off\n", shown)


def test_numbers_of_another_machine_are_reproduced_but_for_last_digits(
    halted_once: Path, tmp_path: Path, capsys: Captured
) -> None:
    archive = read_archive(halted_once, "violation", 1)
    archive.arrays["gradients.W1"][0, 0] *= 1.0 + 1e-14
    write_archive(tmp_path / "other.npz", "violation", 1, archive.arrays, archive.facts)
    assert main([str(tmp_path / "other.npz")]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"  W1 +PASS +PASS +\d\.\de-1\d off +identical\n", shown)
    assert "Reproduced but for last digits, in which libraries and processors may differ: FAIL" in flat(shown)


def test_a_record_that_contradicts_itself_is_refused(halted_once: Path, tmp_path: Path, capsys: Captured) -> None:
    archive = read_archive(halted_once, "violation", 1)
    archive.facts["network"]["arguments"]["layer_sizes"] = [5, 4, 3, 1]
    write_archive(tmp_path / "forged.npz", "violation", 1, archive.arrays, archive.facts)
    assert main([str(tmp_path / "forged.npz")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "do not fit their network. Expected {'W1': (4, 5)" in one_line(shown.err)


def test_parts_of_its_own_are_named_and_not_rebuilt(tmp_path: Path, capsys: Captured) -> None:
    mistaken, switch = plant(Network((5, 3, 1)), "sign")
    switch.active = True
    kept, error = halted_library(tmp_path, mistaken)
    assert main([str(kept)]) == 0
    shown = capsys.readouterr().out
    assert f"\n\n{error.report}\n\n" in shown
    assert "Not checked again: it had parts of its own: experiments.bugs.wrong_parts:WrongPenalty." in shown


@pytest.mark.parametrize(
    ("code", "named", "words"),
    [
        ("", "bad", "names no network. Expected module:Network. Received 'bad'"),
        ("", "a/bad:Net", "names no network"),
        ("", "no_such_module:Net", "Received ModuleNotFoundError: No module named 'no_such_module'"),
        ("", "bad:Net", "is not there. Expected Net in"),
        ("def f(:", "bad:Net", "SyntaxError: invalid syntax (bad.py, line 1)"),
        ("import sys\nsys.exit(3)", "bad:Net", "Received SystemExit: 3 ("),
        ("import numpy as np\n\nnp.linalg.inv(np.zeros((2, 2)))", "bad:Net", "LinAlgError: Singular matrix ("),
        ("", "sys:exit", "makes no network. Expected one from sys:exit("),
        ("def Net(): raise SystemExit(0)", "bad:Net", "Received SystemExit: 0 ("),
        ("def __getattr__(name): raise SystemExit(0)", "bad:Net", "is not there. Expected Net in"),
        (
            "import sys\nclass Net:\n    def loss(self, *a): sys.exit(0)\n    loss_and_gradients = loss",
            "bad:Net",
            "cannot be checked on this case. Expected its loss and gradients there. Received SystemExit: 0 (",
        ),
        ("Net = 3", "bad:Net", "is no network. Expected the methods loss and loss_and_gradients"),
        ("class Net: pass", "bad:Net", "Received bad:Net"),
        (
            "def Net(layer_sizes):\n    raise KeyError('x')",
            "bad:Net",
            "Net(layer_sizes=(5, 5, 3, 1)). Received KeyError",
        ),
        ("def Net(first, second): pass", "bad:Net", "missing 2 required positional arguments"),
        (
            "from trainer import Network\nNet = Network((5, 3, 1))",
            "bad:Net",
            "does not fit the case. Expected {'W1': (5, 5)",
        ),
        (
            "class Net:\n    def loss(self, *a):\n        return {}[0]\n    loss_and_gradients = loss",
            "bad:Net",
            "Received KeyError: 0 (",
        ),
        (
            "class Net:\n    def loss(self, *a): return 1.0\n    def loss_and_gradients(self, *a): return 1.0, {}",
            "bad:Net",
            "gradients lack 'W1'",
        ),
    ],
)
def test_a_network_that_cannot_be_had_is_one_line(
    code: str,
    named: str,
    words: str,
    halted_once: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    (tmp_path / "bad.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([str(halted_once), "--against", named]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in one_line(shown.err)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import numpy as np\n\nnp.linalg.inv(np.zeros((2, 2)))", 3),
        ("from trainer import Network\nclass Net(Network):\n  def loss(self, p, *a):\n    super().loss({}, *a)", 4),
    ],
)
def test_the_line_that_is_named_is_the_users(
    code: str, line: int, halted_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "bad.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([str(halted_once), "--against", "bad:Net"]) == 2
    assert f"({tmp_path / 'bad.py'}, line {line})" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("arguments", [[], ["no such file"], ["."], ["text"], ["text", "--no-such-option"]])
def test_bad_input_is_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("not a violation", encoding="utf-8")
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    one_line(shown.err)


def test_ctrl_c_ends_it_with_130(halted_once: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.replay.main.read_violation", interrupted)
    assert main([str(halted_once)]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_help_says_what_the_exit_codes_mean(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for words in ("examples:", "exit codes:", "\n  0 ", "\n  1 ", "\n  2 ", "\n  130 ", "--against fixed:Network"):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.fixture(scope="module")
def halted_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halted_job(tmp_path_factory.mktemp("run"))


FORGED = 150
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    7,
    10**400,
    0.5,
    1e-320,
    float("inf"),
    float("nan"),
    "",
    "W1",
    "\x1b[31mred\x1b[0m\ud800",
    [],
    [[]],
    ["W1", "b1"],
    [10**9, 10**9, 1],
    {},
    {"W1": {}},
    json.loads("[" * 400 + "]" * 400),
]


def places(facts: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path to every value in nested data."""
    keys = facts if isinstance(facts, dict) else range(len(facts)) if isinstance(facts, list) else ()
    for key in keys:
        yield (*at, key)
        yield from places(facts[key], (*at, key))


def test_forged_facts_end_in_one_clear_line_or_a_replay_and_never_in_a_traceback(
    halted_once: Path, tmp_path: Path, capsys: Captured
) -> None:
    archive = read_archive(halted_once, "violation", 1)
    rng = np.random.default_rng(0)
    paths = list(places(archive.facts))
    forged = tmp_path / "forged.npz"
    ended: dict[int, int] = {0: 0, 1: 0, 2: 0}
    for number in rng.integers(len(paths), size=FORGED):
        facts = copy.deepcopy(archive.facts)
        *way, last = paths[number]
        holder: Any = facts
        for key in way:
            holder = holder[key]
        odd = int(rng.integers(-2, len(ODD)))
        if odd < 0:
            del holder[last]
        else:
            holder[last] = ODD[odd]
        try:
            write_archive(forged, "violation", 1, archive.arrays, facts)
        except UnicodeEncodeError:
            continue
        code = main([str(forged), *(["--against", "trainer:Network"] if rng.random() < 0.3 else [])])
        shown = capsys.readouterr()
        ended[code] += 1
        assert "\x1b" not in shown.out + shown.err
        if code == 2:
            assert shown.out == ""
            assert "Expected" in one_line(shown.err)
    assert ended[2] > FORGED // 5, ended
    assert ended[0] > FORGED // 10, ended
