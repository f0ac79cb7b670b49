"""The words: no sentence that is false, empty or says infinity, whatever a check has found."""

import dataclasses
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks import GradientReport, TensorReport, Verdict, check_gradients
from checks.explain.entries import Entries
from checks.explain.mistake import Kind, Mistake
from checks.report.findings import Applied
from checks.report.remarks import DECIDES
from checks.report.words import LINE, line
from checks.verdict import Cause

OF_VERDICT = {
    Verdict.PASS: [Cause.AGREES, Cause.NOT_EXERCISED, Cause.NO_EFFECT],
    Verdict.FAIL: [Cause.WRONG, Cause.NOT_FINITE],
    Verdict.UNDECIDED: list(DECIDES),
}
OF_APPLIED = [Cause.WRONG_ON_BATCH, Cause.CHANGED, Cause.NOT_REPEATABLE, Cause.LOST, Cause.MOVED]
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -2.5, 3e-15, 1e-320, -1e300, math.nan])
SHARES = st.sampled_from([0.0, 1e-300, 3e-9, 1.0, math.nan])


@st.composite
def tensors(draw, name):
    verdict = draw(st.sampled_from(list(Verdict)))
    shape = draw(st.sampled_from([(), (3,), (5, 3)]))
    is_full = draw(st.booleans())
    finite = st.sampled_from([0.0, 1.0, -2.0, 1e10])
    entries = None
    if is_full and draw(st.booleans()):
        values = [np.full(shape, draw(value)) for value in (finite, st.one_of(finite, st.just(math.nan)))]
        entries = Entries(*values, np.full(shape, 1e-9), np.zeros(shape, bool))
    mistake = Mistake(draw(st.sampled_from(list(Kind))), f"{name}: a mistake.") if draw(st.booleans()) else None
    return TensorReport(
        name=name,
        shape=shape,
        verdict=verdict,
        cause=draw(st.sampled_from(OF_VERDICT[verdict])),
        difference=draw(SHARES),
        gradient_norm=draw(st.sampled_from([0.0, 3e-15, 2.0, math.nan])),
        worst_index=tuple(0 for _ in shape) if is_full else (),
        gradient=draw(NUMBERS if verdict is Verdict.UNDECIDED else NUMBERS.filter(lambda value: value == value)),
        numerical=draw(NUMBERS),
        kinks=draw(st.integers(0, 1)),
        untouched=draw(st.integers(0, 1)),
        excluded=draw(st.sampled_from([0.0, 1e-9, math.inf])),
        confidence=1.0 if is_full else 0.99,
        precision=draw(st.sampled_from([0.0, 2e-4])) if verdict is Verdict.PASS else 0.0,
        evidence=draw(st.sampled_from(["", "the slope is 0 ± 5e-10", "it is what it is."])),
        mistake=mistake if verdict is Verdict.FAIL else None,
        entries=entries,
    )


@st.composite
def reports(draw, depth=1):
    own = {name: draw(tensors(name)) for name in ("W1", "b1", "W2")[: draw(st.integers(1, 3))]}
    applied = None
    if depth and draw(st.booleans()):
        verdict = draw(st.sampled_from(list(Verdict)))
        cause = Cause.AGREES if verdict is Verdict.PASS else draw(st.sampled_from(OF_APPLIED))
        applied = Applied(
            verdict,
            cause,
            draw(st.sampled_from([0.0, 3e-9, 1.0])),
            "W1",
            "float64",
            7,
            sentence="W1 is off. Look there.",
        )
    return GradientReport(
        difference=draw(SHARES),
        plain_difference=draw(SHARES),
        threshold=1e-7,
        tensors=own,
        coverage=draw(st.sampled_from(["full", "directions"])),
        derivative="central",
        loss=0.5,
        step=1e-5,
        evaluations=7,
        seconds=0.1,
        terms={"l2": draw(reports(depth=0))} if depth and draw(st.booleans()) else {},
        applied=applied,
        notes=("no complex step: it refuses",) if draw(st.booleans()) else (),
    )


