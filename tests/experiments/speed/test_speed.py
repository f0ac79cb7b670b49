"""The benchmark runs, measures what it says, and would notice a miss; no time is judged here."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from checks import relative_difference
from checks.measure.slopes import numerical_gradient
from datasets import make_fraud
from experiments import mapped
from experiments.fraud.arguments import parse
from experiments.speed import growth
from experiments.speed import main as speed
from experiments.speed.checkers import callback_figures, exercise_gradient, probe_of
from experiments.speed.rivals import HAS_COMPILER, SIZES, own, products, rivals, wide_figures
from experiments.speed.shares import Timed, along_figures, main_job_figures
from experiments.speed.timing import quartiles, ratios, side_by_side
from trainer import Network, Trainer

DATA = make_fraud(1_000, 30, fraud_rate=0.2).train


def test_the_quick_version_gives_every_row_that_needs_no_extra(capsys, tmp_path):
    file = tmp_path / "speed.json"
    assert speed.main(["--quick", "--json", str(file), "--rows", "20000"]) == 0
    printed, written = capsys.readouterr().out, json.loads(file.read_text())
    figures = {figure["name"]: figure["numbers"] for figure in written["figures"]}
    for part in (
        "training, float32: steps/s against MLPClassifier",
        "training, float64: steps/s against MLPClassifier",
        "training, float32: time of the matrix products",
        "training, float32, dropout 0.1: time of the matrix products",
        "training, float32: time of the products at best",
        *(["training in numpy alone, float32: steps/s against MLPClassifier"] if HAS_COMPILER else []),
        "average precision",
        "full check, 256 rows: against the exercise's loop",
        "both questions along a direction, k = 100, float32, numpy alone",
        "the main job, full, numpy alone",
        "seven callbacks",
        'coverage="full"`: above the loss itself, each call',
        'coverage="directions"`: above the loss itself, a direction',
        "`import checks`: CPU time against `import numpy`",
        "`import trainer`: CPU time against `import numpy`",
        "experiments.fraud --help`: CPU time",
        "peak memory over",
        "exponent",
        "1e+03 to 1e+04 parameters: steps/s against the fastest of the others",
        "memory-mapped file of 20,000 rows",
    ):
        assert sum(part in figure for figure in figures) == 1, part
        assert part in printed
    assert all(np.isfinite(row["value"]) and row["value"] != 0 for row in figures.values())
    assert all(row["low"] <= row["value"] <= row["high"] for name, row in figures.items() if "passes" not in name)
    assert written["threads"] == 1
    assert set(written["pools"].values()) == {1}
    assert written["versions"]["numpy"] == np.__version__


def test_contestants_take_turns_after_one_run_unmeasured():
    calls = []
    seconds = side_by_side({name: lambda name=name: calls.append(name) for name in "ab"}, 3)
    assert "".join(calls) == "ab" + 3 * "ab"
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_ratios_are_of_neighbours_and_summed_up_by_their_median():
    assert ratios([2.0, 8.0, 30.0], [1.0, 2.0, 3.0]) == (4.0, 3.0, 7.0)
    assert quartiles([5.0]) == (5.0, 5.0, 5.0)


def test_the_exercises_loop_gives_the_same_numbers():
    probe = probe_of(DATA, 64, (30, 5, 3, 1))
    mine = numerical_gradient(probe.loss, probe.parameters)
    assert (
        relative_difference(np.concatenate([part.ravel() for part in mine.values()]), exercise_gradient(probe)) < 1e-9
    )


def test_the_runs_train_the_network_they_say():
    inputs, targets = DATA.inputs.astype(np.float32), DATA.targets.astype(np.float32)
    trainer = own(inputs, targets, 2)
    assert trainer.parameters.vector.size == Network(SIZES).n_parameters == 4_097
    assert trainer.parameters.vector.dtype == np.float32
    assert trainer.state.iteration == 2 * 3  # 600 rows
    runs = rivals(inputs, targets, 1)
    assert [name for name in runs if not name.startswith(("torch", "jax"))] == [
        "backproof",
        *(["numpy alone"] if HAS_COMPILER else []),
        "MLPClassifier",
    ]
    assert runs["MLPClassifier"]().coefs_[0].dtype == np.float32
    for run in runs.values():
        run()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_products_are_the_eight_of_a_step(dtype, monkeypatch):
    shapes = []
    monkeypatch.setattr(np, "matmul", lambda a, b, out: shapes.append((a.shape, b.shape, out.shape, out.dtype)))
    products(dtype, 300, 1)()
    assert len(shapes) == 16
    assert {shape[3] for shape in shapes} == {np.dtype(dtype)}
    flops = [2 * a[0] * a[1] * b[1] for a, b, _, _ in shapes]
    assert sum(flops) == 2 * 300 * (3 * (30 * 64 + 64 * 32 + 32) - 30 * 64)
    textbook, shapes[:] = shapes.copy(), []
    monkeypatch.setattr(np, "multiply", np.matmul)
    products(dtype, 300, 1, at_best=True)()
    assert shapes == textbook


def test_the_share_is_the_time_inside_the_check_and_there_are_checks():
    figures = along_figures(DATA, 40, 1)  # 120 iterations: one check, and none in 480 iterations
    assert len(figures) == 3 * (1 + HAS_COMPILER)
    assert all(figure.numbers["value"] > 0 for figure in figures)
    timed = Timed(2, rows=16, coverage="directions")
    Trainer(Network((30, 4, 1)), epochs=2, callbacks=[timed]).fit(DATA.inputs, DATA.targets)
    assert timed.report is not None
    assert timed.seconds > sum(timed.each) > len(timed.each) * timed.report.seconds / 4
    assert len(timed.each) == timed.proof.n_checks


def test_the_main_job_is_measured_with_both_coverages():
    figures = main_job_figures(parse(["--samples=500", "--epochs=50"]), 1)  # 150 iterations
    assert len(figures) == 2 * (1 + HAS_COMPILER)
    assert all(figure.numbers["value"] > 0 and "the first check" in figure.note for figure in figures)


def test_idle_callbacks_override_every_hook():
    (figure,) = callback_figures(DATA, 1, 1)
    assert "the 21 calls" in figure.note


def test_growth_knows_its_exponents():
    points = [growth.Point(n, {"backproof": 1e-6 * n**1.5}) for n in (100, 1_000, 10_000)]
    assert growth.exponent(points) == pytest.approx(1.5)
    along = growth.directions(DATA, 1_000, 1)
    assert along[0].n_parameters == pytest.approx(1_000, rel=0.1)
    assert along[0].memory > 2  # the parameters and the gradient at least


def test_training_grows_with_every_rival_beside_it():
    (point,) = growth.training(DATA, 1_000, 1)
    assert {"backproof", "MLPClassifier"} <= point.seconds.keys() <= set(rivals(*single(), 1))
    assert min(point.seconds.values()) > 0


@pytest.mark.skipif(find_spec("torch") is None, reason="the extra `peers` is not installed")
def test_the_wide_network_is_trained_on_two_threads_and_one_is_left_afterwards():
    import torch

    before = torch.get_num_threads()
    for figure in wide_figures(DATA, 1, (30, 7, 5, 1)):  # none with one core
        assert figure.name.startswith("training, float32, 30-7-5-1, 2 threads: steps/s against torch")
    assert torch.get_num_threads() == before


def single():
    return DATA.inputs.astype(np.float32), DATA.targets.astype(np.float32)


def test_a_file_is_trained_from_in_a_process_of_its_own():
    figure = mapped.measure(30_000)
    assert figure.met
    assert "a file of 4 MB" in figure.note


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--json", "/nowhere/at/all.json"]])
def test_bad_usage_is_one_line_and_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        speed.main(["--quick", *arguments])
    assert caught.value.code == 2
    assert "Expected" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("matplotlib") is not None, reason="matplotlib is installed")
def test_a_plot_without_matplotlib_is_refused_at_once(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        speed.main(["--quick", "--plot", str(tmp_path / "speed.png")])
    assert caught.value.code == 2
    assert "plot needs matplotlib" in capsys.readouterr().err


def test_the_plot_shows_every_curve(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    from experiments.speed import plot

    points = [growth.Point(n, {"backproof": 1e-6 * n, "torch": 1e-5 * n}) for n in (100, growth.REFERENCE)]
    plot.draw(tmp_path / "speed.svg", points, points, points, 1e-4)
    assert (tmp_path / "speed.svg").stat().st_size > 10_000


@pytest.mark.skipif(find_spec("torch") is None, reason="the extra `peers` is not installed")
def test_one_direction_finds_what_the_fast_mode_of_torch_misses():
    from experiments.speed.checkers import found

    fast, mine, total = found(DATA)
    assert mine == total > fast
