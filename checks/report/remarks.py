"""Remarks: what a reader should know of tensors that did not fail, and what would decide those left open."""

import math

import numpy as np

from checks.report.findings import Findings, TensorReport
from checks.verdict import Cause, Verdict

#: An entry is clearly off beyond so many bounds, and beyond this share of itself.
BOUNDS = 4.0
OFF = 1e-3
#: What would decide a tensor that was left open, by the cause.
DECIDES = {
    Cause.KINK: "a check at another point, where fewer entries lie on a kink",
    Cause.ROUNDING: "a loss computed in float64, or a coarser threshold",
    Cause.NOT_DETERMINISTIC: "a loss that draws nothing: dropout off, or the same seed in every evaluation",
    Cause.NOT_FINITE: "a check at parameters and rows where everything is finite",
    Cause.NOT_EXERCISED: "a check at rows and parameters where it matters",
    Cause.NO_DEPENDENCE: "a loss that reads what it is handed; `checks.held_by` makes one of a model with its own",
}


def remarks(report: Findings) -> list[str]:
    """Give a sentence for each: what was not exercised, what passed but is off, is coarse, or was left open."""
    tensors = list(report.tensors.values())
    passed = [tensor for tensor in tensors if tensor.verdict is Verdict.PASS]
    found = [
        *left_open(report),
        *_quiet(passed, tensors),
        *(said for said in (_off(tensor, report) for tensor in passed) if said),
        *_coarse(passed),
    ]
    quiet = set(report.not_exercised)
    for tensor in tensors:
        if tensor.kinks and tensor.verdict is not Verdict.UNDECIDED:
            found.append(f"{tensor.name}: {tensor.kinks} of {tensor.size} entries set aside at kinks.")
        if tensor.untouched and tensor.name not in quiet:
            found.append(
                f"{tensor.name}: {tensor.untouched} of {tensor.size} entries are zero in both and were not exercised."
            )
    return found


def left_open(report: Findings) -> list[str]:
    """Tell what was left open, once where it is the same of several tensors, and what would decide it."""
    together: dict[tuple[Cause, str], list[str]] = {}
    for tensor in report.tensors.values():
        if tensor.verdict is Verdict.UNDECIDED:
            together.setdefault((tensor.cause, tensor.evidence), []).append(tensor.name)
    told = []
    for (cause, evidence), names in together.items():
        why = f": {evidence.rstrip('.')}" if evidence else ""
        decided = f" It would be decided by {DECIDES[cause]}." if cause in DECIDES else ""
        told.append(f"{', '.join(names)}: UNDECIDED, {cause}{why}.{decided}")
    return told


def _quiet(passed: list[TensorReport], tensors: list[TensorReport]) -> list[str]:
    told = []
    unused = [tensor.name for tensor in passed if tensor.cause is Cause.NOT_EXERCISED]
    if unused:
        told.append(
            f"not exercised: {', '.join(unused)} "
            "(gradient and slopes are zero everywhere: right here, but nothing was tested)."
        )
    idle = [tensor for tensor in passed if tensor.cause is Cause.NO_EFFECT]
    whole = math.hypot(*(tensor.gradient_norm for tensor in tensors if math.isfinite(tensor.gradient_norm)))
    if idle:
        shares = [tensor.gradient_norm / whole for tensor in idle if whole > 0.0 and tensor.gradient_norm <= whole]
        left = [tensor.excluded for tensor in idle]  # of these, a share of the whole
        most = f": at most {max(shares):.1g} of the whole gradient" if shares else ""
        if math.isfinite(max(left)):
            most += f"; an error above {max(left):.1g} of it is excluded"
        told.append(f"no effect: {', '.join(tensor.name for tensor in idle)} (zero up to rounding{most}).")
    return told


def _coarse(passed: list[TensorReport]) -> list[str]:
    coarse = [tensor for tensor in passed if tensor.precision > 0.0]
    if not coarse:
        return []
    names = ", ".join(f"{tensor.name} to {tensor.precision:.0e}" for tensor in coarse)
    told = [f"PASS to {max(t.precision for t in coarse):.0e} ({names}): the loss is too coarse for more."]
    return told + [f"{t.name} {t.evidence}." for t in coarse if t.evidence.startswith("excludes")]


def _off(tensor: TensorReport, report: Findings) -> str:
    """Tell an entry that is clearly off in a tensor that passes, for its norm is that of larger ones."""
    entries = tensor.entries
    if entries is None or tensor.precision or tensor.cause is not Cause.AGREES or not tensor.size:
        return ""
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.maximum(np.abs(entries.gradient), np.abs(entries.numerical))
        # A central difference is off by about step² even where nothing is rounded.
        allowed = BOUNDS * entries.bounds + report.step**2 * abs(report.loss) + OFF * size
        beyond = np.where(entries.known & (np.abs(entries.error) > allowed), np.abs(entries.error) / size, 0.0)
    if not np.any(beyond > 0.0):
        return ""
    where = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    label = f"{tensor.name}[{', '.join(map(str, where))}]" if where else tensor.name
    value, numerical = float(entries.gradient[where]), float(entries.numerical[where])
    count = int(np.count_nonzero(beyond)) - 1
    more = "" if not count else f", and {count} more {'is' if count == 1 else 'are'} off"
    return (
        f"PASS by the norm, but {label} is {value:.6g} where the numerical gradient is {numerical:.6g}"
        f"{_times(value, numerical)}{more}: {tensor.name} is dominated by larger entries. Check it alone: as a tensor "
        "of its own, or with a lower threshold."
    )


def _times(gradient: float, numerical: float) -> str:
    ratio = gradient / numerical if numerical else math.nan
    return f", {ratio:.4g} ×" if math.isfinite(ratio) else ""
