"""The diagnosis: what kind of mistake each failing tensor shows, and which may follow from another."""

from collections.abc import Sequence

from checks.explain.entries import Suspect
from checks.explain.factors import is_same
from checks.explain.mistake import Hints, Kind, Mistake
from checks.explain.shared import flow_into, listed, partners, shared
from checks.explain.signatures import gradient_of, rounded, signature


def diagnose(
    failing: list[Suspect], threshold: float, hints: Hints, exercised: Sequence[str] | None = None
) -> dict[str, Mistake]:
    """Say what kind of mistake each failing tensor shows; they come in the order of backprop, output first.

    ``exercised`` are all the tensors in which a mistake could show, in the order of the forward pass: with them, it is
    said of a mistake that several tensors share what is right, and whether it enters at the output.
    """
    names = [suspect.name for suspect in failing]
    signatures = {suspect.name: signature(suspect, threshold, hints) or rounded(suspect) for suspect in failing}
    common = shared(failing, signatures, hints, exercised)
    for suspect in failing:
        # One entry is always some multiple of another: that means something only if the layer's other tensors agree.
        own, others = signatures[suspect.name], [signatures[name] for name in partners(suspect.name, names)]
        agrees = own is not None and any(other is not None and is_same(own.factor, other.factor) for other in others)
        if suspect.gradient.size == 1 and others and not agrees:
            signatures[suspect.name] = None
    found = signatures | common
    explained = None
    # What several tensors share may have come about row by row, where rows are much alike: `explain` can tell.
    if names and hints.explain is not None and (found[names[0]] is None or names[0] in common):
        explained = hints.explain(names)
        found = found if explained is None else signatures | {names[0]: None}
    first_layer = {names[0], *partners(names[0], names)} if names else set()
    return {
        name: found[name] or (explained if name in first_layer else None) or _unmatched(name, names) for name in names
    }


def _unmatched(name: str, names: Sequence[str]) -> Mistake:
    """Say where to look when no signature matched: are the layer's other tensors wrong too."""
    together = partners(name, names)
    if together:
        flow = flow_into(name, names)
        of_both = f"what flows into both, {flow}" if flow.startswith("dZ") else "what flows into both"
        sentence = (
            f"{listed([name, *together])} are wrong together, by no signature known here: look at {of_both} "
            "(the derivative of the activation, the product with the next layer's weights)."
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
