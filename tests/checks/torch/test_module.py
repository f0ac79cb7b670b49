"""The check for torch modules: what it finds, what it leaves alone, and what it costs."""

import copy
import itertools
import random
import time

import numpy as np
import pytest

from checks import Cause, GradientCheckError, Verdict

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
library = pytest.importorskip("checks.torch.module")
nn = torch.nn
BCE = nn.BCEWithLogitsLoss()


class LinearFunction(torch.autograd.Function):
    """A Linear by hand; ``factor`` scales the gradient of the weight, and is 1 if it is right."""

    @staticmethod
    def forward(ctx, inputs, weight, bias, factor):
        ctx.save_for_backward(inputs, weight)
        ctx.factor = factor
        return inputs @ weight.T + bias

    @staticmethod
    def backward(ctx, output_gradient):
        inputs, weight = ctx.saved_tensors
        return output_gradient @ weight, ctx.factor * output_gradient.T @ inputs, output_gradient.sum(0), None


class HandWritten(nn.Linear):
    factor = 1.0

    def forward(self, inputs):
        return LinearFunction.apply(inputs, self.weight, self.bias, self.factor)


def a_module(*sizes, factor=1.0):
    layers = []
    for n_inputs, n_units in itertools.pairwise(sizes):
        layers += [HandWritten(n_inputs, n_units), nn.ReLU()]
    layers[0].factor = factor
    return nn.Sequential(*layers[:-1], nn.Flatten(0))


def rows(n_rows=64, n_features=30, seed=0):
    inputs = torch.randn(n_rows, n_features, generator=torch.Generator().manual_seed(seed))
    return inputs, (inputs[:, 0] + inputs[:, 1] ** 2 > 1).float()


@pytest.fixture(autouse=True)
def _one_seed_and_one_thread():
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_it_finds_one_percent_in_one_tensor_which_torchs_fast_gradcheck_misses(coverage):
    inputs, targets = rows()
    missed = 0
    for seed in range(5):
        torch.manual_seed(seed)
        module = a_module(30, 16, 8, 1, factor=1.01)
        report = library.check_module(module, BCE, inputs, targets, coverage=coverage)
        assert report.verdict is Verdict.FAIL
        assert [tensor.name for tensor in report.culprits] == ["0.weight"]
        assert report.culprits[0].ratio == pytest.approx(1.01, rel=1e-5)

        twin = copy.deepcopy(module).double()
        names, values = zip(*twin.named_parameters(), strict=True)

        def loss(*values, twin=twin, names=names):
            named = dict(zip(names, values, strict=True))
            return BCE(torch.func.functional_call(twin, named, (inputs.double(),)), targets.double())

        missed += torch.autograd.gradcheck(loss, values, fast_mode=True, raise_exception=False)
    assert missed == 5


def test_it_stays_silent_on_a_correct_relu_network_after_300_steps_and_takes_seconds():
    module = a_module(30, 64, 64, 1)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    inputs, targets = rows(2000)
    hook = library.GradientCheckHook(module, every=150)
    for start in range(300):
        batch = torch.arange(128 * start, 128 * (start + 1)) % len(inputs)
        optimizer.zero_grad()
        BCE(module(inputs[batch]), targets[batch]).backward()
        hook(BCE, inputs[batch], targets[batch])
        optimizer.step()
    started = time.perf_counter()
    assert library.check_module(module, BCE, inputs[:64], targets[:64]).n_parameters == 6209
    assert time.perf_counter() - started < 10.0
    assert list(hook.reports) == [150, 300]
    assert {report.verdict for report in hook.reports.values()} == {Verdict.PASS}


def test_the_names_are_those_of_named_parameters_and_a_frozen_one_is_left_out():
    module = a_module(4, 3, 1)
    module[2].bias.requires_grad_(False)
    report = library.check_module(module, BCE, *rows(8, 4))
    assert list(report.tensors) == ["0.weight", "0.bias", "2.weight"]


