"""The check for functions of tensors: what it finds in them, what it takes, and how it names that."""

import itertools
import os
import random
from collections import namedtuple

import numpy as np
import pytest

from checks import Cause, GradientCheckError, Verdict

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
library = pytest.importorskip("checks.torch")
F = torch.nn.functional

#: Of the mutation test: at how many points each function is taken, and every which. EVERY=1 takes five minutes of CPU.
SEEDS, EVERY = int(os.environ.get("SEEDS", 1)), int(os.environ.get("EVERY", 47))


class Linear(torch.autograd.Function):
    """A Linear by hand, without a parameter of its own; ``factor`` scales the gradient of the weight."""

    @staticmethod
    def forward(ctx, inputs, weight, bias, factor):
        ctx.save_for_backward(inputs, weight)
        ctx.factor = factor
        return inputs @ weight.T + bias

    @staticmethod
    def backward(ctx, cotangent):
        inputs, weight = ctx.saved_tensors
        return cotangent @ weight, ctx.factor * cotangent.T @ inputs, cotangent.sum(0), None


class SinAndCube(torch.autograd.Function):
    """Two outputs, and the sign, which has no gradient; ``setup_context`` as new code has it. The cube's is wrong."""

    factor = 2.0

    @staticmethod
    def forward(angles):
        return angles.sin(), angles**3 * 1e-4, angles.sign()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.mark_non_differentiable(output[2])

    @staticmethod
    def backward(ctx, of_sin, of_cube, _):
        (angles,) = ctx.saved_tensors
        return of_sin * angles.cos() + of_cube * SinAndCube.factor * 1e-4 * angles**2


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def linear_inputs(dtype=torch.float32):
    return normal(5, 3, dtype=dtype), normal(7, 3, seed=1, dtype=dtype), normal(7, seed=2, dtype=dtype)


both_coverages = pytest.mark.parametrize("coverage", ["full", "directions"])


@both_coverages
@pytest.mark.parametrize(
    "of", [Linear, Linear.apply, lambda inputs, weight, bias, factor: Linear.apply(inputs, weight, bias, factor)]
)
def test_a_function_without_parameters_is_checked_in_its_inputs_under_their_names(of, coverage):
    report = library.check_function(of, (*linear_inputs(), 1.0), coverage=coverage)
    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["inputs", "weight", "bias"]
    report = library.check_function(of, (*linear_inputs(), 1.01), coverage=coverage)
    assert [tensor.name for tensor in report.culprits] == ["weight"]
    assert report.culprits[0].ratio == pytest.approx(1.01, rel=1e-6)


def test_nothing_that_was_handed_over_is_changed():
    inputs = normal(5, 3).requires_grad_()
    before, state = inputs.detach().clone(), torch.get_rng_state()

    def works_in_place(inputs):
        inputs.mul_(2.0)
        return inputs.sin_() * torch.rand(3) * random.random()

    states = random.getstate()
    with pytest.raises(GradientCheckError, match="not deterministic"):  # Python's generator is not begun anew
        library.check_function(works_in_place, inputs).raise_unless_pass()
    assert random.getstate() == states
    assert torch.equal(inputs, before)
    assert inputs.grad is None
    assert torch.equal(torch.get_rng_state(), state)


@both_coverages
def test_of_several_outputs_the_wrong_one_is_named_be_it_as_small_as_it_may(coverage):
    report = library.check_function(SinAndCube, normal(7, 3), coverage=coverage)
    assert report.verdict is Verdict.FAIL
    assert [name for name, term in report.terms.items() if term.verdict is Verdict.FAIL] == ["output[1]"]
    assert report.terms["output[1]"].culprits[0].ratio == pytest.approx(2 / 3, rel=1e-6)
    assert "output[2] without a gradient: not compared" in report.notes


