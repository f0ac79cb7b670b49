"""The command line of the main job: its options, each checked as it is read."""

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec

from datasets.fraud import MAX_SEED
from datasets.tables.table_file import ENDINGS
from experiments.command import Parser
from experiments.fraud.option_types import LIST_BUGS, bug, integer, number, one_of, path, positive
from experiments.fraud.settings import SYNTHETIC, Settings, UsageError

LEARNING_RATES = {"adam": 5e-3, "sgd": 3e-2}  # average precision 0.89 to 0.96 at the other defaults, seeds 0 to 2
MOMENTUM = 0.9  # of SGD
CHECKPOINT_EVERY = 500  # iterations, where there is a folder: a tenth of a second of work at the other defaults

DESCRIPTION = """\
Train a network that finds fraud among card payments, and check its back-propagation every K
iterations (one iteration is one parameter update): backprop's gradient is compared with a
numerical one, parameter by parameter, with dropout off. A wrong gradient halts the run before
it reaches the parameters, and the report says where it is wrong and what kind of mistake it is.
"""

EPILOG = """\
examples:
  python -m experiments.fraud
      train, check and report, within seconds
  python -m experiments.fraud --bug dW2
      plant a mistake and see the halt; --bug list shows all of them
  python -m experiments.fraud --bug sign --bug-after 950
      a mistake that begins late is halted at iteration 1000
  python -m experiments.fraud --check-every 1 --coverage directions
      check every iteration, along one random direction each
  python -m experiments.fraud --check-dropout frozen --terms
      check dropout's own backward too, and each term of the loss apart
  python -m experiments.fraud --data creditcard.csv --target Class --split-by Time
      a table of your own: CSV or Parquet, plain or gzip-compressed
  python -m experiments.fraud --out runs/first
      keep history, metrics, proof and parameters, and report.html to look at
  python -m experiments.fraud --out runs/first --resume
      go on with that run, wherever it was interrupted or killed

exit codes:
  0    done; with --on-failure log also where checks failed, which the result then says
  1    the check found a wrong gradient and ended the run (--on-failure raise or stop)
  2    bad input or usage, or a disk that takes no more, said in one line
  129, 130, 143
       interrupted: the terminal went away, Ctrl-C, SIGTERM; --resume goes on
"""


def parse(argv: Sequence[str]) -> Settings:
    """Read the options.

    Parameters
    ----------
    argv : sequence of str
        Without the name of the program.

    Raises
    ------
    UsageError
        If one of them is unknown, of the wrong kind or out of range.
    SystemExit
        After ``--help``.
    """
    options = vars(_parser().parse_args(_with_negative_numbers(argv)))
    if options["learning_rate"] is None:
        options["learning_rate"] = LEARNING_RATES[options["optimizer"]]
    if options["checkpoint_every"] is None:
        options["checkpoint_every"] = CHECKPOINT_EVERY if options["out"] else 0
    settings = Settings(**options, argv=list(argv))
    _refuse_two_tables(settings, argv)
    if settings.compiled and settings.activation != "relu":
        raise UsageError(f"--compiled knows ReLU only. Expected --activation relu. Received {settings.activation}.")
    if settings.compiled and not find_spec("numba"):
        raise UsageError("--compiled needs numba. Expected `pip install -e '.[fast]'`. Received no numba.")
    if settings.bug_after and not settings.bug:
        raise UsageError(
            f"--bug-after has no mistake to delay. Expected --bug NAME too. Received {settings.bug_after}."
        )
    if settings.check_dropout == "frozen" and not settings.dropout:
        raise UsageError("--check-dropout frozen has no mask to replay. Expected --dropout above 0. Received 0.")
    for name, purpose in (("overwrite", "replace"), ("resume", "go on with"), ("checkpoint-every", "write to")):
        if getattr(settings, name.replace("-", "_")) and settings.out is None:
            raise UsageError(f"--{name} has nothing to {purpose}. Expected --out DIR too. Received none.")
    if settings.overwrite and settings.resume:
        raise UsageError("--overwrite and --resume exclude each other. Expected one of them. Received both.")
    return settings


def _refuse_two_tables(settings: Settings, argv: Sequence[str]) -> None:
    given = {word.partition("=")[0] for word in argv}
    if settings.data is None:
        for option, value in (("--target", settings.target), ("--split-by", settings.split_by)):
            if value is not None:
                raise UsageError(
                    f"{option} has no table to name a column of. Expected --data FILE too. Received {value!r}."
                )
        return
    if settings.target is None:
        raise UsageError("--data needs to know the labels. Expected --target COLUMN too. Received none.")
    for name in SYNTHETIC:
        option = f"--{name.replace('_', '-')}"
        if option in given:
            raise UsageError(f"{option} is of the synthetic table. Expected no such option with --data. Received both.")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m experiments.fraud",
        usage="%(prog)s [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=32, width=100),
        allow_abbrev=False,
    )
    _data_and_network(parser)
    _training(parser)
    _check(parser)
    _mistakes_and_output(parser)
    return parser


