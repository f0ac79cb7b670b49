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
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
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


def overlapping(length: int, members: int = 200) -> bytes:
    """Give an archive of members each of which holds all that come after it, as in a zip bomb without compression."""
    names = [b"facts.json", *(b"%05d.npy" % number for number in range(members))]
    rest, directory, starts = bytes(length), [], []
    for name in reversed(names):
        data = b'{"kind": "checkpoint", "version": 1}' if name == names[0] else _npy_header(len(rest)) + rest
        common = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(name), 0)
        rest = b"PK\3\4" + common + name + (data if name != names[0] else data + rest)
        directory.append(b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<3HL", 0, 0, 0, 0))
        starts.append(len(rest))
    entries = b"".join(
        entry + struct.pack("<L", len(rest) - start) + name
        for entry, start, name in zip(directory[::-1], starts[::-1], names, strict=True)
    )
    counts = (0, 0, len(names), len(names), len(entries), len(rest), 64)
    return _signed(rest + entries + struct.pack("<4s4H2LH", b"PK\5\6", *counts) + b"0" * 64)


def _npy_header(length: int) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (length,)})
    return stream.getvalue()


def many_members(length: int) -> bytes:
    """Give an archive of as many empty members as fit."""
    names = {f"{number:06x}.npy": b"" for number in range(min(length, 2**21) // 120)}
    return _archive({"facts.json": b"{}"} | names)


def compressed(length: int) -> bytes:
    """Give arrays that unpack to a thousand times their length."""
    stream = io.BytesIO()
    np.savez_compressed(stream, W1=np.zeros(2**22))
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
    found = []
    for name, make in texts.items():
        found.append(Form(f"facts of {name}", partial(_wrapped, make, _facts), checkpoint))
        found.append(Form(f"settings of {name}", partial(_wrapped, make, b'{"x": %s}'.__mod__), json_object))
    row = repeated(b"[]", b'{"a": [', b"]}\n")
    return [
        *found,
        Form("overlapping members", overlapping, checkpoint),
        Form("many members", many_members, checkpoint),
        Form("unpacked arrays", compressed, checkpoint),
        Form("unpacked entries", compressed, read_arrays),
        Form("one long row", row, History.read),
        Form("long rows", lambda length: row(900_000) * (length // 900_000), History.read),
        Form("short rows", lambda length: b'{"a": 1}\n' * (length // 9), History.read),
        Form("rows that were exercised", lambda length: base64.b64encode(bytes(length * 3 // 4)), _row_set),
    ]


def _wrapped(make: Callable[[int], bytes], wrap: Callable[[bytes], bytes], length: int) -> bytes:
    return wrap(make(length))


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
        f"files made to take a hundred times their length ({len(shares)} files of {len(forms())} forms): the most that "
        f"one took, as a share of {LEAST >> 20} MB and {TIMES} times its length",
        f"{max(shares.values()):.0%}",
        "at most 100%",
        not failures,
        numbers={"files": len(shares), "shares": json.loads(json.dumps(shares))},
        failures=failures,
    )
