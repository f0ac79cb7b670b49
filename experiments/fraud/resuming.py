"""Resuming: the settings of a run that goes on are those it was begun with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from experiments.command import UsageError
from experiments.fraud.arguments import parse
from experiments.fraud.settings import FREE_FLAGS, OPTIONS, Settings, spelled
from experiments.runs.folder import SETTINGS, STATE, RunFolder
from trainer import History, Snapshot
from trainer.callbacks.checkpoint import checkpoints
from trainer.storage.codec import to_plain

OVER = ("completed", "stopped")  # outcomes of a run that has nothing left to do again


def resumed(settings: Settings) -> Settings:
    """Complete the words of a run that is to go on by those its folder has recorded, which none may contradict."""
    folder = RunFolder(str(settings.out), resume=True)
    recorded = folder.read_json(SETTINGS)
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
    _refuse_to_begin_again(folder, recorded.get("checkpoint_every"))
    epochs = ["--epochs", str(now.epochs)] if now.epochs != first.epochs else []
    return replace(now, argv=[*before, *epochs])


def demand_the_same(settings: Settings, snapshot: Snapshot | None) -> None:
    """Refuse settings with which the run of a snapshot was not begun, as where their file was changed."""
    known = {} if snapshot is None else snapshot.facts.settings  # none in a snapshot of version 0.1
    for name, received in settings.deciding().items():
        if name in known and known[name] != to_plain(received):
            raise UsageError(
                f"{SETTINGS} is of another run than its checkpoint. Expected {_typed(name, known[name])}. "
                f"Received {_typed(name, received)}."
            )


def _refuse_to_begin_again(folder: RunFolder, every: object) -> None:
    """Refuse a run that would begin again, and over what it had done, because its checkpoints are gone."""
    if checkpoints(folder.place):
        return
    outcome, done = (folder.read_json(STATE) or {}).get("outcome"), 0
    if folder.place.status(folder.history) is not None:
        done = max(map(_iteration, History.read(folder.place / folder.history)), default=0)
    is_due = isinstance(every, int) and 0 < every < done
    if is_due or (outcome in OVER and done):
        raise UsageError(
            f"--resume has no checkpoint to go on from. Expected one of the run, which has done {done:,} iterations, "
            f"or --overwrite to begin again. Received {folder.path} with none."
        )


def _iteration(row: dict[str, Any]) -> int:
    number = row.get("iteration")
    return number if isinstance(number, int) else 0


def _words(argv: object, out: str) -> Sequence[str]:
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise UsageError(f"{out} holds no run that can go on. Expected its options in settings.json. Received none.")
    return [word for word in argv if word not in FREE_FLAGS]


def _typed(name: str, value: object) -> str:
    """Give an option with its value as one types it."""
    option = spelled(name)
    if value is None or isinstance(value, bool):
        return option if value else f"no {option}"
    words = value if isinstance(value, list) else [value]
    return " ".join([option, *map(str, words)])
