"""Orders: right numbers in the wrong places are called that, with the order; numbers that are merely close are not."""

import numpy as np
import pytest

from checks.explain.entries import Suspect
from checks.explain.mistake import Kind
from checks.explain.order import misplaced

RNG = np.random.default_rng(0)
ROWS = np.array([2, 0, 1, 4, 3])


def named(gradient, numerical, noise=1e-12):
    bounds = np.full(numerical.shape, noise)
    suspect = Suspect(gradient, numerical, bounds, np.zeros(numerical.shape, bool), "W", np.ones(numerical.shape))
    return misplaced(suspect, "dW")


@pytest.mark.parametrize(
    ("move", "shape", "words"),
    [
        (lambda g: g[ROWS], (5, 3), "rows in the order 2, 0, 1, 4, 3"),
        (lambda g: g[:, [2, 0, 1, 4, 3]], (3, 5), "columns in the order 2, 0, 1, 4, 3"),
        (lambda g: g[ROWS], (5,), "entries in the order 2, 0, 1, 4, 3"),
        (lambda g: g[ROWS], (5, 1), "entries in the order 2, 0, 1, 4, 3"),
        (lambda g: np.roll(g, 1, axis=0), (5, 3), "rows shifted by one towards the end"),
        (lambda g: np.roll(g, -2, axis=1), (3, 7), "columns shifted by 2 towards the front"),
        (lambda g: np.roll(g, 3), (101,), "entries shifted by 3 towards the end"),
        (lambda g: g[::-1], (5, 3), "rows in reverse order"),
        (lambda g: g[:, ::-1], (5, 7), "columns in reverse order"),
        (lambda g: g[[0, 3, 2, 1, 4]], (5, 3), "rows 1 and 3 are swapped"),
        (lambda g: g[[1, 0]], (2,), "entries 0 and 1 are swapped"),
        (lambda g: g[::-1, ::-1], (5, 3), "in reverse order along axes 0, 1"),
        (lambda g: g[..., ::-1, ::-1], (2, 3, 5, 7), "in reverse order along axes 2, 3"),
        (lambda g: np.roll(g, 1, axis=2), (2, 3, 5, 7), "lines of axis 2 shifted by one"),
        (lambda g: np.roll(g.ravel(), 1).reshape(g.shape), (5, 3), "entries shifted by one towards the end"),
    ],
)
def test_an_order_is_said(move, shape, words):
    numerical = RNG.normal(size=shape)
    mistake = named(move(numerical), numerical)
    assert mistake.kind is Kind.MISPLACED
    assert f"W: backprop has the right numbers in the wrong places: {words}" in mistake.sentence
    assert mistake.sentence.endswith(". Look at the indices in dW.")


def test_a_long_irregular_order_is_not_said_entry_by_entry():
    numerical = RNG.normal(size=101)
    mistake = named(RNG.permutation(numerical), numerical)
    assert mistake.sentence == (
        "W: backprop has the right numbers in the wrong places. Look at the indices in dW."
    )  # fmt: skip


def test_a_kernel_whose_last_axes_are_swapped_is_transposed():
    numerical = RNG.normal(size=(2, 3, 5, 5))
    mistake = named(np.swapaxes(numerical, 2, 3), numerical)
    assert (mistake.kind, "its axes 2 and 3 are swapped" in mistake.sentence) == (Kind.TRANSPOSED, True)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_lines_of_zeros_keep_their_places(noise):
    numerical = RNG.normal(size=(7, 3))
    numerical[[1, 4, 5]] = 0.0
    measured = numerical + noise * RNG.uniform(-1.0, 1.0, numerical.shape)
    assert "rows 0 and 3 are swapped" in named(numerical[[3, 1, 2, 0, 4, 5, 6]], measured, noise).sentence


@pytest.mark.parametrize("size", [1e-7, 1e-9, 1e-3])
def test_numbers_that_differ_by_little_are_not_called_misplaced(size):
    # Nearly equal numbers are close in any order: the sorted ones are no closer than those in their places.
    for _ in range(50):
        numerical = RNG.normal(size=(5, 3))
        assert named(numerical * (1.0 + size * RNG.normal(size=(5, 3))), numerical) is None
    alike = 1.0 + size * RNG.normal(size=7)
    assert named(alike + 0.5 * size * RNG.normal(size=7), alike) is None


def test_what_the_measurement_blurs_has_no_order():
    numerical = RNG.normal(size=(5, 3))
    assert named(numerical[ROWS], numerical, noise=0.1) is None


def test_an_order_with_another_mistake_is_none():
    numerical = RNG.normal(size=(5, 3))
    assert named(1.1 * numerical[ROWS], numerical) is None
