"""The options that every check takes: their defaults and their ranges."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict, cast

import numpy as np

#: The classic one: below it, the exercise calls a gradient right.
THRESHOLD = 1e-7
#: Near eps**(1/3) = 6.1e-6, where rounding (like eps/h) and truncation (like h²) of a central difference meet.
STEP = 1e-5
#: Far below what moves a float64, and far from where arithmetic loses its digits.
SMALLEST_STEP = 1e-100
#: No loss is the same function so many parameters' sizes away.
LARGEST_STEP = 1e3

#: The module of the pytest plugin, where one is loaded.
PLUGIN = "pytest_backproof"

CHOICES = {"coverage": ("full", "directions"), "derivative": ("central", "complex")}


@dataclass(frozen=True)
class Options:
    """How a check is made, as `check_gradients` says; what is None becomes the default. Out of range: ValueError."""

    coverage: str = "full"
    derivative: str = cast(str, None)  # filled in, as below
    threshold: float = THRESHOLD
    step: float = cast(float, None)

    def __post_init__(self) -> None:
        """Refuse what is out of range, and fill in the defaults."""
        for name, choices in CHOICES.items():
            if self.derivative is None and name == "derivative":  # the coverage is known to be one of its own by now
                object.__setattr__(self, name, "complex" if self.coverage == "directions" else "central")
            choice = getattr(self, name)
            if not isinstance(choice, str) or choice not in choices:
                expected = " or ".join(map(repr, choices))
                raise ValueError(f"{name} is unknown. Expected {expected}. Received {choice!r}.")
        if self.step is None:
            object.__setattr__(self, "step", STEP)
        for name, most in (("threshold", 1.0), ("step", math.inf)):  # a relative difference is never above 1
            value = getattr(self, name)
            number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
            huge = type(value) is int and value > sys.float_info.max  # or it would not become a float
            if not number or huge or not 0.0 < value < most:
                below = f" and < {most:g}" if most < math.inf else ""
                raise ValueError(f"{name} is out of range. Expected a finite number > 0{below}. Received {value!r}.")
            object.__setattr__(self, name, float(value))
        if not SMALLEST_STEP <= self.step <= LARGEST_STEP:
            expected = f"{SMALLEST_STEP:g} to {LARGEST_STEP:g}"
            raise ValueError(f"step is out of range. Expected {expected}. Received {self.step!r}.")


def coverage_or(default: str, coverage: str | None) -> str:
    """Give the coverage; where none is named, that of the pytest suite a check is made in, or the default."""
    suite = sys.modules.get(PLUGIN)
    asked = None if suite is None or coverage is not None else suite.coverage()
    return coverage if coverage is not None else asked or default


def refuse_unless_integer(name: str, value: Any, least: int) -> None:
    """Refuse what is no integer, or too small a one."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is out of range. Expected an integer >= {least}. Received {value!r}.")


class Asked(TypedDict, total=False):
    """What every door takes beside its problem, as `check_gradients` says."""

    coverage: str
    derivative: str | None
    threshold: float
    step: float | None
    rng: "np.random.Generator | None"
    n_jobs: int


def refuse_unless_known(options: Mapping[str, Any]) -> None:
    """Refuse what is no option of every door, or out of range, before anything is evaluated."""
    for name in options.keys() - Asked.__annotations__.keys():
        expected = ", ".join(Asked.__annotations__)
        raise TypeError(f"there is no such option here. Expected some of {expected}. Received {name!r}.")
    Options(**{field.name: options[field.name] for field in fields(Options) if options.get(field.name) is not None})
    refuse_unless_generator(options.get("rng"))


def refuse_unless_generator(rng: Any) -> None:
    """Refuse what is no generator, and not None."""
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is no generator. Expected np.random.default_rng(seed). Received {rng!r}.")