class Text(HTMLParser):
    """The text of a page, an element a line."""

    def __init__(self, page):
        super().__init__()
        self.lines = []
        self.feed(page)

    def handle_data(self, data):
        self.lines.append(data)


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(reports())
def test_no_sentence_says_infinity_or_nothing(report):
    text, page = str(report), "\n".join(Text(report._repr_html_()).lines)
    for words in (text, page, report.summary()):
        assert not re.search(r"\b(inf|nan)\b", words), words
        assert ": ." not in words
        assert ":." not in words
        assert ".." not in words
        assert "()" not in words
        assert "None" not in words
    sentences = text[text.index("\n\n", text.index("\n\n") + 2) :]  # after the headline and the table
    for sentence in sentences.splitlines():
        assert "  " not in sentence.strip(), sentence
        assert not re.search(r" [.,;:]", sentence), sentence
    assert "\n" not in report.summary()
    for name in report.tensors:
        assert name in text
        assert name in page
    quiet = [t.name for t in report.tensors.values() if t.cause in (Cause.NOT_EXERCISED, Cause.NO_EFFECT)]
    assert report.not_exercised == quiet
    told = [name for name in quiet if report.tensors[name].verdict is Verdict.PASS]
    assert ("not exercised: " + ", ".join(told) in report.summary()) or not told
    joined = " ".join(text.split())
    for tensor in report.tensors.values():
        if tensor.verdict is Verdict.UNDECIDED:
            assert DECIDES[tensor.cause] in joined
            assert DECIDES[tensor.cause] in page
    first = " ".join(text.partition("\n\n")[0].split())
    assert first.startswith(f"Gradient check: {report.verdict.value}")
    assert (f"({report.cause.value}" in first) == (report.verdict is not Verdict.PASS)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(reports(), st.sampled_from([1, 1880, 123_456_789]))
def test_the_line_of_a_log_says_what_was_concluded_and_fits_a_terminal(report, iteration):
    told = line(report, iteration)
    assert len("17:56:41 WARNING ") + len(told) <= 79
    assert told.startswith(f"iteration {iteration}  {report.verdict.value}")
    assert not re.search(r"\b(inf|nan)\b|\n|  $", told)
    if report.verdict is Verdict.UNDECIDED:
        assert f" ({report.cause.value[:9]}" in told
    if report.culprits and report.cause is Cause.WRONG and iteration < 2_000:
        assert report.culprits[0].label in told


def test_the_line_of_a_log_keeps_its_width_whatever_the_names():
    long = "encoder.layers.0.self_attention.in_proj_weight"
    wrong = report(tensor(long, Verdict.FAIL, Cause.WRONG), tensor("b"))
    assert line(wrong, 1880).startswith("iteration 1880  FAIL (wrong gradient)  at encoder.lay")
    assert len(line(wrong, 1880)) == LINE
    left = report(*(tensor(f"W{layer}", Verdict.UNDECIDED, Cause.KINK) for layer in range(1, 50)))
    assert line(left, 1880).startswith("iteration 1880  UNDECIDED (kink)  about W1 and 48 more")
    assert line(report(tensor("W1")), 7) == "iteration 7  PASS  difference 1.000e-09  100.0 ms"


def tensor(name, verdict=Verdict.PASS, cause=Cause.AGREES, **values):
    fields = {"difference": 0.0, "gradient_norm": 1.0, "worst_index": (0,), "gradient": 1.0, "numerical": 1.0}
    return TensorReport(name=name, shape=(3,), verdict=verdict, cause=cause, **(fields | values))


def report(*tensors, **values):
    own = {one.name: one for one in tensors}
    fields = dict(zip(("coverage", "derivative", "loss"), ("full", "central", 0.5), strict=True)) | values
    return GradientReport(1e-9, 1e-9, 1e-7, own, step=1e-5, evaluations=3, seconds=0.1, **fields)


def said(report):
    return " ".join(str(report).split())


def test_what_was_not_exercised_is_named_once_and_excludes_nothing():
    idle = [tensor(name, cause=Cause.NOT_EXERCISED, gradient_norm=0.0, untouched=3) for name in ("b1", "b2")]
    noise = tensor("b3", cause=Cause.NO_EFFECT, gradient_norm=6e-15, difference=1.0, excluded=6e-15)
    right = tensor("W1", gradient_norm=2.0, excluded=1e-8)
    made = report(right, *idle, noise)
    assert made.not_exercised == ["b1", "b2", "b3"]
    assert made.summary().endswith("  not exercised: b1, b2, b3")
    text = said(made)
    assert (
        "not exercised: b1, b2 (gradient and slopes are zero everywhere: right here, but nothing was tested)." in text
    )
    assert "no effect: b3 (zero up to rounding: at most 3e-15 of the whole gradient" in text
    assert "an error above 6e-15 of it is excluded" in text
    assert "share of a tensor's gradient: W1 1.0e-08." in text
    assert "were not exercised" not in text
    assert "overall, but" not in text  # the difference of what is zero up to rounding means nothing
    assert "not exercised" not in report(right).summary()