def _data_and_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data, a synthetic table of card payments")
    add = partial(_add, group.add_argument)
    share = number("strictly between 0 and 1", lambda x: 0 < x < 1)
    add("--samples", integer(1, 10**9), 20_000, "N", "payments: 60 %% to train, 20 %% to validate, 20 %% to test")
    add("--features", integer(2, 10**6), 30, "N", "columns")
    add("--fraud-rate", share, 0.02, "X", "share of fraud")
    add("--seed", integer(0, MAX_SEED), 0, "N", "of the table or its split, the training and the check")
    group = parser.add_argument_group("data, a table of your own instead")
    where = f"a file ending in {ENDINGS}, or openml:NAME; numbers, texts and gaps are made fit for the network"
    group.add_argument("--data", type=path, metavar="FILE", help=where)
    labels = "column of two values: 1, True, or else the rarer one is fraud"
    group.add_argument("--target", metavar="COLUMN", help=labels)
    times = "train on the oldest 60 %%, test on the newest 20 %%, and leave this column out of the features"
    group.add_argument("--split-by", metavar="COLUMN", help=times)
    group = parser.add_argument_group("network")
    add = partial(_add, group.add_argument)
    depth = "widths of the hidden layers, any number of them (16 8)"
    group.add_argument("--hidden", type=integer(1, 10**6), nargs="*", default=[16, 8], metavar="N", help=depth)
    add("--activation", one_of("relu", "tanh"), "relu", "relu|tanh", "after every hidden layer")
    add("--dropout", number("from 0 to below 1", lambda x: 0 <= x < 1), 0.2, "X", "rate, after every activation")
    add("--l2", number("of at least 0", lambda x: 0 <= x < math.inf), 1e-4, "X", "penalty on the weights")
    add("--positive-weight", positive, 1.0, "X", "weight of a fraud in the loss; an honest payment has 1")


def _training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    add = partial(_add, group.add_argument)
    add("--epochs", integer(1), 20, "N", "passes over the training rows")
    add("--batch-size", integer(1), 128, "N", "rows per iteration")
    add("--optimizer", one_of("adam", "sgd"), "adam", "adam|sgd", f"sgd has a momentum of {MOMENTUM}")
    rates = ", ".join(f"{rate:g} for {name}" for name, rate in LEARNING_RATES.items())
    group.add_argument("--learning-rate", type=positive, metavar="X", help=f"({rates})")
    add("--dtype", one_of("float64", "float32"), "float64", "float64|float32", "checked in float64 either way")
    faster = "compile network and adam with numba: pays where training takes more than seconds"
    group.add_argument("--compiled", action="store_true", help=faster)


def _check(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("gradient check")
    add = partial(_add, group.add_argument)
    add("--check-every", integer(0), 100, "K", "check at iterations K, 2K, …; 0 for never")
    add("--check-rows", integer(2), 64, "N", "training rows of a check, of both classes")
    add("--coverage", one_of("full", "directions"), "full", "full|directions", "every parameter, or a random direction")
    how = "how slopes are measured (central for full, complex for directions)"
    group.add_argument("--derivative", type=one_of("central", "complex"), metavar="central|complex", help=how)
    frozen = "frozen replays one mask, which checks dropout's backward"
    add("--check-dropout", one_of("off", "frozen"), "off", "off|frozen", frozen)
    group.add_argument("--terms", action="store_true", help="check each class's loss and the penalty apart, too")
    add(
        "--threshold",
        number("above 0 and below 1", lambda x: 0 < x < 1),
        1e-7,
        "X",
        "largest relative difference that passes",
    )
    group.add_argument("--step", type=positive, metavar="X", help="of central differences; need not be chosen")
    ends = "halt at once, end in good order, or go on and say so at the end"
    add("--on-failure", one_of("raise", "stop", "log"), "raise", "raise|stop|log", ends)


def _mistakes_and_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("planted mistakes")
    names = f"spoil the backward pass: dW2, db1 or notebook (the exercise's), or any that '{LIST_BUGS}' shows"
    group.add_argument("--bug", type=bug, metavar="NAME", help=names)
    _add(group.add_argument, "--bug-after", integer(0), 0, "N", "iteration at which the mistake begins")
    group = parser.add_argument_group("output")
    kept = "keep settings, history, metrics, proof, parameters, the last check, log.txt and checkpoints there"
    halted = "after a halt also violation-NNNNNN.npz"
    pages = "with matplotlib and jinja2 installed report.html, a page for the browser"
    group.add_argument("--out", type=path, metavar="DIR", help=f"{kept}; {halted}; {pages}")
    often = f"save what --resume needs at iterations N, 2N, …; 0 for never ({CHECKPOINT_EVERY})"
    group.add_argument("--checkpoint-every", type=integer(0), metavar="N", help=often)
    going_on = "go on with the run that DIR holds, as if it had never been interrupted; begin it if there is none"
    group.add_argument("--resume", action="store_true", help=going_on)
    group.add_argument("--overwrite", action="store_true", help="replace the run that DIR holds")
    drawn = "do not draw report.html; python -m experiments.report DIR does it later"
    group.add_argument("--no-report", action="store_true", help=drawn)
    quiet = "show only warnings, errors and the result; log.txt still has every line"
    group.add_argument("--quiet", action="store_true", help=quiet)


def _add(
    add: Callable[..., object], name: str, read: Callable[[str], object], default: object, metavar: str, text: str
) -> None:
    add(name, type=read, default=default, metavar=metavar, help=f"{text} (%(default)s)")


def _with_negative_numbers(argv: Sequence[str]) -> list[str]:
    """Write ``--l2 -1e-4`` as ``--l2=-1e-4``: argparse before Python 3.14 takes -1e-4 for an option."""
    words: list[str] = []
    for word in argv:
        try:
            negative = word.startswith("-") and not math.isnan(float(word)) and words[-1].startswith("--")
        except (ValueError, IndexError):
            negative = False
        if negative and "=" not in words[-1]:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words
