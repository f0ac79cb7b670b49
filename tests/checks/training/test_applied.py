"""The second question: whatever stands between backprop and the update, or on another path than the first, is found."""

from importlib.util import find_spec

import numpy as np
import pytest

from checks import Cause, GradientCheck, GradientCheckError, Verdict
from checks.training.applied import AppliedCheck
from trainer import SGD, Adam, Callback, CompiledNetwork, Network, Trainer

SIZES = (7, 5, 3, 1)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((83, 7))  # four batches of 20 an epoch, and one of 3
Y = (X[:, 0] + 0.5 * RNG.standard_normal(83) > 0.3).astype(float)

NETWORKS = {
    "plain": (Network, {}),
    "dropout and l2": (Network, {"dropout": 0.3, "l2": 1e-2, "positive_weight": 3.0}),
    "tanh": (Network, {"activation": "tanh", "dropout": 0.3}),
    "compiled": (CompiledNetwork, {"dropout": 0.3, "l2": 1e-2}),
}
kinds = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(name, marks=pytest.mark.skipif(name == "compiled" and not find_spec("numba"), reason="no numba"))
        for name in NETWORKS
    ],
)
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


def mistaken(change, kind="plain"):
    """Give a network whose gradients are changed within backprop, by change(gradients, inputs, rng, call, …)."""
    base, options = NETWORKS[kind]

    class Mistaken(base):
        calls = 0

        def loss_and_gradients(self, parameters, inputs, targets, rng=None, out=None):
            before = 0.0 if out is None else out.vector.copy()
            loss, gradients = super().loss_and_gradients(parameters, inputs, targets, rng, out)
            self.calls += 1
            change(gradients, inputs, rng, self.calls, before, parameters)
            return loss, gradients

    return Mistaken(SIZES, **options)


def scaled(name, factor, when=lambda inputs, rng, call: True):
    def change(gradients, inputs, rng, call, before, parameters):
        if when(inputs, rng, call):
            (gradients.vector if name is None else gradients[name])[...] *= factor

    return change


def accumulates(gradients, inputs, rng, call, before, parameters):
    gradients.vector[...] += before


def moves(gradients, inputs, rng, call, before, parameters):
    parameters["W2"][2, 3] += 1e-3


def huge(gradients, inputs, rng, call, before, parameters):
    gradients["W2"][2, 3:4] *= 2.0**126 if gradients.vector.dtype == np.float32 else 2.0**1000


def in_float32(inputs, rng, call):
    return inputs.dtype == np.float32


#: What is wrong, the iteration of the first look that meets it, its name, and a tensor (None is any of them).
ALWAYS = {
    "divided by a constant": (scaled(None, 20 / 16, lambda x, r, c: len(x) == 20), 1, Cause.WRONG_ON_BATCH, None),
    "wrong in the ragged batch": (scaled("W1", 2.0, lambda x, r, c: len(x) == 3), 5, Cause.WRONG_ON_BATCH, "W1"),
    "wrong under dropout": (scaled("W1", 2.0, lambda x, r, c: r is not None), 1, Cause.WRONG_ON_BATCH, "W1"),
    "wrong in every second call": (scaled("W1", 2.0, lambda x, r, c: c % 2), 1, Cause.NOT_REPEATABLE, "W1"),
    "accumulates into out": (accumulates, 5, Cause.NOT_REPEATABLE, None),
    "moves the parameters": (moves, 1, Cause.MOVED, "W2[2, 3]"),
    "not finite": (scaled("W2", np.nan), 1, Cause.WRONG_ON_BATCH, "W2"),
    "one entry far too large": (huge, 1, Cause.WRONG_ON_BATCH, "W2[2, 3]"),
    "a millionth too large": (scaled("W2", 1.0 + 1e-6), 1, Cause.WRONG_ON_BATCH, "W2"),
}
IN_FLOAT32 = {
    "twice": (scaled("W1", 2.0, in_float32), 1, Cause.LOST, "W1"),
    "a thousandth too large": (scaled("W1", 1.001, in_float32), 1, Cause.LOST, "W1"),
    "a ten-thousandth too large": (scaled("W3", 1.0001, in_float32), 1, Cause.LOST, "W3"),
    "not finite": (scaled("W1", np.nan, in_float32), 1, Cause.LOST, "W1"),
}


def trainer_of(network, callbacks, *, dtype="float64", epochs=2, **options):
    settings = {"optimizer": Adam(1e-2), "batch_size": 20, "seed": 1} | options
    return Trainer(network, callbacks=callbacks, dtype=dtype, epochs=epochs, **settings)


