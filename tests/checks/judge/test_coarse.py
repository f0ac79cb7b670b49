"""The coarse verdict: losses and gradients in bfloat16 and float16, right ones and mistakes."""

import itertools
import math
import re

import numpy as np
import pytest

from checks.judge.coarse import CLEAR, LINES, POINTS, coarse_report, judge_coarsely
from checks.measure.objective import Objective
from checks.measure.segments import AT_MOST
from checks.verdict import Cause, Verdict


def bfloat16(values):
    """Round to 8 significant bits, halves to even."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def float16(values):
    return np.asarray(values).astype(np.float16).astype(np.float64)


def exactly(values):
    return np.asarray(values, np.float64)


LOW = {"bfloat16": bfloat16, "float16": float16}
low = pytest.mark.parametrize("low", LOW.values(), ids=LOW)


def network(low, seed=0, sizes=(12, 8, 1), n_rows=64, final=exactly):
    """Give loss, gradients and parameters of a tanh network whose every operation is rounded, forward and back."""
    rng = np.random.default_rng(seed)
    inputs, targets = low(rng.normal(size=(n_rows, sizes[0]))), (rng.random((n_rows, sizes[-1])) < 0.3) * 1.0
    parameters = {}
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes), start=1):
        parameters[f"W{layer}"] = rng.normal(size=(n_out, n_in)) / math.sqrt(n_in)
        parameters[f"b{layer}"] = 0.1 * rng.normal(size=n_out)
    n_layers = len(sizes) - 1

    def forward(p):
        outputs = [inputs]
        for layer in range(1, n_layers + 1):
            sums = low(outputs[-1] @ low(p[f"W{layer}"]).T + low(p[f"b{layer}"]))
            outputs.append(low(np.tanh(sums)) if layer < n_layers else sums)
        return outputs

    def loss(p):
        logits = forward(p)[-1]
        return float(final(np.mean(np.logaddexp(0.0, logits) - targets * logits)))

    def gradients(p):
        outputs, found = forward(p), {}
        flow = low((1.0 / (1.0 + np.exp(-outputs[-1])) - targets) / targets.size)
        for layer in range(n_layers, 0, -1):
            found[f"W{layer}"], found[f"b{layer}"] = low(flow.T @ outputs[layer - 1]), low(flow.sum(0))
            if layer > 1:
                flow = low(low(flow @ low(p[f"W{layer}"])) * (1.0 - outputs[layer - 1] ** 2))
        return found

    return loss, gradients, parameters


def judged(loss, gradients, parameters, name, mistake=lambda part: part, seed=0):
    def planted(p):
        found = gradients(p)
        return {each: mistake(part) if each == name else part for each, part in found.items()}

    objective = Objective.of(loss, parameters, planted)
    before = objective.evaluations
    finding = judge_coarsely(objective, name, np.random.default_rng(seed))
    # Half of them are for entries that are zero.
    assert objective.evaluations - before == finding.evaluations <= 2 * AT_MOST
    assert finding.evidence
    return finding


def entry_of(part, share):
    """Put the largest entry off by a share of itself."""
    part = np.array(part)
    part.flat[np.argmax(np.abs(part))] *= 1.0 + share
    return part


@low
@pytest.mark.parametrize("rounded_loss", [False, True])
def test_a_right_gradient_is_never_wrong_and_mostly_passes(low, rounded_loss):
    verdicts = []
    for seed in range(6):
        found = network(low, seed, final=low if rounded_loss else exactly)
        verdicts += [judged(*found, name, seed=seed).verdict for name in found[2]]
    assert Verdict.FAIL not in verdicts
    assert verdicts.count(Verdict.PASS) >= 0.9 * len(verdicts)


MISTAKES = {
    "ten per cent": lambda part: 1.1 * part,
    "twice": lambda part: 2.0 * part,
    "half": lambda part: 0.5 * part,
    "sign": lambda part: -part,
    "zero": lambda part: 0.0 * part,
    "transposed": lambda part: np.roll(part, 1),
}


@low
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("name", ["W1", "b1", "W2"])
def test_a_mistake_in_a_tensor_is_found(low, mistake, name):
    for seed in range(4):
        finding = judged(*network(low, seed), name, mistake, seed)
        assert finding.verdict is Verdict.FAIL
        assert finding.cause is Cause.WRONG


@low
def test_the_factor_is_what_is_missing(low):
    for factor in (0.1, 0.5, 3.0, -2.0):
        finding = judged(*network(low), "W1", lambda part, factor=factor: part / factor)
        assert finding.verdict is Verdict.FAIL
        assert abs(finding.factor - factor) <= finding.half_width * max(1.0, abs(factor))


def test_three_per_cent_are_found_in_float16():
    for seed in range(4):
        assert judged(*network(float16, seed), "W1", lambda part: 1.03 * part, seed).verdict is Verdict.FAIL


@low
def test_one_entry_that_is_missing_is_found_and_named(low):
    loss, gradients, parameters = network(low, seed=1)
    finding = judged(loss, gradients, parameters, "W2", lambda part: entry_of(part, -1.0), seed=1)
    assert finding.verdict is Verdict.FAIL
    if finding.worst is not None:
        assert finding.worst == np.argmax(np.abs(gradients(parameters)["W2"]))


def test_a_wrong_entry_is_said_to_be_off_by_its_share_of_the_largest():
    stated = {}
    for share in (0.6, 0.9):

        def wrong(part, share=share):
            part = np.array(part)
            part.flat[np.argmin(np.abs(part))] += share * np.max(np.abs(part))
            return part

        finding = judged(*network(float16, 2), "W1", wrong, 2)
        if finding.worst is not None:
            stated[share] = float(re.search(r"off by (\S+) of the largest", finding.evidence)[1])
    assert stated
    for share, said in stated.items():
        assert said == pytest.approx(share, rel=0.4)


@low
def test_no_pass_where_more_is_wrong_than_it_excludes(low):
    for share in (-1.0, -0.5, -0.2, 0.2, 0.5, 1.0):
        for seed in range(3):
            finding = judged(*network(low, seed), "W1", lambda part, share=share: entry_of(part, share), seed)
            assert finding.verdict is not Verdict.PASS or finding.excluded_entry >= abs(share) / (1.0 + max(share, 0.0))


@low
def test_a_pass_says_what_it_excludes(low):
    finding = judged(*network(low), "W1")
    assert finding.verdict is Verdict.PASS
    assert finding.cause is Cause.AGREES
    assert abs(finding.factor - 1.0) <= finding.half_width <= finding.excluded_scale <= 0.05
    assert finding.excluded_entry < 0.5
    assert finding.confidence == 0.99
    assert "excludes a scale error above" in finding.evidence
    assert "with 99 %" in finding.evidence


def test_the_exact_gradient_of_a_loss_that_rounds_its_data_is_not_wrong():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        low, n_rows, n_columns = list(LOW.values())[seed % 2], 1 + seed % 4, 1 + seed % 3
        inputs, targets = rng.normal(size=(n_rows, n_columns)), rng.normal(size=n_rows)

        def loss(p, low=low, inputs=inputs, targets=targets):
            return float(np.mean(low(low(low(inputs) @ low(p["w"])) - low(targets)) ** 2))

        def gradients(p, inputs=inputs, targets=targets):
            return {"w": 2.0 / len(inputs) * inputs.T @ (inputs @ p["w"] - targets)}

        assert judged(loss, gradients, {"w": rng.normal(size=n_columns)}, "w").verdict is not Verdict.FAIL


@low
@pytest.mark.parametrize("sharp", [3.0, 30.0])
def test_curvature_is_no_mistake(low, sharp):
    def loss(p):
        return float(low(np.sum(np.log(np.cosh(sharp * p["x"]))) / 5.0))

    def gradients(p):
        return {"x": sharp * np.tanh(sharp * p["x"]) / 5.0}

    point = {"x": np.array([0.3, -0.7, 1.1, 0.01, 2.0])}
    assert judged(loss, gradients, point, "x").verdict is not Verdict.FAIL
    assert judged(loss, gradients, point, "x", lambda part: 1.3 * part).verdict is Verdict.FAIL


@low
def test_kinks_on_the_way_are_no_mistake(low):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(11, 7))

    def loss(p):
        return float(np.mean(low(np.maximum(low(inputs @ low(p["w"])), 0.0))))

    def gradients(p):
        return {"w": np.mean(inputs * (inputs @ p["w"] > 0.0)[:, None], axis=0)}

    point = {"w": rng.normal(size=7)}
    assert judged(loss, gradients, point, "w").verdict is Verdict.PASS
    assert judged(loss, gradients, point, "w", lambda part: 1.1 * part).verdict is Verdict.FAIL


def test_noise_in_the_gradient_itself_is_no_mistake():
    rng = np.random.default_rng(0)

    def gradients(p):  # as large as the gradient: a regression on it is drawn to one half
        return {"w": p["w"] + rng.normal(size=5)}

    for seed in range(10):
        point = {"w": np.random.default_rng(seed).normal(size=5)}
        finding = judged(lambda p: float(float16(0.5 * p["w"] @ p["w"])), gradients, point, "w", seed=seed)
        assert finding.verdict is not Verdict.FAIL


@low
def test_a_loss_that_never_moves_and_claims_nothing_is_not_exercised(low):
    loss, gradients, parameters = network(low)
    unused = {**parameters, "unused": np.arange(5.0)}
    more = judged(loss, lambda p: {**gradients(p), "unused": np.zeros(5)}, unused, "unused")
    assert (more.verdict, more.cause) == (Verdict.PASS, Cause.NOT_EXERCISED)


@low
def test_a_claim_about_a_loss_that_never_moves_is_wrong(low):
    loss, gradients, parameters = network(low)
    unused = {**parameters, "unused": np.arange(5.0)}
    more = judged(loss, lambda p: {**gradients(p), "unused": np.full(5, 0.1)}, unused, "unused")
    assert more.verdict is Verdict.FAIL


@low
def test_a_parameter_that_only_makes_rounding_is_not_wrong(low):
    """A bias before a norm: the loss moves by its rounding alone, and so does what the backward pass makes of it."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(16, 3))

    def normed(p):
        sums = low(low(rows) + low(p["b"]))
        centred = low(sums - low(sums.mean(0)))
        return low(centred / np.sqrt((centred * centred).mean(0)))

    def loss(p):
        return float(((normed(p) - 0.3) ** 3).mean())

    for seed in range(5):
        point = {"b": np.random.default_rng(seed).normal(size=3)}
        assert judged(loss, lambda p: {"b": np.zeros(3)}, point, "b", seed=seed).verdict is not Verdict.FAIL
        noise = np.random.default_rng(seed)
        claims = judged(loss, lambda p, noise=noise: {"b": 1e-3 * noise.normal(size=3)}, point, "b", seed=seed)
        assert claims.verdict is not Verdict.FAIL


