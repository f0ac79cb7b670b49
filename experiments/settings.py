"""Settings: everything the main job was asked to do; what `settings.json` holds."""

from dataclasses import dataclass
from typing import Literal


class UsageError(ValueError):
    """What was asked for cannot be done; the message says what was expected and received, in one line."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of one run of the main job, checked and complete.

    Attributes
    ----------
    samples, features, fraud_rate, seed
        Of the table; the seed also of the training and of the check. See `datasets.make_fraud`.
    hidden : list of int
        Widths of the hidden layers.
    activation, dropout, l2, positive_weight
        Of the network. See `trainer.Network`.
    epochs, batch_size, optimizer, learning_rate, dtype
        Of the training. See `trainer.Trainer`.
    check_every : int
        Iterations between two checks; 0 for none.
    check_rows, coverage, derivative, check_dropout, terms, threshold, step, on_failure
        Of the check. See `checks.GradientCheck`.
    bug : str or None
        Mistake to plant; ``"list"`` only lists them. See `experiments.bugs`.
    bug_after : int
        Iteration at which the mistake begins.
    out : str or None
        Folder for what the run leaves behind.
    checkpoint_every : int
        Iterations between two checkpoints there; 0 for none.
    resume, overwrite, quiet : bool
        Whether to go on with an earlier run there, to replace it, and to show no progress.
    argv : list of str
        The words that these were read from.
    """

    samples: int
    features: int
    fraud_rate: float
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
    quiet: bool
    argv: list[str]
