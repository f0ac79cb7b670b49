"""check_hessian: Hessians and their products that scipy and scikit-learn give, right and wrong."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod
from scipy.sparse.linalg import LinearOperator
from sklearn._loss import HalfBinomialLoss
from sklearn.linear_model._linear_loss import LinearModelLoss

from checks import Verdict, check_hessian

rng = np.random.default_rng(0)
POINT = np.array([1.3, 0.7, 0.8, 1.9, 1.2])
X, Y = rng.normal(size=(11, 4)), rng.integers(0, 2, 11).astype(float)
MODEL = LinearModelLoss(base_loss=HalfBinomialLoss(), fit_intercept=True)


def gradient(coefficients):
    return MODEL.gradient(coefficients, X, Y, l2_reg_strength=0.1)


def product(coefficients, vector):
    return MODEL.gradient_hessian_product(coefficients, X, Y, l2_reg_strength=0.1)[1](vector)


def operator(x):
    return LinearOperator(
        (5, 5), matvec=lambda v: rosen_hess_prod(x, v), rmatvec=lambda v: rosen_hess_prod(x, v), dtype=float
    )


CASES = {
    "scipy's matrix": (rosen_der, rosen_hess, POINT),
    "scipy's product": (rosen_der, rosen_hess_prod, POINT),
    "a sparse matrix": (rosen_der, lambda x: sparse.csr_array(rosen_hess(x)), POINT),
    "an operator": (rosen_der, operator, POINT),
    "scikit-learn's product": (gradient, product, rng.normal(size=5)),
    "a diagonal": (lambda x: x**3, lambda x: 3.0 * x**2, POINT),
}


@pytest.mark.parametrize(("gradient", "hessian", "x"), CASES.values(), ids=CASES)
def test_a_right_one_passes(gradient, hessian, x, how):
    report = check_hessian(gradient, hessian, x, **how)
    assert report.verdict is Verdict.PASS
    assert not any("symmetric" in note for note in report.notes)


@pytest.mark.parametrize("case", ["scipy's matrix", "scipy's product", "scikit-learn's product", "a diagonal"])
def test_a_mistake_is_found(case, mistake, how):
    gradient, hessian, x = CASES[case]
    if case.endswith("product"):
        wrong = lambda x, v: mistake(hessian(x, v))  # noqa: E731
    else:
        wrong = lambda x: mistake(hessian(x))  # noqa: E731
        if np.allclose(wrong(x), hessian(x)):
            pytest.skip("what is symmetric is its own transpose")
    assert check_hessian(gradient, wrong, x, **how).verdict is Verdict.FAIL


def test_one_that_is_not_symmetric_is_named_with_its_row_and_column(how):
    def wrong(x):
        matrix = rosen_hess(x)
        matrix[1, 2] += 1.0
        return matrix

    report = check_hessian(rosen_der, wrong, POINT, **how)
    assert report.culprits[0].label == "H[1, 2]"
    assert "the Hessian is not symmetric" in str(report)


def test_the_gradient_is_checked_too_where_there_is_a_loss(how):
    report = check_hessian(rosen_der, rosen_hess, POINT, loss=rosen, **how)
    assert report.verdict is Verdict.PASS
    assert report.terms["the gradient"].verdict is Verdict.PASS
    wrong = check_hessian(lambda x: 2.0 * rosen_der(x), lambda x: 2.0 * rosen_hess(x), POINT, loss=rosen, **how)
    assert wrong.verdict is Verdict.FAIL
    assert wrong.terms["the gradient"].verdict is Verdict.FAIL
    assert wrong.tensors["H"].verdict is Verdict.PASS


def test_structures_are_taken(how):
    def gradient(p):
        return {"w": 4.0 * p["w"] ** 3 * p["b"], "b": np.sum(p["w"] ** 4) + 2.0 * p["b"]}

    def product(p, v):
        return {
            "w": 12.0 * p["w"] ** 2 * p["b"] * v["w"] + 4.0 * p["w"] ** 3 * v["b"],
            "b": 4.0 * p["w"] ** 3 @ v["w"] + 2.0 * v["b"],
        }

    x = {"w": np.arange(1.0, 4.0), "b": 0.5}
    assert check_hessian(gradient, product, x, **how).verdict is Verdict.PASS
    missing = check_hessian(gradient, lambda p, v: product(p, v) | {"b": 2.0 * v["b"]}, x, **how)
    assert [tensor.name for tensor in missing.culprits] == ["p.b"]


@pytest.mark.parametrize(
    ("gradient", "hessian", "message"),
    [
        (rosen, rosen_hess, r"the gradient has another shape than x. Expected \[\(5,\)\]. Received \[\(\)\]"),
        (rosen_der, lambda x: np.zeros((5, 4)), r"the Hessian has the wrong shape. Expected \(5, 5\)"),
        (3, rosen_hess, "got no function"),
    ],
)
def test_what_is_no_hessian_is_refused(gradient, hessian, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check_hessian(gradient, hessian, POINT)
