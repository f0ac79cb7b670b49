"""The state of a proof, as a checkpoint holds it: refused unless every part is what was written."""

from collections.abc import Callable, Mapping
from typing import Any


def refuse_broken(state: Mapping[str, Any]) -> None:
    """Refuse a state that `Proof.state_dict` did not give.

    Raises
    ------
    ValueError
        With the part that is wrong.
    """
    for name, is_right in PARTS.items():
        if not is_right(state.get(name)):
            raise ValueError(
                f"The {name} of a proof is broken. Expected what was written. Received {state.get(name)!r:.60}."
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _maybe(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


def _each(*kinds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Expect a list of as many parts, each of its kind."""
    return lambda value: (
        isinstance(value, list | tuple)
        and len(value) == len(kinds)
        and all(is_right(part) for is_right, part in zip(kinds, value, strict=True))
    )


def _all(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple | set) and all(map(is_right, value))


def _values(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(is_right, value.values()))


EVENTS = _all(_each(_is_count, _is_text, _is_text))
PARTS: dict[str, Callable[[Any], bool]] = {
    "coverage": lambda value: value in ("full", "directions"),
    **dict.fromkeys(("derivative", "dropout", "rows", "positive_rows"), _is_text),
    **dict.fromkeys(("threshold", "seconds"), _is_number),
    **dict.fromkeys(("n_parameters", "n_positive", "n_checks", "first", "last", "passed", "failed"), _is_count),
    **dict.fromkeys(("kinks", "n_failures"), _is_count),
    **dict.fromkeys(("active_share", "precision"), _maybe(_is_number)),
    "largest": _maybe(_each(_is_number, _is_count, _is_text)),
    "excluded": _values(_each(_is_number, lambda count: _is_count(count) and count > 0)),
    **dict.fromkeys(("terms", "notes"), _all(_is_text)),
    **dict.fromkeys(("undecided", "failures"), EVENTS),
    "undecided_counts": _values(_is_count),
}
