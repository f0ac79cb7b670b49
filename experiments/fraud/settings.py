"""Settings: everything the main job was asked to do; what `settings.json` holds."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

SYNTHETIC = ("samples", "features", "fraud_rate")  # what only the synthetic table is made from


class UsageError(ValueError):
    """What was asked for cannot be done; the message says what was expected and received, in one line."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of one run of the main job, checked and complete.

    Attributes
    ----------
    samples, features, fraud_rate
        Of the synthetic table, which is made where `data` is None. See `datasets.make_fraud`.
    data : str or None
        Path of a table, or ``"openml:"`` and the name or number of one. See `datasets.read_table`.
    target, split_by : str or None
        Columns of that table. See `datasets.prepare`.
    seed
        Of the table or its split, of the training and of the check.
    hidden : list of int
        Widths of the hidden layers.
    activation, dropout, l2, positive_weight
        Of the network. See `trainer.Network`.
    epochs, batch_size, optimizer, learning_rate, dtype
        Of the training. See `trainer.Trainer`.
    compiled : bool
        Whether network and Adam are `trainer.CompiledNetwork` and `trainer.CompiledAdam`.
    check_every : int
        Iterations between two checks; 0 for none.
    check_rows, coverage, derivative, check_dropout, terms, threshold, step, on_failure
        Of the check. See `checks.GradientCheck`.
    bug : str or None
        Mistake to plant; ``"list"`` only lists them. See `experiments.bugs.bugs`.
    bug_after : int
        Iteration at which the mistake begins.
    out : str or None
        Folder for what the run leaves behind.
    checkpoint_every : int
        Iterations between two checkpoints there; 0 for none.
    resume, overwrite, no_report, quiet : bool
        Whether to go on with an earlier run there, to replace it, to draw no page of it, and to show no progress.
    argv : list of str
        The words that these were read from.
    """

    samples: int
    features: int
    fraud_rate: float
    data: str | None
    target: str | None
    split_by: str | None
    seed: int
    hidden: list[int]
    activation: Literal["relu", "tanh"]
    dropout: float
    l2: float
    positive_weight: float
    epochs: int
    batch_size: int
    optimizer: Literal["adam", "sgd"]
    learning_rate: float
    dtype: Literal["float64", "float32"]
    compiled: bool
    check_every: int
    check_rows: int
    coverage: Literal["full", "directions"]
    derivative: Literal["central", "complex"] | None
    check_dropout: Literal["off", "frozen"]
    terms: bool
    threshold: float
    step: float | None
    on_failure: Literal["raise", "stop", "log"]
    bug: str | None
    bug_after: int
    out: str | None
    checkpoint_every: int
    resume: bool
    overwrite: bool
    no_report: bool
    quiet: bool
    argv: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as `settings.json` holds them: without those of a table that was not made."""
        return {name: value for name, value in asdict(self).items() if self.data is None or name not in SYNTHETIC}
