"""The library loads no more than it is asked for: the trainer with its callback, and that alone."""

import subprocess
import sys

import pytest

import checks


def loaded_by(code):
    """Return the names of the modules that a fresh process has loaded after this code."""
    code += "; import sys; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_checks_alone_loads_nothing_of_the_trainer_until_its_callback_is_asked_for():
    assert not [name for name in loaded_by("import checks") if name.partition(".")[0] == "trainer"]
    assert "trainer" in loaded_by("import checks; checks.GradientCheck")
    with pytest.raises(AttributeError, match="no attribute 'GradientChek'"):
        checks.GradientChek  # noqa: B018


def test_what_keeps_a_violation_is_loaded_only_when_a_check_has_failed():
    assert not [name for name in loaded_by("from checks import GradientCheck") if "violation" in name]


def test_starting_loads_nothing_dear_that_numpy_has_not_loaded_itself():
    of_numpy = set(loaded_by("import numpy"))
    dear = {"numpy.random", "numpy.ma", "statistics", "sklearn", "scipy", "tqdm", "html"} - of_numpy
    assert not dear & set(loaded_by("import checks, trainer"))
    assert "logging" in of_numpy or "logging" not in loaded_by("import checks")
    code = "from checks import GradientCheckHook, GradientCheck, Proof; import checks; assert 'Proof' in checks.__all__"
    assert {"logging", "checks.hook"} <= set(loaded_by(code))
