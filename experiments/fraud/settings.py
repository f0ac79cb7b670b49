"""Settings: everything the main job can be asked to do, each option written once; what `settings.json` holds."""

import argparse
import difflib
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any, Literal, TypeVar

from datasets.fraud import MAX_SEED
from datasets.tables.table_file import ENDINGS
from experiments.bugs.bugs import BUGS, EXERCISE
from experiments.command import separator

T = TypeVar("T")

LIST_BUGS = "list"
RATES = {"adam": 5e-3, "sgd": 3e-2}  # of learning: average precision 0.89 to 0.96 at the other defaults, seeds 0 to 2
MOMENTUM = 0.9  # of SGD
COSTS = ("cost_missed", "cost_alarm")
CHECKPOINT_EVERY = 500  # iterations, where there is a folder: a tenth of a second of work at the other defaults

# The groups of `--help`; the network and the check take all that theirs holds.
SYNTHETIC = "data, a synthetic table of card payments"
OWN = "data, a table of your own instead"
NETWORK = "network"
TRAINING = "training"
DECISION = "threshold and comparison"
CHECK = "gradient check"
MISTAKES = "planted mistakes"
OUTPUT = "output"


def reader(expected: str, convert: Callable[[str], T], accepts: Callable[[T], bool]) -> Callable[[str], T]:
    """Make what reads the text of an option, or says what was expected of it."""

    def read(text: str) -> T:
        with suppress(ValueError):
            if accepts(value := convert(text)):
                return value
        raise argparse.ArgumentTypeError(f"invalid value. Expected {expected}. Received {text!r}.")

    return read


def integer(least: int, most: float = math.inf) -> Callable[[str], int]:
    """Read an integer in a range."""
    expected = f"an integer of at least {least}" if most == math.inf else f"an integer from {least} to {most}"
    return reader(expected, int, lambda value: least <= value <= most)


def number(expected: str, accepts: Callable[[float], bool]) -> Callable[[str], float]:
    """Read a finite number that is accepted; NaN never is, for it fails every comparison."""
    return reader(f"a finite number {expected}", float, accepts)


def mistake(text: str) -> str:
    """Read the name of a mistake."""
    names = (*EXERCISE, *BUGS, LIST_BUGS)
    if text not in names:
        close = difflib.get_close_matches(text, names, n=1) or ["dW2"]
        raise argparse.ArgumentTypeError(
            f"no such mistake. Expected a name that --bug {LIST_BUGS} shows, such as {close[0]}. Received {text!r}."
        )
    return text


def alarms(text: str) -> str:
    """Read a share of the payments, or a number a day."""
    limit = share_or_number(text)
    if limit is None or not 0.0 < limit[1] < math.inf or (limit[0] and limit[1] > 1.0):
        raise argparse.ArgumentTypeError(
            f"invalid value. Expected a share up to 100%, such as 0.5%, or a number a day. Received {text!r}."
        )
    return text


def share_or_number(text: str) -> tuple[bool, float] | None:
    """Read ``"0.5%"`` as a share and ``"20"`` as a number; None if it is neither."""
    with suppress(ValueError):
        is_share = text.endswith("%")
        return is_share, float(text.removesuffix("%")) / (100.0 if is_share else 1.0)
    return None


def price(text: str) -> float | None:
    """Read a cost that is a number; None if it names a column."""
    with suppress(ValueError):
        return float(text)
    return None


positive = number("above 0", lambda x: 0 < x < math.inf)
share = number("strictly between 0 and 1", lambda x: 0 < x < 1)
path = reader("a path", str, bool)  # the empty one would be the current folder


@dataclass(frozen=True)
class Option:
    """One option: its place and words in `--help`, how it is read, and whether it may change when a run is resumed."""

    group: str
    help: str
    read: Callable[[str], object] = str
    default: Any = None
    metavar: str | None = None
    free: bool = False


def option(*args: Any, **named: Any) -> Any:
    """Declare a field of `Settings` that can be typed; see `Option`. Of a `Literal`, its names are what is read."""
    return field(metadata={"option": Option(*args, **named)})


def spelled(name: str) -> str:
    """Give an option as it is typed."""
    return f"--{name.replace('_', '-')}"


