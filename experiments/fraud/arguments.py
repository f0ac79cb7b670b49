"""The command line of the main job: its parser, made from `Settings`, and what options say together."""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.util import find_spec
from typing import Literal, get_args, get_origin

from experiments.command import Parser, UsageError
from experiments.fraud.settings import (
    CHECKPOINT_EVERY,
    COSTS,
    OF_SYNTHETIC,
    OPTIONS,
    RATES,
    Settings,
    price,
    reader,
    spelled,
)

DESCRIPTION = """\
Train a network that finds fraud among card payments, and ask every K iterations (one iteration is
one parameter update): is backprop right, parameter by parameter, on rows of the check's own? And is
the gradient about to be applied the gradient of its batch's loss? The latter also at the first
batch of every size. A wrong gradient halts the run before it reaches the parameters, and the report
says where it is wrong and what kind of mistake it is.
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
  2    bad input or usage, a training that diverged, or a disk that takes no more, said in one line
  70   nobody has foreseen this: no verdict; one line says where the details are
  129, 130, 143
       interrupted: the terminal went away, Ctrl-C, SIGTERM; --resume goes on
"""


def parse(argv: Sequence[str]) -> Settings:
    """Read the options; a `UsageError` names one that is unknown, out of range, or at odds with another."""
    options = vars(_parser().parse_args(_with_negative_numbers(argv)))
    if options["learning_rate"] is None:
        options["learning_rate"] = RATES[options["optimizer"]]
    if options["checkpoint_every"] is None:
        options["checkpoint_every"] = CHECKPOINT_EVERY if options["out"] else 0
    settings = Settings(**options, argv=list(argv))
    for problem in _contradictions(settings, {word.partition("=")[0] for word in argv}):
        raise UsageError(problem)
    return settings


def _contradictions(settings: Settings, typed: set[str]) -> Iterator[str]:
    if settings.data is None:
        for name in ("separator", "target", "fraud_label", "split_by", "drop", "categorical"):
            if value := getattr(settings, name):
                yield f"{spelled(name)} is of a table of your own. Expected --data FILE too. Received {value!r}."
    elif settings.target is None:
        yield "--data needs to know the labels. Expected --target COLUMN too. Received none."
    else:
        for option in filter(typed.__contains__, map(spelled, OF_SYNTHETIC)):
            yield f"{option} is of the synthetic table. Expected no such option with --data. Received both."
    if settings.separator and str(settings.data).startswith("openml:"):
        yield f"--separator is of a CSV file. Expected none with openml:NAME. Received {settings.separator!r}."
    yield from _contradictions_of_the_threshold(settings, typed)
    if settings.compiled and settings.activation != "relu":
        yield f"--compiled knows ReLU only. Expected --activation relu. Received {settings.activation}."
    if settings.compiled and not find_spec("numba"):
        yield "--compiled needs numba. Expected `pip install -e '.[fast]'`. Received no numba."
    if settings.bug_after and not settings.bug:
        yield f"--bug-after has no mistake to delay. Expected --bug NAME too. Received {settings.bug_after}."
    if settings.check_dropout == "frozen" and not settings.dropout:
        yield "--check-dropout frozen has no mask to replay. Expected --dropout above 0. Received 0."
    for name, purpose in (("overwrite", "replace"), ("resume", "go on with"), ("checkpoint_every", "write to")):
        if getattr(settings, name) and settings.out is None:
            yield f"{spelled(name)} has nothing to {purpose}. Expected --out DIR too. Received none."
    if settings.overwrite and settings.resume:
        yield "--overwrite and --resume exclude each other. Expected one of them. Received both."


def _contradictions_of_the_threshold(settings: Settings, typed: set[str]) -> Iterator[str]:
    costs = {name: getattr(settings, name) for name in COSTS}
    if None in costs.values() and any(costs.values()):
        given = next(spelled(name) for name, cost in costs.items() if cost)
        yield f"{given} is half of it. Expected --cost-missed and --cost-alarm. Received one of them."
    for name, cost in costs.items():
        value = None if cost is None else price(cost)
        if value is not None and not 0.0 <= value < math.inf:
            yield f"{spelled(name)} is no cost. Expected a finite number of at least 0, or a column. Received {cost}."
        if cost is not None and value is None and settings.data is None:
            yield f"{spelled(name)} has no table to name a column of. Expected a number, or --data. Received {cost!r}."
    if [price(cost) for cost in costs.values() if cost] == [0.0, 0.0]:
        yield "--cost-missed and --cost-alarm leave nothing to choose. Expected one above 0. Received 0 and 0."
    asked = [o for o in ("--precision", "--cost-missed", "--alerts") if o in typed]
    if len(asked) > 1:
        yield f"{asked[0]} and {asked[1]} exclude each other. Expected one of them. Received both."
    if settings.alerts and not settings.alerts.endswith("%") and settings.split_by is None:
        expected = "a share such as 0.5%, or --split-by a date"
        yield f"--alerts cannot count by the day. Expected {expected}. Received {settings.alerts}."


def _parser() -> argparse.ArgumentParser:
    parser = Parser("python -m experiments.fraud", DESCRIPTION, EPILOG, "%(prog)s [options]", max_help_position=32)
    groups = {title: parser.add_argument_group(title) for title in dict.fromkeys(o.group for o in OPTIONS.values())}
    kinds = {part.name: part.type for part in fields(Settings)}
    for name, option in OPTIONS.items():
        add, kind, default = groups[option.group].add_argument, kinds[name], option.default
        text = option.help.replace("%", "%%")
        if default not in (None, []):
            text += f" ({' '.join(map(str, default)) if isinstance(default, list) else default})"
        if kind is bool:
            add(spelled(name), action="store_true", help=text)
            continue
        literals = [part for part in (kind, *get_args(kind)) if get_origin(part) is Literal]
        names = get_args(literals[0]) if literals else ()
        read = reader(" or ".join(names), str, names.__contains__) if names else option.read
        several = "*" if isinstance(default, list) else None
        metavar = "|".join(names) or option.metavar or ("X" if float in (kind, *get_args(kind)) else "N")
        add(spelled(name), type=read, nargs=several, default=default, metavar=metavar, help=text)
    return parser


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
