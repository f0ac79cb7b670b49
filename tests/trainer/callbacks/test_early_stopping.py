"""Early stopping: when it asks for a stop, by a sequence of losses written down beforehand."""

import math

import numpy as np
import pytest

from trainer import Callback, EarlyStopping, Network, Trainer

INPUTS = np.random.default_rng(0).standard_normal((11, 5))
TARGETS = (np.arange(11) % 3 == 0).astype(float)


class Script(Callback):
    """Puts a given number into each epoch row."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, state):
        state.row["score"] = self.values[state.epoch - 1]


def epochs_run(values, **options):
    callbacks = [Script(values), EarlyStopping("score", **options)]
    trainer = Trainer(Network((5, 1)), epochs=len(values), callbacks=callbacks)
    return len(trainer.fit(INPUTS, TARGETS).column("score")), trainer


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 1, 0], {"patience": 1}, 4),
        ([3, 2, 2, 1], {"patience": 1}, 3),
        ([3, 2, 2, 1, 1, 1, 0], {"patience": 2}, 6),
        ([3, 4, 5, 6, 7, 8], {}, 4),
        ([3, 2.95, 2.9, 2.85], {"patience": 2, "min_delta": 0.2}, 3),
        ([3, 2.9, 2.7, 2.6, 2.4], {"patience": 2, "min_delta": 0.2}, 5),
        ([math.nan, math.nan, 1], {"patience": 2}, 2),
        ([1, math.nan, 0.5, 0.4], {"patience": 2}, 4),
    ],
)
def test_it_stops_after_patience_epochs_without_improvement(values, options, expected):
    assert epochs_run(values, **options)[0] == expected


def test_the_outcome_is_stopped_and_the_reason_says_why():
    _, trainer = epochs_run([3.0, 4.0, 5.0], patience=1)
    assert trainer.outcome == "stopped"
    assert trainer.state.stop_reason == "score has not improved on 3 for 1 epoch"


def test_it_forgets_the_last_run():
    callbacks = [Script([3, 2, 2, 2]), EarlyStopping("score", patience=2)]
    trainer = Trainer(Network((5, 1)), epochs=4, callbacks=callbacks)
    counts = [len(trainer.fit(INPUTS, TARGETS).column("score")) for _ in range(2)]
    assert counts == [4, 4]


def test_without_validation_rows_it_says_so_before_training():
    trainer = Trainer(Network((5, 1)), callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match=r"nothing to monitor. Expected .* Received no validation rows"):
        trainer.fit(INPUTS, TARGETS)
    assert trainer.state.iteration == 0


def test_with_validation_rows_it_watches_their_loss():
    stopping = EarlyStopping(patience=50)
    trainer = Trainer(Network((5, 1)), epochs=3, callbacks=[stopping])
    history = trainer.fit(INPUTS, TARGETS, validation=(INPUTS, TARGETS))
    assert stopping.best == min(history.column("validation_loss"))


def test_an_unknown_key_is_refused_with_the_known_ones():
    trainer = Trainer(Network((5, 1)), callbacks=[EarlyStopping("scroe")])
    with pytest.raises(ValueError, match=r"Expected one of event, .*epoch_loss. Received 'scroe'"):
        trainer.fit(INPUTS, TARGETS)


@pytest.mark.parametrize("options", [{"patience": 0}, {"min_delta": -0.1}, {"min_delta": math.nan}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"Invalid .* Expected .* Received"):
        EarlyStopping(**options)
