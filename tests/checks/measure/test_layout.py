"""The layout: structures go into one flat vector and come back the same."""

import numpy as np
import pytest

from checks.measure.layout import Layout

STRUCTURES = [
    3.5,
    np.array(3.5),
    np.arange(15.0).reshape(5, 3),
    {"W1": np.arange(15.0).reshape(5, 3), "b1": np.arange(5.0), "s": np.array(2.0)},
    {0: np.arange(3.0), "b": np.arange(2.0)},
    [np.arange(15.0).reshape(5, 3), np.arange(7.0)],
    [2.0, np.arange(7.0)],
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_flatten_and_unflatten_are_inverse(structure):
    layout = Layout(structure)
    back = layout.unflatten(layout.flatten(structure, "parameters"))
    assert isinstance(back, dict) == isinstance(structure, dict)
    parts, originals = (
        (list(s.items()) if isinstance(s, dict) else list(enumerate(s)) if isinstance(s, list) else [(0, s)])
        for s in (back, structure)
    )
    assert [key for key, _ in parts] == [key for key, _ in originals]
    for (_, part), (_, original) in zip(parts, originals, strict=True):
        np.testing.assert_array_equal(part, original)
        assert np.shape(part) == np.shape(original)


def test_tensors_lie_end_to_end_in_the_order_given():
    layout = Layout({"b": np.zeros(5), "W": np.zeros((5, 3)), "a": 0.0})
    assert list(layout.slices) == ["b", "W", "a"]
    assert [(place.start, place.stop) for place in layout.slices.values()] == [(0, 5), (5, 20), (20, 21)]
    assert layout.size == 21


def test_a_position_becomes_the_index_its_owner_would_write():
    layout = Layout({"W2": np.zeros((5, 3)), "b2": np.zeros(5), "s": 0.0})
    assert layout.label("W2", 10) == "W2[3, 1]"
    assert layout.label("b2", 4) == "b2[4]"
    assert layout.label("s", 0) == "s"
    values = np.arange(15.0).reshape(5, 3)
    assert all(values[layout.index("W2", flat)] == flat for flat in range(15))


def test_flatten_copies():
    array = np.arange(3.0)
    vector = Layout(array).flatten(array, "parameters")
    vector[:] = 7.0
    np.testing.assert_array_equal(array, [0.0, 1.0, 2.0])


def test_integers_are_read_as_floats():
    vector = Layout(np.arange(3)).flatten(np.arange(3), "parameters")
    assert vector.dtype == np.float64


def test_a_gradient_named_like_the_parameter_comes_before_its_classic_name():
    layout = Layout({"x": np.zeros(3)})
    vector = layout.flatten({"dx": np.ones(3), "x": 2.0 * np.ones(3)}, "gradients")
    np.testing.assert_array_equal(vector, 2.0)


def test_one_tensor_is_seen_in_its_own_shape():
    layout = Layout({"a": np.zeros(2), "W": np.zeros((5, 3))})
    vector = np.arange(17.0)
    np.testing.assert_array_equal(layout.tensor(vector, "W"), np.arange(2.0, 17.0).reshape(5, 3))


class Together(dict):
    """Parameters with the flat vector that they are views into, as those of the trainer."""

    def __init__(self, vector, *shapes):
        self.vector = vector
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
        parts = zip(np.split(vector, ends)[:-1], shapes, strict=True)
        super().__init__({f"p{k}": part.reshape(shape) for k, (part, shape) in enumerate(parts)})


def test_parameters_that_have_their_vector_are_not_copied_and_not_written_to():
    vector = np.arange(16.0)
    parameters = Together(vector, (3, 4), (), (3,))
    point = Layout(parameters).point(parameters)
    np.testing.assert_array_equal(point, vector)
    assert np.shares_memory(point, vector)
    with pytest.raises(ValueError, match="read-only"):
        point[0] = 1.0
    vector[2] = 5.0  # which its owner may still do


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: dict(p),
        lambda p: p.update(p0=p["p0"] + 1.0),
        lambda p: p.update(p0=p["p0"].T.reshape(3, 4)),
        lambda p: p.update(p2=[1.0, 2.0, 3.0]),
        lambda p: p.pop("p1"),
        lambda p: setattr(p, "vector", p.vector[::-1]),
        lambda p: setattr(p, "vector", p.vector.astype(np.float32)),
        lambda p: setattr(p, "vector", p.vector[:-1]),
        lambda p: setattr(p, "vector", list(p.vector)),
        lambda p: setattr(p, "vector", None),
    ],
)
def test_other_parameters_are_copied_as_ever(spoil):
    parameters = Together(np.arange(16.0), (3, 4), (), (3,))
    spoilt = spoil(parameters)
    parameters = spoilt if isinstance(spoilt, dict) else parameters
    layout = Layout(parameters)
    point = layout.point(parameters)
    np.testing.assert_array_equal(point, layout.flatten(parameters, "parameters"))
    assert point.flags.writeable
