"""Tables of labelled rows, read from CSV and Parquet files into a pandas data frame."""

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.tables.csv_text import BLOCK, CSVText, header_of
from datasets.tables.memory import in_units, memory_for_tables, refuse_more
from datasets.tables.table_file import TableFile
from datasets.wording import shown

if TYPE_CHECKING:
    import pandas
    import pyarrow

ROWS = 65_536  # read together from a Parquet file
# Bytes of memory for each cell of a Parquet table: as PER_CELL of a CSV file, numbers being the rule.
PER_CELL = 40


def read_table(path: Path | str, *, separator: str = ",", memory: int | None = None) -> "pandas.DataFrame":
    """Read a table from a file.

    Nothing in the file is unpickled or evaluated, and a table that would not fit into memory is refused: at once
    where the file tells its size, else while it is being decompressed.

    Parameters
    ----------
    path : path
        A CSV file (UTF-8, names of the columns in the first line) or a Parquet file; its name ends in
        ``.csv``, ``.parquet``, ``.csv.gz`` or ``.parquet.gz``.
    separator : str, default=","
        What stands between the columns of a CSV file: one character of ASCII.
    memory : int, optional
        Bytes that the table may take; half of what is free by default.

    Returns
    -------
    pandas.DataFrame of shape (n_rows, n_columns)
        Columns of numbers are float64 with NaN where a value is missing, texts are categorical, dates are dates.
        In a CSV file a column holds numbers if every value that is not missing is one, and texts otherwise; what
        counts as missing is pyarrow's list: nothing at all, ``NA``, ``NaN``, ``null`` and the like.

    Raises
    ------
    OSError
        If there is no such regular file, or it may not be read.
    ValueError
        If it is not what its name says, is broken or truncated, has two columns of one name or no rows, holds
        columns that are neither numbers, texts nor dates, or is too large.
    ImportError
        If pandas or pyarrow is missing, which come with the extra ``tables``.
    """
    memory = memory_for_tables() if memory is None else memory
    try:
        import pandas as pd
        import pyarrow as pa
    except ImportError as error:
        raise ImportError(
            "read_table reads through pandas and pyarrow. Expected them installed, as by "
            f"pip install 'backproof[tables]'. Received {error}."
        ) from error
    with refusals(Path(path).name, pa.ArrowException):
        file = TableFile(path)
        refuse_more(file.size, memory, f"{file.name} is")  # what it decompresses to is no less
        refuse_bad_separator(separator, file)
        table = _csv(file, memory, separator) if file.ending == ".csv" else _parquet(file, memory)
    if not table.num_rows:
        raise ValueError(f"{file.name} has no rows. Expected some below the names. Received {table.num_columns} names.")
    names, columns = table.column_names, table.columns
    del table
    frame = {}
    for name in names:  # each column of Arrow's goes as soon as the one of pandas is there
        with refusals(file.name, pa.ArrowException):
            frame[name] = plain_column(columns.pop(0), name, file.name)
    return pd.DataFrame(frame, copy=False)


def _csv(file: TableFile, memory: int, separator: str) -> "pyarrow.Table":
    """Read every column as text: what is a number is seen from all of its rows, not from the first ones."""
    import pyarrow as pa
    from pyarrow import csv

    with file.open() as stream:
        names = header_of(stream.read(BLOCK), file.name, separator)
    refuse_duplicates(names, file.name)
    with file.open() as stream:
        text = CSVText(stream, file.name, memory, None if file.zipped else file.size, separator)
        reader = csv.open_csv(
            text,
            read_options=csv.ReadOptions(block_size=BLOCK),
            parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, check_utf8=True
            ),
        )
        table = _collected(reader, reader.schema, memory, file.name)
    return table.rename_columns([name.strip() for name in table.column_names])


