"""Parameters are views into one vector, whatever is done with them."""

import copy
import pickle

import numpy as np
import pytest

from trainer import Parameters

SHAPES = {"W1": (7, 5), "b1": (7,), "W2": (3, 7), "b2": (3,)}


def test_writing_into_a_view_writes_into_the_vector_and_back():
    parameters = Parameters(SHAPES)
    parameters["b1"][2] = 4.0
    assert parameters.vector[7 * 5 + 2] == 4.0
    parameters.vector[-1] = 5.0
    assert parameters["b2"][2] == 5.0


def test_the_views_tile_the_vector_in_order():
    parameters = Parameters(SHAPES, np.arange(66.0))
    assert list(parameters) == ["W1", "b1", "W2", "b2"]
    assert len(parameters) == 4
    flat = np.concatenate([parameters[name].ravel() for name in parameters])
    np.testing.assert_array_equal(flat, np.arange(66.0))
    assert {name: parameters[name].shape for name in parameters} == SHAPES


def test_a_given_vector_is_viewed_and_not_copied():
    vector = np.zeros(66, np.float32)
    parameters = Parameters(SHAPES, vector)
    parameters["W2"][...] = 1
    assert vector.sum() == 21
    assert parameters["W1"].dtype == np.float32


@pytest.mark.parametrize("vector", [np.zeros(65), np.zeros(67), np.zeros((66, 1)), np.zeros(132)[::2]])
def test_a_vector_that_does_not_fit_is_refused(vector):
    with pytest.raises(ValueError, match=r"Expected a contiguous array of shape \(66,\). Received shape"):
        Parameters(SHAPES, vector)


@pytest.mark.parametrize(
    "duplicate",
    [
        Parameters.copy,
        copy.copy,
        copy.deepcopy,
        lambda parameters: pickle.loads(pickle.dumps(parameters)),
        lambda parameters: parameters.astype(np.float64),
    ],
)
def test_a_copy_has_equal_values_and_storage_of_its_own(duplicate):
    original = Parameters(SHAPES, np.arange(66.0))
    twin = duplicate(original)
    np.testing.assert_array_equal(twin.vector, original.vector)
    twin["W1"][...] = -1
    assert twin.vector[0] == -1
    np.testing.assert_array_equal(original.vector, np.arange(66.0))


def test_zeros_like_keeps_names_shapes_and_dtype():
    zeros = Parameters(SHAPES, np.arange(66, dtype=np.float32)).zeros_like()
    assert zeros.shapes == SHAPES
    assert zeros.vector.dtype == np.float32
    assert not zeros.vector.any()


def test_astype_changes_the_dtype_of_every_view():
    assert {value.dtype for value in Parameters(SHAPES).astype(complex).values()} == {np.dtype(complex)}


def test_the_text_names_every_array():
    assert repr(Parameters(SHAPES)) == "Parameters(W1 (7, 5), b1 (7,), W2 (3, 7), b2 (3,); 66 float64)"


def test_writing_by_name_writes_into_the_vector():
    parameters = Parameters(SHAPES, np.arange(66.0))
    parameters["b1"] *= 4
    parameters["b2"] = [1, 2, 3]
    np.testing.assert_array_equal(parameters.vector[35:42], 4 * np.arange(35.0, 42.0))
    np.testing.assert_array_equal(parameters.vector[-3:], [1, 2, 3])


@pytest.mark.parametrize("given", [Parameters, lambda shapes, vector: dict(Parameters(shapes, vector))])
def test_all_are_written_at_once_from_arrays_by_name(given):
    parameters = Parameters(SHAPES, np.zeros(66, np.float32))
    vector, values = parameters.vector, given(dict(reversed(SHAPES.items())), np.arange(66.0))
    parameters.assign(values)
    assert parameters.vector is vector
    for name in SHAPES:
        np.testing.assert_array_equal(parameters[name], values[name])


WRONG = {
    "another name": {"W3": np.zeros((7, 5))},
    "another shape": {"b1": np.zeros((7, 1))},
    "a number": {"b1": 0.0},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_and_nothing_is_written(wrong):
    parameters = Parameters(SHAPES, np.arange(66.0))
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=r"values do not fit\. Expected .*'b1': \(7,\).* Received "):
        parameters[name] = value
    with pytest.raises(ValueError, match=r"values do not fit\. Expected .*'b1': \(7,\).* Received "):
        parameters.assign({**Parameters(SHAPES), **wrong})
    np.testing.assert_array_equal(parameters.vector, np.arange(66.0))


def test_a_missing_name_and_no_mapping_are_refused():
    with pytest.raises(ValueError, match=r"values do not fit\. Expected .* Received"):
        Parameters(SHAPES).assign({"W1": np.zeros((7, 5))})
    with pytest.raises(TypeError, match=r"no mapping\. Expected arrays by name\. Received NoneType"):
        Parameters(SHAPES).assign(None)
