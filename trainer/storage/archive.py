"""Archives: named arrays and a few facts in one ``.npz`` file that notices any damage and cannot hurt its reader.

An archive is an uncompressed zip file of ``NAME.npy`` members, as `numpy.load` reads it, and of ``facts.json``. Its zip
comment, which is the end of the file, is the SHA-256 of every byte before.
"""

import errno
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from trainer.network.parameters import Array
from trainer.storage.durable import File, NoFileOfOurs, replace_file
from trainer.storage.json_rows import is_lean

FACTS = "facts.json"
LIMIT = 8 * 2**30  # bytes: parameters, and two moments of Adam, of a network of 300 million float64 parameters
DIGEST = 2 * hashlib.sha256().digest_size  # characters
NAME = re.compile(r"(\w[\w.-]*)\.npy", re.ASCII)
PLAIN = re.compile(r"(\w[\w./-]*)\.npy", re.ASCII)  # of `numpy.savez`; it is never the name of a file
KINDS = "fiub"  # floats, integers, booleans: no objects, which would have to be unpickled, and no structures
OLDEST = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file knows: the same content gives the same bytes


class ArchiveError(ValueError):
    """A file is not the archive that it should be; nothing of it was used."""


@dataclass(frozen=True)
class Archive:
    """What one file held: named arrays, and facts in plain data."""

    arrays: dict[str, Array]
    facts: dict[str, Any]


def write_archive(
    path: File | Path | str, kind: str, version: int, arrays: Mapping[str, Array], facts: Mapping[str, Any]
) -> None:
    """Write an archive, whole or not at all; the facts are plain data, NaN and the infinities included.

    `kind` is what it is, such as ``"checkpoint"``, and `version` that of what a kind holds: a reader refuses another
    one. Facts that no reader would take are an OSError, as is a disk that takes no more.
    """
    text = json.dumps({"kind": kind, "version": version} | dict(facts))
    if not is_lean(text):
        many = f"{len(text):,} bytes of small values; a history belongs into a file"
        raise OSError(errno.EFBIG, f"The facts would take too much memory. Expected fewer of them. Received {many}")

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as members:
            members.comment = b"0" * DIGEST
            members.writestr(zipfile.ZipInfo(FACTS, OLDEST), text)
            for name, array in arrays.items():
                with members.open(zipfile.ZipInfo(f"{name}.npy", OLDEST), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        end = file.seek(0, os.SEEK_END) - DIGEST
        digest = _digest(file, end)
        file.seek(end)
        file.write(digest.encode())

    replace_file(path, write)


def read_archive(path: File | Path | str, kind: str, version: int, *, limit: int = LIMIT) -> Archive:
    """Read an archive; nothing is unpickled, and its memory bounded: see `is_lean`, and twice what the arrays hold.

    What is damaged, something else, or declares more than it holds is an ArchiveError; OSError stays what it is.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ArchiveError(f"{path} is too large. Expected at most {limit:,} bytes. Received {size:,}.")
        _verify(path, file, size)
        try:
            arrays, facts = _members(file, size, NAME)
            if facts is None:
                raise ValueError(f"no {FACTS}")
        except Exception as error:  # whatever a reader of zip, npy or JSON makes of bytes that somebody has forged
            reason = str(error) or type(error).__name__
            raise ArchiveError(f"{path} is no {kind}. Expected what backproof writes. Received {reason}.") from error
    received = facts.get("kind"), facts.get("version")
    if received != (kind, version):
        raise ArchiveError(
            f"{path} has another format. Expected {kind}, version {version}. "
            f"Received {received[0]}, version {received[1]}."
        )
    return Archive(arrays, facts)


def read_arrays(path: File | Path | str, limit: int = LIMIT) -> dict[str, Array]:
    """Read what `numpy.savez` wrote, under the same bounds; whatever else is there raises what its readers raise."""
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"Expected at most {limit:,} bytes. Received {size:,}.")
        return _members(file, size, PLAIN)[0]


def _opened(path: File | Path | str) -> BufferedReader:
    try:
        return BufferedReader(File.of(path).open("r"))
    except NoFileOfOurs as error:
        raise ArchiveError(f"{error}.") from error


def _verify(path: File | Path | str, file: BinaryIO, size: int) -> None:
    """Refuse a file that is not, to the last bit, what was written."""
    expected = received = ""
    if size > DIGEST:
        file.seek(size - DIGEST)
        expected = file.read(DIGEST).decode("ascii", errors="replace")
        received = _digest(file, size - DIGEST)
        if expected == received:
            return
    declared = ""
    with suppress(Exception), zipfile.ZipFile(file) as members:  # some other zip file: say how large it would become
        unpacked = sum(member.file_size for member in members.infolist())
        if unpacked > size:
            declared = f"; it declares {unpacked:,} bytes unpacked, in {size:,}"
    if not re.fullmatch(r"[0-9a-f]+", expected):
        raise ArchiveError(
            f"{path} is cut short, or is no file of backproof's. Expected a checksum at its end. "
            f"Received {size:,} bytes without one{declared}."
        )
    raise ArchiveError(f"{path} is damaged. Expected SHA-256 {expected}. Received {received}{declared}.")


def _members(file: BinaryIO, size: int, pattern: re.Pattern[str]) -> tuple[dict[str, Array], dict[str, Any] | None]:
    """Read arrays and facts, the latter None if there are none; a name that is none of either is a ValueError."""
    arrays: dict[str, Array] = {}
    facts: Any = None
    for filename, content in _contents(file, size):
        named = pattern.fullmatch(filename)
        if filename == FACTS and facts is None:
            if not is_lean(content):
                raise ValueError(f"{FACTS} of {len(content):,} bytes, which would take far more memory")
            facts = json.loads(content)
            if not isinstance(facts, dict):
                raise ValueError(f"{FACTS} with no object")
        elif named and named[1] not in arrays:
            arrays[named[1]] = _array(content)
        else:
            raise ValueError(f"a member called {filename!r}")
    return arrays, facts


def _contents(file: BinaryIO, size: int) -> Iterator[tuple[str, bytes]]:
    """Give name and content of every member; together they hold no more than the file, so that none lie upon others."""
    with zipfile.ZipFile(file) as members:
        declared = sum(member.file_size for member in members.infolist())
        if declared > size:
            raise ValueError(f"members of {declared:,} bytes together, in a file of {size:,}")
        for member in members.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} of {member.file_size:,} bytes, compressed")
            yield member.filename, members.read(member)


def _array(content: bytes) -> Array:
    """Read one array; its declared size is held against what is there before memory is taken."""
    stream = BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another npy version")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in KINDS:
        raise ValueError(f"an array of {dtype}")
    left = len(content) - stream.tell()
    if any(length < 0 for length in shape) or dtype.itemsize * int(np.prod(shape, dtype=object)) != left:
        raise ValueError(f"an array declared as {dtype} of shape {shape}, with {left:,} bytes")
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C").copy()


def _digest(file: BinaryIO, end: int) -> str:
    """Return the SHA-256 of the first `end` bytes."""
    file.seek(0)
    digest = hashlib.sha256()
    while end > 0 and (block := file.read(min(end, 2**20))):
        digest.update(block)
        end -= len(block)
    return digest.hexdigest()
