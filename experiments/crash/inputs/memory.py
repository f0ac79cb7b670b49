"""Memory: files of a few MB that were made to take a hundred times as much; reading them is bounded, or refused."""

import base64
import hashlib
import io
import json
import os
import resource
import struct
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from checks.training.row_set import RowSet
from experiments.crash.small_run import in_memory
from experiments.figures import Figure
from experiments.runs.folder import json_object
from trainer import History
from trainer.storage.archive import read_archive, read_arrays

LEAST, TIMES = 64 * 2**20, 12  # bytes that any file may take, and times what it is long
SIZES, QUICK_SIZES = (2, 20), (2,)  # MB


@dataclass(frozen=True)
class Form:
    """A kind of file that is larger than it looks: bytes of about a length, and who reads them."""

    name: str
    make: Callable[[int], bytes]
    read: Callable[[Path], object]


def _signed(raw: bytes) -> bytes:
    """Put the right checksum at the end of an archive whose comment has room for it."""
    return raw[:-64] + hashlib.sha256(raw[:-64]).hexdigest().encode()


def _archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.comment = b"0" * 64
        for name, content in members.items():
            file.writestr(name, content)
    return _signed(stream.getvalue())


def _facts(text: bytes) -> bytes:
    return _archive({"facts.json": b'{"kind": "checkpoint", "version": 1, "x": %s}' % text})


def _npy(length: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(length // 8))
    return stream.getvalue()


def overlapping(length: int, names: int = 200) -> bytes:
    """Give an archive of many members that all are the same bytes."""
    raw = _archive({"facts.json": b'{"kind": "checkpoint", "version": 1}', "W.npy": _npy(length)})
    start, end = struct.unpack("<L", raw[-64 - 6 : -64 - 2])[0], len(raw) - 64 - 22
    entries, second = raw[start:end], raw[start:end].rindex(b"PK\1\2")
    entry = entries[second:]
    more = b"".join(entry.replace(b"W.npy", b"%05d.npy" % number, 1) for number in range(names))
    more = more.replace(struct.pack("<H", 5) + struct.pack("<H", 0), struct.pack("<H", 9) + struct.pack("<H", 0))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, names + 2, names + 2, len(entries + more), start, 64)
    return _signed(raw[:start] + entries + more + tail + b"0" * 64)


def many_members(length: int) -> bytes:
    """Give an archive of as many empty members as fit."""
    names = {f"{number:06x}.npy": b"" for number in range(min(length, 2**21) // 120)}
    return _archive({"facts.json": b"{}"} | names)


def compressed(length: int) -> bytes:
    """Give arrays that unpack to a thousand times their length."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{"gradient/W1": np.zeros(25 * 2**20)})
    return stream.getvalue()


def repeated(part: bytes, least: bytes = b"[", most: bytes = b"]") -> Callable[[int], bytes]:
    """Give JSON that is one small value again and again."""
    return lambda length: least + b",".join([part] * (length // (len(part) + 1))) + most


def names(length: int) -> bytes:
    """Give an object of many names."""
    return b"{" + b",".join(b'"%x":1' % number for number in range(length // 9)) + b"}"


def forms() -> list[Form]:
    """List them; a new kind of file belongs into this list."""

    def checkpoint(path: Path) -> object:
        return read_archive(path, "checkpoint", 1)

    texts = {
        "empty lists": repeated(b"[]"),
        "empty objects": repeated(b"{}"),
        "lists of one": repeated(b"[1]"),
        "short words": repeated(b'"ab"'),
        "numbers": repeated(b"1.5"),
        "names": names,
    }
    found = [
        Form(f"facts of {name}", lambda length, make=make: _facts(make(length)), checkpoint)
        for name, make in texts.items()
    ]
    found += [
        Form(f"settings of {name}", lambda length, make=make: b'{"x": %s}' % make(length), json_object)
        for name, make in texts.items()
    ]
    return [
        *found,
        Form("overlapping members", overlapping, checkpoint),
        Form("many members", many_members, checkpoint),
        Form("unpacked arrays", compressed, checkpoint),
        Form("unpacked entries", compressed, read_arrays),
        Form("one long row", repeated(b"[]", b'{"a": [', b"]}\n"), History.read),
        Form(
            "long rows",
            lambda length: repeated(b"[]", b'{"a": [', b"]}\n")(900_000) * (length // 900_000),
            History.read,
        ),
        Form("short rows", lambda length: b'{"a": 1}\n' * (length // 9), History.read),
        Form("rows that were exercised", lambda length: base64.b64encode(bytes(length * 3 // 4)), _row_set),
    ]


def _row_set(path: Path) -> object:
    return RowSet.from_text(path.read_text(encoding="ascii"))


def taken(form: Form, path: Path) -> int:
    """Read a file in a fork of this process, and give the most bytes that this took, refused or not."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with suppress(ValueError, KeyError):
                form.read(path)
            took = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            os.write(writer, str(took * (1 if sys.platform == "darwin" else 1024)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read()
    if os.waitpid(pid, 0)[1] or not said:
        raise RuntimeError(f"{form.name} ended the process that read it")
    return int(said)


def measure(*, quick: bool) -> Figure:
    """Read files of every form, and hold what they take against the promise."""
    shares: dict[str, float] = {}
    failures: list[str] = []
    with in_memory() as folder:
        path = folder / "file"
        chosen = [(form, size) for form in forms() for size in (QUICK_SIZES if quick else SIZES)]
        for form, size in tqdm(chosen, unit="file", desc="memory", leave=False):
            path.write_bytes(form.make(size * 2**20))
            length = path.stat().st_size
            most = LEAST + TIMES * length
            took = taken(form, path)
            shares[f"{form.name}, {length / 2**20:.1f} MB"] = round(took / most, 3)
            if took > most:
                failures.append(f"{form.name} of {length:,} bytes took {took / 2**20:.0f} MB")
    return Figure(
        f"files made to take a hundred times their length ({len(shares)} of {len(forms())} forms): the most that one "
        f"took, as a share of {LEAST >> 20} MB and {TIMES} times its length",
        f"{max(shares.values()):.0%}",
        "at most 100%",
        not failures,
        numbers={"files": len(shares), "shares": json.loads(json.dumps(shares))},
        failures=failures,
    )
