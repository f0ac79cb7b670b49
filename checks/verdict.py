"""What a check can conclude, and why."""

from enum import StrEnum


class Verdict(StrEnum):
    """What a check concludes; there is nothing in between."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"


class Cause(StrEnum):
    """Why a verdict is what it is."""

    AGREES = "agrees"
    WRONG = "wrong gradient"
    KINK = "kink"
    ROUNDING = "rounding"
    NOT_DETERMINISTIC = "not deterministic"
    NOT_FINITE = "not finite"
    NOT_EXERCISED = "not exercised"
