"""Somebody's training loop, as a hook in it sees it: the calls so far, and what is done about a report."""

import logging

import numpy as np

from checks.options import refuse_unless_integer
from checks.report.report import GradientReport
from checks.report.words import line
from checks.verdict import Verdict

#: How loud a verdict is in the log.
LEVELS = {Verdict.PASS: logging.INFO, Verdict.UNDECIDED: logging.WARNING, Verdict.FAIL: logging.ERROR}
#: Reports that a hook keeps; a loop may run for weeks.
KEPT = 100


class Loop:
    """Counts the calls of a loop, logs its reports, and keeps the last ones."""

    def __init__(self, every: int, on_failure: str, seed: int) -> None:
        for name, value, least in (("every", every, 1), ("seed", seed, 0)):
            refuse_unless_integer(name, value, least)
        if on_failure not in ("raise", "log"):
            raise ValueError(f"on_failure is unknown. Expected 'raise' or 'log'. Received {on_failure!r}.")
        self.every = every
        self.on_failure = on_failure
        self.iteration = 0
        self.reports: dict[int, GradientReport] = {}
        self._rng = np.random.default_rng(seed)

    def _is_to_halt(self, report: GradientReport, logger: logging.Logger) -> bool:
        """Log and keep a report; say whether it ends the loop."""
        report.column("untouched")  # counted now: what it is counted from is as large as the gradient
        self.reports[self.iteration] = report
        while len(self.reports) > KEPT:
            del self.reports[next(iter(self.reports))]
        logger.log(LEVELS[report.verdict], "%s", line(report, self.iteration))
        return report.verdict is Verdict.FAIL and self.on_failure == "raise"

    def _halted(self, report: GradientReport) -> str:
        return f"Training halted at iteration {self.iteration}.\n{report}"
