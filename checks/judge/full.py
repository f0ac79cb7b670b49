"""Full coverage: the N-dimensional check, every coordinate of every tensor."""

import math

import numpy as np

from checks.explain.entries import Entries, Suspect
from checks.judge.examine import confirm_complex, examine
from checks.judge.ladder import Finding
from checks.judge.unmeasured import Judged, empty, not_deterministic, not_finite_loss
from checks.measure.difference import norm, relative_difference
from checks.measure.layout import Array
from checks.measure.objective import ComplexRefusedError, Objective
from checks.measure.slopes import central_sweep, complex_sweep
from checks.options import Options
from checks.report.findings import TensorReport, Tensors
from checks.verdict import Cause, Verdict

#: Coordinates of one tensor that are examined one by one before the rest is left UNDECIDED.
EXAMINED_AT_MOST = 200
#: As many coordinates in a row of which rounding hides the answer, and the tensor is left UNDECIDED.
ROUNDING_STREAK = 8
#: Share of a tensor's coordinates that may be set aside at kinks before its PASS would mean too little.
KINKS_AT_MOST = 0.1


def check_coordinates(objective: Objective, options: Options) -> Judged:
    """Check every coordinate of every tensor: the N-dimensional check."""
    if not np.isfinite(objective.value):
        return not_finite_loss(objective)
    checks = [TensorCheck(objective, name, options) for name in objective.layout.slices]
    plain = relative_difference(objective.gradient, [check.numerical for check in checks])
    if not all(check.agrees for check in checks) and not objective.repeats():
        return not_deterministic(objective)
    tensors = Tensors.of(check.run() for check in checks)
    return Judged(
        tensors,
        difference=relative_difference(
            [check.gradient[~check.aside] for check in checks],
            [check.numerical[~check.aside] for check in checks],
        ),
        plain_difference=plain,
        failing=[check.suspect() for check in reversed(checks) if tensors[check.name].verdict is Verdict.FAIL],
    )


def measure(objective: Objective, name: str, options: Options) -> tuple[Array, Array]:
    """Measure the slope along every coordinate of a tensor, with rounding bounds."""
    if options.derivative == "complex" and confirm_complex(objective, options.step):
        try:
            return complex_sweep(objective, name)
        except ComplexRefusedError:
            pass  # the objective keeps the reason, and the report prints it
    return central_sweep(objective, name, options.step)