def halted(network, *, before=(), after=(), dtype="float64", every=7, **options):
    """Have a run end by its check, and give the error and the trainer."""
    check = GradientCheck(every=every, rows=16, **options)
    trainer = trainer_of(network, [*before, check, *after], dtype=dtype)
    with np.errstate(invalid="ignore"), pytest.raises(GradientCheckError) as caught:
        trainer.fit(X, Y)
    assert trainer.outcome == "halted"
    assert check.report is caught.value.report
    return caught.value, trainer


def assert_found(error, iteration, cause, tensor):
    applied = error.report.applied
    assert (error.iteration, applied.verdict, applied.cause) == (iteration, Verdict.FAIL, cause), str(error)
    assert error.report.verdict is Verdict.FAIL
    assert tensor is None or f"{applied.tensor}[".startswith(f"{tensor}["), str(error)
    assert applied.sentence.startswith(applied.tensor) or cause is Cause.NOT_REPEATABLE
    assert str(applied) in " ".join(str(error).split())


@dtypes
@kinds
@pytest.mark.parametrize("mistake", ALWAYS)
def test_a_mistake_on_any_path_of_backprop_halts_at_the_first_look_that_meets_it_under_its_name(mistake, kind, dtype):
    change, iteration, cause, tensor = ALWAYS[mistake]
    error, trainer = halted(mistaken(change, kind), dtype=dtype, coverage="directions")
    assert_found(error, iteration, cause, tensor)
    row = next(row for row in trainer.history if row.get("applied_verdict") == "FAIL")
    assert (row["iteration"], row["applied_cause"]) == (iteration, cause.value)


@kinds
@pytest.mark.parametrize("mistake", IN_FLOAT32)
def test_more_lost_than_the_precision_explains_is_found_and_nothing_is_where_the_precision_is_another(mistake, kind):
    change, *expected = IN_FLOAT32[mistake]
    assert_found(halted(mistaken(change, kind), dtype="float32")[0], *expected)
    trainer = trainer_of(mistaken(change, kind), [GradientCheck(every=7, rows=16)])
    trainer.fit(X, Y)
    assert trainer.outcome == "completed"


@dtypes
@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_a_step_is_made_again_at_the_first_of_ten_questions_and_of_every_size(monkeypatch, coverage, dtype):
    asked, made = [], []
    ask, backprop = AppliedCheck.ask, AppliedCheck.backprop
    monkeypatch.setattr(AppliedCheck, "ask", lambda *a, **k: asked.append(len(a[1].targets)) or ask(*a, **k))
    monkeypatch.setattr(AppliedCheck, "backprop", lambda *a: made.append(len(asked)) or backprop(*a))
    check = GradientCheck(every=1, rows=16, coverage=coverage)
    trainer_of(Network(SIZES, activation="tanh"), [check], dtype=dtype, epochs=5).fit(X, Y)
    assert asked == [20, 20, 20, 20, 3] * 5
    assert sorted(set(made)) == [1, 5, 11, 21]


@kinds
@pytest.mark.parametrize("name", ["W1", "b2", "W3"])
def test_a_ten_thousandth_that_is_lost_later_on_is_found_within_three_questions(name, kind):
    late = mistaken(scaled(name, 1.0001, lambda x, rng, call: in_float32(x, rng, call) and call > 5), kind)
    error, _ = halted(late, dtype="float32", coverage="directions", every=1)
    assert error.iteration <= 8
    assert error.report.applied.cause in (Cause.LOST, Cause.NOT_REPEATABLE)


class Corrupts(Callback):
    """Writes into the gradients."""

    def __init__(self, how):
        self.how = how

    def on_gradients_computed(self, state):
        self.how(state.gradients)


class Watches(Callback):
    """Has its turn and changes nothing; what has no turn at the gradients is not to be suspected."""

    def on_gradients_computed(self, state):
        pass


class Idle(Callback):
    """Has no turn."""


def stale(gradients):
    gradients["W2"][...] = 0.125


CORRUPTIONS = {
    "sign": lambda gradients: gradients.vector.__imul__(-1.0),
    "twice": lambda gradients: gradients.vector.__imul__(2.0),
    "zero": lambda gradients: gradients.vector.fill(0.0),
    "nan": lambda gradients: gradients.vector.fill(np.nan),
    "one tensor stale": stale,
    "one entry twice": lambda gradients: gradients["W2"][2, 3:4].__imul__(2.0),
}


@dtypes
@kinds
@pytest.mark.parametrize("how", CORRUPTIONS)
def test_what_a_callback_changed_before_the_check_halts_before_the_update_and_names_the_callback(how, kind, dtype):
    base, options = NETWORKS[kind]
    before = [Watches(), Idle(), Corrupts(CORRUPTIONS[how])]
    error, trainer = halted(base(SIZES, **options), before=before, after=[Watches()], dtype=dtype)
    assert_found(error, 1, Cause.CHANGED, "W2" if "one" in how else None)
    assert "Look at the callbacks before the check: Watches, Corrupts." in error.report.applied.sentence
    initial = np.random.default_rng(np.random.SeedSequence(1).spawn(3)[0])
    np.testing.assert_array_equal(trainer.parameters.vector, trainer.network.initial_parameters(initial, dtype).vector)


