"""Violation: the case of one failed check, whole: what it takes to show it, and to check it again anywhere."""

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

import numpy as np

from checks.judge.full import measure
from checks.measure.layout import Array, Layout
from checks.options import Options
from checks.report.report import GradientReport
from checks.training.applied import AppliedCheck
from checks.training.probe import Case, Probe
from checks.training.step import Step
from checks.verdict import Cause
from trainer.rows import batch_dtype
from trainer.storage.codec import Generator, to_plain

#: What a network is made with, as far as it has these attributes.
ARGUMENTS = ("layer_sizes", "activation", "dropout", "l2", "positive_weight")
#: Coordinates measured for the record where the check itself did not measure them, the failing tensors' first: 2.5 s
#: for 99,361 on 64 rows, half of what the failing check took itself. A halt should not be kept waiting.
MEASURED_AT_MOST = 100_000


STEP_ARRAYS = ("begin", "now", "inputs", "targets", "returned", "applied")  # of a `Step`
ARRAY = {"kept": False}  # among the facts: it is an array of its own in the file


@dataclass(frozen=True, eq=False)
class Violation:
    """The case of one failed check. Arrays are float64, which holds a float32 exactly, but for rows of integers."""

    iteration: Annotated[int, (1, 2**63 - 1)]  # the parameter update before which it failed
    text: str  # the report as it was shown
    report: dict[str, Any]  # as plain data; see `GradientReport.to_dict`
    loss: float  # at the point, without a step
    dtype: Literal["float32", "float64"]  # of the training
    parameters: dict[str, Array] = field(metadata=ARRAY)  # where the check was made, in the order of the forward pass
    gradients: dict[str, Array] = field(metadata=ARRAY)
    numerical: dict[str, Array] = field(metadata=ARRAY)  # NaN where nothing could be measured, as at a kink
    index: Array = field(metadata=ARRAY)  # positions of the probe's rows among the training rows
    inputs: Array = field(metadata=ARRAY)
    targets: Array = field(metadata=ARRAY)
    mask_seed: Annotated[int | None, (0, 2**32 - 1)]  # None where dropout was off
    options: dict[str, Any]  # of the check: those of `Options`, and terms
    generator: Generator  # the check's, when the probe had been drawn: what directions are drawn from
    complex_confirmed: bool  # whether an earlier check of the run had confirmed the complex step
    network: dict[str, Any]  # what `described` says of it
    settings: dict[str, Any]  # what else the user wanted kept
    versions: dict[str, str]  # of what the check ran on
    masks: Generator | None = field(default=None, metadata={"may_lack": True})  # see `Step`
    directions: Generator | None = field(default=None, metadata={"may_lack": True})
    complex_trust: bool | None = field(default=None, metadata={"may_lack": True})
    step: dict[str, Array] = field(default_factory=dict, metadata=ARRAY)  # its vectors and rows, if it was asked about

    @classmethod
    def of(
        cls,
        iteration: int,
        report: GradientReport,
        case: Case,
        step: Step | None,
        *,
        options: Mapping[str, Any],
        dtype: Any,
        settings: Mapping[str, Any],
    ) -> "Violation":
        """Collect the case of a report; what the check left unmeasured is measured now."""
        probe = case.probe
        with np.errstate(all="ignore"):  # the check has warned already
            loss = float(np.real(probe.loss(probe.parameters)))
            gradients, numerical = both_gradients(probe, report)
        return cls(
            iteration=iteration,
            text=str(report),
            report=to_plain(report.to_dict()),
            loss=loss,
            dtype=dtype,
            parameters={name: np.array(value) for name, value in probe.parameters.items()},
            gradients=gradients,
            numerical=numerical,
            index=probe.index,
            inputs=probe.inputs,
            targets=probe.targets,
            mask_seed=probe.mask_seed,
            options=to_plain(options),
            generator=dict(case.generator),
            complex_confirmed=case.complex_confirmed,
            network=described(probe.network),
            settings=to_plain(settings),
            versions=versions(),
            masks=None if step is None or step.masks is None else dict(step.masks),
            directions=None if step is None or step.directions is None else dict(step.directions),
            complex_trust=None if step is None else step.complex_trust,
            step={} if step is None else {name: _as(np.float64, getattr(step, name)) for name in STEP_ARRAYS},
        )

    def probe(self, network: Any) -> Probe:
        """Give the rows and the parameters of the case to a network."""
        return Probe(network, self.parameters, self.index, self.inputs, self.targets, self.mask_seed)

    def check(self, network: Any, *, is_recorded: bool) -> GradientReport:
        """Check a network, whatever has ``loss`` and ``loss_and_gradients``, on this very case and its directions.

        What the record knows of its own network counts only if this is it. Of the batch, the gradient is asked about
        that this network gives: what a callback made of the recorded one is no network's doing.
        """
        rng = _generator(self.generator)
        own = {name: value for name, value in self.options.items() if name != "terms"}
        options, terms, probe = Options(**own), self.options["terms"], self.probe(network)
        confirmed = is_recorded and self.complex_confirmed
        report = probe.check(options, rng, terms=terms, complex_confirmed=confirmed)
        if not self.step:
            return report
        question = AppliedCheck(self.parameters, options)
        question.complex_trust = self.complex_trust if is_recorded else None
        step = self._made_again(network, is_recorded=is_recorded)
        return replace(report, applied=question.ask(step, _generator(self.directions)))

    def _made_again(self, network: Any, *, is_recorded: bool) -> Step:
        """Make the step of the batch again, at the same parameters, with the same masks."""
        dtype, layout = np.dtype(self.dtype), Layout(self.parameters)
        begin, inputs, targets, gradient = (
            _as(dtype, self.step[name]) for name in ("begin", "inputs", "targets", "returned")
        )
        now, masks = begin.copy(), None if self.masks is None else _generator(self.masks)
        returned = network.loss_and_gradients(layout.unflatten(now), inputs, targets, masks)[1]
        if not (is_recorded and self.report["applied"]["cause"] == Cause.NOT_REPEATABLE):  # else the two are compared
            gradient = layout.flatten(returned, "gradients").astype(dtype)
        return Step(network, begin, now, inputs, targets, self.masks, gradient, gradient)