class TensorCheck:
    """The full check of one tensor: measured, and where it does not agree at once, examined.

    ``numerical`` and ``bounds``, the measured slopes and the bounds on their rounding, are refined in place.
    """

    def __init__(self, objective: Objective, name: str, options: Options) -> None:
        self.objective = objective
        self.name = name
        self.options = options
        self.gradient = objective.gradient[objective.layout.slices[name]]
        self.numerical, self.bounds = measure(objective, name, options)
        self.aside = np.zeros(self.gradient.size, dtype=bool)
        self.examined = np.zeros(self.gradient.size, dtype=bool)
        self.findings: list[Finding] = []

    @property
    def error(self) -> Array:
        """``gradient - numerical``, zero where a coordinate was set aside; NaN counts as infinite."""
        error = np.where(self.aside, 0.0, self.gradient - self.numerical)
        return np.where(np.isnan(error), np.inf, error)

    @property
    def tolerance(self) -> float:
        """How large the norm of `error` may be: the threshold in the units of the gradient."""
        kept = ~self.aside & np.isfinite(self.numerical)
        return self.options.threshold * (norm(self.gradient[kept]) + norm(self.numerical[kept]))

    @property
    def agrees(self) -> bool:
        """Whether the tensor as a whole is within the threshold; NaN is not."""
        return norm(self.error) <= self.tolerance < math.inf

    def run(self) -> TensorReport:
        """Judge the tensor."""
        refined = False
        while not self.agrees:
            left = np.where(self.examined, -1.0, np.abs(self.error))
            worst = int(np.argmax(left))
            if left[worst] <= 0.0 or self._is_hopeless():
                return self._undecided()
            finding = self._examine(worst)
            if finding.cause is Cause.WRONG:
                self._measure_again(finding)
                return self._report(Verdict.FAIL, Cause.WRONG, finding.evidence, worst)
            if not refined:
                self._measure_again(finding)
                refined = True
        if self.aside.sum() > KINKS_AT_MOST * self.aside.size:
            return self._report(Verdict.UNDECIDED, Cause.KINK, self._evidence(Cause.KINK))
        if not self.gradient.any() and not self.numerical.any():
            evidence = f"gradient and numerical gradient are exactly zero in all {self.gradient.size} entries"
            return self._report(Verdict.UNDECIDED, Cause.NOT_EXERCISED, evidence)
        return self._report(Verdict.PASS, Cause.AGREES, self.findings[0].evidence if self.findings else "")

    def suspect(self) -> Suspect:
        """Give what was measured, for a diagnosis."""
        parameter = self.objective.layout.tensor(self.objective.point, self.name)
        return Suspect(**vars(self._entries()), name=self.name, parameter=parameter)

    def _entries(self) -> Entries:
        shape = self.objective.layout.shapes[self.name]
        return Entries(*(a.reshape(shape) for a in (self.gradient, self.numerical, self.bounds, self.aside)))

    def _is_hopeless(self) -> bool:
        """Whether further coordinates would tell nothing new: too many, or one rounding after the other."""
        streak = [finding.cause for finding in self.findings[-ROUNDING_STREAK:]]
        return len(self.findings) >= EXAMINED_AT_MOST or streak == [Cause.ROUNDING] * ROUNDING_STREAK

    def _examine(self, position: int) -> Finding:
        direction = np.zeros(self.objective.layout.size)
        direction[self.objective.layout.slices[self.name].start + position] = 1.0
        share = self.tolerance / np.sqrt(self.gradient.size)
        finding = examine(self.objective, direction, float(self.gradient[position]), share, self.options.step)
        self.findings.append(finding)
        self.examined[position] = True
        if finding.cause is Cause.KINK:
            self.aside[position] = True
        else:
            self.numerical[position] = finding.value
            self.bounds[position] = finding.bound
        return finding

    def _measure_again(self, finding: Finding) -> None:
        """Measure the whole tensor in the way that settled its worst coordinate."""
        try:
            if self.objective.complex_confirmed:
                again = complex_sweep(self.objective, self.name)
            elif finding.cause is Cause.AGREES and finding.step != self.options.step:
                again = central_sweep(self.objective, self.name, finding.step)
            else:
                return
        except ComplexRefusedError:
            return
        todo = ~self.examined
        self.numerical[todo], self.bounds[todo] = again[0][todo], again[1][todo]

    def _undecided(self) -> TensorReport:
        causes = [f.cause for f in self.findings if f.cause not in (Cause.AGREES, Cause.WRONG)]
        cause = max(causes, key=causes.count) if causes else Cause.ROUNDING
        return self._report(Verdict.UNDECIDED, cause, self._evidence(cause))

    def _evidence(self, cause: Cause) -> str:
        return next((f.evidence for f in self.findings if f.cause is cause), "")

    def _report(self, verdict: Verdict, cause: Cause, evidence: str, worst: int | None = None) -> TensorReport:
        if self.gradient.size == 0:
            return empty(self.objective, self.name)
        if worst is None:
            worst = int(np.argmax(np.abs(self.error)))
        kept = ~self.aside
        size, leeway = norm(self.gradient), norm(self.error) + norm(self.bounds[kept])
        return TensorReport(
            name=self.name,
            shape=self.objective.layout.shapes[self.name],
            verdict=verdict,
            cause=cause,
            difference=relative_difference(self.gradient[kept], self.numerical[kept]),
            gradient_norm=size,
            worst_index=self.objective.layout.index(self.name, worst),
            gradient=float(self.gradient[worst]),
            numerical=float(self.numerical[worst]),
            kinks=int(self.aside.sum()),
            untouched=int(np.sum((self.gradient == 0.0) & (self.numerical == 0.0))),
            excluded=leeway / size if size > 0.0 else math.inf,
            evidence=evidence,
            entries=self._entries(),
        )
