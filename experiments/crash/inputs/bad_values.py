"""Bad values: what nobody should pass, drawn by hypothesis (the extra `test`)."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

Strategy: TypeAlias = st.SearchStrategy[Any]

HUGE = [10**6, 2**31, 2**63, 2**64, 10**20, -1, 0, 1, 2, 3]
ODD_FLOATS = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308, 1e-320, 0.5, 1.0]
ODD_TEXT = ["", " ", "nan", "1e999", "../x", "\0", "é" * 300, "W1", "relu", "full", "-1", "--", "{}", "__class__"]
numbers = st.sampled_from([*HUGE, *ODD_FLOATS]) | st.integers(-3, 9) | st.floats()
words = st.sampled_from(ODD_TEXT) | st.text(max_size=9)
json_leaves = st.none() | st.booleans() | numbers | words
json_values = st.recursive(
    json_leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=9
)


arrays = st.sampled_from(  # of every kind that is not a plain matrix of finite numbers
    [
        np.zeros(0),
        np.zeros((0, 3)),
        np.array(2.5),
        np.zeros((2, 2, 2)),
        np.ones(3),
        np.ones((3, 1)),
        np.ones((5, 3), dtype=np.float16),
        np.ones((5, 3), dtype=complex),
        np.array(["a", "b"]),
        np.array([None, 1]),
        np.array([[1, [2]], [3, 4]], dtype=object),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.zeros(3, dtype=[("a", "f8")]),
        np.array([1.0, math.nan]),
        np.array([1e308, -1e308]),
        np.array([2**63], dtype=np.uint64),
        np.array([True, False]),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.broadcast_to(1.0, (10**10,)),
        np.ones(3)[::-1],
        np.float32(1.5),
        np.int64(3),
    ]
)


objects = st.sampled_from(
    [
        Decimal("1.5"),
        Fraction(1, 3),
        1j,
        b"bytes",
        range(3),
        {1, 2},
        object(),
        lambda *values: values,
        Ellipsis,
        [[1, 2], [3]],
        [[]],
        {"W1": None},
        {1: 2.0},
        {"": 1.0},
        (1.0, [2.0, {"x": 3.0}]),
    ]
)
anything = json_values | objects | arrays


@st.composite
def calls(draw: st.DrawFn, good: Mapping[str, Any], *, most: int = 3, bad: Strategy = anything) -> dict[str, Any]:
    """Draw arguments: good ones, of which one or some are replaced by what does not belong there."""
    names = draw(st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=most, unique=True))
    return dict(good) | {name: draw(bad) for name in names}


@st.composite
def mutated(draw: st.DrawFn, tree: Any) -> Any:
    """Draw plain data in which one place, however deep, was changed or lost."""
    if isinstance(tree, dict) and tree and draw(st.integers(0, 9)):
        name = draw(st.sampled_from(sorted(tree)))
        if not draw(st.integers(0, 9)):
            return {key: value for key, value in tree.items() if key != name}
        return tree | {name: draw(mutated(tree[name]))}
    if isinstance(tree, list) and tree and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(tree) - 1))
        if not draw(st.integers(0, 9)):
            return tree[:place] + tree[place + 1 :]
        return [*tree[:place], draw(mutated(tree[place])), *tree[place + 1 :]]
    return draw(json_values)


def commands(good: Sequence[str], options: Sequence[str], values: Sequence[str]) -> Strategy:
    """Draw words of a command line: good ones with strange ones among and after them."""
    value = st.sampled_from(values) | words | numbers.map(str)
    pair = st.tuples(st.sampled_from(options), value).map(list)
    joined = st.tuples(st.sampled_from(options), value).map(lambda two: ["=".join(two)])
    extra = st.lists(pair | joined | st.sampled_from(options).map(lambda one: [one]) | value.map(lambda one: [one]))
    return extra.map(lambda some: [*good, *(word for part in some[:3] for word in part)])


def lines(write: Callable[[Any], bytes]) -> Strategy:
    """Draw the bytes of a file of rows: some rows, some noise, and perhaps no end of line."""
    row = st.dictionaries(words, json_leaves, max_size=3).map(write)
    part = row | st.binary(max_size=20) | json_values.map(write) | st.sampled_from([b"\n", b"[" * 5_000, b"{", b"\xff"])
    return st.lists(part, max_size=5).map(b"".join)