def test_entries_that_are_not_finite_stay_where_they_are():
    """Masked logits: -inf among the parameters, NaN in what autograd may say of it."""
    weights = np.array([1.0, 2.0, 3.0, 0.5])

    def shares(p):
        powers = np.exp(float16(p["x"]) - np.max(p["x"]))
        return float16(powers / powers.sum())

    def gradients(p):
        found = shares(p) * (weights - shares(p) @ weights)
        return {"x": np.where(np.isfinite(p["x"]), found, np.nan)}

    point = {"x": np.array([1.0, 2.0, -np.inf, 0.3])}
    finding = judged(lambda p: float(shares(p) @ weights), gradients, point, "x")
    assert finding.verdict is Verdict.PASS
    wrong = judged(lambda p: float(shares(p) @ weights), gradients, point, "x", lambda part: 2.0 * part)
    assert wrong.verdict is Verdict.FAIL


def test_a_domain_that_ends_nearby_makes_segments_shorter():
    def loss(p):
        return float(float16(np.log(p["x"] - 0.95).sum())) if (p["x"] > 0.95).all() else math.nan

    finding = judged(loss, lambda p: {"x": 1.0 / (p["x"] - 0.95)}, {"x": np.array([1.1, 1.2])}, "x")
    assert finding.verdict is not Verdict.FAIL


