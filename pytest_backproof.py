"""The pytest plugin: an option for how gradients are checked, and after the suite a table of what that has shown.

It imports nothing but pytest. `checks` looks whether this module is loaded, and then tells it of every report, so that
a suite without a gradient check pays nothing. It is no part of `checks`, whose name other people's packages may have.
"""

from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import pytest

#: Rows of the table, the weakest first; -v shows all.
SHOWN = 20
#: Where a report of pytest carries what was heard, from a worker of pytest-xdist to its controller, too.
CARRIED = "gradient_checks"
HEADINGS = ("test", "checks", "verdict", "excludes errors above", "not exercised")

_suites: list["Suite"] = []  # that run in this process; pytest may run within pytest


def coverage() -> str | None:
    """Give the coverage that was asked for by ``--gradients``; None where it was not."""
    return _suites[-1].coverage if _suites else None


def hear(report: Any, parts: Iterable[Any] = ()) -> None:
    """Take note of a `GradientReport`, and forget the reports that it was made of."""
    if _suites:
        _suites[-1].hear(report, parts)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("gradients", "gradient checks").addoption(
        "--gradients",
        choices=("full", "directions"),
        help="coverage of the gradient checks that name none: every coordinate, or one random direction",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Listen as long as this configuration holds."""
    suite = Suite(config.getoption("--gradients"), config.getoption("verbose"))
    _suites.append(suite)
    config.add_cleanup(lambda: _suites.remove(suite))
    config.pluginmanager.register(suite, "pytest_backproof_suite")


@dataclass
class Row:
    """The checks of the same tensors in one test."""

    verdicts: Counter[str] = field(default_factory=Counter)
    excluded: float = 0.0  # the largest share of a gradient that an error may have in any that passed
    tensor: str = ""  # in which
    confidence: float = 1.0
    quiet: set[str] | None = None  # the tensors that none of them exercised

    def add(self, check: dict[str, Any]) -> None:
        """Count one more check."""
        self.verdicts[check["verdict"]] += 1
        self.confidence = min(self.confidence, check["confidence"])
        if check["excluded"] is not None and check["excluded"] >= self.excluded:
            self.excluded, self.tensor = check["excluded"], check["tensor"]
        self.quiet = set(check["quiet"]) if self.quiet is None else self.quiet & set(check["quiet"])

    @property
    def weakness(self) -> tuple[bool, bool, float]:
        """What puts a row before others: not passed, not exercised, the size of an error that may be left."""
        return set(self.verdicts) != {"PASS"}, bool(self.quiet), self.excluded

    def cells(self, where: str) -> tuple[str, ...]:
        """Give the cells under `HEADINGS`."""
        excludes = f"{self.excluded:.1e} in {self.tensor}" if self.tensor else "-"
        if self.tensor and self.confidence < 1.0:
            excludes += f" ({self.confidence:.0%})"
        quiet = ", ".join(sorted(self.quiet or ())) or "-"
        return where, str(self.verdicts.total()), _counted([self]), excludes, quiet


class Suite:
    """One run of pytest: hears of checks, lets the reports of the tests carry them, and shows the table."""

    def __init__(self, coverage: str | None, verbosity: int) -> None:
        self.coverage = coverage
        self._verbosity = verbosity
        self._where = ""
        self._heard: list[tuple[ref[Any], dict[str, Any]]] = []  # a report itself may be large
        self._rows: dict[tuple[str, ...], Row] = {}

    def hear(self, report: Any, parts: Iterable[Any]) -> None:
        """Keep what the table needs, as plain data."""
        made_of = list(parts)
        while self._heard and any(self._heard[-1][0]() is part for part in made_of):
            self._heard.pop()
        left = report.excluded_errors()
        tensor = max(left, key=left.__getitem__, default="")
        check = {
            "where": self._where,
            "tensors": list(report.tensors),
            "verdict": report.verdict.value,
            "confidence": min(report.column("confidence"), default=1.0),
            "excluded": float(left[tensor]) if tensor and report.verdict == "PASS" else None,
            "tensor": tensor,
            "quiet": list(report.not_exercised),
        }
        self._heard.append((ref(report), check))

    def _take(self) -> list[dict[str, Any]]:
        heard, self._heard = self._heard, []
        return [check for _, check in heard]

    def _add(self, checks: Iterable[dict[str, Any]]) -> None:
        for check in checks:
            self._rows.setdefault((check["where"], *check["tensors"]), Row()).add(check)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, None]:
        """Let a check that is made as a module is imported be that of the module."""
        before, self._where = self._where, collector.nodeid
        yield
        self._where = before

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Let a check be that of the test, or of its fixtures."""
        self._where = nodeid

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, None]:
        """Let the report of a test carry what was heard."""
        outcome = yield
        if self._heard:
            setattr(outcome.get_result(), CARRIED, self._take())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what it carries, also from a worker."""
        self._add(getattr(report, CARRIED, ()))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show the table, if there is anything to show."""
        self._add(self._take())
        if not self._rows:
            return
        terminalreporter.section("gradient checks")
        for line in self.table():
            terminalreporter.write_line(line)

    def table(self) -> list[str]:
        """Give the lines of the table, and a last one on all of it."""
        weakest = sorted(self._rows.items(), key=lambda item: item[1].weakness, reverse=True)
        n_shown = len(weakest) if self._verbosity > 0 else SHOWN if self._verbosity == 0 else 0
        shown, hidden = weakest[:n_shown], [row for _, row in weakest[n_shown:]]
        lines = _aligned([HEADINGS, *(row.cells(where) for (where, *_), row in shown)]) if shown else []
        if hidden and shown:
            left = max(row.excluded for row in hidden)
            said = f"{len(hidden)} more: {_counted(hidden)}, excluding errors above {left:.1e}"
            lines.append(f"… and {said}; -v shows them")
        n_checks = sum(row.verdicts.total() for row in self._rows.values())
        checks = "gradient check" if n_checks == 1 else "gradient checks"
        return [*lines, f"{n_checks} {checks}: {_counted(self._rows.values())}"]


def _counted(rows: Iterable[Row]) -> str:
    """Say what came of checks, the worst first; without a number where it is the same of all."""
    verdicts = sum((row.verdicts for row in rows), Counter[str]())
    if len(verdicts) == 1:
        return next(iter(verdicts))
    return ", ".join(f"{verdicts[name]} {name}" for name in ("FAIL", "UNDECIDED", "PASS") if verdicts[name])


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
