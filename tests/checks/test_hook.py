"""The hook for one's own loop: what is about to be applied is checked, before it is, and nothing right is stopped."""

import logging

import numpy as np
import pytest

from checks import Cause, GradientCheckError, GradientCheckHook, Verdict

COVERAGES = ["directions", "full"]


class Net:
    """Two layers by hand, relu or tanh, with squared error; sizes are drawn."""

    def __init__(self, seed, activation="tanh", dtype=np.float64, sizes=None, n_rows=None):
        rng = np.random.default_rng(seed)
        n_inputs, n_units, n_outputs = sizes or rng.integers(1, 10, size=3)
        n_rows = n_rows or int(rng.integers(1, 40))
        self.relu = activation == "relu"
        shapes = {"W1": (n_inputs, n_units), "b1": n_units, "W2": (n_units, n_outputs), "b2": n_outputs}
        self.parameters = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
        self.inputs = rng.normal(size=(n_rows, n_inputs)).astype(dtype)
        self.targets = rng.normal(size=(n_rows, n_outputs)).astype(dtype)

    @property
    def batch(self):
        return self.inputs, self.targets

    def forward(self, parameters, inputs):
        before = inputs @ parameters["W1"] + parameters["b1"]
        hidden = np.maximum(before, 0) if self.relu else np.tanh(before)
        return before, hidden, hidden @ parameters["W2"] + parameters["b2"]

    def loss(self, parameters, inputs, targets):
        return ((self.forward(parameters, inputs)[2] - targets) ** 2).mean()

    def gradients(self, parameters, inputs, targets):
        before, hidden, outputs = self.forward(parameters, inputs)
        flow = (2 * (outputs - targets) / targets.size).astype(inputs.dtype)
        first = flow @ parameters["W2"].T * (before > 0 if self.relu else 1 - hidden * hidden)
        return {"dW1": inputs.T @ first, "db1": first.sum(0), "dW2": hidden.T @ flow, "db2": flow.sum(0)}

    def update(self, gradients, step=0.05):
        for name, value in self.parameters.items():
            value -= (step * gradients[f"d{name}"]).astype(value.dtype)


def one_entry_doubled(gradients, before):
    doubled = gradients["dW1"].copy()
    doubled[1, 2] *= 2
    return {**gradients, "dW1": doubled}