def test_a_coarse_pass_says_how_coarse():
    made = dataclasses.replace(report(tensor("W1", precision=2e-4, difference=3e-5), tensor("b1")), difference=3e-5)
    assert str(made).startswith("Gradient check: PASS to 2e-04 — difference 3.000e-05, threshold 1e-07\n")
    assert "PASS to 2e-04 (W1 to 2e-04): the loss is too coarse for more." in said(made)
    assert "  PASS to 2e-04  " in made.summary()
    assert "PASS to 2e-04" in made._repr_html_().replace("</strong>", "")


def test_a_pass_by_the_norm_names_the_entry_that_is_off():
    factors = np.array([1.0, 2.0])
    made = check_gradients(lambda x: (1.0 / x).sum(), lambda x: -factors / x**2, np.array([1e-5, 1.0]))
    assert made.verdict is Verdict.PASS
    for text in (said(made), made._repr_html_()):
        assert "PASS by the norm, but parameters[1] is -2 where the numerical gradient is -1, 2 ×" in text
        assert "parameters is dominated by larger entries. Check it alone" in text


def test_a_right_gradient_is_not_called_off(case):
    for seed in range(10):
        for activation in ("relu", "tanh"):
            network = case((7, 5, 3, 1), n_rows=33, seed=seed, activation=activation, l2=1e-3)
            for derivative in ("central", "complex"):
                made = check_gradients(network.loss, network.gradients, network.parameters, derivative=derivative)
                assert "by the norm" not in str(made)


def test_where_the_loss_has_no_slope_there_is_no_ratio():
    made = check_gradients(lambda p: (p["a"] ** 2).sum(), lambda p: {"a": 2 * p["a"], "b": 1.0 + p["b"]}, two())
    row = next(line for line in str(made).splitlines() if line.split()[:1] == ["b"])
    assert row.split()[-2:] == ["0", "-"]
    assert "numerical 0 (the loss has no slope there)" in said(made)
    assert "inf" not in str(made) + made.summary() + made._repr_html_()


def two():
    return {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([0.5, -0.5])}


def test_a_zero_tensor_does_not_show_the_slopes_of_the_whole_direction():
    gradients = lambda p: {"a": 2 * p["a"], "b": 0 * p["b"]}  # noqa: E731
    made = check_gradients(lambda p: (p["a"] ** 2).sum(), gradients, two(), coverage="directions")
    rows = {line.split()[0]: line.split() for line in str(made).splitlines() if line.split()[:1] in (["a"], ["b"])}
    assert rows["a"][3:5] == ["whole", "direction"]
    assert rows["b"][-3:] == ["-", "-", "-"]


def test_what_several_tensors_leave_open_is_said_once_with_what_would_decide_it():
    draws = np.random.default_rng(0)
    made = check_gradients(
        lambda p: sum((part**2).sum() for part in p.values()) * (1.0 + 0.1 * draws.standard_normal()),
        lambda p: {name: 2 * part for name, part in p.items()},
        two(),
    )
    text = said(made)
    assert "a, b: UNDECIDED, not deterministic: the loss, evaluated again" in text
    assert text.count("It would be decided by a loss that draws nothing") == 1
    assert "difference not measured" in text


@pytest.mark.parametrize("where", ["term", "applied"])
def test_a_verdict_from_elsewhere_says_where(where):
    wrong = report(tensor("c", Verdict.FAIL, Cause.WRONG, evidence="so it is"))
    if where == "term":
        made = dataclasses.replace(report(tensor("a")), terms={"l2": wrong})
        assert "(wrong gradient, in term 'l2')" in said(made)
    else:
        applied = Applied(Verdict.FAIL, Cause.CHANGED, 0.5, "a", "float32", 7, sentence="a was 1 and is 2. Look.")
        made = dataclasses.replace(report(tensor("a")), applied=applied)
        assert "(changed after backprop, of the gradient about to be applied)" in said(made)
