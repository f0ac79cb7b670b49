"""Violation: the case of one failed check, whole: what it takes to show it, and to check it again anywhere."""

import json
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from checks.check import check_gradients
from checks.judge.full import measure
from checks.measure.layout import Array, Layout
from checks.measure.objective import Objective
from checks.report.report import GradientReport
from checks.training.probe import Probe

#: What a network is made with, as far as it has these attributes.
ARGUMENTS = ("layer_sizes", "activation", "dropout", "l2", "positive_weight")
#: Coordinates measured for the record where the check itself did not measure them, the failing tensors' first: 2.5 s
#: for 99,361 on 64 rows, half of what the failing check took itself. A halt should not be kept waiting.
MEASURED_AT_MOST = 100_000


@dataclass(frozen=True, eq=False)
class Violation:
    """The case of one failed check.

    Attributes
    ----------
    iteration : int
        The parameter update before which it failed.
    text : str
        The report as it was shown.
    report : dict
        The report as plain data; see `GradientReport.to_dict`.
    loss : float
        At the point, without a step.
    dtype : str
        Precision of the training. Every array here is float64, which holds a float32 exactly.
    parameters : dict of str to ndarray
        Where the check was made, in the order of the forward pass.
    gradients, numerical : dict of str to ndarray
        Both gradients, each of its parameter's shape; NaN where nothing could be measured, as at a kink.
    index : ndarray of shape (n_rows,)
        Positions of the probe's rows among the training rows.
    inputs, targets : ndarray of shape (n_rows, n_features) and (n_rows,)
    mask_seed : int or None
        Seed of the dropout mask; None where dropout was off.
    options : dict
        Of the check: coverage, derivative, threshold, step and terms.
    generator : dict
        State of the check's generator when the probe had been drawn: what directions are drawn from.
    complex_confirmed : bool
        Whether an earlier check of the run had confirmed the complex step.
    network : dict
        What `described` says of it.
    settings : dict
        What else the user wanted kept.
    versions : dict of str to str
        Of what the check ran on.
    """

    iteration: int
    text: str
    report: dict[str, Any]
    loss: float
    dtype: str
    parameters: dict[str, Array]
    gradients: dict[str, Array]
    numerical: dict[str, Array]
    index: Array
    inputs: Array
    targets: Array
    mask_seed: int | None
    options: dict[str, Any]
    generator: dict[str, Any]
    complex_confirmed: bool
    network: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]

    @classmethod
    def of(
        cls,
        probe: Probe,
        report: GradientReport,
        iteration: int,
        options: Mapping[str, Any],
        *,
        dtype: str,
        generator: dict[str, Any],
        complex_confirmed: bool,
        settings: Mapping[str, Any],
    ) -> "Violation":
        """Collect the case of a report; what the check left unmeasured is measured now."""
        with np.errstate(all="ignore"):  # the check has warned already
            loss = float(np.real(probe.loss(probe.parameters)))
            gradients, numerical = both_gradients(probe, report)
        return cls(
            iteration=iteration,
            text=str(report),
            report=plain(report.to_dict()),
            loss=loss,
            dtype=dtype,
            parameters={name: np.array(value) for name, value in probe.parameters.items()},
            gradients=gradients,
            numerical=numerical,
            index=probe.index,
            inputs=probe.inputs,
            targets=probe.targets,
            mask_seed=probe.mask_seed,
            options=plain(options),
            generator=generator,
            complex_confirmed=complex_confirmed,
            network=described(probe.network),
            settings=plain(settings),
            versions=versions(),
        )

    def probe(self, network: Any) -> Probe:
        """Give the rows and the parameters of the case to a network."""
        return Probe(network, self.parameters, self.index, self.inputs, self.targets, self.mask_seed)

    def check(self, network: Any, *, complex_confirmed: bool) -> GradientReport:
        """Check a network on this very case, with the same options and along the same directions.

        Parameters
        ----------
        network : Network
            Whatever has ``loss`` and ``loss_and_gradients``.
        complex_confirmed : bool
            As recorded for the same network; False for another one.
        """
        rng = np.random.default_rng(0)
        rng.bit_generator.state = self.generator
        probe, options = self.probe(network), dict(self.options)
        return check_gradients(
            probe.loss,
            probe.gradients,
            probe.parameters,
            rng=rng,
            terms=probe.terms() if options.pop("terms") else None,
            coordinate_losses=probe.coordinate_losses,
            hints=probe.hints(),
            complex_confirmed=complex_confirmed,
            **options,
        )


def both_gradients(probe: Probe, report: GradientReport) -> tuple[dict[str, Array], dict[str, Array]]:
    """Give the gradient under test and the measured one, entry by entry.

    Those that the report has are taken from it. The others, as after a check along directions, are measured, up to
    `MEASURED_AT_MOST` coordinates.

    Returns
    -------
    dict of str to ndarray, dict of str to ndarray
    """
    layout = Layout(probe.parameters)
    point = layout.flatten(probe.parameters, "parameters")
    claimed = layout.flatten(probe.gradients(layout.unflatten(point.copy())), "gradients")
    objective = Objective(probe.loss, layout, point, probe.coordinate_losses)
    objective.gradient, objective.complex_confirmed = claimed, report.complex_confirmed
    measurable = np.isfinite(point).all() and np.isfinite(objective.value)
    gradients: dict[str, Array] = {}
    numerical: dict[str, Array] = {}
    failing = [tensor.name for tensor in report.culprits]
    left = MEASURED_AT_MOST
    for name in dict.fromkeys([*failing, *layout.shapes]):
        entries = report.tensors[name].entries
        gradients[name] = layout.tensor(claimed, name) if entries is None else entries.gradient
        numerical[name] = np.full(layout.shapes[name], np.nan)
        if entries is not None:
            numerical[name] = np.where(entries.aside, np.nan, entries.numerical)
        elif measurable and 0 < gradients[name].size <= left:
            left -= gradients[name].size
            slopes = measure(objective, name, report.step, report.derivative)[0]
            numerical[name] = slopes.reshape(layout.shapes[name])
    return {name: gradients[name] for name in layout.shapes}, {name: numerical[name] for name in layout.shapes}


def described(network: Any) -> dict[str, Any]:
    """Describe a network: its class, the classes of its parts, and what it was made with.

    Returns
    -------
    dict
        ``"class"`` and ``"parts"`` as ``module:name``, and ``"arguments"`` as far as they are plain data.
    """
    layers = getattr(network, "layers", None)
    parts = [*(layers if isinstance(layers, list | tuple) else []), *_own(network, "criterion", "penalty").values()]
    listed = plain(_own(network, *ARGUMENTS))
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


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Give data as JSON has it; what is neither number, text nor a collection becomes its text."""
    text = json.dumps(dict(data), default=_listed_or_text, skipkeys=True)
    return dict(json.loads(text))


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


def _own(network: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(network, name) for name in names if hasattr(network, name)}


def _listed_or_text(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
