"""Writing a table piece by piece, as CSV or Parquet by what its name says."""

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow

ENDINGS = ".csv, .csv.gz or .parquet"

Write = Callable[[BinaryIO, "Iterator[pyarrow.Table]"], object]


def writer_of(name: str) -> Write:
    """Give what writes pieces into a file of that name, a ValueError if its ending says nothing."""
    for ending, write in {".csv": _csv, ".csv.gz": _zipped, ".parquet": _parquet}.items():
        if name.lower().endswith(ending):
            return write
    raise ValueError(f"--output names no table. Expected a file ending in {ENDINGS}. Received {name}.")


def _csv(file: BinaryIO, pieces: "Iterator[pyarrow.Table]") -> None:
    for number, table in enumerate(pieces):
        if not number:
            header = io.StringIO()
            csv.writer(header, lineterminator="\n").writerow(table.column_names)
            file.write(header.getvalue().encode())
        file.write(_rows(table))


def _rows(table: "pyarrow.Table") -> bytes:
    """Give rows as CSV, all texts quoted only where one has to be."""
    import pyarrow as pa
    from pyarrow import csv as of_arrow

    try:
        sink = pa.BufferOutputStream()
        of_arrow.write_csv(table, sink, of_arrow.WriteOptions(include_header=False, quoting_style="none"))
    except pa.ArrowInvalid:
        sink = pa.BufferOutputStream()
        of_arrow.write_csv(table, sink, of_arrow.WriteOptions(include_header=False))
    return bytes(sink.getvalue())


def _zipped(file: BinaryIO, pieces: "Iterator[pyarrow.Table]") -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        _csv(packed, pieces)  # type: ignore[arg-type]


def _parquet(file: BinaryIO, pieces: "Iterator[pyarrow.Table]") -> None:
    from pyarrow import parquet

    first = next(pieces)
    with parquet.ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for table in pieces:
            writer.write_table(table)