def test_outputs_may_be_a_dict_and_inputs_lists_tuples_and_dicts_with_whatever_else():
    Pair = namedtuple("Pair", "left right")
    indices = torch.tensor([2, 0])

    def function(xs, pair, table, power, nothing=None):
        assert nothing is None
        assert isinstance(pair, Pair)
        return {"sum": xs[0] * xs[1] ** power, "rest": [pair.left @ pair.right, table["a"][indices].exp(), indices]}

    inputs = ([normal(3), normal(3, seed=1)], Pair(normal(2, 3), normal(3, 5, seed=2)), {"a": normal(7)}, 2)
    report = library.check_function(function, inputs)
    assert report.verdict is Verdict.PASS
    assert list(report.tensors) == ["xs[0]", "xs[1]", "pair[0]", "pair[1]", "table.a"]
    assert list(report.terms) == ["output.sum", "output.rest[0]", "output.rest[1]"]


def test_only_the_inputs_that_require_a_gradient_are_checked_where_any_does():
    values, targets = normal(5, 3).requires_grad_(), normal(5, 3, seed=1)
    report = library.check_function(torch.nn.functional.mse_loss, (values, targets))
    assert list(report.tensors) == ["input"]
    with pytest.raises(ValueError, match="no input requires a gradient"):
        library.check_function(lambda places: places * 2, torch.arange(3))


def test_a_tensor_in_two_places_is_one():
    x = normal(5, 3)
    report = library.check_function(lambda a, b: a * b.detach() + b * a, (x, x))
    assert list(report.tensors) == ["a"]
    assert report.verdict is Verdict.FAIL  # the slope is that of 2x², the gradient lacks a part


def test_a_gradient_that_is_left_out_is_a_mistake_and_a_note_says_so():
    class Forgets(Linear):
        @staticmethod
        def backward(ctx, cotangent):
            return *Linear.backward(ctx, cotangent)[:2], None, None

    report = library.check_function(Forgets, (*linear_inputs(), 1.0))
    assert [tensor.name for tensor in report.culprits] == ["bias"]
    assert "autograd gives no gradient for bias, which was taken as zero" in report.notes


def test_a_function_without_any_gradient_is_refused():
    with pytest.raises(ValueError, match=r"no output has a gradient.*Received \['output'\]"):
        library.check_function(lambda x: torch.from_numpy(np.sin(x.detach().numpy())), normal(5))
    with pytest.raises(ValueError, match=r"no output has a gradient.*no tensor of floating point"):
        library.check_function(lambda x: x.argmax(), normal(5))
    with pytest.raises(TypeError, match=r"this is no function. Expected function\(\*inputs\).*Received Tensor"):
        library.check_function(normal(3), normal(5))


class OnlyFloat32(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, weight):
        if not inputs.dtype == weight.dtype == torch.float32:
            raise RuntimeError("expected scalar type Float")
        ctx.save_for_backward(inputs, weight)
        return inputs @ weight.T

    @staticmethod
    def backward(ctx, cotangent):
        inputs, weight = ctx.saved_tensors
        return cotangent @ weight, OnlyFloat32.factor * cotangent.T @ inputs


@both_coverages
def test_a_kernel_for_float32_only_is_checked_in_that(coverage, monkeypatch):
    monkeypatch.setattr(OnlyFloat32, "factor", 1.0, raising=False)
    inputs = normal(3, 2), normal(5, 2, seed=1)
    with pytest.raises(RuntimeError, match="expected scalar type Float") as caught:
        library.check_function(OnlyFloat32, inputs)
    assert "dtype= chooses another precision" in caught.value.__notes__[0]
    report = library.check_function(OnlyFloat32, inputs, dtype=torch.float32, coverage=coverage)
    assert report.verdict is Verdict.PASS
    assert max(report.excluded_errors().values()) < 1e-3
    monkeypatch.setattr(OnlyFloat32, "factor", 1.01)
    report = library.check_function(OnlyFloat32, inputs, dtype="own", coverage=coverage)
    assert [tensor.name for tensor in report.culprits] == ["weight"]