@dtypes
def test_what_a_callback_changed_after_the_check_ends_the_run_at_that_iteration(dtype):
    class Stops(Callback):
        def on_batch_end(self, state):
            state.request_stop("here")

    corrupts = Corrupts(CORRUPTIONS["sign"])
    error, trainer = halted(Network(SIZES), before=[Watches()], after=[corrupts, Idle(), Watches()], dtype=dtype)
    assert_found(error, 1, Cause.CHANGED, None)
    sentence = error.report.applied.sentence
    assert "the update has had it already. Look at the callbacks after the check: Corrupts, Watches." in sentence
    assert trainer.state.iteration == 1
    once = trainer_of(Network(SIZES), [corrupts, Stops()], dtype=dtype)  # nothing more was applied
    once.fit(X, Y)
    np.testing.assert_array_equal(trainer.parameters.vector, once.parameters.vector)


def test_a_callback_after_the_check_is_noticed_where_the_run_goes_on_too(caplog):
    check = GradientCheck(every=7, rows=16, on_failure="log")
    trainer = trainer_of(Network(SIZES), [check, Corrupts(CORRUPTIONS["twice"])])
    trainer.fit(X, Y)
    assert trainer.outcome == "completed"
    assert [(i, text.partition(":")[0]) for i, _, text in check.proof.failures] == [
        (iteration, "Changed after backprop") for iteration in (1, 5, 7)
    ]
    assert (check.proof.applied.n, check.proof.applied.passed, check.proof.applied.failed) == (6, 3, 3)
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 3


@pytest.mark.parametrize(
    ("dtype", "bit"),
    [*(("float64", bit) for bit in range(40, 64)), *(("float32", bit) for bit in range(11, 32))],
)
def test_every_bit_of_sign_exponent_and_upper_mantissa_that_flips_before_the_update_is_found(dtype, bit):
    def flips(gradients):
        entry = int(np.flatnonzero(gradients.vector)[bit % 7])  # another one each time, and none that is zero
        word = gradients.vector[entry : entry + 1].view({"float64": np.uint64, "float32": np.uint32}[dtype])
        word ^= word.dtype.type(1 << bit)

    error, _ = halted(Network(SIZES, dropout=0.3), before=[Corrupts(flips)], dtype=dtype, coverage="directions")
    assert_found(error, 1, Cause.CHANGED, None)


def test_each_of_the_five_causes_has_its_sentence():
    said = {}
    for mistake, dtype in (
        ("wrong under dropout", "float64"),
        ("wrong in every second call", "float64"),
        ("moves the parameters", "float32"),
        ("twice", "float32"),
    ):
        change, *_ = (ALWAYS | IN_FLOAT32)[mistake]
        applied = halted(mistaken(change), dtype=dtype)[0].report.applied
        said[applied.cause] = applied.sentence
    applied = halted(Network(SIZES), before=[Corrupts(stale)])[0].report.applied
    said[applied.cause] = applied.sentence
    for cause, sentence in {
        Cause.WRONG_ON_BATCH: ", should be ",
        Cause.CHANGED: "is 0.125, and backprop gave ",
        Cause.NOT_REPEATABLE: "made again with the same parameters, rows and masks, gives another gradient: W1[",
        Cause.LOST: "in float64, which is not rounding.",
        Cause.MOVED: "Between the two nothing may write to the parameters",
    }.items():
        assert sentence in said.pop(cause)
    assert said == {}


def test_a_mistake_on_a_batch_is_measured_and_named_as_the_first_question_would():
    applied = halted(mistaken(scaled("W2", 2.0)))[0].report.applied
    assert "W2: backprop is 2.000 × the numerical gradient" in applied.sentence
    assert applied.difference == pytest.approx(1 / 3, rel=1e-6)


def test_a_mistake_that_comes_late_is_found_at_the_next_look():
    change = scaled("W3", -1.0, lambda inputs, rng, call: rng is not None and change.late)
    change.late = False

    class Late(Callback):
        def on_batch_begin(self, state):
            change.late = state.iteration >= 6

    error, _ = halted(mistaken(change, "dropout and l2"), before=[Late()], every=4)
    assert_found(error, 8, Cause.WRONG_ON_BATCH, "W3")


def test_momentum_and_plain_descent_are_looked_at_alike():
    for optimizer in (SGD(0.1), SGD(0.1, momentum=0.9)):
        check = GradientCheck(every=7, rows=16)
        trainer_of(Network(SIZES), [check], optimizer=optimizer).fit(X, Y)
        assert (check.proof.applied.n, check.proof.applied.passed) == (3, 3)
