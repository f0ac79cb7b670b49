"""Schedules: their values by hand, and that a run with one resumes, and begins again, as a run without."""

import math

import numpy as np
import pytest

from trainer import (
    SGD,
    Adam,
    Checkpoint,
    CosineSchedule,
    Network,
    Optimizer,
    ResumeError,
    StepSchedule,
    Trainer,
    WarmupSchedule,
)

INPUTS = np.random.default_rng(0).standard_normal((23, 5))
TARGETS = (np.arange(23) % 3 == 0).astype(float)


def halved(update):
    """Halve the rate every five updates."""
    return 0.1 * 0.5 ** (update // 5)


SCHEDULES = {
    "cosine": CosineSchedule(0.1, 10, final=0.02),
    "step": StepSchedule(0.1, 3, 0.5),
    "warmup": WarmupSchedule(4, CosineSchedule(0.1, 6)),
    "function": halved,
}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (CosineSchedule(0.4, 4), [0.4, 0.2 + 0.2 * math.sqrt(0.5), 0.2, 0.2 - 0.2 * math.sqrt(0.5), 0.0, 0.0]),
        (CosineSchedule(0.4, 2, final=0.2), [0.4, 0.3, 0.2, 0.2, 0.2]),
        (StepSchedule(0.8, 2, factor=0.5), [0.8, 0.8, 0.4, 0.4, 0.2]),
        (WarmupSchedule(4, 0.4), [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]),
        (WarmupSchedule(2, StepSchedule(0.4, 1, 0.5)), [0.2, 0.4, 0.4, 0.2, 0.1]),
        (WarmupSchedule(2, halved), [0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05]),
    ],
)
def test_the_rates_are_those_written_down_beforehand(schedule, expected):
    rates = [schedule(update) for update in range(1, len(expected) + 1)]
    np.testing.assert_allclose(rates, expected, atol=1e-16)


def run(folder, optimizer, epochs=3, **resume):
    callbacks = [Checkpoint(folder, every=5)]
    trainer = Trainer(Network((5, 3, 1)), optimizer=optimizer, batch_size=7, epochs=epochs, callbacks=callbacks)
    trainer.fit(INPUTS, TARGETS, **resume)
    return trainer.parameters.vector.tobytes()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_run_with_a_schedule_resumes_to_the_same_bits(tmp_path, name, kind):
    whole = run(tmp_path, kind(SCHEDULES[name]))
    snapshot = tmp_path / "checkpoint-00000005.npz"
    assert run(tmp_path, kind(SCHEDULES[name]), resume=snapshot) == whole


def test_one_optimizer_serves_any_number_of_fits(tmp_path):
    optimizer = Adam(SCHEDULES["cosine"])
    assert len({run(tmp_path / str(number), optimizer) for number in range(3)}) == 1


@pytest.mark.parametrize("other", [CosineSchedule(0.1, 11, final=0.02), 0.1, halved])
def test_a_run_is_not_resumed_with_another_schedule(tmp_path, other):
    run(tmp_path, Adam(SCHEDULES["cosine"]))
    with pytest.raises(ResumeError, match="optimizer differs"):
        run(tmp_path, Adam(other), resume=tmp_path / "checkpoint-00000005.npz")


class Lion(Optimizer):
    """An optimizer of one's own, with no repr of its own."""

    moment_names = ("momentum",)

    def __init__(self, rate):
        self.rate = rate

    def update(self, vector, gradient, state):
        state.n_updates += 1
        momentum = state.moments["momentum"]
        vector -= self.rate * np.sign(0.9 * momentum + 0.1 * gradient)
        momentum *= 0.99
        momentum += 0.01 * gradient


class Named(Lion):
    """One that says what it is."""

    def settings(self):
        return {"what": "a lion"}


def test_a_custom_optimizer_without_a_repr_resumes_and_is_told_from_others(tmp_path):
    whole, snapshot = run(tmp_path, Lion(0.01)), tmp_path / "checkpoint-00000005.npz"
    assert run(tmp_path, Lion(0.01), resume=snapshot) == whole
    with pytest.raises(ResumeError, match=r"Expected Lion\(rate=0.01\). Received Lion\(rate=0.02\)"):
        run(tmp_path, Lion(0.02), resume=snapshot)
    with pytest.raises(ResumeError, match=r"Received Named\(what='a lion'\)"):
        run(tmp_path, Named(0.01), resume=snapshot)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CosineSchedule(0.0, 3),
        lambda: CosineSchedule(0.1, 0),
        lambda: CosineSchedule(0.1, 3, -1.0),
        lambda: StepSchedule(0.1, 1.5),
        lambda: StepSchedule(0.1, 2, 0.0),
        lambda: WarmupSchedule(0, 0.1),
        lambda: WarmupSchedule(3, "0.1"),
    ],
)
def test_a_schedule_that_is_none_is_refused(make):
    with pytest.raises((TypeError, ValueError), match=r"Invalid .* Expected .* Received"):
        make()
