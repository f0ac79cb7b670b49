"""Kernels as people write them for accelerators, in Triton: the check in their own precision, right and with mistakes.

Without an accelerator they run in Triton's interpreter, slowly: ``TRITON_INTERPRET=1 pytest …/test_triton.py``.
"""

import os

import numpy as np
import pytest

from checks import GradientCheckError, Verdict

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
triton = pytest.importorskip("triton", reason="Triton is not installed")
import triton.language as tl  # noqa: E402 - an extra

from checks.torch import GradientCheckHook, check_function, check_module  # noqa: E402 - needs torch

HAS_DEVICE = torch.cuda.is_available()
DEVICE = "cuda" if HAS_DEVICE else "cpu"
drawn = torch.cuda.get_rng_state if HAS_DEVICE else torch.get_rng_state
if not HAS_DEVICE and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("there is no accelerator, and TRITON_INTERPRET is not 1", allow_module_level=True)
both_coverages = pytest.mark.parametrize("coverage", ["full", "directions"])


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


@triton.jit
def softmax_forward(out, x, n, BLOCK: tl.constexpr):
    row, columns = tl.program_id(0), tl.arange(0, BLOCK)
    values = tl.load(x + row * n + columns, mask=columns < n, other=-float("inf")).to(tl.float32)
    powers = tl.exp(values - tl.max(values, axis=0))
    tl.store(out + row * n + columns, powers / tl.sum(powers, axis=0), mask=columns < n)


@triton.jit
def softmax_backward(of_x, out, cotangent, n, SUM: tl.constexpr, TAIL: tl.constexpr, BLOCK: tl.constexpr):
    row, columns = tl.program_id(0), tl.arange(0, BLOCK)
    inside = columns < n
    s = tl.load(out + row * n + columns, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(cotangent + row * n + columns, mask=inside, other=0.0).to(tl.float32)
    total = tl.sum(s * u, axis=0) * SUM
    tl.store(of_x + row * n + columns, s * (u - total), mask=columns < n - TAIL)


class Softmax(torch.autograd.Function):
    """A row a program; ``factor`` scales the term of the sum, ``tail`` is how many columns the mask loses."""

    @staticmethod
    def forward(ctx, x, factor=1.0, tail=0):
        x = x.contiguous()
        out, block = torch.empty_like(x), triton.next_power_of_2(x.shape[1])
        softmax_forward[(x.shape[0],)](out, x, x.shape[1], BLOCK=block)
        ctx.save_for_backward(out)
        ctx.mistake, ctx.block = (factor, tail), block
        return out

    @staticmethod
    def backward(ctx, cotangent):
        (out,) = ctx.saved_tensors
        of_x = torch.zeros_like(out)
        factor, tail = ctx.mistake
        rows, n = out.shape
        softmax_backward[(rows,)](of_x, out, cotangent.contiguous(), n, SUM=factor, TAIL=tail, BLOCK=ctx.block)
        return of_x, None, None


@triton.jit
def norm_forward(out, hats, rates, x, weight, bias, n, eps, BLOCK: tl.constexpr):
    row, columns = tl.program_id(0), tl.arange(0, BLOCK)
    inside = columns < n
    values = tl.load(x + row * n + columns, mask=inside, other=0.0).to(tl.float32)
    centred = tl.where(inside, values - tl.sum(values, axis=0) / n, 0.0)
    rate = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / n + eps)
    w, b = tl.load(weight + columns, mask=inside), tl.load(bias + columns, mask=inside)
    tl.store(hats + row * n + columns, centred * rate, mask=inside)
    tl.store(rates + row, rate)
    tl.store(out + row * n + columns, centred * rate * w + b, mask=inside)


@triton.jit
def norm_backward(of_x, of_w, of_b, hats, rates, weight, cotangent, n, MEAN: tl.constexpr, BLOCK: tl.constexpr):
    row, columns = tl.program_id(0), tl.arange(0, BLOCK)
    inside = columns < n
    hat = tl.load(hats + row * n + columns, mask=inside, other=0.0)
    u = tl.load(cotangent + row * n + columns, mask=inside, other=0.0).to(tl.float32)
    wu = tl.where(inside, tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32) * u, 0.0)
    along = tl.sum(hat * wu, axis=0) / n
    mean = tl.sum(wu, axis=0) / n * MEAN
    tl.store(of_x + row * n + columns, (wu - hat * along - mean) * tl.load(rates + row), mask=inside)
    tl.atomic_add(of_w + columns, hat * u, mask=inside)  # in whatever order the programs come
    tl.atomic_add(of_b + columns, u, mask=inside)


