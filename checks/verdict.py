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
    NO_EFFECT = "no effect"
    NO_DEPENDENCE = "the loss does not move"
    # Of the gradient that is about to be applied, within a training run:
    WRONG_ON_BATCH = "backprop is wrong on this batch"
    CHANGED = "changed after backprop"
    NOT_REPEATABLE = "not repeatable"
    LOST = "more is lost than the precision explains"
    MOVED = "the parameters were moved"