PLANTED = {
    "doubled": lambda gradients, before: {name: 2 * value for name, value in gradients.items()},
    "sign": lambda gradients, before: {**gradients, "dW2": -gradients["dW2"]},
    "zero": lambda gradients, before: {**gradients, "db1": 0 * gradients["db1"]},
    "stale": lambda gradients, before: {**gradients, "dW2": before["dW2"]},
    "one entry": one_entry_doubled,
    "a thousandth": lambda gradients, before: {
        **gradients,
        "dW1": gradients["dW1"] * gradients["dW1"].dtype.type(1.001),
    },
    "not a number": lambda gradients, before: {**gradients, "db2": gradients["db2"] * np.nan},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_between_backprop_and_update_is_found_before_it_is_applied(mistake, coverage, dtype):
    for seed in range(5):
        net = Net(seed, dtype=dtype, sizes=(5, 4, 3), n_rows=11)
        check = GradientCheckHook(net.loss, every=1, coverage=coverage, seed=seed)
        before = net.gradients(net.parameters, *net.batch)
        check(net.parameters, before, *net.batch)
        net.update(before)
        kept = {name: value.copy() for name, value in net.parameters.items()}
        wrong = PLANTED[mistake](net.gradients(net.parameters, *net.batch), before)
        with pytest.raises(GradientCheckError, match=r"halted at iteration 2\.") as caught:
            check(net.parameters, wrong, *net.batch)
        assert caught.value.report is check.reports[2]
        assert all(np.array_equal(net.parameters[name], kept[name]) for name in kept)
        if mistake == "one entry":
            assert caught.value.report.culprits[0].label == "W1[1, 2]"


@pytest.mark.parametrize("coverage", COVERAGES)
def test_gradients_summed_over_micro_batches_are_found_and_their_mean_passes(coverage):
    net = Net(0, sizes=(5, 4, 3), n_rows=12)
    for n_parts in (2, 3):
        pieces = zip(np.split(net.inputs, n_parts), np.split(net.targets, n_parts), strict=True)
        parts = [net.gradients(net.parameters, *piece) for piece in pieces]
        total = {name: sum(part[name] for part in parts) for name in parts[0]}
        mean = {name: value / n_parts for name, value in total.items()}
        check = GradientCheckHook(net.loss, coverage=coverage)
        assert check(net.parameters, mean, *net.batch).verdict is Verdict.PASS
        with pytest.raises(GradientCheckError) as caught:
            GradientCheckHook(net.loss, coverage=coverage)(net.parameters, total, *net.batch)
        assert caught.value.report.culprits[0].mistake.factor == pytest.approx(n_parts)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nothing_right_is_stopped_in_200_random_networks_before_and_while_they_train(dtype):
    for seed in range(200):
        net = Net(seed, ("relu", "tanh")[seed % 2], dtype)
        check = GradientCheckHook(net.loss, every=5, coverage=COVERAGES[seed % 4 // 2], seed=seed)
        for _ in range(10):
            gradients = net.gradients(net.parameters, *net.batch)
            check(net.parameters, gradients, *net.batch)
            net.update(gradients, 0.01)
        assert list(check.reports) == [1, 5, 10]
        for report in check.reports.values():
            assert report.verdict is Verdict.PASS or report.cause in (Cause.NOT_EXERCISED, Cause.ROUNDING), (
                seed,
                report,
            )
        first = check.reports[1]
        assert first.verdict is Verdict.PASS or first.cause is Cause.NOT_EXERCISED, (seed, first)


def test_what_rounding_explains_is_left_undecided_near_a_minimum_in_float32():
    net = Net(8, dtype=np.float32, sizes=(3, 9, 1), n_rows=5)
    for _ in range(5000):
        net.update(net.gradients(net.parameters, *net.batch))
    gradients = net.gradients(net.parameters, *net.batch)
    report = GradientCheckHook(net.loss)(net.parameters, gradients, *net.batch)
    assert report.verdict is Verdict.UNDECIDED
    assert report.cause is Cause.ROUNDING


def test_a_loss_that_computes_in_float32_passes_where_it_can_and_a_mistake_of_a_few_percent_is_found():
    passed = 0
    for seed in range(20):
        net = Net(seed, dtype=np.float32, sizes=(5, 4, 3), n_rows=11)

        def loss(parameters, *batch, net=net):
            return net.loss({name: value.real.astype(np.float32) for name, value in parameters.items()}, *batch)

        right = net.gradients(net.parameters, *net.batch)
        report = GradientCheckHook(loss)(net.parameters, right, *net.batch)
        assert report.verdict is Verdict.PASS or report.cause is Cause.ROUNDING, (seed, report)
        passed += report.verdict is Verdict.PASS
        gross = {name: 1.1 * value for name, value in right.items()}
        with pytest.raises(GradientCheckError):
            GradientCheckHook(loss)(net.parameters, gross, *net.batch)
    assert passed >= 15, passed


def test_it_checks_the_first_call_every_kth_and_the_first_batch_of_each_size():
    net = Net(0, sizes=(5, 4, 3), n_rows=12)
    check = GradientCheckHook(net.loss, every=4)
    sizes = [12, 12, 12, 12, 12, 7, 7, 12, 3, 7]
    for size in sizes:
        batch = net.inputs[:size], net.targets[:size]
        check(net.parameters, net.gradients(net.parameters, *batch), *batch)
    assert list(check.reports) == [1, 4, 6, 8, 9]
    assert check.iteration == len(sizes)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_what_is_wrong_in_the_ragged_last_batch_only_is_found_where_it_first_appears(coverage):
    net = Net(0, sizes=(5, 4, 3), n_rows=20)
    check = GradientCheckHook(net.loss, every=100, coverage=coverage)
    for start in (0, 8, 16):
        batch = net.inputs[start : start + 8], net.targets[start : start + 8]
        right = net.gradients(net.parameters, *batch)
        by_a_constant = {name: value * len(batch[0]) / 8 for name, value in right.items()}
        if start < 16:
            check(net.parameters, by_a_constant, *batch)
    with pytest.raises(GradientCheckError, match="iteration 3"):
        check(net.parameters, by_a_constant, *batch)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("coverage", COVERAGES)
def test_training_is_bit_identical_and_nothing_handed_in_is_modified_or_kept(coverage, dtype):
    def train(checked):
        net = Net(3, dtype=dtype, sizes=(5, 4, 3), n_rows=11)
        check = GradientCheckHook(net.loss, every=2, coverage=coverage)
        handed = []
        for _ in range(6):
            gradients = net.gradients(net.parameters, *net.batch)
            if checked:
                for value in (*gradients.values(), *net.parameters.values()):
                    value.flags.writeable = False
                check(net.parameters, gradients, *net.batch)
                for value in net.parameters.values():
                    value.flags.writeable = True
                handed += gradients.values()
            net.update(gradients)
        kept = [entries.gradient for report in check.reports.values() for entries in all_entries(report)]
        assert not any(np.shares_memory(mine, theirs) for mine in kept for theirs in handed)
        return net.parameters

    def all_entries(report):
        return [tensor.entries for tensor in report.tensors.values() if tensor.entries is not None]

    plain, checked = train(False), train(True)
    assert all(np.array_equal(plain[name], checked[name]) for name in plain)


def test_a_loss_without_a_batch_and_other_structures():
    assert GradientCheckHook(lambda x: (x**3).sum())(np.ones(3), 3 * np.ones(3)).verdict is Verdict.PASS
    assert GradientCheckHook(lambda x: x**3)(2.0, 12.0).verdict is Verdict.PASS
    pair = [np.ones((2, 3)), np.ones(3)]
    check = GradientCheckHook(lambda p: (p[0] ** 2).sum() + (p[1] ** 2).sum())
    assert check(pair, [2 * part for part in pair]).verdict is Verdict.PASS
    assert check(pair, pair) is None
    assert GradientCheckHook(lambda x, scale: scale * x)(2.0, 3.0, 3.0).verdict is Verdict.PASS


def test_failures_can_be_logged_only_and_every_report_is_logged_by_its_verdict(caplog):
    check = GradientCheckHook(lambda x: x**2, every=1, on_failure="log")
    with caplog.at_level(logging.INFO):
        assert check(1.0, 2.0).verdict is Verdict.PASS
        assert check(1.0, 4.0).verdict is Verdict.FAIL
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert {record.name for record in caplog.records} == {"checks.hook"}


def test_the_last_hundred_reports_are_kept():
    check = GradientCheckHook(lambda x: x**2, every=1)
    for _ in range(103):
        check(1.0, 2.0)
    assert list(check.reports) == list(range(4, 104))


def test_the_directions_of_a_seed_are_the_same_and_fresh_at_each_check():
    def slopes(seed):
        check = GradientCheckHook(lambda x: (x**2).sum(), every=1, seed=seed)
        return [check(np.arange(3.0), 2 * np.arange(3.0)).tensors["parameters"].gradient for _ in range(3)]

    assert slopes(1) == slopes(1)
    assert len({*slopes(1), *slopes(2)}) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is out of range"),
        ({"every": 2.0}, "every is out of range"),
        ({"seed": -1}, "seed is out of range"),
        ({"on_failure": "stop"}, "on_failure is unknown"),
        ({"coverage": "some"}, "coverage is unknown"),
        ({"derivative": "forward"}, "derivative is unknown"),
        ({"threshold": 2.0}, "threshold is out of range"),
        ({"step": "small"}, "step is out of range"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GradientCheckHook(lambda x: x, **options)


def test_arguments_of_the_wrong_kind_are_refused():
    with pytest.raises(TypeError, match="loss is no function"):
        GradientCheckHook(3.0)
    check = GradientCheckHook(lambda p: (p["W"] ** 2).sum())
    with pytest.raises(TypeError, match="gradients are a function"):
        check({"W": np.ones(3)}, lambda p: 2 * p["W"])
    with pytest.raises(TypeError, match="another structure"):
        check({"W": np.ones(3)}, None)
    with pytest.raises(ValueError, match="wrong shape"):
        check({"W": np.ones(3)}, {"W": np.ones((3, 1))})
    with pytest.raises(TypeError, match="not made of real numbers"):
        check({"W": np.ones(3)}, {"W": ["a", "b", "c"]})


def test_nested_parameters_of_single_precision_are_checked_at_theirs():
    rng = np.random.default_rng(0)
    parameters = {"layers": [{"W": rng.normal(size=(5, 3)).astype(np.float32)}, {"W": rng.normal(size=7)}]}

    def gradients(p):
        return {"layers": [{"W": 3.0 * layer["W"] ** 2} for layer in p["layers"]]}

    hook = GradientCheckHook(lambda p: sum((layer["W"] ** 3).sum() for layer in p["layers"]), every=1)
    report = hook(parameters, gradients(parameters))
    assert report.verdict is Verdict.PASS
    assert report.threshold > 1e-6
    assert list(report.tensors) == ["layers[0].W", "layers[1].W"]
