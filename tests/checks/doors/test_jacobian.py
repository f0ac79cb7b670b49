"""check_jacobian: matrices that scikit-learn, scipy and torch give, dense and sparse, right and wrong."""

import numpy as np
import pytest
from scipy import sparse, special
from scipy.interpolate import BSpline
from scipy.sparse.linalg import aslinearoperator
from sklearn.gaussian_process.kernels import RBF, WhiteKernel

from checks import Verdict, check_jacobian

rng = np.random.default_rng(0)
POINTS = rng.normal(size=(5, 3))
KERNEL = 2.0 * RBF([0.7, 1.3, 2.1]) + WhiteKernel(0.3)
SPLINE = BSpline(np.r_[[0.0] * 3, np.linspace(0.0, 1.0, 5), [1.0] * 3], rng.normal(size=10), 3)


def kernel(theta):
    return KERNEL.clone_with_theta(theta)(POINTS)


def kernel_jacobian(theta):
    return KERNEL.clone_with_theta(theta)(POINTS, eval_gradient=True)[1]


def softmax(x):
    return special.softmax(x)


def softmax_jacobian(x):
    p = special.softmax(x)
    return np.diag(p) - np.outer(p, p)


def spline_jacobian(x):
    return sparse.diags_array(SPLINE.derivative()(x), format="csr")


THETA, LOGITS, PLACES = KERNEL.theta, rng.normal(size=7), np.linspace(0.11, 0.87, 9)
CASES = {
    "scikit-learn's kernels": (kernel, kernel_jacobian, THETA),
    "a softmax": (softmax, softmax_jacobian, LOGITS),
    "a sparse diagonal": (SPLINE, spline_jacobian, PLACES),
    "an operator": (softmax, lambda x: aslinearoperator(softmax_jacobian(x)), LOGITS),
}


@pytest.mark.parametrize(("function", "jacobian", "x"), CASES.values(), ids=CASES)
def test_a_right_one_passes(function, jacobian, x, how):
    report = check_jacobian(function, jacobian, x, **how)
    assert report.verdict is Verdict.PASS
    assert report.tensors["J"].shape == (np.size(function(x)), x.size)
    assert report.tensors["J"].confidence == 0.99
    assert check_jacobian(function, jacobian(x), x, **how).verdict is Verdict.PASS


@pytest.mark.parametrize("case", ["scikit-learn's kernels", "a softmax"])
def test_a_mistake_is_found_with_its_row_and_column(case, mistake, how):
    function, jacobian, x = CASES[case]
    wrong, right = mistake(jacobian(x)).reshape(-1, x.size), jacobian(x).reshape(-1, x.size)
    if np.allclose(wrong, right):
        pytest.skip("a softmax's Jacobian is symmetric")
    report = check_jacobian(function, lambda x: mistake(jacobian(x)), x, **how)
    (tensor,) = report.culprits
    assert abs(wrong - right)[tensor.worst_index] == pytest.approx(np.max(np.abs(wrong - right)))
    assert tensor.gradient == pytest.approx(wrong[tensor.worst_index])
    assert tensor.numerical == pytest.approx(right[tensor.worst_index])


A = rng.normal(size=(7, 5))


def waves(x):
    return np.sin(A @ x)


def waves_jacobian(x, spoil=lambda matrix: matrix):
    matrix = np.cos(A @ x)[:, None] * A
    spoil(matrix)
    return matrix


def spoilt(part, change):
    def spoil(matrix):
        matrix[part] = change(matrix[part])

    return lambda x: waves_jacobian(x, spoil)


@pytest.mark.parametrize(
    ("jacobian", "said"),
    [
        (spoilt((3, 2), lambda part: 1.01 * part), "J[3, 2]: the Jacobian is 1.01 ×"),
        (spoilt(3, lambda part: 2.0 * part), "J: the Jacobian is wrong in row 3 only (5 of 35 entries)"),
        (spoilt((slice(None), 4), lambda part: -part), "J: the Jacobian is wrong in column 4 only (7 of 35 entries)"),
        (spoilt((slice(2, 5), slice(1, 3)), np.zeros_like), "those of rows 2 to 4 and columns 1 to 2"),
        (lambda x: -waves_jacobian(x), "Wrong sign: look at the line that computes J"),
        (lambda x: waves_jacobian(x) / 7, "the Jacobian is 0.143 ×"),
    ],
)
def test_entry_row_column_block_and_factor_are_named(jacobian, said, how):
    report = check_jacobian(waves, jacobian, rng.normal(size=5), **how)
    assert said in " ".join(str(report).split())
    assert "backprop is" not in str(report)


