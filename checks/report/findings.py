"""Findings: what a check found, as data only; `checks.report.report` gives them words and pictures."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any, Self, TypeAlias

from checks.explain.entries import Entries
from checks.explain.mistake import Mistake
from checks.verdict import Cause, Verdict

#: A range in an annotation, least and most, holds what is read from a file (`trainer.storage.codec`).
Count: TypeAlias = Annotated[int, (0, 2**63)]


#: Causes of a PASS of which nothing was tested.
QUIET = (Cause.NOT_EXERCISED, Cause.NO_EFFECT)


@dataclass(frozen=True)
class TensorReport:
    """What the check found out about one tensor.

    Attributes
    ----------
    name : str
        The tensor.
    shape : tuple of int
        Its shape.
    verdict : Verdict
        PASS, FAIL or UNDECIDED for this tensor alone.
    cause : Cause
        Why.
    difference : float
        Classic relative difference over the coordinates that were not set aside, dimensionless. With
        ``coverage="directions"`` an estimate from one random direction.
    gradient_norm : float
        Euclidean norm of the gradient under test, in units of loss per parameter.
    worst_index : tuple of int
        Where gradient and numerical gradient lie furthest apart. Empty where that was not looked for.
    gradient, numerical : float
        Both values there (or both slopes along the direction, where there is no index).
    kinks : int
        Coordinates set aside because the loss has a kink there.
    untouched : int
        Coordinates at which both are exactly zero: nothing was exercised there.
    excluded : float
        An error above this share of ``gradient_norm`` is excluded, with probability ``confidence``; of the norm of the
        whole gradient, where the tensor is not exercised, or has no effect.
    confidence : float
        1 for a full check, 0.99 for a random direction.
    precision : float
        Share of the gradient to which it could be decided, where the loss is too coarse for the threshold; else 0.
    evidence : str
        The readings the verdict rests on, where it is not a plain PASS.
    mistake : Mistake or None
        What kind of mistake it looks like, where the verdict is FAIL.
    entries : Entries or None
        Both gradients whole, after a full check; it is not in `GradientReport.to_dict`.
    """

    name: str
    shape: tuple[Count, ...]
    verdict: Verdict
    cause: Cause
    difference: float
    gradient_norm: float
    worst_index: tuple[Count, ...]
    gradient: float
    numerical: float
    kinks: Count = 0
    untouched: Count = 0
    excluded: float = math.inf
    confidence: float = 1.0
    precision: float = field(default=0.0, metadata={"may_lack": True})
    evidence: str = ""
    mistake: Mistake | None = field(default=None, metadata={"may_lack": True})
    entries: Entries | None = field(default=None, compare=False, repr=False, metadata={"kept": False})

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return math.prod(self.shape)

    @property
    def ratio(self) -> float:
        """``gradient / numerical`` at the worst index: 2, -1, the number of rows … often names the mistake."""
        if self.numerical == 0.0:
            return math.nan if self.gradient == 0.0 else math.copysign(math.inf, self.gradient)
        return self.gradient / self.numerical

    @property
    def label(self) -> str:
        """The worst coordinate as its owner would write it, such as ``W2[3, 1]``."""
        return f"{self.name}[{', '.join(map(str, self.worst_index))}]" if self.worst_index else self.name


DEFAULTS = {part.name: part.default for part in fields(TensorReport)}


class Tensors(Mapping[str, TensorReport]):
    """The reports of all tensors in columns, in the order of the forward pass; a row is made when somebody looks at it.

    Nearly every check of a run passes, and nobody reads its tensors one by one. A column may be a function of its own.
    """

    def __init__(self, names: Sequence[str], **columns: Sequence[Any] | Callable[[], Sequence[Any]]) -> None:
        self._names = names
        self._columns = {"name": names, **columns}
        self._rows: dict[str, TensorReport] = {}

    @classmethod
    def of(cls, rows: Iterable[TensorReport]) -> Self:
        """Take rows that are made already."""
        made = list(rows)
        columns = {name: [getattr(row, name) for row in made] for name in DEFAULTS if name != "name"}
        tensors = cls([row.name for row in made], **columns)
        tensors._rows = {row.name: row for row in made}
        return tensors

    def column(self, name: str) -> Sequence[Any]:
        """Give one field of every tensor."""
        column = self._columns.get(name)
        if callable(column):
            column = self._columns[name] = column()
        return [DEFAULTS[name]] * len(self) if column is None else column

    def with_rows(self, rows: Mapping[str, TensorReport]) -> Self:
        """Give the same tensors, some of them with these reports instead."""
        return self.of(rows.get(name) or row for name, row in self.items()) if rows else self

    def __getitem__(self, name: str) -> TensorReport:
        """Return the report of one tensor."""
        if name not in self._rows:
            if name not in self._names:
                raise KeyError(name)
            place = self._names.index(name)
            self._rows[name] = TensorReport(**{field: self.column(field)[place] for field in self._columns})
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._names)

    def __repr__(self) -> str:
        """Show the names and their verdicts."""
        shown = ", ".join(f"{name}: {verdict}" for name, verdict in zip(self, self.column("verdict"), strict=True))
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True)
class Applied:
    """What a check found out about the very gradient that is about to be applied, on its batch and in its precision."""

    verdict: Verdict
    cause: Cause
    difference: float  # the largest of any tensor, relative, between that gradient and what it should be
    tensor: str  # where it is largest, or where the gradient is wrong
    dtype: str
    n_rows: Count  # of the batch
    excluded: dict[str, float] = field(default_factory=dict)  # as `TensorReport.excluded`, of each tensor
    sentence: str = ""  # what is wrong, and where to look
    evaluations: Count = 0
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        """Give the fields that it adds to a row of a history, as plain data."""
        row: dict[str, Any] = {"applied_verdict": self.verdict.value, "applied_difference": self.difference}
        return row if self.verdict is Verdict.PASS else row | {"applied_cause": self.cause.value}

    def __str__(self) -> str:
        """Say it in a sentence or two."""
        what = f"The gradient about to be applied, {self.dtype} on {self.n_rows} rows: {self.verdict}"
        if self.verdict is Verdict.PASS:
            return f"{what}, difference {self.difference:.1e}."
        return f"{what}, {self.cause}. {self.sentence}"


@dataclass(frozen=True)
class Findings:
    """The data of a report, and what follows from them; `checks.GradientReport` tells the fields."""

    difference: float
    plain_difference: float
    threshold: float
    tensors: Annotated[Mapping[str, TensorReport], (1, math.inf)]
    coverage: str
    derivative: str
    loss: float
    step: float
    evaluations: Count
    seconds: float
    terms: Mapping[str, "Findings"] = field(default_factory=dict, metadata={"may_lack": True})
    notes: tuple[str, ...] = ()
    complex_confirmed: bool = field(default=False, metadata={"may_lack": True})
    applied: Applied | None = field(default=None, metadata={"may_lack": True})

    def __post_init__(self) -> None:
        """Take rows as columns."""
        if not isinstance(self.tensors, Tensors):
            object.__setattr__(self, "tensors", Tensors.of(self.tensors.values()))

    @cached_property
    def verdict(self) -> Verdict:
        """FAIL if any tensor, term or the applied gradient fails, else UNDECIDED if any is, else PASS."""
        verdicts = [*self.column("verdict"), *(term.verdict for term in self.terms.values())]
        if self.applied is not None:
            verdicts.append(self.applied.verdict)
        return next(v for v in (Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS) if v in verdicts)

    @cached_property
    def cause(self) -> Cause:
        """The cause of the verdict: that of the tensor that decides it."""
        if self.culprits:
            return self.culprits[0].cause
        verdicts = self.column("verdict")
        if self.verdict is Verdict.PASS and Cause.AGREES in self.column("cause"):
            return Cause.AGREES
        if self.verdict in verdicts:
            cause: Cause = self.column("cause")[verdicts.index(self.verdict)]
            return cause
        if self.applied is not None and self.applied.verdict is self.verdict:
            return self.applied.cause
        return next(term.cause for term in self.terms.values() if term.verdict is self.verdict)

    @cached_property
    def culprits(self) -> list[TensorReport]:
        """The failing tensors in the order of backprop, from the output to the input.

        An error in one layer's backward flows into every layer before it, so the first is where to look. Where
        only terms fail, those of the terms.
        """
        if self.verdict is not Verdict.FAIL:
            return []
        verdicts = list(zip(self.tensors, self.column("verdict"), strict=True))
        own = [self.tensors[name] for name, verdict in reversed(verdicts) if verdict is Verdict.FAIL]
        return own or [tensor for term in self.terms.values() for tensor in term.culprits]

    @property
    def not_exercised(self) -> list[str]:
        """The tensors of which nothing was tested: zero in gradient and slopes, exactly or up to rounding."""
        return [name for name, cause in zip(self.tensors, self.column("cause"), strict=True) if cause in QUIET]

    @cached_property
    def n_parameters(self) -> int:
        """Number of coordinates the report speaks of."""
        return sum(map(math.prod, self.column("shape")))

    @property
    def kinks(self) -> int:
        """Coordinates set aside because the loss has a kink there."""
        return sum(self.column("kinks"))

    def column(self, name: str) -> Sequence[Any]:
        """Give one field of every tensor, in their order, without making the reports of the tensors."""
        tensors: Any = self.tensors  # a Tensors, by now
        column: Sequence[Any] = tensors.column(name)
        return column

    def excluded_errors(self) -> dict[str, float]:
        """Give what each tensor that passed, and was exercised, excludes: errors above this share of its gradient."""
        columns = zip(self.tensors, self.column("verdict"), self.column("cause"), self.column("excluded"), strict=True)
        return {name: left for name, verdict, cause, left in columns if verdict is Verdict.PASS and cause not in QUIET}

    def differences(self) -> dict[str, float]:
        """Give the relative difference of each tensor in which something was exercised and measured."""
        columns = zip(self.tensors, self.column("cause"), self.column("difference"), strict=True)
        return {
            name: difference for name, cause, difference in columns if cause not in QUIET and not math.isnan(difference)
        }