def test_where_nothing_is_finite_nothing_is_said():
    finding = judged(lambda p: math.nan, lambda p: {"x": np.ones(3)}, {"x": np.ones(3)}, "x")
    assert (finding.verdict, finding.cause) == (Verdict.UNDECIDED, Cause.NOT_FINITE)


def test_gradients_given_as_numbers_cannot_be_asked_at_other_points():
    loss, gradients, parameters = network(bfloat16)
    objective = Objective.of(loss, parameters, gradients(parameters))
    finding = judge_coarsely(objective, "W1", np.random.default_rng(0))
    assert (finding.verdict, finding.cause) == (Verdict.UNDECIDED, Cause.ROUNDING)
    assert "pass the gradient as a function" in finding.evidence
    assert finding.evaluations == 0


def test_too_coarse_a_loss_is_undecided_and_says_what_it_would_take():
    rng = np.random.default_rng(0)
    finding = judged(
        lambda p: np.tanh(p["x"]).sum() + rng.normal(),
        lambda p: {"x": 1.0 - np.tanh(p["x"]) ** 2},
        {"x": np.array([0.3, -0.7, 0.1])},
        "x",
    )
    assert (finding.verdict, finding.cause) == (Verdict.UNDECIDED, Cause.ROUNDING)
    assert "evaluations" in finding.evidence or "rounding" in finding.evidence


