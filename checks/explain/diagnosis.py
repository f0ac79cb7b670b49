"""The diagnosis: what kind of mistake each failing tensor shows, and which may follow from another."""

import math
import re
from collections.abc import Sequence

from checks.explain.entries import Suspect
from checks.explain.mistake import Hints, Kind, Mistake
from checks.explain.signatures import EXPLAINED, gradient_of, signature


def diagnose(failing: list[Suspect], threshold: float, hints: Hints) -> dict[str, Mistake]:
    """Say what kind of mistake each failing tensor shows; they come in the order of backprop, output first."""
    names = [suspect.name for suspect in failing]
    signatures = {suspect.name: signature(suspect, threshold, hints) for suspect in failing}
    for suspect in failing:
        # One entry is always some multiple of another: that means something only if the layer's other tensors agree.
        own, others = signatures[suspect.name], [signatures[name] for name in partners(suspect.name, names)]
        alone = not any(other is not None and own is not None and _same_factor(own, other) for other in others)
        if suspect.gradient.size == 1 and others and alone:
            signatures[suspect.name] = None
    explained = None
    if names and signatures[names[0]] is None and hints.explain is not None:
        explained = hints.explain(names)
    first_layer = {names[0], *partners(names[0], names)} if names else set()
    return {
        name: signatures[name] or (explained if name in first_layer else None) or _unmatched(name, names)
        for name in names
    }


def partners(name: str, names: Sequence[str]) -> list[str]:
    """Give the other tensors of the same layer: those whose names end in the same number, as W2 and b2 do."""
    number = re.search(r"\d+$", name)
    return [other for other in names if number and other != name and re.fullmatch(rf"\D*{number.group()}", other)]


def _same_factor(left: Mistake, right: Mistake) -> bool:
    if left.factor is None or right.factor is None:
        return False
    return math.isclose(left.factor, right.factor, rel_tol=EXPLAINED, abs_tol=EXPLAINED)


def _unmatched(name: str, names: Sequence[str]) -> Mistake:
    """Say where to look when no signature matched: are the layer's other tensors wrong too."""
    together = partners(name, names)
    if together:
        layer = re.sub(r"\D", "", name)
        sentence = (
            f"{name} and {', '.join(together)} are wrong together, by no signature known here: look at what flows "
            f"into both, dZ{layer} (the derivative of the activation, the product with the next layer's weights)."
        )
        return Mistake(Kind.FLOW, sentence)
    before = names[names.index(name) + 1 :]
    if before:
        sentence = (
            f"{name} is wrong by no signature known here, and so are tensors before it ({', '.join(before)}): look "
            f"at what flows into {gradient_of(name)}."
        )
        return Mistake(Kind.FLOW, sentence)
    sentence = f"{name} is wrong by no signature known here: look at the line that computes {gradient_of(name)}."
    return Mistake(Kind.LINE, sentence)
