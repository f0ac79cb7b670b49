"""The codec: what was written is read back, and anything else is refused by the name of its field."""

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath as Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from trainer.storage.codec import BrokenError, Within, from_plain, to_plain


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Tally:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return isinstance(other, Tally) and self.n == other.n

    __hash__ = None

    def to_text(self):
        return "x" * self.n

    @classmethod
    def from_text(cls, text):
        if set(text) - {"x"}:
            raise ValueError("no tally")
        return cls(len(text))


@dataclass
class Part:
    name: str
    places: tuple[int, ...]
    largest: tuple[float, int, str] | None = None


@dataclass
class Whole:
    count: Annotated[int, Within(0, 9)]
    share: float
    colour: Colour
    mode: Literal["full", "directions"]
    parts: dict[str, Part]
    listed: list[tuple[int, str]]
    notes: set[str]
    tally: Tally
    anything: Any
    is_so: bool
    short: Annotated[list[int], Within(1, 3)]
    late: Part | None = field(default=None, metadata={"may_lack": True})
    own: object = field(default=None, metadata={"kept": False})


def whole() -> Whole:
    parts = {"W1": Part("W1", (2, 1), (math.inf, 7, "b1")), "b": Part("b", ())}
    return Whole(
        5,
        math.nan,
        Colour.BLUE,
        "full",
        parts,
        [(3, "five")],
        {"b", "a"},
        Tally(3),
        {"x": [1, None]},
        True,
        [7],
        own="gone",
    )


def through_json(value):
    return json.loads(json.dumps(to_plain(value)))


def test_what_was_written_is_read_back_through_json_but_for_what_is_not_kept():
    back = from_plain(Whole, through_json(whole()))
    assert math.isnan(back.share)
    back.share = expected_share = 0.5
    expected = whole()
    expected.share, expected.own = expected_share, None
    assert back == expected
    assert type(back.parts["W1"].places) is tuple
    assert to_plain(whole())["notes"] == ["a", "b"]
    assert to_plain([np.float32(0.5), Path("a") / "b", 1 + 2j]) == [0.5, "a/b", "(1+2j)"]
    assert to_plain({"a": np.float32(0.5), "b": np.arange(3)}) == {"a": 0.5, "b": [0, 1, 2]}


def test_words_stand_for_numbers_that_json_has_none_for():
    data = through_json(whole()) | {"share": "-inf"}
    assert from_plain(Whole, data).share == -math.inf
    with pytest.raises(BrokenError, match=r"The value.share is broken. Expected a number. Received 'many'"):
        from_plain(Whole, data | {"share": "many"})


WRONG = [
    ("count", 10, "a number of 0 to 9"),
    ("count", -1, "a number of 0 to 9"),
    ("count", 10**400, "a number of 0 to 9"),
    ("count", 5.0, "an integer"),
    ("count", True, "an integer"),
    ("count", None, "an integer"),
    ("share", 10**400, "a number"),
    ("share", True, "a number"),
    ("share", [], "a number"),
    ("colour", "green", "'red' or 'blue'"),
    ("colour", {}, "'red' or 'blue'"),
    ("mode", "half", "'full' or 'directions'"),
    ("mode", ["full"], "'full' or 'directions'"),
    ("parts", [], "an object"),
    ("parts", {"W1": 7}, "an object"),
    ("listed", "text", "a list"),
    ("listed", [[3]], "a list of 2"),
    ("listed", [[3, 5]], "text"),
    ("notes", [3], "text"),
    ("tally", "xy", "text"),
    ("tally", 3, "text"),
    ("is_so", 1, "true or false"),
    ("short", [], "a length of 1 to 3"),
    ("short", [1] * 5, "a length of 1 to 3"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG, ids=lambda value: repr(value)[:12])
def test_a_field_that_is_something_else_is_refused_by_its_name(name, value, expected):
    with pytest.raises(BrokenError) as caught:
        from_plain(Whole, through_json(whole()) | {name: value}, "proof")
    assert str(caught.value).startswith(f"The proof.{name}")
    assert f"Expected {expected}. Received" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["count", "share", "parts", "is_so"])
def test_a_field_that_is_missing_is_named(name):
    data = through_json(whole())
    del data[name]
    with pytest.raises(BrokenError, match=f"The value.{name} is missing"):
        from_plain(Whole, data)


def test_the_place_of_a_wrong_field_is_told_down_to_the_entry():
    data = through_json(whole())
    data["parts"]["W1"]["largest"][1] = "seven"
    with pytest.raises(BrokenError, match=r"The value.parts.W1.largest\[1\] is broken. Expected an integer"):
        from_plain(Whole, data)


def test_a_field_that_came_later_may_be_missing_and_is_left_out_where_there_is_none():
    assert "late" not in to_plain(whole())
    data = through_json(whole()) | {"late": {"name": "b", "places": [], "largest": None}}
    assert from_plain(Whole, data).late == Part("b", ())
    with pytest.raises(BrokenError, match=r"The value.late.name is broken"):
        from_plain(Whole, data | {"late": {"name": 3, "places": [], "largest": None}})
