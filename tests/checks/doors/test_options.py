"""The doors are small, and take the same options, which one place defines."""

import inspect
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from scipy.optimize import rosen_der, rosen_hess

import checks
from checks.options import Asked

DOORS = {
    "check_vjp": (np.sin, lambda g, x: g * np.cos(x), np.ones(3)),
    "check_layer": (lambda x: (np.sin(x), x), lambda g, x: g * np.cos(x), np.ones(3)),
    "check_jvp": (np.sin, lambda x, t: t * np.cos(x), np.ones(3)),
    "check_jacobian": (np.sin, lambda x: np.diag(np.cos(x)), np.ones(3)),
    "check_hessian": (rosen_der, rosen_hess, np.array([1.3, 0.7, 0.8])),
}
every_door = pytest.mark.parametrize("door", DOORS)


def test_no_door_is_long():
    files = sorted((Path(checks.__file__).parent / "doors").rglob("*.py"))
    assert {file.stem for file in files} >= {door.removeprefix("check_") for door in DOORS}
    assert [file.name for file in files if len(file.read_text(encoding="utf-8").splitlines()) > 120] == []


@every_door
def test_no_door_spells_out_an_option(door):
    parameters = inspect.signature(getattr(checks, door)).parameters
    assert parameters["options"].annotation == Unpack[Asked]
    assert not set(parameters) & set(Asked.__annotations__)


@every_door
def test_every_option_reaches_the_check(door):
    call = getattr(checks, door)
    for coverage in ("full", "directions"):
        how = {"coverage": coverage, "derivative": "central", "threshold": 1e-6, "step": 1e-4}
        report = call(*DOORS[door], **how, rng=np.random.default_rng(0), n_jobs=1)
        assert {name: getattr(report, name) for name in how} == how
        assert report.verdict is checks.Verdict.PASS


@every_door
@pytest.mark.parametrize(
    "strange",
    [
        {"coverage": "half"},
        {"derivative": "both"},
        {"threshold": 2.0},
        {"step": "a"},
        {"rng": 3},
        {"n_jobs": 0},
        {"k": 1},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused(door, strange):
    with pytest.raises((TypeError, ValueError), match=r"Expected .* Received "):
        getattr(checks, door)(*DOORS[door], **strange)


@every_door
def test_full_coverage_is_the_same_each_time_and_directions_are_fresh(door):
    call = getattr(checks, door)
    losses = [[call(*DOORS[door], coverage=c).loss for _ in range(2)] for c in ("full", "directions")]
    assert losses[0][0] == losses[0][1]
    assert losses[1][0] != losses[1][1]
