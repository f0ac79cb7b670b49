"""Durable files: written beside, synced and moved into place, so that a name only ever holds a whole file."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished"  # what the name of a file ends with while it is being written


def replace_file(path: Path | str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: `write` gets one open for reading and writing, and fills it.

    Whatever happens meanwhile, a kill or a loss of power included, `path` holds either what it held before or all of
    the new content. On an OSError it is as it was, unless only the last sync of its folder failed: then it is whole,
    but a loss of power may still undo it. The order is that of Pillai et al., All file systems are not created equal,
    OSDI 2014: without the first sync a crash may leave an empty file under the good name, without the last the old
    one.
    """
    path = Path(path)
    beside = path.with_name(path.name + UNFINISHED)
    try:
        with open(beside, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk before returning, or raise OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, and have their names on disk before returning."""
    missing = [above for above in (folder, *folder.parents) if not above.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)
