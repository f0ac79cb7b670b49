"""A direction that passed: one reading in place of a report for every tensor, until somebody looks at those."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from checks.judge.power import CONFIDENCE, excluded_error
from checks.measure.layout import Array, Layout
from checks.measure.slopes import Reading
from checks.report.report import GradientReport, TensorReport
from checks.verdict import Cause, Verdict


class PassedTensors(Mapping[str, TensorReport]):
    """The reports of tensors that all passed by one reading along a direction through all of them.

    Nearly every check of a run ends here, and nobody reads its tensors one by one: they are made on demand.

    Parameters
    ----------
    layout : Layout
        Of the tensors.
    norms, reach : dict of str to float
        Of each tensor: Euclidean norm of its gradient, not 0, and how far the direction went in it.
    touched : ndarray of shape (n_parameters,), bool
        Where the gradient is not 0.
    reading : Reading
        What the gradient says of the direction, and what was measured.
    """

    def __init__(
        self, layout: Layout, norms: dict[str, float], reach: dict[str, float], touched: Array, reading: Reading
    ) -> None:
        self._layout, self._norms, self._reach, self._touched = layout, norms, reach, touched
        self._claimed, self._slope, self._mismatch = reading.claimed, reading.slope, reading.mismatch

    def differences(self) -> dict[str, float]:
        """Give an estimate of each tensor's relative difference, both gradients being about as long."""
        return {name: self._mismatch / (2.0 * self._reach[name] * norm) for name, norm in self._norms.items()}

    def excluded_errors(self) -> dict[str, float]:
        """Give what each tensor excludes; see `checks.judge.power`."""
        hidden = excluded_error(self._mismatch + self._slope.bound, 1.0)
        return {name: hidden / (self._reach[name] * norm) for name, norm in self._norms.items()}

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self._layout.size

    def __getitem__(self, name: str) -> TensorReport:
        """Return the report of one tensor."""
        return self._reports[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of the forward pass."""
        return iter(self._norms)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._norms)

    @cached_property
    def _reports(self) -> dict[str, TensorReport]:
        differences, excluded = self.differences(), self.excluded_errors()
        return {
            name: TensorReport(
                name=name,
                shape=shape,
                verdict=Verdict.PASS,
                cause=Cause.AGREES,
                difference=differences[name],
                gradient_norm=self._norms[name],
                worst_index=(),
                gradient=self._claimed,
                numerical=self._slope.value,
                untouched=int((~self._touched[self._layout.slices[name]]).sum()),
                excluded=excluded[name],
                confidence=CONFIDENCE,
            )
            for name, shape in self._layout.shapes.items()
        }


@dataclass(frozen=True)
class PassedReport(GradientReport):
    """The report of such a direction: what it says as a whole is known without the tensors."""

    tensors: PassedTensors

    @property
    def verdict(self) -> Verdict:
        """PASS."""
        return Verdict.PASS

    @property
    def cause(self) -> Cause:
        """AGREES."""
        return Cause.AGREES

    @property
    def culprits(self) -> list[TensorReport]:
        """None."""
        return []

    @property
    def n_parameters(self) -> int:
        """Number of coordinates the report speaks of."""
        return self.tensors.size

    @property
    def kinks(self) -> int:
        """None: a passed direction sets nothing aside."""
        return 0

    def excluded_errors(self) -> dict[str, float]:
        """Give what each tensor excludes."""
        return self.tensors.excluded_errors()

    def differences(self) -> dict[str, float]:
        """Give the relative difference of each tensor."""
        return self.tensors.differences()
