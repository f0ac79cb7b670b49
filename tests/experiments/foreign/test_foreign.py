"""The campaign on other people's functions: its figures are met, it repeats itself, and it can fail."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from checks import Verdict, check_gradients
from experiments.foreign import counting, families, judging, main, special
from experiments.foreign.planting import is_shown
from experiments.foreign.sample import Unit, seeded

ROOT = Path(__file__).parents[3]

#: A process of its own: torch's test modules set much that is for the whole process.
RUN = """
import json, sys
from experiments.foreign import main
code = main.main(["--quick", "--verbose", "--json", sys.argv[1]])
again = [main.run_unit(unit) for part in ("lax", "operators", "special") for unit in main.units(part, 0, True)[-1:]]
print("AGAIN", json.dumps(sum(again, [])))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Run the quick campaign once: exit code, what it printed, and what it kept."""
    for package in ("torch", "scipy", "jax"):
        pytest.importorskip(package, reason=f"{package} is not installed: the extra peers brings it")
    file = tmp_path_factory.mktemp("foreign") / "figures.json"
    command = [sys.executable, "-c", RUN, str(file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert file.exists(), done.stderr
    return done.returncode, done.stdout, json.loads(file.read_text(encoding="utf-8"))


def test_the_quick_campaign_asks_everybody_of_every_part(quick):
    _, printed, kept = quick
    assert "| figure | measured | must be | met |" in printed
    outcomes = kept["outcomes"]
    asked = {(o["part"], o["what"], o["checker"]) for o in outcomes if "checker" in o and o["what"] != "apart"}
    for part, peers in main.PEERS.items():
        for what in ("right", "wrong"):
            assert {(part, what, name) for name in ("backproof", *peers)} <= asked
    assert {o["coverage"] for o in outcomes if o.get("checker") == "backproof"} == {"full", "directions"}
    assert {"×1.01", "one entry ×2", "one entry 0", "one term dropped"} <= {o.get("mistake") for o in outcomes}
    assert all(o["size"] > 1e-5 for o in outcomes if o["what"] == "wrong")


def test_the_same_unit_alone_gives_the_same_answers_as_among_others(quick):
    _, printed, kept = quick
    again = json.loads(next(line for line in printed.splitlines() if line.startswith("AGAIN")).removeprefix("AGAIN"))
    for o in (*again, *kept["outcomes"]):
        o.pop("seconds", None)
    names = {o["name"] for o in again}
    assert len(names) >= 3
    assert json.dumps(again, sort_keys=True) == json.dumps(
        sorted(
            (o for o in kept["outcomes"] if o["name"] in names),
            key=lambda o: ["lax", "operators", "special"].index(o["part"]),
        ),
        sort_keys=True,
    )


def test_the_quick_campaign_meets_every_figure(quick):
    code, _, kept = quick
    missed = [f"{figure['name']}: {figure['measured']}" for figure in kept["figures"] if figure["met"] is False]
    assert not missed, "\n".join(missed)
    assert code == 0


@pytest.mark.parametrize("part", main.NEEDS)
def test_a_part_whose_extra_is_missing_is_refused_in_one_line(part, monkeypatch, capsys):
    monkeypatch.setattr(main, "find_spec", lambda name: None)
    assert main.main(["--only", part]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert main.NEEDS[part][0] in said
    assert "pip install 'backproof[peers]'" in said


def judged_with(monkeypatch, verdict, key="rate cross-entropy of logits 3"):
    """Judge the samples of one unit by a check that always says the same."""

    def says(loss, gradients, point, **options):
        report = check_gradients(lambda x: x * x, lambda x: 2.0 * x, 3.0)
        changed = {name: replace(tensor, verdict=verdict) for name, tensor in report.tensors.items()}
        return replace(report, tensors=report.tensors.with_rows(changed))

    if verdict is not None:
        monkeypatch.setattr(judging, "check_gradients", says)
    unit = Unit("families", key, 0, quick=True)
    return [o for sample in families.samples(unit) for o in judging.judged(sample, 0, {})]


def missed(outcomes):
    return {figure.name for figure in counting.figures(outcomes, quick=True) if figure.met is False}


def test_a_check_that_passes_everything_misses_what_is_planted(monkeypatch):
    assert missed(judged_with(monkeypatch, None)) == set()
    assert missed(judged_with(monkeypatch, Verdict.PASS)) == {
        "PASS on planted mistakes, of all parts and both coverages"
    }


def test_a_check_that_fails_everything_raises_false_alarms(monkeypatch):
    assert "rates: FAIL on right gradients" in missed(judged_with(monkeypatch, Verdict.FAIL))


def test_a_check_that_fails_everything_is_wrong_of_some_kinds_and_one_that_passes_everything_of_others(monkeypatch):
    for verdict in (Verdict.PASS, Verdict.FAIL):
        assert "kinds: the verdict that is right there" in missed(judged_with(monkeypatch, verdict, "kinds"))


def test_a_crash_of_the_check_is_counted_and_told(monkeypatch):
    def crashes(*arguments, **options):
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(judging, "check_gradients", crashes)
    outcomes = judged_with(monkeypatch, None)
    assert "rates: FAIL on right gradients" in missed(outcomes)
    assert any(
        line.startswith("CRASH") and "ZeroDivisionError" in line for line in counting.details(outcomes, verbose=False)
    )


def test_a_loss_that_is_no_function_of_its_parameters_is_set_apart():
    rng = np.random.default_rng(5)
    sample = next(iter(families.samples(Unit("families", "rate cross-entropy of logits 3", 0, quick=True))))
    random = replace(sample, loss=lambda tensors: sample.loss(tensors) + rng.normal())
    assert [(o["what"], o["reason"]) for o in judging.judged(random, 0, {})] == [("apart", "not deterministic")]


def extrapolated(loss, point, name):
    """Read the last slope by Richardson's extrapolation from steps that are short against the parameter."""

    def at(step):
        moved = {key: value.copy() for key, value in point.items()}
        moved[name].reshape(-1)[-1] += step
        return float(np.real(loss(moved)))

    step = 2e-3 * abs(float(point[name].reshape(-1)[-1]))
    rows = [(at(h) - at(-h)) / (2 * h) for h in (step, step / 2, step / 4)]
    firsts = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(rows)]
    return (16 * firsts[1] - firsts[0]) / 15