def both_gradients(probe: Probe, report: GradientReport) -> tuple[dict[str, Array], dict[str, Array]]:
    """Give the gradient under test and the measured one, entry by entry.

    Those that the report has are taken from it. The others, as after a check along directions, are measured, up to
    `MEASURED_AT_MOST` coordinates.
    """
    objective = probe.objective(report.complex_confirmed)
    layout, options = objective.layout, Options(derivative=report.derivative, step=report.step)
    measurable = np.isfinite(objective.point).all() and np.isfinite(objective.value)
    gradients: dict[str, Array] = {}
    numerical: dict[str, Array] = {}
    failing = [tensor.name for tensor in report.culprits]
    left = MEASURED_AT_MOST
    for name in dict.fromkeys([*failing, *layout.shapes]):
        entries = report.tensors[name].entries
        gradients[name] = layout.tensor(objective.gradient, name) if entries is None else entries.gradient
        numerical[name] = np.full(layout.shapes[name], np.nan)
        if entries is not None:
            numerical[name] = np.where(entries.aside, np.nan, entries.numerical)
        elif measurable and 0 < gradients[name].size <= left:
            left -= gradients[name].size
            numerical[name] = measure(objective, [name], options)[name][0].reshape(layout.shapes[name])
    return {name: gradients[name] for name in layout.shapes}, {name: numerical[name] for name in layout.shapes}


def described(network: Any) -> dict[str, Any]:
    """Describe a network: its class and those of its parts as ``module:name``, and what it was made with, if plain."""
    layers = getattr(network, "layers", None)
    parts = [*(layers if isinstance(layers, list | tuple) else []), *_own(network, "criterion", "penalty").values()]
    listed = to_plain(_own(network, *ARGUMENTS))
    arguments = {name: value for name, value in listed.items() if is_argument(value)}
    return {"class": path_of(type(network)), "parts": [path_of(type(part)) for part in parts], "arguments": arguments}


def is_argument(value: Any) -> bool:
    """Say whether a value is what a network is made with: text, a number of this size, or a list of such."""
    if isinstance(value, list):
        return all(not isinstance(item, list) and is_argument(item) for item in value)
    return value is None or isinstance(value, str | bool | float) or (isinstance(value, int) and abs(value) < 2**53)


def path_of(kind: type) -> str:
    """Give a class as ``module:name``, by the package that exports it: no move of a module then breaks a kept file."""
    package = kind.__module__.partition(".")[0]
    is_public = getattr(sys.modules.get(package), "__dict__", {}).get(kind.__qualname__) is kind
    return f"{package if is_public else kind.__module__}:{kind.__qualname__}"


def without_module(path: str) -> str:
    """Name a class by its package alone: version 0.1 kept the module too, and modules move."""
    return re.sub(r"^(\w+)[\w.]*:", r"\1:", path)


def versions() -> dict[str, str]:
    """Name what a check runs on: the interpreter, the libraries in use, the machine."""
    found = {"python": platform.python_version()}
    for name, module in (("numpy", "numpy"), ("scikit-learn", "sklearn")):
        if module in sys.modules:
            found[name] = str(sys.modules[module].__version__)
    try:
        found["backproof"] = version("backproof")
    except PackageNotFoundError:  # run from a checkout
        found["backproof"] = "not installed"
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    found["BLAS"] = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    return found | {"machine": platform.machine(), "system": platform.system()}


def _generator(state: Mapping[str, Any] | None) -> np.random.Generator:
    rng = np.random.default_rng(0)
    if state is not None:
        rng.bit_generator.state = state
    return rng


def _as(dtype: Any, array: Array) -> Array:
    """Copy an array, real numbers as `dtype`."""
    return array.astype(batch_dtype(array, dtype))


def _own(network: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(network, name) for name in names if hasattr(network, name)}