def test_a_transposed_one_is_named(how):
    square = A[:5]
    report = check_jacobian(
        lambda x: np.sin(square @ x), lambda x: (np.cos(square @ x)[:, None] * square).T, np.ones(5), **how
    )
    assert "the Jacobian is transposed: look at the product that gives J." in " ".join(str(report).split())
    expected = r"wrong shape. Expected \(7, 5\), a row for every output. Received \(5, 7\), that of its transpose"
    with pytest.raises(ValueError, match=expected):
        check_jacobian(waves, lambda x: waves_jacobian(x).T, np.ones(5), **how)


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.coo_matrix])
def test_a_wrong_sparsity_is_named(make, how):
    pattern = np.where(rng.random((7, 5)) < 0.5, A, 0.0)
    full, empty = np.argwhere(pattern)[3], np.argwhere(pattern == 0.0)[2]

    def jacobian(x, place=None):
        matrix = np.cos(pattern @ x)[:, None] * pattern
        if place is not None:
            matrix[tuple(place)] = 0.0 if matrix[tuple(place)] else 0.3
        return make(matrix)

    def function(x):
        return np.sin(pattern @ x)

    assert check_jacobian(function, jacobian, np.ones(5), **how).verdict is Verdict.PASS
    for place, said in ((full, "1 left out that are not zero"), (empty, "1 there that should be zero")):
        report = check_jacobian(function, lambda x, place=place: jacobian(x, place), np.ones(5), **how)
        assert f"the sparsity is wrong. Of its entries {said} (first {place.tolist()})" in " ".join(str(report).split())


def test_a_structure_has_a_block_of_columns_for_each_name(how):
    def function(p):
        return A[:, :3] @ p["w"] ** 2 + p["b"]

    def jacobian(p, factor=1.0):
        return {"w": 2.0 * A[:, :3] * p["w"], "b": factor * np.ones((7, 1))}

    x = {"w": np.arange(1.0, 4.0), "b": 0.5}
    report = check_jacobian(function, jacobian, x, **how)
    assert report.verdict is Verdict.PASS
    assert {name: tensor.shape for name, tensor in report.tensors.items()} == {"J of p.w": (7, 3), "J of p.b": (7, 1)}
    matrix = check_jacobian(function, lambda p: np.hstack(list(jacobian(p).values())), x, **how)
    assert matrix.verdict is Verdict.PASS
    wrong = check_jacobian(function, lambda p: jacobian(p, 2.0), x, **how)
    assert [tensor.name for tensor in wrong.culprits] == ["J of p.b"]


def test_blocks_by_output_and_by_input_are_taken_as_jax_gives_them(how):
    def function(p):
        return {"r": A[:, :3] @ p[0] ** 2, "s": p[1].sum()}

    def jacobian(p, factor=1.0):
        rows = [2.0 * A[:, :3] * p[0], np.zeros((7, 2, 2))]
        return {"r": rows, "s": [np.zeros(3), factor * np.ones((2, 2))]}

    x = [np.arange(1.0, 4.0), np.ones((2, 2))]
    assert check_jacobian(function, jacobian, x, **how).verdict is Verdict.PASS
    wrong = check_jacobian(function, lambda p: jacobian(p, 2.0), x, **how)
    assert [tensor.name for tensor in wrong.culprits] == ["J of p[1]"]
    assert "comes from output.s," in wrong.culprits[0].evidence


def test_a_large_sparse_one_is_never_made_dense():
    n = 3_000

    def jacobian(x, factor=1.0):
        return sparse.diags_array([factor * 3.0 * x**2, np.ones(n - 1)], offsets=[0, 1], format="csr")

    def function(x):
        return x**3 + np.append(x[1:], 0.0)

    x = rng.normal(size=n)
    assert check_jacobian(function, jacobian, x, coverage="directions").verdict is Verdict.PASS
    report = check_jacobian(function, lambda x: jacobian(x, 1.01), x, coverage="directions")
    assert report.verdict is Verdict.FAIL
    assert "comes from output[" in report.culprits[0].evidence


@pytest.mark.parametrize(
    ("jacobian", "message"),
    [
        (lambda x: None, "the Jacobian is not made of real numbers. Expected a matrix. Received NoneType"),
        (
            lambda x: waves_jacobian(x) + 0j,
            "not made of real numbers. Expected a matrix. Received ndarray",
        ),
        (np.zeros((3, 5)), r"wrong shape. Expected \(7, 5\), a row for every output. Received \(3, 5\)\."),
    ],
)
def test_what_is_no_jacobian_is_refused(jacobian, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check_jacobian(waves, jacobian, np.ones(5))
    with pytest.raises(TypeError, match=r"of complex numbers. Expected real inputs and outputs. Received"):
        check_jacobian(np.exp, np.diag, np.ones(5) + 1j)
