"""The torch hook reads p.grad: what is about to be applied is the gradient of the loss on the batch, or is found."""

import logging
import math
import random
import re

import numpy as np
import pytest

from checks import GradientCheckError, Verdict

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
library = pytest.importorskip("checks.torch")
nn = torch.nn
MSE = nn.MSELoss()


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def mlp(seed=0, dtype=torch.float32, sizes=(5, 4, 3)):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(sizes[0], sizes[1]), nn.Tanh(), nn.Linear(sizes[1], sizes[2])).to(dtype)


def batch_of(n_rows=12, n_inputs=5, n_outputs=3, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n_rows, n, generator=generator).to(dtype) for n in (n_inputs, n_outputs))


def backward(module, inputs, targets, n_parts=1, divided=True, loss_fn=MSE):
    """Accumulate over equal micro-batches."""
    for x, y in zip(inputs.chunk(n_parts), targets.chunk(n_parts), strict=True):
        (loss_fn(module(x), y) / (n_parts if divided else 1)).backward()


def said(caught):
    """Give the message with its lines joined."""
    return " ".join(str(caught.value).split())


def hook(module, **options):
    return library.GradientCheckHook(module, every=1, coverage="directions", **options)


def scaled(module, factor):
    for p in module.parameters():
        p.grad *= factor


def zeroed(module):
    module[2].bias.grad.zero_()


def missing(module):
    module[0].weight.grad = None


def one_entry_with_another_exponent(module):
    module[0].weight.grad[1, 2] *= 2.0**20


def one_tensor_off_by_a_thousandth(module):
    module[2].weight.grad *= 1.001


def not_a_number(module):
    module[0].bias.grad[1] = math.nan


