"""What is planted is wrong, and a mistake that a step shows is told from one that none can, without the check."""

import numpy as np
import pytest

from experiments.foreign.planting import SMALLEST, is_shown, planted, relative_size
from experiments.foreign.sample import Flat, Sample


def sample_of(value, slope, point, **options):
    return Sample(
        "families",
        "a sample",
        lambda tensors: value(tensors["w"]),
        lambda tensors: {"w": slope(tensors["w"])},
        {"w": np.asarray(point, dtype=float)},
        **options,
    )


def shows(value, slope, wrong, point):
    sample = sample_of(value, slope, point)
    return is_shown(sample, {"w": wrong(sample.point["w"])})


POINT = np.array([0.3, -0.7, 1.1, 2.3, -1.9])
WEIGHTS = np.array([[0.2, -1.3, 0.7, 1.1, -0.4], [1.7, 0.3, -0.9, 0.6, 0.8], [-0.5, 0.9, 1.2, -1.6, 0.1]])


def terms_of(w):
    """Give the gradient of every row's term of sum(tanh(W w)), by hand."""
    return WEIGHTS * (1 - np.tanh(WEIGHTS @ w) ** 2)[:, None]


def test_every_mistake_differs_from_a_complex_step_by_what_is_said_of_its_size():
    sample = sample_of(
        lambda w: np.tanh(WEIGHTS @ w).sum(),
        lambda w: terms_of(w).sum(axis=0),
        POINT,
        lacking=lambda tensors: {"w": terms_of(tensors["w"])[:-1].sum(axis=0)},
    )
    truth = np.array([np.tanh(WEIGHTS @ (POINT + 1e-200j * unit)).sum().imag / 1e-200 for unit in np.eye(5)])
    assert np.allclose(sample.gradients(sample.point)["w"], truth, rtol=1e-13)
    found = dict(planted(sample, np.random.default_rng(3)))
    assert list(found) == ["×1.01", "one entry ×2", "one entry 0", "one term dropped"]
    for gradients in found.values():
        wrong = gradients(sample.point)["w"]
        apart = np.linalg.norm(wrong - truth) / (np.linalg.norm(wrong) + np.linalg.norm(truth))
        assert apart > 100 * SMALLEST
        assert relative_size({"w": truth}, {"w": wrong}) == pytest.approx(apart)
        assert is_shown(sample, {"w": wrong})
    assert np.flatnonzero(found["one entry ×2"](sample.point)["w"] != truth * 1.0).size >= 1
    assert np.count_nonzero(found["one entry 0"](sample.point)["w"] == 0.0) == 1


def test_a_gradient_of_zeros_has_no_entry_to_plant_a_mistake_in():
    sample = sample_of(lambda w: 0.0 * w.sum(), lambda w: 0.0 * w, POINT)
    sizes = [relative_size(sample.gradients(sample.point), wrong(sample.point)) for _, wrong in planted(sample, None)]
    assert sizes == [0.0]


@pytest.mark.parametrize("unit", [1e-200, 1e-165, 1e-52, 1.0, 1e155, 1e200])
def test_size_and_what_a_step_shows_do_not_hang_on_the_unit_of_the_loss(unit):
    right, wrong = unit * np.cos(POINT), 1.01 * unit * np.cos(POINT)
    assert relative_size({"w": right}, {"w": wrong}) == pytest.approx(0.01 / 2.01)
    assert shows(lambda w: unit * np.sin(w).sum(), lambda w: unit * np.cos(w), lambda _: wrong, POINT)


def test_a_mistake_below_the_rounding_of_the_loss_is_shown_by_no_step():
    def above(offset, w):
        return np.sin(w).sum() + offset

    for offset, shown in ((0.0, True), (1e6, True), (1e16, False)):
        assert shows(lambda w, o=offset: above(o, w), np.cos, lambda w: 1.001 * np.cos(w), POINT) is shown


def test_a_slope_of_zero_that_a_coarse_loss_reads_shows_no_mistake():
    """Every step reads 0 of a slope of 1e-20, which is near it beside a mistake of 1e-18, and says nothing."""
    assert not shows(lambda w: 1.0 + 1e-20 * w.sum(), lambda w: 1e-20 + 0 * w, lambda w: 1e-18 + 0 * w, POINT)
    assert shows(lambda w: 1e-20 * w.sum(), lambda w: 1e-20 + 0 * w, lambda w: 1e-18 + 0 * w, POINT)


def test_another_subgradient_of_a_kink_is_no_mistake_that_a_step_shows():
    tie = np.array([1.0, 1.0, 0.3])
    half, first = np.array([0.5, 0.5, 0.0]), np.array([1.0, 0.0, 0.0])
    assert not shows(np.max, lambda w: half, lambda w: first, tie)
    assert not shows(np.max, lambda w: first, lambda w: half, tie)


def test_a_bend_near_the_point_hides_nothing_from_short_steps():
    point = np.array([1e-8, 0.5, 12.0])
    slope = lambda w: 1 / (3 * np.cbrt(w) ** 2)  # noqa: E731
    assert shows(lambda w: np.cbrt(w).sum(), slope, lambda w: slope(w) * [1.0001, 1.0, 1.0], point)


def test_a_gradient_that_is_not_right_itself_shows_nothing():
    assert not shows(lambda w: np.sin(w).sum(), lambda w: 2 * np.cos(w), lambda w: 3 * np.cos(w), POINT)


def test_a_loss_that_raises_beside_the_point_is_read_at_the_steps_where_it_does_not():
    def edge(w):
        if w.min() < 0:
            raise RuntimeError("outside")
        return np.sqrt(w).sum()

    assert shows(edge, lambda w: 0.5 / np.sqrt(w), lambda w: 0.505 / np.sqrt(w), np.array([1e-5, 0.7]))


def test_a_flat_vector_and_named_arrays_are_the_same_point():
    point = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(7.0)}
    flat = Flat(lambda tensors: tensors["a"].sum() - tensors["b"], lambda tensors: tensors, point)
    assert flat.point.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert flat.loss(flat.point) == 8.0
    assert flat.gradient(flat.point).tolist() == flat.point.tolist()
    flat.tensors(flat.point)["a"][0, 0] = 9.0
    assert flat.point[0] == 0.0
