"""Show the report of a violation that a halt has kept, and check its case again."""

import json
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from checks import Cause, Verdict, relative_difference
from checks.measure.layout import Array
from checks.training.violation import Violation, both_gradients, described
from checks.training.violation_file import read_violation
from experiments.command import DONE, NOT_SO, Parser, UsageError, run_command
from experiments.replay.networks import ANYTHING, in_words, named, rebuilt
from experiments.screen import of_payments, printable, show, wrapped
from trainer.storage.codec import to_plain

IDENTICAL = "identical"
APPLIED = "the gradient about to be applied"
NO_NETWORK = (
    "A callback changed the gradient after backprop. No network makes or mends that, so the network is judged by the "
    "gradient that it gives itself."
)
SAME_LOSS = 1e-9  # relative; another library changes the last of 16 digits

DESCRIPTION = """\
Show the report of a gradient check that failed, as it was shown when it failed, and check the case
again: the same parameters, the same rows, the same dropout masks and the same random directions; of
the batch, the gradient that the network gives there now.
The file is what GradientCheck(violations=DIR) or experiments.fraud --out DIR leaves at a halt. It
needs neither the data nor the run, and may be moved to another machine; it holds rows of the
training data, so mind where.
"""

EPILOG = """\
examples:
  python -m experiments.fraud --bug dW2 --out runs/wrong
      a run that halts at iteration 1 and keeps the case
  python -m experiments.replay runs/wrong/violation-000001.npz
      show the report again, check again, and compare both gradients tensor by tensor
  python -m experiments.replay violation-000001.npz --against fixed:Network
      check the Network of fixed.py, in this folder, on the very case that failed

what --against takes:
  module:name, where name is a network (it has loss and loss_and_gradients) or a class or function
  that makes one: it is called with those of layer_sizes, activation, dropout, l2 and
  positive_weight that the record has and it takes. Nothing else is imported: a class that the
  file names is shown, and only trainer.Network, with a mistake of --bug, is rebuilt.

exit codes:
  0    the report was shown and, where the network could be rebuilt, the check here said the same;
       with --against: what failed passes
  1    the check here said something else; with --against: it fails still, or is undecided
  2    bad input or usage, said in one line
  70   nobody has foreseen this: no verdict; one line says where the details are
  130  interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Show a violation, check it again, and return the exit code; ``--help`` says what each means."""
    parser = Parser("python -m experiments.replay", DESCRIPTION, EPILOG)
    parser.add_argument("file", metavar="FILE", type=Path, help="violation-NNNNNN.npz")
    parser.add_argument("--against", metavar="MODULE:NETWORK", help="check this network on the case instead")

    def body() -> int:
        asked = parser.parse_args(argv)
        violation = read_violation(asked.file)
        heading = _heading(asked.file, violation)
        return _again(violation, heading) if asked.against is None else _against(violation, heading, asked.against)

    return run_command(
        "python -m experiments.replay",
        body,
        memory="not enough memory. Expected a case that fits.",
        disk="cannot read. Expected a file that GradientCheck(violations=DIR) has left.",
    )


def _heading(path: Path, violation: Violation) -> str:
    size = sum(value.size for value in violation.parameters.values())
    on = ", ".join(f"{name} {version}" for name, version in violation.versions.items())
    dropout = "off" if violation.mask_seed is None else f"frozen, mask seed {violation.mask_seed}"
    rows = f"{len(violation.index)} rows; dropout {dropout}"
    if violation.step:
        rows += f"; batch of {len(violation.step['targets'])} rows"
    lines = [
        f"{path.name}: the gradient check that failed at iteration {violation.iteration}",
        f"  network: {_made(violation.network)}",
        f"  case: {size:,} parameters, trained as {violation.dtype}; {rows}",
        f"  on: {on}",
    ]
    return "\n".join(wrapped(lines))


def _made(network: dict[str, Any]) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in network["arguments"].items())
    return f"{network['class']}({arguments})"


def _again(violation: Violation, heading: str) -> int:
    """Show the recorded report, and check the recorded network again."""
    network, how = rebuilt(violation)
    _say(f"{heading}\n\n{_words(violation, violation.text)}\n")
    if network is None:
        _tell(f"Not checked again: {how}.", "To check it, or a corrected one, on this case: --against module:Network")
        return DONE
    with _guarded():
        report = violation.check(network, is_recorded=True)
        here = both_gradients(violation.probe(network), report)
    then, now = violation.report, to_plain(report.to_dict())
    _tell(f"Checked again here (python {platform.python_version()}, numpy {np.__version__}), {how}:")
    width = max(len(name) for name in ("tensor", *violation.parameters))
    _say(f"  {'tensor':<{width}}  {'then':<9}  {'here':<9}  {'gradient':<13}  numerical")
    same = _but_for_time(then) == _but_for_time(now)
    for name, tensor in report.tensors.items():
        verdict = then["tensors"].get(name, {}).get("verdict", "-")
        gradient = _compared(violation.gradients[name], here[0][name])
        numerical = _compared(violation.numerical[name], here[1][name])
        same = same and (gradient, numerical) == (IDENTICAL, IDENTICAL)
        _say(f"  {name:<{width}}  {verdict:<9}  {tensor.verdict:<9}  {gradient:<13}  {numerical}")
    if "applied" in then and "applied" in now:
        _tell(f"  {APPLIED}: {_applied(then)} then, {_applied(now)} here")
        if then["applied"]["cause"] == Cause.CHANGED:
            _tell(NO_NETWORK)
            then = then | {"applied": {"verdict": Verdict.PASS, "cause": Cause.AGREES}}
            same = True
    is_other = _tell_of_loss(violation, network)
    if _conclusion(then) != _conclusion(now):
        _tell(
            f"NOT reproduced: {_conclusion(then)} then, {_conclusion(now)} here. Either the network's code has "
            "changed since, or the mistake was in something that the file does not hold."
        )
        return NOT_SO
    digits = "to the last digit" if same else "but for last digits, in which libraries and processors may differ"
    if is_other:
        digits = "in its verdict, from other numbers"
    _tell(f"Reproduced {digits}: {_conclusion(now)}.")
    return DONE


