"""A mistake: what kinds there are, and what is known that helps to name one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


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
    EPSILON = "epsilon"
    FLOW = "what flows in"
    LINE = "this line only"
    NOT_FINITE = "not finite"


@dataclass(frozen=True)
class Mistake:
    """A mistake as a colleague would name it: which signature matched, what was seen, and where to look."""

    kind: Kind  # FLOW or LINE where no signature matched
    sentence: str
    factor: float | None = None  # gradient over numerical gradient, for SCALED, SIGN and NEVER_COMPUTED


@dataclass(frozen=True)
class Hints:
    """What is known about the loss beyond its value; all of it optional."""

    #: Factors that have a name here, such as ``{64: "the number of rows"}``.
    factors: dict[float, str] = field(default_factory=dict)
    #: Asked with the failing tensors, output side first, before a dense error is left without a signature.
    explain: Callable[[list[str]], Mistake | None] | None = None