def _parquet(file: TableFile, memory: int) -> "pyarrow.Table":
    """Read a Parquet file; texts stay encoded by a dictionary, which a small file can repeat without end."""
    import pyarrow as pa
    from pyarrow import parquet

    with file.open() as stream:
        source = io.BytesIO(decompressed(stream, memory, file.name)) if file.zipped else stream
        about = parquet.ParquetFile(source)
        size = about.metadata.num_rows * about.metadata.num_columns
        refuse_more(size * PER_CELL, memory, f"{file.name} has {about.metadata.num_rows:,} rows, and is")
        refuse_duplicates(about.schema_arrow.names, file.name)
        texts = [field.name for field in about.schema_arrow if is_text(field.type)]
        reader = parquet.ParquetFile(source, read_dictionary=texts, page_checksum_verification=True)
        for field in reader.schema_arrow:
            if pa.types.is_nested(field.type):
                raise ValueError(
                    f"{file.name} has a column that is no plain one, {field.name!r}. "
                    f"Expected numbers, texts or dates. Received {field.type}."
                )
        table = _collected(reader.iter_batches(batch_size=ROWS), reader.schema_arrow, memory, file.name)
    return table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])


def decompressed(stream: Any, memory: int, name: str) -> bytes:
    """Read a compressed file whole, if it fits."""
    whole = io.BytesIO()
    while block := stream.read(BLOCK):
        whole.write(block)
        refuse_more(2 * whole.tell(), memory, f"{name} is")
    return whole.getvalue()


def _collected(batches: Iterable[Any], schema: Any, memory: int, name: str) -> "pyarrow.Table":
    import pyarrow as pa

    kept, before = [], pa.total_allocated_bytes()
    for batch in batches:
        batch.validate(full=True)
        kept.append(batch)
        refuse_more(pa.total_allocated_bytes() - before, memory, f"{name} is")
    return pa.Table.from_batches(kept, schema)


def plain_column(column: Any, name: str, file: str) -> "pandas.Series":
    """Turn a column of Arrow's into float64, categories or dates."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if is_text(kind):
        return numbers_or_texts(column)
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("ms")).to_pandas()
    if pa.types.is_timestamp(kind):
        return column.to_pandas()
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        column = column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    try:
        return pc.cast(column, pa.float64(), safe=False).to_pandas()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ValueError(
            f"{file} has a column that is no plain one, {name!r}. Expected numbers, texts or dates. Received {kind}."
        ) from None


def numbers_or_texts(column: Any, *, as_texts: bool = False) -> "pandas.Series":
    """Turn a column of text into float64 if it holds numbers, or else into categories, as it may be asked to."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        text = pc.utf8_trim_whitespace(column)
        text = pc.if_else(pc.equal(text, ""), None, text)
        with suppress(pa.ArrowInvalid):  # one of them is no number
            if not as_texts:
                return pc.cast(text, pa.float64()).to_pandas()
        column = text.dictionary_encode()
    texts = column.to_pandas()
    return texts.cat.rename_categories(texts.cat.categories.astype(str))


def is_text(kind: Any) -> bool:
    """Say whether a type of Arrow's is text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def refuse_bad_separator(separator: str, file: TableFile) -> None:
    """Refuse what cannot stand between columns, or anything but the default where the file has none."""
    if not isinstance(separator, str) or len(separator) != 1 or not separator.isascii() or separator in '"\r\n\0':
        raise ValueError(f"The separator is none. Expected one character, such as ';'. Received {separator!r}.")
    if separator != "," and file.ending != ".csv":
        raise ValueError(f"{file.name} has no separator. Expected a CSV file beside one. Received {separator!r}.")


def refuse_duplicates(names: Iterable[str], file: str) -> None:
    """Refuse a table that has two columns of one name."""
    counts = Counter(name.strip() for name in names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"{file} has two columns of one name. Expected every name once. Received {shown(twice[0])!r} "
            f"{counts[twice[0]]} times."
        )


@contextmanager
def refusals(file: str, arrow_error: type[Exception]) -> Iterator[None]:
    """Turn what the libraries raise on broken files into a ValueError that names the file."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{file} is broken or cut short. Expected whole gzip data. Received: {error}.") from error
    except (arrow_error, UnicodeDecodeError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, and it names the file
            raise
        long = f"a row longer than {in_units(BLOCK)}" if "straddling object" in str(error) else shown(str(error))
        raise ValueError(f"{file} cannot be read. Expected a whole table. Received: {long.rstrip('.')}.") from error