PLANTED = {
    "doubled": (
        lambda module: scaled(module, 2.0),
        r"2\.bias: p\.grad is 2 × .*accumulated 2 times and not divided by 2",
    ),
    "sign": (lambda module: scaled(module, -1.0), r"2\.bias: p\.grad is -1 × .*Wrong sign"),
    "clipped": (lambda module: scaled(module, 0.377), r"0\.377 × .*clipped before this check"),
    "zero": (zeroed, r"2\.bias: p\.grad is zero"),
    "missing": (missing, r"0\.weight: p\.grad is missing \(None\)"),
    "one entry": (one_entry_with_another_exponent, r"0\.weight\[1, 2\](.|\n)*the other 19 entries"),
    "a thousandth": (one_tensor_off_by_a_thousandth, r"2\.weight: p\.grad is 1\.001 ×"),
    "not a number": (not_a_number, r"0\.bias: p\.grad holds NaN"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_between_backward_and_step_is_found_and_named_before_it_is_applied(mistake, dtype):
    plant, message = PLANTED[mistake]
    for seed in range(3):
        module, batch = mlp(seed, dtype), batch_of(dtype=dtype)
        backward(module, *batch)
        assert hook(module)(MSE, *batch).verdict is Verdict.PASS
        plant(module)
        with pytest.raises(GradientCheckError, match=r"halted at iteration 1\.") as caught:
            hook(module)(MSE, *batch)
        assert re.search(message, said(caught)), said(caught)
        assert caught.value.report.verdict is Verdict.FAIL
        assert not caught.value.report.difference <= 1e-7


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_every_flipped_exponent_bit_and_the_upper_mantissa_bits_of_one_entry_are_found(kind):
    bits, mantissa = (np.uint32, 23) if kind == "float32" else (np.uint64, 52)
    module, batch = mlp(dtype=getattr(torch, kind)), batch_of(dtype=getattr(torch, kind))
    backward(module, *batch)
    right = module[0].weight.grad.numpy().copy()
    for bit in range(mantissa - 10, bits(0).nbytes * 8):
        flipped = right.copy()
        flipped.view(bits)[1, 2] ^= bits(1 << bit)
        module[0].weight.grad = torch.from_numpy(flipped)
        report = hook(module, on_failure="log")(MSE, *batch)
        assert [tensor.name for tensor in report.culprits] == ["0.weight"], bit


@pytest.mark.parametrize("n_parts", [2, 3, 5])
def test_accumulation_that_was_not_divided_is_found_with_the_number_of_micro_batches(n_parts):
    module, batch = mlp(), batch_of(30)
    backward(module, *batch, n_parts, divided=False)
    with pytest.raises(GradientCheckError) as caught:
        hook(module)(MSE, *batch)
    assert f"accumulated {n_parts} times and not divided by {n_parts}" in said(caught)


def test_accumulation_divided_once_too_often_is_found():
    module, batch = mlp(), batch_of(30)
    backward(module, *batch, 3)
    scaled(module, 1 / 3)
    with pytest.raises(GradientCheckError) as caught:
        hook(module)(MSE, *batch)
    assert "divided by 3 once too often" in said(caught)


def test_gradients_that_were_not_zeroed_are_found_at_the_first_check_that_meets_them():
    module, check = mlp(), None
    check = hook(module)
    first, second = batch_of(seed=0), batch_of(seed=1)
    backward(module, *first)
    check(MSE, *first)
    backward(module, *second)
    with pytest.raises(GradientCheckError) as caught:
        check(MSE, *second)
    assert "call zero_grad" in said(caught)


def test_a_gradient_that_is_that_of_the_check_before_is_called_stale():
    module = mlp()
    check = hook(module)
    first, second = batch_of(seed=0), batch_of(seed=1)
    backward(module, *first)
    check(MSE, *first)
    stale = module[0].weight.grad.clone()
    module.zero_grad()
    backward(module, *second)
    module[0].weight.grad = stale
    with pytest.raises(GradientCheckError, match=r"0\.weight: p\.grad is, bit for bit") as caught:
        check(MSE, *second)
    assert [tensor.name for tensor in caught.value.report.culprits] == ["0.weight"]


def test_a_penalty_of_which_the_loss_given_knows_nothing_is_found_and_named():
    module, batch = mlp(), batch_of()
    (MSE(module(batch[0]), batch[1]) + 0.05 * sum((p**2).sum() for p in module.parameters())).backward()
    with pytest.raises(GradientCheckError, match=r"too much 0\.1 × 2\.weight|too much 0\.1 × 2\.bias"):
        hook(module)(MSE, *batch)


def a_random_module(seed):
    """Make an MLP or a small convolution, of odd sizes, with its batch of 30 rows."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    activation = (nn.ReLU, nn.Tanh, nn.GELU)[seed % 3]
    n, m, k = (int(size) for size in rng.integers(2, 12, 3))
    if seed % 2:
        layers = [nn.Linear(n, m), activation(), nn.Linear(m, m), activation(), nn.Linear(m, k)]
        inputs = torch.randn(30, n)
    else:
        layers = [nn.Conv2d(2, m, 3), activation(), nn.MaxPool2d(2), nn.Conv2d(m, 3, 2), activation(), nn.Flatten()]
        layers += [nn.Linear(12, k)]
        inputs = torch.randn(30, 2, 8, 8)
    classes = torch.arange(30) % k
    loss_fn, targets = (nn.CrossEntropyLoss(), classes) if seed % 5 < 3 else (MSE, torch.randn(30, k))
    return nn.Sequential(*layers), loss_fn, inputs, targets


def test_nothing_right_is_flagged_in_100_random_modules_accumulated_or_not():
    for seed in range(100):
        module, loss_fn, inputs, targets = a_random_module(seed)
        check = library.GradientCheckHook(module, every=1, rows=4, coverage="directions")
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        for n_parts in (1, 2, 3, 5):
            optimizer.zero_grad()
            backward(module, inputs, targets, n_parts, loss_fn=loss_fn)
            report = check(loss_fn, inputs, targets)
            assert report.verdict is not Verdict.FAIL
            assert "p.grad lies" in report.notes[-1], report.notes
            optimizer.step()
        module[-1].weight.grad *= 1.001
        with pytest.raises(GradientCheckError):
            check(loss_fn, inputs, targets)


def test_nothing_right_is_flagged_near_a_minimum():
    for seed in range(5):
        module, batch = mlp(seed, sizes=(5, 16, 1)), batch_of(6, n_outputs=1)
        optimizer = torch.optim.LBFGS(module.parameters(), max_iter=200)

        def closure(optimizer=optimizer, module=module, batch=batch):
            optimizer.zero_grad()
            backward(module, *batch)
            return MSE(module(batch[0]), batch[1])

        optimizer.step(closure)
        for n_parts in (1, 2, 3):
            optimizer.zero_grad()
            backward(module, *batch, n_parts)
            assert hook(module)(MSE, *batch).verdict is not Verdict.FAIL


def test_under_dropout_it_says_that_p_grad_cannot_be_compared_and_in_eval_mode_it_compares(caplog):
    module = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    check = hook(module)
    batch = batch_of()
    for _ in range(2):
        module.zero_grad()
        backward(module, *batch)
        scaled(module, 2.0)
        report = check(MSE, *batch)
        assert report.verdict is Verdict.PASS
        assert "p.grad was not compared" in report.notes[-1]
    assert [record.levelno for record in caplog.records if "not compared" in record.getMessage()] == [logging.WARNING]
    module.eval()
    module.zero_grad()
    backward(module, *batch)
    assert "p.grad lies" in check(MSE, *batch).notes[-1]
    scaled(module, 2.0)
    with pytest.raises(GradientCheckError):
        check(MSE, *batch)


def test_a_module_that_changes_from_one_forward_pass_to_the_next_cannot_be_compared():
    module = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4)), nn.Linear(4, 3))
    batch = batch_of()
    backward(module, *batch)
    report = hook(module)(MSE, *batch)
    assert report.verdict is not Verdict.FAIL
    assert "p.grad was not compared" in report.notes[-1]


@pytest.mark.parametrize("draw", [lambda: torch.rand(1), random.random, np.random.mtrand._rand.random_sample])
def test_a_module_that_draws_from_any_global_generator_cannot_be_compared(draw):
    class Draws(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs) + (draw() if self.training else 0.0)

    module, batch = Draws(5, 3), batch_of()
    backward(module, *batch)
    assert "p.grad was not compared" in hook(module)(MSE, *batch).notes[-1]
    module.zero_grad()
    backward(module.eval(), *batch)
    assert "p.grad lies" in hook(module)(MSE, *batch).notes[-1]


def test_batch_norm_that_is_training_is_compared_by_the_statistics_of_the_batch():
    module = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    for seed in range(10):
        batch = batch_of(seed=seed)
        module.zero_grad()
        backward(module, *batch)
        report = hook(module)(MSE, *batch)
        assert report.verdict is not Verdict.FAIL
        assert "p.grad lies" in report.notes[-1]
    module[0].weight.grad *= 1.001
    with pytest.raises(GradientCheckError, match=r"0\.weight"):
        hook(module)(MSE, *batch)


def test_a_scaled_gradient_is_right_at_its_scale_and_one_that_overflows_is_left_to_the_scaler():
    module, batch = mlp(), batch_of()
    backward(module, *batch)
    scaled(module, 1024.0)
    assert hook(module, grad_scale=1024.0)(MSE, *batch).verdict is Verdict.PASS
    assert hook(module, grad_scale=lambda: 1024)(MSE, *batch).verdict is Verdict.PASS
    with pytest.raises(GradientCheckError):
        hook(module)(MSE, *batch)
    module[0].weight.grad[0, 0] = math.inf
    report = hook(module, grad_scale=1024.0)(MSE, *batch)
    assert report.verdict is Verdict.PASS
    assert "GradScaler leaves that out" in report.notes[-1]


def test_under_autocast_the_rounding_of_its_dtype_is_allowed_and_a_factor_found():
    for seed in range(10):
        module, batch = mlp(seed, sizes=(5, 32, 3)), batch_of(seed=seed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = MSE(module(batch[0]), batch[1])
        loss.backward()
        assert hook(module, autocast=torch.bfloat16)(MSE, *batch).verdict is Verdict.PASS
        with pytest.raises(GradientCheckError, match="autocast"):
            hook(module)(MSE, *batch)
        scaled(module, 2.0)
        with pytest.raises(GradientCheckError) as caught:
            hook(module, autocast=torch.bfloat16)(MSE, *batch)
        assert "accumulated 2 times" in said(caught)


def test_in_half_precision_nothing_right_is_flagged():
    module, batch = mlp(dtype=torch.bfloat16), batch_of(dtype=torch.bfloat16)
    backward(module, *batch, 3)
    assert hook(module)(MSE, *batch).verdict is not Verdict.FAIL


def test_what_overflows_in_half_precision_is_found_where_the_gradient_itself_is_finite():
    module, (inputs, targets) = mlp(dtype=torch.float16), batch_of(dtype=torch.float16)
    batch, loss_fn = (inputs, 3e4 * targets.sign()), nn.MSELoss(reduction="sum")
    backward(module, *batch, loss_fn=loss_fn)
    assert not all(p.grad.isfinite().all() for p in module.parameters())
    with pytest.raises(GradientCheckError) as caught:
        hook(module)(loss_fn, *batch)
    assert "holds NaN or infinity" in said(caught)


def test_a_loss_that_is_not_finite_is_no_wrong_gradient_of_p_grad():
    module, (inputs, targets) = mlp(), batch_of()
    batch = inputs, math.inf * targets.abs()
    backward(module, *batch)
    report = hook(module, on_failure="log")(MSE, *batch)
    assert "p.grad was not compared" in report.notes[-1]


def test_sparse_gradients_tied_unused_and_frozen_parameters_are_compared():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 4, sparse=True)
            self.first, self.second, self.frozen = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.second.weight = self.first.weight
            self.frozen.weight.requires_grad_(False)
            self.idle = nn.Parameter(torch.ones(2))
            self.scale = nn.Parameter(torch.tensor(0.7))

        def forward(self, rows):
            return self.scale * self.frozen(self.second(torch.tanh(self.first(self.embedding(rows)))))

    module, rows, targets = Odd(), torch.arange(12) % 6, torch.randn(12, 3)
    MSE(module(rows), targets).backward()
    assert module.embedding.weight.grad.is_sparse
    assert hook(module)(MSE, rows, targets).verdict is not Verdict.FAIL
    module.idle.grad = torch.ones(2)
    with pytest.raises(GradientCheckError, match="idle"):
        hook(module)(MSE, rows, targets)


def test_the_gradients_are_neither_modified_nor_kept_and_generators_and_buffers_stay():
    module = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    batch = batch_of()
    backward(module, *batch)
    before = [value.clone() for value in [*module.state_dict().values(), *(p.grad for p in module.parameters())]]
    state = torch.get_rng_state()
    check = hook(module)
    check(MSE, *batch)
    after = [*module.state_dict().values(), *(p.grad for p in module.parameters())]
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))
    assert torch.equal(state, torch.get_rng_state())
    kept = [torch.from_numpy(value) for value in check._previous.values()]
    assert {value.data_ptr() for value in kept}.isdisjoint(p.grad.data_ptr() for p in module.parameters())


def test_the_second_question_can_be_left_out():
    module, batch = mlp(), batch_of()
    backward(module, *batch)
    scaled(module, 2.0)
    report = hook(module, applied=False)(MSE, *batch)
    assert report.verdict is Verdict.PASS
    assert not any("p.grad" in note for note in report.notes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"grad_scale": 0.0}, ValueError, "grad_scale is out of range"),
        ({"grad_scale": math.inf}, ValueError, "grad_scale is out of range"),
        ({"grad_scale": "big"}, ValueError, "grad_scale is out of range"),
        ({"autocast": "bfloat16"}, TypeError, "autocast is of the wrong kind"),
        ({"autocast": torch.int64}, TypeError, "autocast is of the wrong kind"),
        ({"applied": "no"}, TypeError, "applied is of the wrong kind"),
        ({"seed": -1}, ValueError, "seed is out of range"),
    ],
)
def test_options_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        hook(mlp(), **options)
