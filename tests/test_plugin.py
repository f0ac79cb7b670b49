"""The pytest plugin: what it shows after a suite that checks gradients, and that no other suite notices it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pytest_backproof
from checks import GradientCheck, GradientCheckHook, check_gradients, check_jvp, check_layer, check_vjp
from datasets import make_fraud
from trainer import Network, Trainer

ROOT = Path(__file__).parents[1]

SUITE = """
import numpy as np
import pytest
from checks import assert_gradients

@pytest.fixture
def checked():
    assert_gradients(lambda x: x**3, lambda x: 3 * x**2, 2.0)

def test_right(checked):
    pass

@pytest.mark.parametrize("n", [5, 7])
def test_many(n):
    for _ in range(3):
        assert_gradients(
            lambda p: p["w"] @ p["w"] + 0 * p["b"], lambda p: {"w": 2 * p["w"], "b": 0.0}, {"w": np.ones(n), "b": 1.0}
        )

def test_wrong():
    assert_gradients(lambda x: x**3, lambda x: 2 * x**2, 2.0)

def test_coverage_that_is_named():
    assert_gradients(lambda x: x @ x, lambda x: 2 * x, np.ones(3), coverage="full")
"""

OTHER = """
import sys

def test_nothing_was_loaded():
    assert not {"checks", "numpy", "trainer"} & set(sys.modules)
    assert "pytest_backproof" in sys.modules
"""


NAMED = "coverage_that_is_named"


def run(folder, *arguments):
    """Run pytest over a folder, in a process of its own, with the plugin; warnings are errors."""
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "pytest_backproof", "-W", "error", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take seconds to load
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def table(printed):
    """Give the rows under the headings, cell by cell."""
    _, _, below = printed.partition("= gradient checks =")
    lines = below.splitlines()[2:]
    return {cells[0]: cells[1:] for line in lines if len(cells := re.split(r"  +", line)) == 5}


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    return tmp_path


def test_a_table_says_which_checks_ran_what_they_exclude_and_what_was_not_exercised(suite):
    printed = run(suite)
    rows = table(printed)
    assert next(iter(rows)) == "test_suite.py::test_wrong"
    assert rows["test_suite.py::test_wrong"] == ["1", "FAIL", "-", "-"]
    assert rows["test_suite.py::test_many[5]"][:2] == rows["test_suite.py::test_many[7]"][:2] == ["3", "PASS"]
    assert rows["test_suite.py::test_many[7]"][3] == "b"
    assert re.fullmatch(r"\d\.\de-\d+ in w", rows["test_suite.py::test_many[7]"][2])
    assert rows["test_suite.py::test_right"][:2] == ["1", "PASS"]
    assert "9 gradient checks: 1 FAIL, 8 PASS" in printed
    assert "1 failed, 4 passed" in printed


def test_workers_send_what_they_hear_and_the_option_reaches_them(suite):
    rows = table(run(suite, "-p", "xdist", "-n", "2", "--gradients=directions"))
    assert set(rows) == {f"test_suite.py::test_{name}" for name in ("right", "many[5]", "many[7]", "wrong", NAMED)}
    assert rows["test_suite.py::test_many[5]"][0] == "3"
    assert {name for name, row in rows.items() if "(99%)" in row[2]} == {
        f"test_suite.py::test_{name}" for name in ("right", "many[5]", "many[7]")
    }


def test_it_can_be_left_out_and_then_everything_is_as_without_it(suite):
    printed = run(suite, "-p", "no:backproof")
    assert "gradient checks" not in printed
    assert "1 failed, 4 passed" in printed


def test_another_suite_sees_nothing_of_it_even_if_it_has_a_package_of_the_name_of_ours(tmp_path):
    (tmp_path / "test_other.py").write_text(OTHER, encoding="utf-8")
    (tmp_path / "checks.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    printed = run(tmp_path)
    assert "1 passed" in printed
    assert "gradient" not in printed


@pytest.fixture
def listening(monkeypatch):
    """Give what a suite of this process would hear."""

    def begin(coverage=None, verbosity=0):
        suite = pytest_backproof.Suite(coverage, verbosity)
        monkeypatch.setattr(pytest_backproof, "_suites", [suite])
        return suite

    return begin


def heard(suite):
    return [check for _, check in suite._heard]


def test_a_report_is_heard_once_whatever_it_was_made_of(listening):
    suite = listening()
    check_gradients(lambda x: x**3, lambda x: 3 * x**2, 2.0, terms={"a": (lambda x: x, lambda x: 1.0)})
    assert len(heard(suite)) == 1
    hook = GradientCheckHook(lambda w, x: ((x @ w) ** 2).sum(), every=1)
    weights, inputs = np.ones(3, np.float32), np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    for _ in range(5):
        hook(weights, 2 * inputs.T @ (inputs @ weights), inputs)
    assert len(heard(suite)) == 6
    assert heard(suite)[-1]["confidence"] < 1.0


def test_a_door_is_heard_once_in_its_own_words_and_takes_the_default_of_the_suite(listening):
    suite = listening("directions")
    weights = np.arange(15.0).reshape(5, 3) / 7.0
    check_vjp(lambda x: weights @ x, lambda g, x: (weights.T @ g,), (np.ones(3),))
    check_jvp(lambda x: weights @ x, lambda x, t: weights @ t, np.ones(3))
    right = check_layer(lambda x: (weights @ x, x), lambda g, x: (weights.T @ g,), (np.ones(3),))
    wrong = check_layer(lambda x: (weights @ x, x), lambda g, x: (2 * weights.T @ g,), (np.ones(3),))
    assert right.coverage == "directions"
    assert [check["verdict"] for check in heard(suite)] == ["PASS", "PASS", "PASS", str(wrong.verdict)]
    assert str(wrong.verdict) == "FAIL"
    assert heard(suite)[2]["excluded"] == max(right.excluded_errors().values())


def test_a_training_is_heard_check_by_check_and_its_default_is_that_of_the_suite(listening):
    suite = listening("directions")
    data = make_fraud(n_samples=500, n_features=5, fraud_rate=0.1, seed=0).train
    check = GradientCheck(every=2, rows=7)
    Trainer(Network((5, 3, 1)), batch_size=50, epochs=1, callbacks=[check]).fit(data.inputs, data.targets)
    assert len(heard(suite)) == check.proof.n_checks > 1
    assert check.options.coverage == "directions"
    assert GradientCheckHook(lambda p: 0.0).options.coverage == "directions"
    listening("full")
    assert GradientCheckHook(lambda p: 0.0).options.coverage == "full"


def test_of_many_rows_the_weakest_are_shown_and_all_on_request(listening):
    tables = []
    for verbosity in (-1, 0, 1):
        suite = listening(verbosity=verbosity)
        for place in range(33):
            suite.pytest_runtest_logstart(f"test_{place}")
            check_gradients(lambda x: x @ x, lambda x: 2 * x, np.ones(3) * 3.0**place)
        suite._add(suite._take())
        tables.append(suite.table())
    quiet, shown, whole = tables
    assert quiet == ["33 gradient checks: PASS"]
    assert len(whole) == 1 + 33 + 1
    assert shown[: pytest_backproof.SHOWN] == whole[: pytest_backproof.SHOWN]
    assert re.fullmatch(r"… and 13 more: PASS, excluding errors above \d\.\de-\d+; -v shows them", shown[-2])
