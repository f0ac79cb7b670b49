"""TableFile: a file that is what its name says, opened before anything is believed about it."""

import errno
import gzip
import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

FORMATS = {".csv": "CSV text", ".parquet": "a Parquet file"}
ENDINGS = ".csv, .parquet, .csv.gz or .parquet.gz"
HEAD = 64  # bytes; every mark below is shorter

#: How files begin that are taken for tables by mistake, and what they are.
MARKS = {
    b"PAR1": "a Parquet file",
    b"PARE": "an encrypted Parquet file",
    b"\x1f\x8b": "gzip-compressed data",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "bzip2-compressed data",
    b"\xfd7zXZ": "xz-compressed data",
    b"\x28\xb5\x2f\xfd": "zstandard-compressed data",
    b"ARROW1": "an Arrow file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF document",
    b"\x80": "a pickle",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"<": "a web page or XML",
    b"version https://git-lfs": "a pointer of Git LFS instead of the file",
}


class TableFile:
    """A regular file that begins as its name promises; nothing but its beginning has been read.

    A folder, a pipe or a device is refused: it has no size to look at beforehand, and may never end.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.name = self.path.name
        about = self.path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", str(self.path))
        self.size = about.st_size  # bytes on disk
        if not self.size:
            raise ValueError(f"{self.name} is empty. Expected a table. Received 0 bytes.")
        lower = self.name.lower()
        self.zipped = lower.endswith(".gz")  # as a whole
        self.ending = Path(lower.removesuffix(".gz")).suffix
        if self.ending not in FORMATS:
            ending = Path(lower).suffix
            received = f"the ending {ending}" if ending else "none"
            raise ValueError(
                f"{self.name} is no table by its name. Expected one that ends in {ENDINGS}. Received {received}."
            )
        with self.path.open("rb") as file:
            self._refuse(file.read(HEAD), "gzip-compressed data" if self.zipped else FORMATS[self.ending])
        if self.zipped:
            with self.open() as stream:
                self._refuse(stream.read(HEAD), FORMATS[self.ending])

    def open(self) -> BinaryIO:
        """Open it for reading, decompressed if it is compressed."""
        return cast(BinaryIO, gzip.open(self.path)) if self.zipped else self.path.open("rb")

    def _refuse(self, head: bytes, expected: str) -> None:
        if not head:
            raise ValueError(f"{self.name} is empty. Expected {expected}. Received 0 bytes.")
        found = next((kind for mark, kind in MARKS.items() if head.startswith(mark)), FORMATS[".csv"])
        if found != expected:
            raise ValueError(f"{self.name} is not what its name says. Expected {expected}. Received {found}.")