_synthetic, _own, _network = partial(option, SYNTHETIC), partial(option, OWN), partial(option, NETWORK)
_training, _check = partial(option, TRAINING), partial(option, CHECK)
_decision = partial(option, DECISION)
_mistakes, _output = partial(option, MISTAKES), partial(option, OUTPUT, free=True)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of one run of the main job, checked and complete; the help of each says what it means."""

    samples: int = _synthetic("payments: 60 % to train, 20 % to validate, 20 % to test", integer(1, 10**9), 20_000)
    features: int = _synthetic("columns", integer(2, 10**6), 30)
    fraud_rate: float = _synthetic("share of fraud", share, 0.02)
    data: str | None = _own(
        f"a file ending in {ENDINGS}, or openml:NAME; numbers, texts and gaps are made fit for the network",
        *(path, None, "FILE"),
    )
    separator: str | None = _own(
        "what stands between the columns of a CSV file, such as ';' or tab, if it is no comma", *(separator, None, "C")
    )
    target: str | None = _own("column of two values: 1, True, or else the rarer one is fraud", metavar="COLUMN")
    fraud_label: str | None = _own("the value of the target that is fraud, where that rule errs", metavar="VALUE")
    split_by: str | None = _own(
        "train on the oldest 60 %, test on the newest 20 %; of this column only hour and weekday are features, and of "
        "others that follow it nothing",
        metavar="COLUMN",
    )
    drop: list[str] = _own("columns to leave out", str, [], "COLUMN")  # noqa: RUF009 - as below
    categorical: list[str] = _own(  # noqa: RUF009
        "columns of numbers that are kinds, as of countries or shops", str, [], "COLUMN"
    )
    seed: int = _synthetic("of the table or its split, the training and the check", integer(0, MAX_SEED), 0)
    hidden: list[int] = _network(  # noqa: RUF009 - what it makes is a field
        "widths of the hidden layers, any number of them", integer(1, 10**6), [32, 16]
    )
    activation: Literal["relu", "tanh"] = _network("after every hidden layer", default="relu")
    dropout: float = _network("rate, after every activation", number("from 0 to below 1", lambda x: 0 <= x < 1), 0.1)
    l2: float = _network("penalty on the weights", number("of at least 0", lambda x: 0 <= x < math.inf), 1e-4)
    positive_weight: float = _network("weight of a fraud in the loss; an honest payment has 1", positive, 1.0)
    epochs: int = _training("passes over the training rows", integer(1), 60, free=True)
    patience: int | None = _training(
        "end after so many epochs without a better one; either way the epoch with the best average precision on the "
        "validation rows is kept (never)",
        integer(1),
    )
    batch_size: int = _training("rows per iteration", integer(1), 128)
    optimizer: Literal["adam", "sgd"] = _training(f"sgd has a momentum of {MOMENTUM}", default="adam")
    learning_rate: float = _training(f"({', '.join(f'{r:g} for {name}' for name, r in RATES.items())})", positive)
    dtype: Literal["float64", "float32"] = _training("checked in float64 either way", default="float64")
    compiled: bool = _training("compile network and adam with numba: pays where training takes more than seconds")
    precision: float = _decision(
        "call a payment fraud from the probability on at which, on the validation rows, at least this share of the "
        "alarms is right and most frauds are found",
        *(number("above 0 and at most 1", lambda x: 0 < x <= 1), 0.9),
    )
    cost_missed: str | None = _decision(
        "choose it for the lowest cost instead: of a fraud that passes, a number or a column, such as the amount",
        *(path, None, "X|COLUMN"),
    )
    cost_alarm: str | None = _decision(
        "of an honest payment that is called fraud, in the same unit", *(path, None, "X|COLUMN")
    )
    alerts: str | None = _decision(
        "choose it for so many alarms at most instead: a share, such as 0.5%, or a number a day with --split-by dates",
        *(alarms, None, "P%|N"),
    )
    baselines: Literal["auto", "on", "off"] = _decision(
        "fit logistic regression and boosted trees to the same rows, too; auto does where it takes seconds",
        default="auto",
    )
    check_every: int = _check("check at iterations K, 2K, …; 0 for never", integer(0), 100, "K")
    check_rows: int | None = _check(
        "training rows of a check, of both classes (default: 64, along directions 24)", integer(2)
    )
    coverage: Literal["full", "directions"] = _check("every parameter, or a random direction", default="full")
    derivative: Literal["central", "complex"] | None = _check(
        "how slopes are measured (central for full, complex for directions)"
    )
    check_dropout: Literal["off", "frozen"] = _check(
        "frozen replays one mask, which checks dropout's backward", default="off"
    )
    check_applied: Literal["on", "off"] = _check(
        "hold the very gradient about to be applied against its batch too, also at the first batch of every size",
        default="on",
    )
    terms: bool = _check("check each class's loss and the penalty apart, too")
    threshold: float = _check(
        "largest relative difference that passes", number("above 0 and below 1", lambda x: 0 < x < 1), 1e-7
    )
    step: float | None = _check("of central differences; need not be chosen", positive)
    on_failure: Literal["raise", "stop", "log"] = _check(
        "halt at once, end in good order, or go on and say so at the end", default="raise"
    )
    bug: str | None = _mistakes(
        f"spoil the backward pass: dW2, db1 or notebook (the exercise's), or any that '{LIST_BUGS}' shows",
        *(mistake, None, "NAME"),
    )
    bug_after: int = _mistakes("iteration at which the mistake begins", integer(0), 0)
    out: str | None = _output(
        "keep settings, history, metrics, proof, parameters, the last check, log.txt and checkpoints there; after a "
        "halt also violation-NNNNNN.npz; with matplotlib and jinja2 installed report.html, a page for the browser",
        *(path, None, "DIR"),
    )
    checkpoint_every: int = _output(
        f"save what --resume needs at iterations N, 2N, …; 0 for never ({CHECKPOINT_EVERY})", integer(0)
    )
    resume: bool = _output(
        "go on with the run that DIR holds, as if it had never been interrupted; begin it if there is none"
    )
    overwrite: bool = _output("replace the run that DIR holds")
    no_report: bool = _output("do not draw report.html; python -m experiments.report DIR does it later")
    quiet: bool = _output("show only warnings, errors and the result; log.txt still has every line")
    argv: list[str]  # the words that these were read from

    def of(self, group: str) -> dict[str, Any]:
        """Give the settings of one group by their names."""
        return {name: getattr(self, name) for name, option in OPTIONS.items() if option.group == group}

    def deciding(self) -> dict[str, Any]:
        """Give what may not change when the run is resumed."""
        return {name: getattr(self, name) for name, option in OPTIONS.items() if not option.free}

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as `settings.json` holds them: without those of a table that was not made."""
        return {name: value for name, value in asdict(self).items() if self.data is None or name not in OF_SYNTHETIC}


OPTIONS: dict[str, Option] = {
    part.name: part.metadata["option"] for part in fields(Settings) if "option" in part.metadata
}
OF_SYNTHETIC = [name for name, option in OPTIONS.items() if option.group == SYNTHETIC and name != "seed"]
FREE_FLAGS = [spelled(part.name) for part in fields(Settings) if part.type is bool and OPTIONS[part.name].free]
