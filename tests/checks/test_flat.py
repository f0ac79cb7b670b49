"""Flat gradients: scipy's and scikit-learn's own pairs, right and wrong."""

import numpy as np
import pytest

from checks import Verdict, assert_gradients
from checks.flat import check_flat

optimize = pytest.importorskip("scipy.optimize")
POINT = np.array([1.3, 0.7, 0.8, 1.9, 1.2])


def quadratic(x):
    return float(x @ x)


def test_scipys_rosenbrock_passes_and_one_wrong_coordinate_is_found():
    assert check_flat(optimize.rosen, optimize.rosen_der, POINT).verdict is Verdict.PASS

    def wrong(x):
        gradient = optimize.rosen_der(x)
        gradient[3] *= 1.01
        return gradient

    report = check_flat(optimize.rosen, wrong, POINT)
    assert [tensor.label for tensor in report.culprits] == ["x[3]"]
    assert report.culprits[0].ratio == pytest.approx(1.01)


def test_coordinates_are_named_and_judged_by_their_own_size():
    scale = np.array([1e6, 1.0, 1e-3])

    def gradient(x):
        return 2 * scale * x * np.array([1.0, 1.0, 1.01])  # one percent of next to nothing

    x = [1.0, 2.0, 3.0]
    report = check_flat(lambda x: np.sum(scale * x**2), gradient, x, names=["rate", "shape", "offset"])
    assert list(report.tensors) == ["rate", "shape", "offset"]
    assert [tensor.label for tensor in report.culprits] == ["offset"]
    assert "offset" in str(report)
    assert report.difference < report.threshold


@pytest.mark.parametrize("coverage", ["full", "directions"])
def test_scikit_learns_linear_loss_by_blocks(coverage):
    linear_loss = pytest.importorskip("sklearn.linear_model._linear_loss")
    from sklearn._loss import HalfBinomialLoss

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 2, 40).astype(float)
    model = linear_loss.LinearModelLoss(base_loss=HalfBinomialLoss(), fit_intercept=True)
    x, args, names = rng.normal(size=5), (X, y, None, 0.1), {"coef": 4, "intercept": ()}
    for f, grad in ((model.loss, model.gradient), (model.loss_gradient, True)):
        report = check_flat(f, grad, x, args=args, names=names, coverage=coverage, rng=rng)
        assert report.verdict is Verdict.PASS
        assert [(tensor.name, tensor.shape) for tensor in report.tensors.values()] == [
            ("coef", (4,)),
            ("intercept", ()),
        ]

    def unregularised(x, *args):
        return model.gradient(x, *args[:-1], 0.0)

    report = check_flat(model.loss, unregularised, x, args=args, names=names, coverage=coverage, rng=rng)
    assert [tensor.name for tensor in report.culprits] == ["coef"]
    assert "lacks 0.1 × coef" in str(report)


def test_a_matrix_comes_back_as_a_matrix():
    seen = set()

    def f(x):
        seen.add(x.shape)
        return float(np.sum(x**3))

    assert check_flat(f, lambda x: 3 * x**2, np.ones((2, 3))).tensors["x"].shape == (2, 3)
    assert (
        check_flat(f, lambda x: 3 * x**2, np.ones((2, 3)), names={"left": 2, "right": (2, 2)}).verdict is Verdict.PASS
    )
    assert seen == {(2, 3)}


def test_complex_coordinates_have_names_too():
    z = np.array([1.0 + 2.0j, -0.5j, 0.7])

    def f(z):
        assert z.shape == (3,)
        return float(np.sum(np.abs(z) ** 2 * [1.0, 2.0, 3.0]))

    assert check_flat(f, lambda z: 2.0 * z * [1.0, 2.0, 3.0], z, names=["a", "b", "c"]).verdict is Verdict.PASS
    wrong = check_flat(f, lambda z: 2.0 * z * [1.0, 2.0, 3.3], z, names={"first": 2, "last": ()})
    assert [tensor.name for tensor in wrong.culprits] == ["last.real"]


def test_the_point_is_left_alone():
    x = np.arange(3.0)

    def rude(x):
        x += 1.0
        return 0.0

    check_flat(rude, lambda x: 0 * x, x)
    assert x.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "names do not fit x. Expected names for 3 coordinates. Received 2"),
        ({"a": 2, "b": 2}, "Received 4"),
        (["a", "b", "a"], "two coordinates have the same name"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check_flat(quadratic, lambda x: 2 * x, np.ones(3), names=names)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"wrong shape. Expected \(3,\). Received \(3, 1\)"):
        check_flat(quadratic, lambda x: 2 * x[:, None], np.ones(3))


def test_the_one_line_test_takes_the_same_pair():
    assert_gradients(optimize.rosen, optimize.rosen_der, POINT)


SQUARE = {"f": lambda x: float(x @ x), "grad": lambda x: 2 * x, "x": np.ones(3)}
STRANGE = [{"f": 3}, {"grad": None}, {"args": None}, {"names": 3}, {"names": {"a": None}}, {"names": {"a": -3}}]


@pytest.mark.parametrize("strange", [*STRANGE, {"x": [[1, 2], [3]]}, {"x": [], "names": []}, {"grad": True}])
def test_what_does_not_fit_is_refused_with_what_was_expected_and_received(strange):
    with pytest.raises((TypeError, ValueError), match=r"Expected .* Received "):
        check_flat(**SQUARE | strange)


def test_a_gradient_that_is_no_array_is_refused_in_our_words():
    with pytest.raises(ValueError, match=r"the gradient is not an array of numbers\. Expected .* Received "):
        check_flat(lambda x: 1.0, lambda x: [1.0, [2.0, 3.0], 4.0], np.ones(3))