@both_coverages
def test_complex_inputs_are_pairs_of_real_numbers(coverage):
    z, w = normal(5, dtype=torch.complex64), normal(3, 5, seed=1, dtype=torch.complex64)
    report = library.check_function(lambda z, w: (w @ z, z.abs().conj()), (z, w.mT.contiguous().mT), coverage=coverage)
    assert report.verdict is Verdict.PASS
    assert report.tensors["w"].shape == (3, 5, 2)

    class Unconjugated(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z**2

        @staticmethod
        def backward(ctx, cotangent):
            return cotangent * 2 * ctx.saved_tensors[0]

    assert library.check_function(Unconjugated, z, coverage=coverage).verdict is Verdict.FAIL


def test_a_module_with_complex_parameters_is_checked_in_both_parts():
    class Phases(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.spectrum = torch.nn.Parameter(normal(3, dtype=torch.complex64))

        def forward(self, inputs):
            return torch.fft.irfft(torch.fft.rfft(inputs) * self.spectrum, n=5)

    report = library.check_module(Phases(), torch.nn.MSELoss(), normal(7, 5), normal(7, 5, seed=1))
    assert report.verdict is Verdict.PASS
    assert report.tensors["spectrum"].shape == (3, 2)


@both_coverages
def test_the_gradients_of_a_modules_inputs_are_checked_on_request(coverage):
    class Scaled(torch.nn.Linear):
        def forward(self, rows, scale):
            return Linear.apply(rows, self.weight, self.bias, 1.0) * scale.detach()

    module, given = Scaled(3, 2), (normal(5, 3), normal(2))
    how = {"loss_fn": torch.nn.MSELoss(), "inputs": given, "targets": normal(5, 2, seed=3), "coverage": coverage}
    assert library.check_module(module, **how).verdict is Verdict.PASS
    report = library.check_module(module, **how, wrt="inputs")
    assert [tensor.name for tensor in report.culprits] == ["scale"]
    assert list(report.tensors) == ["rows", "scale"]
    assert list(library.check_module(module, **how, wrt="both").tensors) == ["weight", "bias", "rows", "scale"]


def test_a_module_without_parameters_or_a_function_is_checked_in_its_inputs():
    loss_fn, inputs = torch.nn.MSELoss(), normal(5, 3)
    for module in (torch.nn.Tanh(), torch.tanh):
        assert library.check_module(module, loss_fn, inputs, inputs).raise_unless_pass().n_parameters == 15
    with pytest.raises(ValueError, match="wrt is unknown"):
        library.check_module(torch.nn.Tanh(), loss_fn, inputs, inputs, wrt="weights")


def test_an_input_and_a_parameter_of_one_name_are_told_apart():
    class Same(torch.nn.Linear):
        def forward(self, weight):
            return super().forward(weight)

    report = library.check_module(Same(3, 2), torch.nn.MSELoss(), normal(5, 3), normal(5, 2), wrt="both")
    assert list(report.tensors) == ["weight", "bias", "weight (input)"]


def test_a_gradient_may_be_checked_as_a_function_which_is_a_check_of_the_second_order():
    def gradient_of(function):
        return lambda x: torch.autograd.grad(function(x).sum(), x, create_graph=True)[0]

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, cotangent):
            (x,) = ctx.saved_tensors
            return cotangent * 3 * x * x.detach()  # right, but half of its own gradient is lost

    library.check_function(Cube, normal(5)).raise_unless_pass()
    assert library.check_function(gradient_of(Cube.apply), normal(5)).culprits[0].ratio == pytest.approx(0.5, rel=1e-6)
    library.check_function(gradient_of(torch.sigmoid), normal(5)).raise_unless_pass()


def test_in_a_suite_a_wrong_function_fails_with_the_report():
    with pytest.raises(GradientCheckError, match=r"weight(.|\n)*1.01 ×"):
        library.check_function(Linear, (*linear_inputs(), 1.01)).raise_unless_pass()
    with pytest.raises(GradientCheckError, match="nothing was exercised in x"):
        library.check_function(lambda x: F.relu(x), -normal(5).abs() - 1).raise_unless_pass()
    with pytest.raises(ValueError, match="not_exercised is unknown"):
        library.check_module(torch.nn.Tanh(), torch.nn.MSELoss(), normal(3), normal(3)).raise_unless_pass(
            not_exercised="ignore"
        )
    two = library.check_function(lambda x, y: x + 0.0 * y, (normal(3), normal(3))).raise_unless_pass()
    assert two.tensors["y"].cause is Cause.NOT_EXERCISED


def test_a_full_check_repeats_itself_and_directions_are_drawn_afresh():
    def check(**options):
        return library.check_function(torch.sigmoid, normal(5, 3), **options)

    assert check().loss == check().loss
    assert check(coverage="directions").loss != check(coverage="directions").loss
    first, second = (check(coverage="directions", rng=np.random.default_rng(7)) for _ in range(2))
    assert first.difference == second.difference


# The mutation test: functions that other people wrote, right ones and with a mistake planted in their gradient.

ELEMENTWISE = (
    "sin cos tan sinh cosh tanh asinh exp expm1 sigmoid square atan erf erfc sinc i0 logit_ softplus_ abs "
    "neg relu elu gelu silu mish selu celu hardtanh hardswish softsign tanhshrink logsigmoid leaky_relu "
    "sqrt_ rsqrt_ log_ log1p_ lgamma_ digamma_ reciprocal_ acosh_ softshrink hardshrink softmin_ log2_"
)
#: By name: the function, and the shapes of its inputs, all odd and unequal.
FUNCTIONS = {
    "linear": (F.linear, [(5, 3), (7, 3), (7,)]),
    "bilinear": (F.bilinear, [(5, 3), (5, 7), (2, 3, 7), (2,)]),
    "matmul": (torch.matmul, [(5, 3), (3, 7)]),
    "square matmul": (torch.matmul, [(5, 5), (5, 5)]),
    "bmm": (torch.bmm, [(2, 5, 3), (2, 3, 7)]),
    "addmm": (torch.addmm, [(5, 7), (5, 3), (3, 7)]),
    "einsum": (lambda a, b: torch.einsum("ij,kj->ik", a, b), [(5, 3), (7, 3)]),
    "outer": (torch.outer, [(5,), (3,)]),
    "cross": (torch.linalg.cross, [(5, 3), (5, 3)]),
    "kron": (torch.kron, [(2, 3), (3, 1)]),
    "solve": (torch.linalg.solve, [(3, 3), (3, 5)]),
    "inv": (torch.linalg.inv, [(3, 3)]),
    "det": (torch.linalg.det, [(3, 3)]),
    "norm": (torch.linalg.norm, [(5, 3)]),
    "add broadcast": (torch.add, [(5, 3), (3,)]),
    "mul broadcast": (torch.mul, [(5, 3), (5, 1)]),
    "sub": (torch.sub, [(5, 3), (1, 3)]),
    "div": (lambda a, b: a / (2 + b**2), [(5, 3), (3,)]),
    "atan2": (torch.atan2, [(5, 3), (5, 3)]),
    "hypot": (torch.hypot, [(5, 3), (5, 3)]),
    "maximum": (torch.maximum, [(5, 3), (5, 3)]),
    "minimum": (torch.minimum, [(5, 3), (5, 3)]),
    "logaddexp": (torch.logaddexp, [(5, 3), (5, 3)]),
    "lerp": (torch.lerp, [(5, 3), (5, 3), (5, 3)]),
    "addcmul": (torch.addcmul, [(5, 3), (5, 3), (5, 3)]),
    "where": (lambda a, b: torch.where(a > 0, a * b, b), [(5, 3), (5, 3)]),
    "sum": (lambda a: a.sum(0), [(5, 3)]),
    "mean": (lambda a: a.mean(1), [(5, 3)]),
    "var": (lambda a: a.var(0), [(5, 3)]),
    "std": (lambda a: a.std(1), [(5, 3)]),
    "prod": (lambda a: a.prod(1), [(5, 3)]),
    "logsumexp": (lambda a: a.logsumexp(1), [(5, 3)]),
    "cumsum": (lambda a: a.cumsum(0), [(5, 3)]),
    "cumprod": (lambda a: a.cumprod(1), [(5, 3)]),
    "amax": (lambda a: a.amax(1), [(5, 3)]),
    "max with places": (lambda a: a.max(1), [(5, 3)]),
    "sort": (lambda a: a.sort(0), [(5, 3)]),
    "softmax": (lambda a: a.softmax(1), [(5, 3)]),
    "log_softmax": (lambda a: a.log_softmax(0), [(5, 3)]),
    "normalize": (F.normalize, [(5, 3)]),
    "layer_norm": (lambda a, w, b: F.layer_norm(a, (3,), w, b), [(5, 3), (3,), (3,)]),
    "group_norm": (lambda a, w, b: F.group_norm(a, 2, w, b), [(3, 4, 5), (4,), (4,)]),
    "batch_norm": (lambda a, w, b: F.batch_norm(a, None, None, w, b, training=True), [(7, 3), (3,), (3,)]),
    "conv1d": (F.conv1d, [(2, 3, 7), (5, 3, 3), (5,)]),
    "conv2d": (lambda a, w: F.conv2d(a, w, stride=2, padding=1), [(1, 2, 5, 7), (3, 2, 3, 3)]),
    "conv_transpose1d": (F.conv_transpose1d, [(2, 3, 5), (3, 2, 3), (2,)]),
    "avg_pool1d": (lambda a: F.avg_pool1d(a, 3), [(2, 3, 7)]),
    "max_pool1d": (lambda a: F.max_pool1d(a, 2), [(2, 3, 7)]),
    "interpolate": (lambda a: F.interpolate(a, 11, mode="linear"), [(2, 3, 7)]),
    "pad": (lambda a: F.pad(a, (1, 2), mode="reflect"), [(2, 3, 5)]),
    "unfold": (lambda a: a.unfold(0, 3, 2), [(7, 2)]),
    "prelu": (F.prelu, [(5, 3), (3,)]),
    "glu": (lambda a: F.glu(a, 0), [(6, 3)]),
    "mse": (F.mse_loss, [(5, 3), (5, 3)]),
    "huber": (F.huber_loss, [(5, 3), (5, 3)]),
    "smooth_l1": (F.smooth_l1_loss, [(5, 3), (5, 3)]),
    "kl_div": (lambda a, b: F.kl_div(a, b.softmax(1), reduction="batchmean"), [(5, 3), (5, 3)]),
    "cross_entropy": (lambda a: F.cross_entropy(a, torch.arange(7) % 3), [(7, 3)]),
    "bce": (lambda a, b: F.binary_cross_entropy_with_logits(a, b.sigmoid()), [(5, 3), (5, 3)]),
    "cosine": (F.cosine_similarity, [(5, 3), (5, 3)]),
    "cdist": (torch.cdist, [(5, 3), (7, 3)]),
    "embedding": (lambda w: F.embedding(torch.tensor([2, 0, 2]), w), [(5, 3)]),
    "gather": (lambda a: a.gather(0, torch.tensor([[0, 2, 2], [1, 2, 0]])), [(5, 3)]),
    "scatter": (lambda a, b: a.index_add(0, torch.tensor([1, 1, 4]), b), [(5, 3), (3, 3)]),
    "attention": (F.scaled_dot_product_attention, [(2, 5, 3), (2, 7, 3), (2, 7, 3)]),
    "roll and flip": (lambda a: a.roll(2, 0).flip(1), [(5, 3)]),
    "cat": (lambda a, b: torch.cat((a, b)), [(5, 3), (2, 3)]),
    "split": (lambda a: a.split(3), [(7, 2)]),
    "svdvals": (torch.linalg.svdvals, [(5, 3)]),
    "eigvalsh": (lambda a: torch.linalg.eigvalsh(a + a.T), [(3, 3)]),
    "cholesky": (lambda a: torch.linalg.cholesky(a @ a.T + torch.eye(3, dtype=a.dtype)), [(3, 3)]),
    "trace": (torch.trace, [(5, 5)]),
    "fft": (lambda a: torch.fft.rfft(a), [(3, 7)]),
}


def elementwise(name):
    """Find a function of one tensor; one that ends in ``_`` is taken where it is defined."""
    bare = name.rstrip("_")
    of = next(getattr(room, bare) for room in (torch, F, torch.special) if hasattr(room, bare))
    if name == "softmin_":
        return lambda a: of(a, dim=1)
    if name == "logit_":
        return lambda a: of(a.sigmoid())
    return (lambda a: of(a**2 + 1.5)) if name.endswith("_") else of


FUNCTIONS |= {name: (elementwise(name), [(5, 3)]) for name in ELEMENTWISE.split()}


def times(factor):
    return lambda gradient: factor * gradient


def one_entry(gradient):
    changed = gradient.clone(memory_format=torch.contiguous_format)
    changed.view(-1)[gradient.abs().argmax()] *= 2
    return changed


def transposed(gradient):
    return gradient.T.reshape(gradient.shape) if gradient.ndim == 2 else gradient


def reduced_wrongly(gradient):
    """Divide by the number of rows, which a mean does and a sum does not."""
    return gradient / gradient.shape[0] if gradient.ndim else gradient


def last_term_missing(cotangent):
    changed = cotangent.clone(memory_format=torch.contiguous_format)
    changed.view(-1)[-1] = 0.0
    return changed


OF_GRADIENT = {
    "×1.01": times(1.01),
    "wrong sign": times(-1.0),
    "one entry": one_entry,
    "transposed": transposed,
    "wrong reduction": reduced_wrongly,
}


def planted(function, place=0, of_gradient=lambda gradient: gradient, of_cotangent=lambda cotangent: cotangent):
    """Write a Function that does what a function does, with a mistake in the gradient of one of its inputs."""

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            outputs = function(*inputs)
            return tuple(outputs) if isinstance(outputs, tuple) else outputs

        @staticmethod
        def backward(ctx, *cotangents):
            inputs = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
            with torch.enable_grad():
                outputs = function(*inputs)
                outputs = outputs if isinstance(outputs, tuple) else (outputs,)
                pairs = [pair for pair in zip(outputs, cotangents, strict=True) if pair[0].requires_grad]
                given = [of_cotangent(cotangent) for _, cotangent in pairs]
                found = list(torch.autograd.grad([output for output, _ in pairs], inputs, given))
            found[place] = of_gradient(found[place])
            return tuple(found)

    return Planted


def gradients_of(function, inputs):
    leaves = [tensor.double().requires_grad_() for tensor in inputs]
    outputs = function(*leaves)
    outputs = [output for output in (outputs if isinstance(outputs, tuple) else (outputs,)) if output.requires_grad]
    return torch.autograd.grad(outputs, leaves, [normal(*output.shape).to(output) for output in outputs])


def is_a_mistake(function, wrong, inputs):
    """Say whether what was planted changes anything: a column has no transpose, a mean no wrong sign at zero."""
    right, mistaken = gradients_of(function, inputs), gradients_of(wrong.apply, inputs)
    return any(torch.linalg.norm(a - b) > 1e-5 * torch.linalg.norm(a) for a, b in zip(right, mistaken, strict=True))


def test_right_functions_pass_and_every_planted_mistake_is_found():
    checked, found, alarms, missed = 0, 0, [], []
    for seed, (number, (name, (function, shapes))) in itertools.product(
        range(SEEDS), list(enumerate(FUNCTIONS.items()))[::EVERY]
    ):
        inputs = tuple(normal(*shape, seed=100 * seed + place) for place, shape in enumerate(shapes))
        place = (number + seed) % len(inputs)
        mistakes = {what: planted(function, place, change) for what, change in OF_GRADIENT.items()}
        mistakes["missing term"] = planted(function, of_cotangent=last_term_missing)
        coverages = ("full", "directions")
        for coverage in coverages if EVERY == 1 else [coverages[number % 2]]:
            checked += 1
            report = library.check_function(function, inputs, coverage=coverage)
            alarms += [(name, coverage, seed, str(report))] if report.verdict is Verdict.FAIL else []
            for what, wrong in mistakes.items():
                if is_a_mistake(function, wrong, inputs):
                    report = library.check_function(wrong, inputs, coverage=coverage)
                    found += report.verdict is Verdict.FAIL
                    missed += [] if report.verdict is Verdict.FAIL else [(name, coverage, what, seed, str(report))]
    print(f"{len(alarms)} false alarms in {checked} checks, {found} mistakes found of {found + len(missed)}")
    assert alarms == []
    assert missed == []
    assert found > checked > 2
