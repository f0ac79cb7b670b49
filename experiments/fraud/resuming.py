"""Resuming: the settings of a run that goes on are those it was begun with."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.command import UsageError
from experiments.fraud.arguments import parse
from experiments.fraud.settings import FREE_FLAGS, OPTIONS, Settings, spelled
from experiments.runs.folder import RunFolder


def resumed(settings: Settings) -> Settings:
    """Complete the words of a run that is to go on by those its folder has recorded, which none may contradict."""
    recorded = RunFolder(str(settings.out), resume=True).read_json("settings.json")
    if recorded is None:
        return settings
    before = _words(recorded.get("argv"), str(settings.out))
    first = parse(before)
    now = parse([*before, *settings.argv])
    for name, option in OPTIONS.items():
        expected, received = getattr(first, name), getattr(now, name)
        if expected != received and not option.free:
            raise UsageError(
                f"--resume goes on with the run as it was begun. Expected {_typed(name, expected)}, or nothing. "
                f"Received {_typed(name, received)}."
            )
    epochs = ["--epochs", str(now.epochs)] if now.epochs != first.epochs else []
    return replace(now, argv=[*before, *epochs])


def _words(argv: object, out: str) -> Sequence[str]:
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise UsageError(f"{out} holds no run that can go on. Expected its options in settings.json. Received none.")
    return [word for word in argv if word not in FREE_FLAGS]


def _typed(name: str, value: object) -> str:
    words = " ".join(map(str, value)) if isinstance(value, list) else value
    return f"{spelled(name)} {words}"