def test_a_large_tensor_passes_and_does_not_speak_of_its_entries():
    target = np.random.default_rng(0).normal(size=5000)
    finding = judged(
        lambda p: float(float16(np.mean(float16(p["x"] - target) ** 2))),
        lambda p: {"x": 2.0 * (p["x"] - target) / 5000},
        {"x": np.random.default_rng(1).normal(size=5000)},
        "x",
    )
    assert finding.verdict is Verdict.PASS
    assert finding.excluded_entry == math.inf
    assert "entry" not in finding.evidence


def test_nothing_smooth_is_seen_in_noise():
    """`CLEAR`: of moves that are noise, the smooth share is never so large."""
    rng = np.random.default_rng(0)
    smooth = np.linalg.qr(np.vander(np.linspace(-0.5, 0.5, POINTS), 5))[0]
    lines = rng.normal(size=(20_000, LINES, POINTS))
    lines -= lines.mean(axis=2, keepdims=True)
    smoothly = np.sum((lines @ smooth) ** 2, axis=(1, 2))
    assert np.max(smoothly / (np.sum(lines**2, axis=(1, 2)) - smoothly)) < 0.6 * CLEAR


def test_a_torch_module_in_bfloat16_is_judged_by_its_twin():
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    from checks.torch.twin import Twin, one_thread

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    of = module, torch.nn.MSELoss(), torch.randn(16, 7), torch.randn(16, 3)
    twin = Twin(*of, own_mode=False, dtype=torch.bfloat16)
    with one_thread():
        for name, parameter in twin.parameters().items():
            assert judged(twin.loss, twin.gradients, twin.parameters(), name).verdict is Verdict.PASS
            twice = judged(twin.loss, twin.gradients, twin.parameters(), name, lambda part: 2.0 * part)
            assert twice.verdict is Verdict.FAIL, parameter.shape


def test_a_loss_that_only_moves_far_away_and_smoothly_there_is_not_unexercised():
    finding = judged(
        lambda p: float(np.float32(np.sum(np.maximum(np.abs(p["x"]) - 2.0, 0.0)))),
        lambda p: {"x": np.zeros(3)},
        {"x": np.zeros(3)},
        "x",
    )
    assert finding.verdict is Verdict.FAIL


@pytest.mark.parametrize("noise", [0.026, 0.3])
def test_how_many_evaluations_it_would_take_is_said_where_so_many_would_do(noise):
    rng = np.random.default_rng(0)
    finding = judged(
        lambda p: np.tanh(p["x"]).sum() + noise * rng.normal(),
        lambda p: {"x": 1.0 - np.tanh(p["x"]) ** 2},
        {"x": np.array([0.3, -0.7, 0.1])},
        "x",
    )
    assert finding.verdict is Verdict.UNDECIDED
    found = re.search(r"would take some (\d+) evaluations", finding.evidence)
    if noise == 0.026:
        assert int(found[1]) > AT_MOST
    else:
        assert "must be smaller" in finding.evidence


def test_the_report_gives_the_relative_difference_of_claimed_and_measured():
    point = {"x": np.array([0.3, -0.7, 1.1])}
    for factor, difference in ((2.0, 1.0 / 3.0), (0.5, 1.0 / 3.0), (4.0, 0.6)):
        objective = Objective.of(
            lambda p: float(float16(np.sin(p["x"]).sum())), point, lambda p, k=factor: {"x": k * np.cos(p["x"])}
        )
        report, _ = coarse_report(objective, "x", np.random.default_rng(0))
        assert report.difference == pytest.approx(difference, rel=0.02)


def test_the_report_of_one_wrong_entry_names_it_and_says_of_its_slope_no_more_than_is_known():
    loss, gradients, parameters = network(float16, 1)

    def wrong(p):
        found = gradients(p)
        found["W1"][3, 4] += 0.6 * np.max(np.abs(found["W1"]))
        return found

    report, suspect = coarse_report(Objective.of(loss, parameters, wrong), "W1", np.random.default_rng(1))
    assert (report.verdict, report.worst_index) == (Verdict.FAIL, (3, 4))
    assert suspect.alone
    assert math.isnan(report.numerical)
    assert np.count_nonzero(np.isnan(suspect.numerical)) == 1
    right = gradients(parameters)["W1"]
    off = np.linalg.norm(wrong(parameters)["W1"] - right) / (2.0 * np.linalg.norm(right))
    assert 0.05 * off < report.difference < off