class LayerNorm(torch.autograd.Function):
    """Sums over rows by atomic additions; ``mean`` scales the term of the mean, ``lost`` rows are left out."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean=1.0, lost=0):
        (rows, n), block = x.shape, triton.next_power_of_2(x.shape[1])
        out = torch.empty_like(x)
        hats, rates = torch.empty(rows, n, device=x.device), torch.empty(rows, device=x.device)
        norm_forward[(rows,)](out, hats, rates, x.contiguous(), weight, bias, n, 1e-5, BLOCK=block)
        ctx.save_for_backward(hats, rates, weight)
        ctx.mistake, ctx.block = (mean, lost), block
        return out

    @staticmethod
    def backward(ctx, cotangent):
        hats, rates, weight = ctx.saved_tensors
        (rows, n), (mean, lost) = hats.shape, ctx.mistake
        of_x = torch.zeros_like(cotangent)
        of_w, of_b = torch.zeros(2, n, device=hats.device)
        norm_backward[(rows - lost,)](
            of_x, of_w, of_b, hats, rates, weight, cotangent.contiguous(), n, MEAN=mean, BLOCK=ctx.block
        )
        return of_x, of_w.to(weight.dtype), of_b.to(weight.dtype), None, None


@triton.jit
def product(out, left, right, m, n, k, SLOPE: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j, at = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(left + i[:, None] * k + at[None, :], mask=(i[:, None] < m) & (at[None, :] < k), other=0.0)
    b = tl.load(right + at[:, None] * n + j[None, :], mask=(at[:, None] < k) & (j[None, :] < n), other=0.0)
    total = tl.dot(a, b, input_precision="ieee")
    total = tl.where(total > 0, total, SLOPE * total)
    tl.store(out + i[:, None] * n + j[None, :], total, mask=(i[:, None] < m) & (j[None, :] < n))


def multiplied(left, right, slope=1.0):
    """Multiply in one block, sums in float32, and go through a leaky ReLU."""
    (m, k), n = left.shape, right.shape[1]
    out = torch.empty(m, n, device=left.device, dtype=left.dtype)
    product[(1,)](out, left.contiguous(), right.contiguous(), m, n, k, SLOPE=slope, M=16, N=16, K=16)
    return out


class LeakyProduct(torch.autograd.Function):
    """``leaky_relu(x @ weight)`` in one kernel; ``slope`` is what the way back takes where the unit is off."""

    @staticmethod
    def forward(ctx, x, weight, slope=0.125):
        out = multiplied(x, weight, 0.125)
        ctx.save_for_backward(x, weight, out)
        ctx.slope = slope
        return out

    @staticmethod
    def backward(ctx, cotangent):
        x, weight, out = ctx.saved_tensors
        through = torch.where(out > 0, cotangent, ctx.slope * cotangent)
        return multiplied(through, weight.T), multiplied(x.T, through), None


def softmax_inputs(dtype, *mistake):
    return normal(7, 13, dtype=dtype), *mistake


def norm_inputs(dtype, *mistake):
    return normal(11, 7, dtype=dtype), 1 + normal(7, seed=1, dtype=dtype) / 4, normal(7, seed=2, dtype=dtype), *mistake


def product_inputs(dtype, *mistake):
    return normal(11, 5, dtype=dtype), normal(5, 7, seed=1, dtype=dtype), *mistake


FUNCTIONS = [(Softmax, softmax_inputs), (LayerNorm, norm_inputs), (LeakyProduct, product_inputs)]
#: Those that are seen in every precision, and those that bfloat16 and float16 hide.
FOUND = [
    (Softmax, softmax_inputs, (0.0,), "x"),
    (Softmax, softmax_inputs, (1.0, 1), "x"),
]
HIDDEN = [
    (LayerNorm, norm_inputs, (0.0,), "x"),
    (LeakyProduct, product_inputs, (0.0,), "weight"),
    (Softmax, softmax_inputs, (0.7,), "x"),
    (LayerNorm, norm_inputs, (1.0, 1), "weight"),
    (LeakyProduct, product_inputs, (0.25,), "x"),
]
LOW = [torch.bfloat16, torch.float16]
CASES = [(*case, torch.float32) for case in FOUND + HIDDEN] + [(*case, dtype) for case in FOUND for dtype in LOW]


@both_coverages
@pytest.mark.parametrize("dtype", [torch.float32, *LOW])
@pytest.mark.parametrize(("function", "inputs"), FUNCTIONS)
def test_a_right_kernel_never_fails_in_its_own_precision(function, inputs, dtype, coverage):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        report = check_function(function, inputs(dtype), dtype="own", coverage=coverage, rng=rng)
        assert report.verdict is not Verdict.FAIL, str(report)


@both_coverages
@pytest.mark.parametrize(("function", "inputs", "mistake", "where", "dtype"), CASES)
def test_a_mistake_in_a_kernel_is_found_in_its_own_precision(function, inputs, mistake, where, dtype, coverage):
    rng = np.random.default_rng(0)
    report = check_function(function, inputs(dtype, *mistake), dtype="own", coverage=coverage, rng=rng)
    assert report.verdict is Verdict.FAIL, str(report)
    assert dtype is not torch.float32 or where in [tensor.name for tensor in report.culprits]


@both_coverages
@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize(("function", "inputs", "mistake", "where"), HIDDEN)
def test_a_mistake_that_low_precision_hides_does_not_pass_to_a_precision_at_which_it_would_show(
    function, inputs, mistake, where, dtype, coverage
):
    rng = np.random.default_rng(0)
    report = check_function(function, inputs(dtype, *mistake), dtype="own", coverage=coverage, rng=rng)
    # Along the gradient, the least of them is off by 3.6 %.
    assert report.verdict is not Verdict.PASS or report.tensors[where].precision > 0.036, str(report)


class Block(torch.nn.Module):
    """A product, a norm with its own parameters, dropout, and a softmax over the classes."""

    def __init__(self, mean=1.0):
        super().__init__()
        self.project = torch.nn.Parameter(normal(5, 7))
        self.weight, self.bias = (torch.nn.Parameter(normal(7, seed=seed)) for seed in (2, 3))
        self.dropout = torch.nn.Dropout(0.4)
        self.mean = mean

    def forward(self, x):
        hidden = LayerNorm.apply(LeakyProduct.apply(x, self.project), self.weight, self.bias, self.mean)
        return Softmax.apply(self.dropout(hidden))


def cross_entropy(probabilities, targets):
    return -torch.log(probabilities[torch.arange(len(targets), device=targets.device), targets]).mean()


def rows():
    return normal(11, 5, seed=4), torch.randint(7, (11,), generator=torch.Generator().manual_seed(5)).to(DEVICE)


@both_coverages
def test_a_module_of_such_kernels_is_checked_with_its_dropout_and_stays_where_and_as_it_is(coverage):
    module = Block()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = drawn()
    report = check_module(module, cross_entropy, *rows(), dtype="own", coverage=coverage)
    assert report.verdict is Verdict.PASS, str(report)
    assert torch.equal(drawn(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    report = check_module(Block(mean=0.0), cross_entropy, *rows(), dtype="own", coverage=coverage)
    assert [tensor.name for tensor in report.culprits] == ["project"], str(report)


def train(module, steps=12):
    """Train some steps with a check every five, and give how many were taken."""
    inputs, targets = rows()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    check = GradientCheckHook(module, every=5, dtype="own")
    for taken in range(steps):
        optimizer.zero_grad()
        cross_entropy(module(inputs), targets).backward()
        try:
            check(cross_entropy, inputs, targets)
        except GradientCheckError as error:
            assert "project" in str(error)  # noqa: PT017 - the steps until then are asked for, too
            return taken
        optimizer.step()
    return steps


def test_the_hook_halts_a_training_at_the_first_check_of_a_wrong_kernel_and_lets_a_right_one_run():
    assert train(Block()) == 12
    assert train(Block(mean=0.0)) == 4
