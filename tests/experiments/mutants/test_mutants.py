"""The campaign itself must be able to fail: each test weakens the check and sees a figure fall."""

import json
from dataclasses import replace

import numpy as np
import pytest

from checks import Cause
from checks.explain.mistake import Kind
from checks.judge import directions, examine, full, ladder
from checks.measure import objective, slopes
from experiments.bugs.bugs import BUGS
from experiments.bugs.planting import line
from experiments.mutants import campaign
from experiments.mutants import main as mutants
from experiments.mutants.campaign import run_unit
from experiments.mutants.units import Unit, full_units, quick_units

UNIT = Unit((7, 5, 3, 1), "tanh", "float64", True, 0, (300,), (17,), 1, 0, (300,))


def share(outcomes, name):
    return next(figure.numbers["share"] for figure in mutants.figures(outcomes) if figure.name == name)


def only(monkeypatch, *bugs):
    """Let the campaign plant these mistakes and no others."""
    monkeypatch.setattr(campaign, "BUGS", {bug.name: bug for bug in bugs})
    for bug in bugs:
        monkeypatch.setitem(BUGS, bug.name, bug)


def test_the_quick_campaign_meets_every_figure(capsys, tmp_path):
    assert mutants.main(["--quick", "--jobs", "1", "--json", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr().out
    assert "| FAIL on correct networks | 0 of" in printed
    written = json.loads((tmp_path / "figures.json").read_text())
    assert all(figure["met"] is not False for figure in written["figures"])
    assert len({o["bug"] for o in written["outcomes"] if o["what"] == "mutant" and "skipped" not in o}) >= 40
    assert "side by side" not in printed or written["versions"].keys() & {"torch", "jax", "autograd", "scipy"}


def test_a_json_file_in_no_folder_is_refused_before_anything_runs(capsys, tmp_path):
    with pytest.raises(SystemExit) as caught:
        mutants.main(["--quick", "--json", str(tmp_path / "no" / "figures.json")])
    assert caught.value.code == 2
    assert "Expected an existing folder" in capsys.readouterr().err


def test_a_direction_that_is_never_redrawn_is_seen_by_a_mistake_that_hides_from_it(monkeypatch):
    def fixed(size):
        return np.random.default_rng(11).standard_normal(size)

    def hide(gradient, parameter, strength):
        """Add an error at right angles to the part of the fixed direction that falls on W2."""
        size = 7 * 5 + 5 + 5 * 3 + 3 + 3 + 1
        seen = fixed(size)[40:55]
        error = np.random.default_rng(12).standard_normal(15)
        error -= seen * (seen @ error) / (seen @ seen)
        return gradient + 1e-3 * np.linalg.norm(gradient) * error.reshape(gradient.shape)

    bug = line("hidden", "an error that one direction does not see", hide, Kind.LINE, where=lambda n, layer: layer == 2)
    only(monkeypatch, bug)
    name = "mistakes found, directions, within 3 checks"
    assert share(run_unit(UNIT), name) == 1.0

    def never_redrawn(self, names):
        direction = np.zeros(self.objective.layout.size)
        for tensor in names:
            place = self.slices[tensor]
            direction[place] = self.reach[tensor] * fixed(direction.size)[place]
        return direction

    monkeypatch.setattr(directions.DirectionCheck, "_draw", never_redrawn)
    assert share(run_unit(UNIT), name) < 0.5


def without_complex_step(monkeypatch):
    for module in (examine, full, directions):
        monkeypatch.setattr(module, "confirm_complex", lambda objective, step: False)


def test_a_bound_that_is_far_too_large_lets_small_mistakes_through(monkeypatch):
    only(monkeypatch, line("tiny", "dW is a millionth too large", lambda g, w, l2: (1 + 1e-6) * g, Kind.SCALED))
    without_complex_step(monkeypatch)
    name = "mistakes found, full"
    assert share(run_unit(UNIT), name) == 1.0
    monkeypatch.setattr(ladder, "BOUND", 1e9 * ladder.BOUND)
    monkeypatch.setattr(objective, "ROUNDING", 1e4 * objective.ROUNDING)
    assert share(run_unit(UNIT), name) < 0.5


def test_a_kink_rule_that_accepts_everything_misses_mistakes(monkeypatch):
    bug = line("small", "dW is 1 % too large", lambda g, w, l2: 1.01 * g, Kind.SCALED)
    only(monkeypatch, bug)
    without_complex_step(monkeypatch)
    name = "mistakes found, full"
    assert share(run_unit(UNIT), name) == 1.0
    monkeypatch.setattr(ladder, "kink", lambda rungs: rungs[-1])
    monkeypatch.setattr(ladder, "CERTAIN", 1e12)
    assert share(run_unit(UNIT), name) < 0.5


def test_a_check_that_does_not_look_twice_raises_false_alarms(monkeypatch):
    """Without the examination, a coordinate that crosses a kink is a wrong gradient, as in the classic check."""
    trained = {"stages": (300,), "mutant_stages": (), "rows": (512,), "seed": 1}  # to where a quarter of them cross one
    unit = replace(UNIT, sizes=(7, 15, 13, 1), activation="relu", repeats=4, **trained)
    name = "FAIL on correct networks"
    assert share(run_unit(unit), name) == 0.0

    def believed(objective, direction, claimed, tolerance, step):
        slope = slopes.central_slope(objective, direction, step)
        cause = Cause.WRONG
        return ladder.Finding(cause, slope.value, slope.bound, step, "believed at first sight")

    for module in (full, directions):
        monkeypatch.setattr(module, "examine", believed)
    assert share(run_unit(unit), name) > 0.0


def test_the_full_campaign_covers_what_it_promises():
    units = full_units()
    checks_on_correct = sum(
        len(campaign.MODES) * (len(unit.stages) * len(unit.rows) * unit.repeats + unit.dead_checks) for unit in units
    )
    assert checks_on_correct >= 10_000
    assert {unit.sizes for unit in units} >= {(4, 5, 3, 1), (30, 64, 64, 1)}
    assert {stage for unit in units for stage in unit.stages} == {0, 300, 20_000}
    assert {rows for unit in units for rows in unit.rows} >= {3, 512}
    assert {unit.dtype for unit in units} == {"float32", "float64"}
    assert {unit.activation for unit in units} == {"relu", "tanh"}
    assert any(unit.dead_checks for unit in units)
    assert all(unit.sizes[1] <= 5 for unit in quick_units())