def test_the_derivatives_of_special_functions_are_right_at_ordinary_points():
    pytest.importorskip("scipy", reason="scipy is not installed: the extra peers brings it")
    tried = 0
    for unit in special.units(0, quick=False):
        sample = next(special.samples(unit))
        gradient = sample.gradients(sample.point)
        for name in sample.point:
            size = float(np.max(np.abs(gradient[name])))
            found = extrapolated(sample.loss, sample.point, name)
            assert gradient[name].reshape(-1)[-1] == pytest.approx(found, rel=1e-6, abs=1e-6 * size), sample.name
            tried += 1
    assert tried > 100


def test_the_gradients_of_the_families_are_right_to_a_part_of_a_percent():
    """A mistake of 1 %, or of one half where the loss is float32, is shown only beside a right gradient."""
    for unit in families.units(0, quick=False):
        if unit.key == "kinds":
            continue
        sample = next(families.samples(unit))
        wrong = {
            name: (1.5 if "float32" in unit.key else 1.01) * each
            for name, each in sample.gradients(sample.point).items()
        }
        assert is_shown(sample, wrong), sample.name


def test_points_hang_on_the_seed_and_the_name_alone():
    one, other = seeded(3, "erf #0").normal(size=5), seeded(3, "erf #0").normal(size=5)
    assert (one == other).all()
    assert (one != seeded(4, "erf #0").normal(size=5)).all()
    assert (one != seeded(3, "erf #1").normal(size=5)).all()


def test_the_whole_campaign_is_as_large_as_it_says():
    assert len(families.RATES) == 8
    assert sum(len(scales) for _, scales in families.RATES.values()) * families.SEEDS == 760
    assert len(families.BENDS) * len(families.NEAR) * len(families.FACTORS) == 264
    assert len(families.NOISES) * families.PROCESSES * len(judging.COVERAGES) == 600