def test_a_training_run_with_the_hook_is_bit_identical_to_one_without():
    def train(checked):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1), nn.Flatten(0))
        hook = library.GradientCheckHook(module, every=2, rows=None)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        inputs, targets = rows(16, 5)
        for _ in range(6):
            optimizer.zero_grad()
            BCE(module(inputs), targets).backward()
            if checked:
                before = [p.grad.clone() for p in module.parameters()]
                hook(BCE, inputs, targets)
                assert all(torch.equal(p.grad, grad) for p, grad in zip(module.parameters(), before, strict=True))
            optimizer.step()
        assert module.training
        return module.state_dict()

    plain, checked = train(False), train(True)
    assert all(torch.equal(plain[name], checked[name]) for name in plain)


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_of_every_part_is_what_it_was(training):
    module = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 1), nn.Flatten(0)).train(training)
    module[1].train(not training)
    library.check_module(module, BCE, *rows(8, 5))
    assert [part.training for part in module] == [training, not training, training, training]


def test_no_global_generator_moves_even_where_the_module_draws():
    numpys = np.random.mtrand._rand  # the generator behind numpy's legacy functions

    class Draws(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) + torch.rand(()) + random.random() + numpys.random_sample()

    def states():
        return torch.get_rng_state().tolist(), random.getstate(), numpys.get_state()[1].tolist(), numpys.get_state()[2]

    module = nn.Sequential(Draws(5, 1), nn.Flatten(0))
    before = states()
    report = library.check_module(module, BCE, *rows(8, 5))
    assert report.verdict is not Verdict.PASS
    assert states() == before


def test_the_number_of_threads_is_what_it_was():
    torch.set_num_threads(2)
    seen = set()

    def loss_fn(outputs, targets):
        seen.add(torch.get_num_threads())
        return BCE(outputs, targets)

    library.check_module(a_module(5, 1), loss_fn, *rows(8, 5))
    assert seen == {1}
    assert torch.get_num_threads() == 2


def test_in_its_own_mode_dropout_and_batch_norm_are_checked_with_one_mask():
    module = nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 1), nn.Flatten(0)
    )
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    report = library.check_module(module, BCE, *rows(16, 5), mode="own")
    # a bias before batch normalisation moves nothing, so it is all that cannot be exercised
    assert {t.name for t in report.tensors.values() if t.verdict is not Verdict.PASS} <= {"0.bias"}
    assert not report.culprits
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in module.named_buffers())


def test_a_wrong_gradient_halts_before_the_update_with_the_report():
    module = a_module(5, 3, 1, factor=2.0)
    hook = library.GradientCheckHook(module, every=2)
    inputs, targets = rows(100, 5)
    assert hook(BCE, inputs, targets) is None
    with pytest.raises(GradientCheckError, match=r"halted at iteration 2(.|\n)*0\.weight") as caught:
        hook(BCE, inputs, targets)
    assert caught.value.report is hook.reports[2]


def test_a_failure_can_be_logged_only(caplog):
    hook = library.GradientCheckHook(a_module(5, 3, 1, factor=2.0), every=1, on_failure="log")
    report = hook(BCE, *rows(10, 5))
    assert report.verdict is Verdict.FAIL
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_several_inputs_a_loss_with_buffers_and_integer_targets():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(4, 3), nn.Linear(2, 3)

        def forward(self, left, right):
            return self.left(left) + self.right(right)

    targets = torch.arange(9) % 3
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    inputs = (torch.randn(9, 4), torch.randn(9, 2))
    module = Two()
    assert library.check_module(module, weighted, inputs, targets).verdict is Verdict.PASS
    weighted(module(*inputs), targets).backward()
    assert library.GradientCheckHook(module, every=1, rows=5)(weighted, inputs, targets).verdict is Verdict.PASS
    assert weighted.weight.dtype is torch.float32


def test_tied_and_unused_parameters():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 1), nn.Flatten(0))
    module[2].weight = module[0].weight
    module.register_parameter("idle", nn.Parameter(torch.ones(2)))
    report = library.check_module(module, BCE, *rows(8, 4))
    assert "2.weight" not in report.tensors
    assert [name for name, tensor in report.tensors.items() if tensor.cause is Cause.NOT_EXERCISED] == ["idle"]
    assert not report.culprits


