"""Resuming: the settings of a run that goes on are those it was begun with."""

from collections.abc import Sequence
from dataclasses import fields, replace

from experiments.fraud.arguments import parse
from experiments.fraud.settings import Settings, UsageError
from experiments.runs.folder import RunFolder

#: What may differ from one part of a run to the next.
FREE = ("out", "resume", "overwrite", "no_report", "quiet", "epochs", "checkpoint_every", "argv")
FLAGS = ("--resume", "--overwrite", "--no-report", "--quiet")


def resumed(settings: Settings) -> Settings:
    """Complete the settings of a run that is to go on by those that its folder has recorded.

    Parameters
    ----------
    settings : Settings
        As read from the command line, with ``out``; of its options, only those typed count.

    Returns
    -------
    Settings
        Unchanged where the folder holds no run yet.

    Raises
    ------
    UsageError
        If an option that was typed contradicts what was recorded, or that cannot be read.
    """
    recorded = RunFolder(str(settings.out), resume=True).read_json("settings.json")
    if recorded is None:
        return settings
    before = _words(recorded.get("argv"), str(settings.out))
    first = parse(before)
    now = parse([*before, *settings.argv])
    for name in (field.name for field in fields(Settings)):
        expected, received = getattr(first, name), getattr(now, name)
        if expected != received and name not in FREE:
            raise UsageError(
                f"--resume goes on with the run as it was begun. Expected {_option(name, expected)}, or nothing. "
                f"Received {_option(name, received)}."
            )
    epochs = ["--epochs", str(now.epochs)] if now.epochs != first.epochs else []
    return replace(now, argv=[*before, *epochs])


def _words(argv: object, out: str) -> Sequence[str]:
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise UsageError(f"{out} holds no run that can go on. Expected its options in settings.json. Received none.")
    return [word for word in argv if word not in FLAGS]


def _option(name: str, value: object) -> str:
    words = " ".join(map(str, value)) if isinstance(value, list) else value
    return f"--{name.replace('_', '-')} {words}"
