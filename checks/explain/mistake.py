"""A mistake: what is measured of a failing tensor, what kinds there are, and what else is known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from checks.measure.layout import Array


class Kind(StrEnum):
    """Kinds of mistakes that leave a signature."""

    SCALED = "scaled"
    SIGN = "sign"
    NEVER_COMPUTED = "never computed"
    TRANSPOSED = "transposed"
    MISPLACED = "misplaced"
    REGULARISER = "regulariser"
    ONE_ENTRY = "one entry"
    ONE_UNIT = "one unit"
    SOME_ENTRIES = "some entries"
    CLASS = "class weight"
    ACTIVATION = "activation"
    FLOW = "what flows in"
    LINE = "this line only"
    NOT_FINITE = "not finite"


@dataclass(frozen=True)
class Mistake:
    """A mistake as a colleague would name it.

    Attributes
    ----------
    kind : Kind
        Which signature matched; FLOW or LINE where none did.
    sentence : str
        What was seen and where to look.
    factor : float or None
        For SCALED, SIGN and NEVER_COMPUTED: gradient over numerical gradient.
    """

    kind: Kind
    sentence: str
    factor: float | None = None


@dataclass(frozen=True)
class Measured:
    """A failing tensor: the gradient under test beside what was measured.

    Attributes
    ----------
    name : str
        The tensor.
    gradient, parameter : ndarray of the tensor's shape
        The gradient under test and the parameter's values.
    numerical, bounds : ndarray of the tensor's shape
        Measured slopes and their rounding bounds; NaN where a coordinate was not measured or was set aside.
    alone : bool
        Whether halving showed that one entry only is wrong.
    """

    name: str
    gradient: Array
    parameter: Array
    numerical: Array
    bounds: Array
    alone: bool = False

    @property
    def known(self) -> Array:
        """Mask of the coordinates that were measured."""
        return np.isfinite(self.numerical)

    @property
    def error(self) -> Array:
        """``gradient - numerical``, zero where it is not known."""
        return np.where(self.known, self.gradient - self.numerical, 0.0)

    def wrong(self, threshold: float) -> Array:
        """Mask of the coordinates that are wrong by more than their share of the threshold and rounding."""
        known = self.known
        scale = np.linalg.norm(self.gradient[known]) + np.linalg.norm(self.numerical[known])
        share = threshold * scale / np.sqrt(known.sum())
        beyond: Array = known & (np.abs(self.error) > share + np.where(known, self.bounds, 0.0))
        return beyond


@dataclass(frozen=True)
class Hints:
    """What is known about the loss beyond its value; all of it optional.

    Attributes
    ----------
    factors : dict of float to str
        Factors that have a name here, such as ``{64: "the number of rows"}``.
    explain : callable or None
        Asked with the failing tensors, output side first, before a dense error is left without a signature.
    """

    factors: dict[float, str] = field(default_factory=dict)
    explain: Callable[[list[str]], Mistake | None] | None = None
