"""Pieces of a table: some thousand rows at a time as they stand in the file, beside what they mean."""

import io
import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.tables.csv_text import BLOCK, CSVText, header_of
from datasets.tables.memory import memory_for_tables
from datasets.tables.read import (
    ROWS,
    decompressed,
    is_text,
    numbers_or_texts,
    plain_column,
    refusals,
    refuse_bad_separator,
    refuse_duplicates,
)
from datasets.tables.table_file import TableFile

if TYPE_CHECKING:
    import pandas
    import pyarrow


def table_pieces(
    path: Path | str, texts: Collection[str], numbers: Collection[str], separator: str = ","
) -> "Iterator[tuple[pyarrow.Table, pandas.DataFrame]]":
    """Read a table piece by piece: each as it stands in the file, and its named columns as `read_table` reads them.

    Of the named columns those that are there are given, without a look at what they hold in other pieces. A file that
    is broken is a ValueError, when its place is reached.
    """
    import pandas as pd
    import pyarrow as pa

    with refusals(Path(path).name, pa.ArrowException):
        file = TableFile(path)
        refuse_bad_separator(separator, file)
        with file.open() as stream:
            for table in _csv(file, stream, separator) if file.ending == ".csv" else _parquet(file, stream):
                names = [name for name in table.column_names if name in texts or name in numbers]
                if file.ending == ".csv":
                    columns = [_plain(table[name], as_texts=name in texts) for name in names]
                else:
                    columns = [plain_column(_encoded(table[name]), name, file.name) for name in names]
                frame = dict(zip(names, columns, strict=True))
                yield table, pd.DataFrame(frame, index=range(table.num_rows))


def _csv(file: TableFile, stream: Any, separator: str) -> "Iterator[pyarrow.Table]":
    """Read every column as text, to the letter."""
    import pyarrow as pa
    from pyarrow import csv

    with file.open() as beginning:
        names = header_of(beginning.read(BLOCK), file.name, separator)
    refuse_duplicates(names, file.name)
    reader = csv.open_csv(
        CSVText(stream, file.name, math.inf),
        read_options=csv.ReadOptions(block_size=BLOCK),
        parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
    )
    yield from _tables(reader, reader.schema, [name.strip() for name in reader.schema.names])


def _parquet(file: TableFile, stream: Any) -> "Iterator[pyarrow.Table]":
    from pyarrow import parquet

    source = io.BytesIO(decompressed(stream, memory_for_tables(), file.name)) if file.zipped else stream
    # Without these two it reads ahead, which takes twice the memory and no less time.
    reader = parquet.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
    refuse_duplicates(reader.schema_arrow.names, file.name)
    yield from _tables(
        reader.iter_batches(batch_size=ROWS, use_threads=False), reader.schema_arrow, reader.schema_arrow.names
    )


def _tables(batches: Iterable[Any], schema: Any, names: list[str]) -> "Iterator[pyarrow.Table]":
    """Give at least one, if it is without rows."""
    import pyarrow as pa

    empty = True
    for batch in batches:
        empty = False
        batch.validate(full=True)
        yield pa.Table.from_batches([batch]).rename_columns(names)
    if empty:
        yield schema.empty_table().rename_columns(names)


def _plain(column: Any, *, as_texts: bool) -> "pandas.Series":
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    missing = pa.array(csv.ConvertOptions().null_values)
    return numbers_or_texts(pc.if_else(pc.is_in(column, missing), None, column), as_texts=as_texts)


def _encoded(column: Any) -> Any:
    return column.dictionary_encode() if is_text(column.type) else column