def _against(violation: Violation, heading: str, name: str) -> int:
    """Check the network that the user names on the recorded case."""
    with _guarded():
        network = named(name, violation)
        report = violation.check(network, is_recorded=False)
        made = _made(described(network))
    then, now = violation.report, to_plain(report.to_dict())
    was = f"{_conclusion(then)}, difference {then['difference']:.3e}"
    _say(heading)
    _tell(f"  then: {was}", f"  against: {made}")
    _say(f"\n{_words(violation, report)}\n")
    _tell_of_loss(violation, network)
    if then.get("applied", {}).get("cause") == Cause.CHANGED:
        _tell(f"Note: {NO_NETWORK}")
    after = _judged(now)
    failed = {
        part: after.get(part, "not checked") for part, verdict in _judged(then).items() if verdict == Verdict.FAIL
    }
    wrong = {part: verdict for part, verdict in failed.items() if verdict != Verdict.PASS}
    wrong |= {part: verdict for part, verdict in after.items() if verdict == Verdict.FAIL}
    case = f"on the case that failed at iteration {violation.iteration}, difference {report.difference:.3e}"
    if wrong:
        parts = ", ".join(f"{verdict} in {part}" for part, verdict in wrong.items())
        _tell(f"NOT right {case}: {_words(violation, parts)}.")
        return NOT_SO
    _tell(f"Right {case}: PASS in {_words(violation, ', '.join(failed))}.")
    return DONE


def _tell_of_loss(violation: Violation, network: Any) -> bool:
    """Say so where the network's loss on the recorded case is another one, and return whether it is."""
    with _guarded():
        loss = float(np.real(violation.probe(network).loss(violation.parameters)))
    if is_other := abs(loss - violation.loss) > SAME_LOSS * abs(violation.loss):
        masks = "" if violation.mask_seed is None else ", or another version drew its dropout masks"
        _tell(f"Note: its loss there is {loss:.10g}, and was {violation.loss:.10g}: it is another function{masks}.")
    return is_other


@contextmanager
def _guarded() -> Iterator[None]:
    """Run the code of a network, which may raise anything, and overflow, which then stands in the report."""
    try:
        with np.errstate(all="ignore"):
            yield
    except UsageError:
        raise
    except ANYTHING as error:
        raise UsageError(
            "the network cannot be checked on this case. Expected its loss and gradients there. "
            f"Received {in_words(error)}"
        ) from error


def _judged(report: dict[str, Any]) -> dict[str, str]:
    """Give the verdict on every tensor, on every tensor of every term, and on the gradient about to be applied."""
    judged = {name: str(tensor["verdict"]) for name, tensor in report["tensors"].items()}
    for term, own in report.get("terms", {}).items():
        judged |= {f"{name} of term {term!r}": str(tensor["verdict"]) for name, tensor in own["tensors"].items()}
    return judged | ({APPLIED: str(report["applied"]["verdict"])} if "applied" in report else {})


def _words(violation: Violation, said: object) -> str:
    """Give what is said of the case in the words in which the main job, if it was that, has shown it."""
    return of_payments(said) if "fraud_rate" in violation.settings else str(said)


def _conclusion(report: dict[str, Any]) -> str:
    where = f" in {', '.join(report['culprits'])}" if report["culprits"] else ""
    if "applied" not in report:
        return f"{report['verdict']} ({report['cause']}){where}"
    own = {verdict for part, verdict in _judged(report).items() if part != APPLIED}
    worst = next(verdict for verdict in (Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS) if verdict in own)
    cause = f" ({report['cause']}){where}" if worst is Verdict.FAIL else ""
    return f"{worst}{cause}; {APPLIED}: {_applied(report)}"


def _applied(report: dict[str, Any]) -> str:
    return f"{report['applied']['verdict']} ({report['applied']['cause']})"


def _compared(then: Array, now: Array) -> str:
    if np.array_equal(then, now, equal_nan=True):
        return IDENTICAL
    both = np.isfinite(then) & np.isfinite(now)
    if not np.array_equal(np.isfinite(then), np.isfinite(now)):
        return f"{np.sum(np.isfinite(then) != np.isfinite(now))} entries finite in one only"
    return f"{relative_difference(then[both], now[both]):.1e} off"


def _but_for_time(report: dict[str, Any]) -> str:
    """Give everything in a report but how long it took; as text, in which NaN equals NaN."""
    rest = report | {
        "seconds": None,
        "applied": report.get("applied", {}) | {"seconds": None},
        "terms": {name: own | {"seconds": None} for name, own in report.get("terms", {}).items()},
    }
    return json.dumps(rest, sort_keys=True)


def _tell(*lines: str) -> None:
    _say("\n".join(wrapped(lines)))


def _say(text: str) -> None:
    show(printable(text))
