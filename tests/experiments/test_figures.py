"""What a campaign has measured is held against what it must be, shown, and kept."""

import json
import subprocess
import sys

import numpy as np
import pytest

from experiments.figures import Figure, campaign_parser, compared, present, table, versions


@pytest.mark.parametrize(
    ("lower", "value", "met", "aim_met"),
    [(False, 4.0, True, True), (False, 2.9, False, False), (True, 3.5, False, True), (True, 3.0, True, True)],
)
def test_a_figure_says_whether_its_goals_are_reached(lower, value, met, aim_met):
    figure = compared("figure", (value, value, value), 3.0, 4.0, lower=lower)
    assert (figure.met, figure.aim_met) == (met, aim_met)
    assert compared("figure", (value, value, value)).met is None
    words = {True: "yes", False: "**no**"}
    assert table([figure]).endswith(f" | {words[met]}, aim {words[aim_met]} |")
    assert "×" in table([figure])


def test_not_a_number_reaches_nothing():
    assert compared("figure", (float("nan"), 0, 0), 3.0).met is False
    assert compared("figure", (float("nan"), 0, 0), 3.0, lower=True).met is False


def test_the_table_has_no_column_that_would_be_empty():
    shown, judged = Figure("shown", "3 of 4"), Figure("judged", "4 of 4", "all", True)
    assert table([shown]) == "| figure | measured |\n|---|---|\n| shown | 3 of 4 |"
    assert table([shown, judged]).splitlines()[2:] == ["| shown | 3 of 4 |  |  |", "| judged | 4 of 4 | all | yes |"]


@pytest.mark.parametrize(("met", "code"), [(True, 0), (None, 0), (False, 1)])
def test_figures_are_kept_with_what_they_depend_on_and_a_miss_is_exit_code_1(met, code, tmp_path, capsys):
    file = tmp_path / "figures.json"
    figure = Figure("figure", "3", "4", met, numbers={"value": 3})
    assert present([figure], ["a detail"], file, {"seed": 7}, outcomes=[1, 2]) == code
    printed, written = capsys.readouterr().out, json.loads(file.read_text())
    assert "| figure | 3 | 4 |" in printed
    assert "\na detail\n" in printed
    assert "seed 7" in printed
    assert written["figures"][0]["numbers"] == {"value": 3}
    assert (written["seed"], written["outcomes"]) == (7, [1, 2])
    assert written["versions"] == versions()


def test_versions_name_the_machine_the_interpreter_and_the_packages():
    assert versions()["numpy"] == np.__version__
    assert {"python", "processor", "cores", "system", "scikit-learn"} <= versions().keys()


def test_a_file_in_no_folder_is_refused_before_anything_runs(capsys):
    with pytest.raises(SystemExit) as caught:
        campaign_parser("mutants", "what it does", "how quick").parse_args(["--json", "no/such/folder"])
    assert caught.value.code == 2
    assert "Expected an existing folder. Received no/such." in capsys.readouterr().err


@pytest.mark.parametrize("module", ["mutants.main", "crash.main", "speed.main", "mapped"])
def test_a_campaign_explains_itself_before_it_loads_what_takes_seconds(module):
    source = f"import sys, experiments.{module} as m\ntry: m.main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert "usage: python -m experiments." in done.stdout
    assert not set(done.stdout.split()) & {"sklearn", "scipy", "numba", "torch", "jax", "hypothesis", "matplotlib"}
