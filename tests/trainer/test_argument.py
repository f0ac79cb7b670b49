"""Arguments: whatever is no number in range is refused in the same words, before anything is computed with it."""

import math
from fractions import Fraction

import numpy as np
import pytest

from trainer import SGD, Adam, EarlyStopping, Network, Trainer
from trainer.argument import checked_integer, checked_number

NO_NUMBERS = [None, "1", True, 1j, [0.5], np.ones(3), np.array(0.5), np.zeros(3, [("a", "f8")]), Fraction(1, 2)]
DOORS = {
    "learning_rate": lambda value: Adam(value),
    "beta_1": lambda value: Adam(beta_1=value),
    "momentum": lambda value: SGD(momentum=value),
    "dropout rate": lambda value: Network((3, 1), dropout=value),
    "L2 strength": lambda value: Network((3, 1), l2=value),
    "positive_weight": lambda value: Network((3, 1), positive_weight=value),
    "patience": lambda value: EarlyStopping(patience=value),
    "min_delta": lambda value: EarlyStopping(min_delta=value),
}


@pytest.mark.parametrize("name", DOORS)
def test_what_is_no_number_is_refused(name):
    for value in NO_NUMBERS:
        with pytest.raises(TypeError, match=rf"Invalid {name}\. Expected .* Received "):
            DOORS[name](value)
    for value in (math.nan, -1.0, -(10**400)):
        with pytest.raises(ValueError, match=rf"Invalid {name}\. Expected .* Received "):
            DOORS[name](value)


def test_numbers_of_numpy_are_numbers():
    for value in (np.float32(0.5), np.int64(1), np.float64(0.5), 1):
        checked_number(value, "x", "a number", lambda number: number > 0)


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_an_integer_in_range_comes_back_as_pythons(value):
    assert type(checked_integer(value, "x", 1)) is int
    assert checked_integer(value, "x", 3, 3) == 3


def test_other_integers_and_other_kinds_are_refused_each_by_its_own_class():
    for value, most, expected in ((0, None, "at least 1"), (-(10**400), None, "at least 1"), (9, 8, "from 1 to 8")):
        with pytest.raises(ValueError, match=rf"Invalid x\. Expected an integer,? {expected}\. Received -?\d+\."):
            checked_integer(value, "x", 1, most)
    for value in (*NO_NUMBERS, 2.0, np.float64(2)):
        for kind in (TypeError, ValueError):
            with pytest.raises(kind, match=r"Invalid x\. Expected an integer, at least 1\. Received "):
                checked_integer(value, "x", 1, wrong_kind=kind)


@pytest.mark.parametrize(
    "options",
    [
        {"network": "relu"},
        {"optimizer": math.sin},
        {"dtype": np.ones(3)},
        {"callbacks": object()},
        {"history_path": 3},
    ],
)
def test_a_trainer_refuses_parts_that_are_none(options):
    with pytest.raises((TypeError, ValueError), match=r"Invalid .* Expected .* Received "):
        Trainer(**{"network": Network((3, 1))} | options)


@pytest.mark.parametrize("sizes", [None, 3, "31", np.ones((2, 2)), np.array([3.0, 1.0])])
def test_layer_sizes_that_are_no_sequence_of_integers_are_refused(sizes):
    with pytest.raises(TypeError, match=r"layer size.* Expected .* Received "):
        Network(sizes)


def test_an_activation_that_is_no_name_is_refused():
    with pytest.raises(ValueError, match="Unknown activation"):
        Network((3, 1), activation=np.ones(3))


@pytest.mark.parametrize("validation", [3, None, "ab", np.ones((3, 3)), (np.ones((2, 3)),), {0: 1, 1: 2}])
def test_validation_rows_that_are_no_pair_are_refused(validation):
    trainer = Trainer(Network((3, 1)), epochs=1)
    rows = np.eye(3), np.array([0, 1, 1])
    if validation is None:
        trainer.fit(*rows)
        return
    with pytest.raises((TypeError, ValueError), match=r"Expected .* Received "):
        trainer.fit(*rows, validation)


@pytest.mark.parametrize("state", [{}, {"best": None, "epochs_without_improvement": 0}, {"best": 1.0}])
def test_a_broken_state_of_early_stopping_is_refused(state):
    with pytest.raises((KeyError, TypeError)):
        EarlyStopping().load_state_dict(state)
