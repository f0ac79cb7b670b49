"""The heat map of a check: what its cells mean, and what it marks."""

import builtins
import dataclasses
from io import BytesIO

import numpy as np
import pytest

from checks import Verdict, check_gradients
from checks.report.plot import CELLS, cells, plot, shade


@pytest.fixture
def figure():
    return pytest.importorskip("matplotlib.figure", reason="the extra `report` is not installed").Figure()


def checked(case, factor=2.0, **options):
    network = case((5, 7, 3, 1), n_rows=11)
    right = network.gradients(network.parameters)
    return check_gradients(network.loss, right | {"W2": factor * right["W2"]}, network.parameters, **options)


def test_the_root_mean_square_of_the_cells_is_the_difference_of_the_tensor(case):
    for tensor in checked(case).tensors.values():
        assert np.sqrt(np.mean(cells(tensor) ** 2)) == pytest.approx(tensor.difference, rel=1e-9)


def test_cells_that_were_set_aside_or_not_measured_are_no_numbers(case):
    tensor = checked(case).tensors["W2"]
    numerical, aside = tensor.entries.numerical.copy(), np.zeros((3, 7), dtype=bool)
    numerical[0, 1], aside[2, 3] = np.nan, True
    shown = cells(
        dataclasses.replace(tensor, entries=dataclasses.replace(tensor.entries, numerical=numerical, aside=aside))
    )
    assert set(zip(*np.nonzero(np.isnan(shown)), strict=True)) == {(0, 1), (2, 3)}


def test_a_tensor_without_entries_is_one_cell(case):
    tensor = checked(case, 1.0, coverage="directions").tensors["W1"]
    assert cells(tensor).tolist() == [[tensor.difference]]


def test_the_colour_changes_at_the_threshold_and_gets_fuller_with_the_difference():
    values = np.array([0.0, 1e-12, 1e-7, 1.1e-7, 1e-3, 1.0, 7.0])
    colours = shade(values, 1e-7)
    assert np.all(np.diff(colours[:, 3]) >= 0.0)
    assert np.all(colours[:3, 2] > colours[:3, 0])  # blue
    assert np.all(colours[3:, 0] > colours[3:, 2])  # red
    assert ((colours >= 0.0) & (colours <= 1.0)).all()


def test_every_tensor_is_drawn_and_the_culprit_alone_is_framed_and_ringed(case, figure):
    report = checked(case)
    axes = plot(report, figure, width=343.0)
    assert [text.get_text() for text in axes.texts[:6]] == ["W1", "b1", "W2 FAIL", "b2", "W3", "b3"]
    framed = [frame.get_linewidth() > 1.0 for frame in axes.patches[:6]]
    assert framed == [False, False, True, False, False, False]
    (ring,) = axes.lines
    row, column = report.tensors["W2"].worst_index
    left, right, bottom, top = axes.images[2].get_extent()
    assert (ring.get_xdata()[0] - left) / (right - left) == pytest.approx((column + 0.5) / 7)
    assert (ring.get_ydata()[0] - top) / (bottom - top) == pytest.approx((row + 0.5) / 3)


def test_no_tensor_leaves_the_figure_or_covers_another(case, figure):
    axes = plot(checked(case, 1.0), figure, width=260.0)
    width, height = 72.0 * figure.get_size_inches()
    places = [image.get_extent() for image in axes.images]
    assert len(places) == 7
    for number, (left, right, bottom, top) in enumerate(places):
        assert 0.0 <= left < right <= width
        assert 0.0 <= top < bottom <= height
        for other in places[:number]:
            assert right <= other[0] or other[1] <= left or bottom <= other[3] or other[2] <= top


def test_kinks_have_a_colour_and_a_key_of_their_own(case, figure):
    report = checked(case, 1.0)
    tensor = report.tensors["W2"]
    aside = np.zeros((3, 7), dtype=bool)
    aside[1, 4] = True
    kinked = dataclasses.replace(tensor, entries=dataclasses.replace(tensor.entries, aside=aside))
    axes = plot(dataclasses.replace(report, tensors={**report.tensors, "W2": kinked}), figure)
    image = np.asarray(axes.images[2].get_array())
    odd = np.argwhere(np.any(image != image[0, 0], axis=-1) & (image[..., 0] > image[..., 2]))
    assert odd.tolist() == [[1, 4]]
    assert "set aside at a kink" in {text.get_text() for text in axes.texts}


def test_of_more_cells_than_can_be_seen_the_largest_stay(figure):
    right = np.ones((3 * CELLS, 5))
    wrong = right.copy()
    wrong[2 * CELLS + 7, 3] = 3.0
    report = check_gradients(lambda p: float(p.sum()), wrong, np.zeros((3 * CELLS, 5)))
    assert report.verdict is Verdict.FAIL
    image = np.asarray(plot(report, figure).images[0].get_array())
    assert image.shape == (CELLS, 5, 4)
    red = np.argwhere(image[..., 0] > image[..., 2])
    assert red.tolist() == [[(2 * CELLS + 7) // 3, 3]]


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("factor", [1.0, np.nan])
@pytest.mark.parametrize("shape", [(), (5,), (0,), (5, 3, 2)])
def test_any_shape_and_any_verdict_can_be_drawn(shape, factor, coverage, figure):
    if shape == (0,) and coverage == "directions":
        pytest.skip("a direction through an empty tensor is not checked")
    point = np.linspace(1.0, 2.0, int(np.prod(shape))).reshape(shape)
    other = np.ones(3)
    report = check_gradients(
        lambda p: float(np.sum(p["$x$"] ** 2) + p["y"].sum()),
        {"$x$": factor * 2.0 * point, "y": np.ones(3)},
        {"$x$": point, "y": other},
        coverage=coverage,
    )
    assert len(report.plot(figure=figure).images) == 3
    figure.savefig(BytesIO(), format="svg")


def test_without_matplotlib_the_extra_is_named(case, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **options):
        if name.startswith("matplotlib"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"backproof\[report\]"):
        checked(case).plot()
