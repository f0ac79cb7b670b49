"""RunFolder: what one run leaves behind; files appear whole or not at all."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from experiments.settings import UsageError
from trainer.parameters import Array


class RunFolder:
    """A folder for the files of one run. Asking for it creates nothing; `create` does.

    Parameters
    ----------
    path : path
        A folder, or where one can be made; its parents are made too.
    overwrite : bool, default=False
        Whether an earlier run there may go.

    Raises
    ------
    UsageError
        If nothing can be written there, or an earlier run would be lost.
    """

    history = "history.jsonl"
    log = "log.txt"
    files = ("settings.json", history, "metrics.json", "proof.json", "report.json", "parameters.npz", log)

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        try:
            nearest = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
            if not nearest.is_dir():
                raise NotADirectoryError(f"{nearest} is a file")
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise PermissionError(f"{nearest} is not writable")
        except OSError as error:
            raise self._refusal(error) from error
        found = [name for name in self.files if (self.path / name).exists()]
        if found and not overwrite:
            raise UsageError(
                f"--out already holds a run. Expected a new folder, or --overwrite. Received {path} with {found[0]}."
            )

    def __truediv__(self, name: str) -> Path:
        """Give the path of one file."""
        return self.path / name

    def create(self) -> None:
        """Make the folder, and take an earlier run's files away.

        Raises
        ------
        UsageError
            If that cannot be done.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in self.files:
                (self / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._refusal(error) from error

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write one JSON file; NaN and the infinities become strings, as in the history."""
        text = json.dumps(_finite(data), indent=2, allow_nan=False, default=_plain) + "\n"
        self._write(name, lambda file: file.write(text.encode()))

    def write_arrays(self, name: str, arrays: Mapping[str, Array]) -> None:
        """Write named arrays, for `numpy.load`."""
        self._write(name, lambda file: np.savez(file, allow_pickle=False, **arrays))

    def _write(self, name: str, write: Callable[[IO[bytes]], object]) -> None:
        beside = self / f"{name}.unfinished"
        try:
            with beside.open("wb") as file:
                write(file)
            os.replace(beside, self / name)
        finally:
            beside.unlink(missing_ok=True)

    def _refusal(self, error: OSError) -> UsageError:
        reason = error.strerror or error
        return UsageError(
            f"--out cannot be written. Expected a folder, or where one can be made. Received {self.path}: {reason}."
        )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