@pytest.mark.parametrize(
    ("options", "message"),
    [({"every": 0}, "every is out of range"), ({"rows": 0}, "rows is out"), ({"on_failure": "stop"}, "on_failure is")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        library.GradientCheckHook(a_module(4, 1), **options)


def test_what_cannot_be_checked_is_refused():
    module = a_module(5, 1)
    with pytest.raises(ValueError, match="mode is unknown"):
        library.check_module(module, BCE, *rows(4, 5), mode="train")
    with pytest.raises(ValueError, match=r"no scalar.*\(4,\)"):
        library.check_module(module, nn.BCEWithLogitsLoss(reduction="none"), *rows(4, 5))
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        library.check_module(module.requires_grad_(False), BCE, *rows(4, 5))


class HalfThenLinear(nn.Module):
    """Works in place on what it is handed."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, inputs):
        inputs.mul_(0.5)
        return self.linear(inputs)


def squares_in_place(outputs, targets):
    targets.sub_(1.0)
    return ((outputs - targets) ** 2).mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_forward_pass_and_a_loss_may_work_in_place(dtype, coverage):
    inputs, targets = torch.randn(5, 3, dtype=dtype), torch.randn(5, 2, dtype=dtype)
    before = inputs.clone(), targets.clone()
    rng = np.random.default_rng(0)
    report = library.check_module(
        HalfThenLinear().to(dtype), squares_in_place, inputs, targets, coverage=coverage, rng=rng
    )
    assert report.verdict is Verdict.PASS
    assert torch.equal(inputs, before[0])
    assert torch.equal(targets, before[1])


def test_a_target_that_is_the_input_stays_it_where_the_forward_pass_works_in_place():
    inputs = torch.randn(5, 3)
    module = nn.Sequential(HalfThenLinear(), nn.Linear(2, 3))
    seen = []

    def loss(outputs, targets):
        seen.append(targets.detach().clone())
        return ((outputs - targets) ** 2).mean()

    report = library.check_module(module, loss, inputs, inputs)
    assert report.verdict is Verdict.PASS
    assert torch.equal(seen[0], inputs.double() / 2)


class Only(nn.Module):
    """A kernel that takes one dtype and no other, as those on accelerators do."""

    def __init__(self, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3).to(dtype))
        self.dtype = dtype

    def forward(self, inputs):
        if not inputs.dtype == self.weight.dtype == self.dtype:
            raise TypeError(f"only {self.dtype}")
        return inputs @ self.weight.T


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_module_that_refuses_float64_runs_in_the_dtype_that_is_asked_for(dtype):
    inputs, targets = torch.randn(7, 3), torch.randn(7, 2)
    module = Only(dtype)
    weight = module.weight.detach().clone()
    with pytest.raises(TypeError, match="only"):
        library.check_module(module, nn.MSELoss(), inputs, targets)
    report = library.check_module(module, nn.MSELoss(), inputs, targets, dtype=dtype)
    own = library.check_module(module, nn.MSELoss(), inputs.to(dtype), targets.to(dtype), dtype="own")
    assert own.loss == report.loss != 0.0
    assert torch.equal(module.weight, weight)


def test_a_module_of_float64_in_its_own_precision_is_checked_as_ever():
    module, (inputs, targets) = a_module(5, 3, 1, factor=2.0).double(), rows(11, 5)
    report = library.check_module(module, BCE, inputs.double(), targets.double(), dtype="own")
    assert report.verdict is Verdict.FAIL
    assert report.culprits[0].name == "0.weight"


def test_numbers_that_are_no_floats_stay_what_they_are_in_another_precision():
    class Embedded(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 3)
            self.register_buffer("places", torch.tensor([3, 1, 4]))

        def forward(self, indices):
            return self.table(self.places[indices]).sum(1)

    module = Embedded()
    report = library.check_module(module, nn.MSELoss(), torch.tensor([0, 2, 1, 1]), torch.randn(4), dtype=torch.float32)
    assert report.verdict is not Verdict.FAIL


@pytest.mark.parametrize("dtype", ["float32", torch.int64, 32, torch.complex64])
def test_a_dtype_that_is_no_float_is_refused(dtype):
    with pytest.raises(TypeError, match=r"dtype is of the wrong kind. Expected 'own'"):
        library.check_module(a_module(5, 1), BCE, *rows(7, 5), dtype=dtype)
