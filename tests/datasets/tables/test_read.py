"""What `read_table` reads, and what it refuses before it does harm."""

import datetime
import decimal
import gzip
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest

from datasets import prepare, read_table
from datasets.splits import ROWS_PER_CLASS
from datasets.tables.csv_text import BLOCK
from datasets.tables.memory import in_units, memory_for_tables

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

N = 211


def payments() -> "pd.DataFrame":
    """Rows as those of the well-known card table, fewer of them, and one column of texts."""
    rng = np.random.default_rng(3)
    columns = {f"V{number}": rng.standard_normal(N) for number in (1, 2, 3)}
    kinds = rng.choice(["card", "cash", "à crédit"], N)
    return pd.DataFrame(
        {"Time": np.arange(N) * 1.0, **columns, "Kind": kinds, "Amount": rng.random(N), "Class": np.arange(N) % 7 // 6}
    )


FRAME = payments()
CSV = FRAME.to_csv(index=False).encode()


def as_parquet(table: "pd.DataFrame", path: Path) -> bytes:
    parquet.write_table(pa.table(table) if isinstance(table, dict) else pa.Table.from_pandas(table), path)
    return path.read_bytes()


@pytest.fixture
def written(tmp_path: Path):
    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.parquet.gz", "A.CSV", "A.Parquet.GZ"])
def test_every_format_gives_the_same_table(name: str, tmp_path: Path, written) -> None:
    data = as_parquet(FRAME, tmp_path / "x.parquet") if "parquet" in name.lower() else CSV
    read = read_table(written(name, gzip.compress(data) if name.lower().endswith("gz") else data))
    pd.testing.assert_frame_equal(read, FRAME.astype({"Kind": "category", "Class": float}), check_categorical=False)


@pytest.mark.parametrize(
    "data",
    [CSV.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CSV, b"\n\n" + CSV, CSV.replace(b",", b" , "), CSV.rstrip(b"\n")],
    ids=["crlf", "byte order mark", "blank lines", "spaces", "no last newline"],
)
def test_what_programs_write_differently_is_the_same_table(data: bytes, written) -> None:
    pd.testing.assert_frame_equal(read_table(written("a.csv", data)), read_table(written("b.csv", CSV)))


def test_a_column_is_text_by_all_of_its_rows_even_where_the_first_megabytes_are_numbers(written) -> None:
    n = BLOCK // 4
    read = read_table(written("a.csv", b"a,b,c\n" + b"1,+2,\n" * n + b'x,-3,"5\n7"\n'))
    assert list(read.a.cat.categories) == ["1", "x"]
    assert read.b.iloc[[0, n]].tolist() == [2.0, -3.0]
    assert (read.c.isna().sum(), read.c.iloc[n]) == (n, "5\n7")


def test_gaps_are_gaps_in_numbers_with_signs_too(written) -> None:
    read = read_table(written("a.csv", b"a,b\n+1,NA\n,x\n+3,\n"))
    assert read.a.tolist()[::2] == [1.0, 3.0]
    assert np.isnan(read.a[1])
    assert read.b.isna().tolist() == [True, False, True]


def test_every_plain_type_of_parquet_is_read(tmp_path: Path) -> None:
    day = datetime.date(2020, 1, 31)
    table = {
        "decimal": [decimal.Decimal("1.5"), None],
        "huge": pa.array([2**64 - 1, 0], pa.uint64()),
        "bool": [True, None],
        "time": pa.array([61, 0], pa.time32("s")),
        "texts": pa.array(["b", "a"]).dictionary_encode(),
        "date": [day, None],
        "nothing": pa.nulls(2),
    }
    as_parquet(table, tmp_path / "a.parquet")
    read = read_table(tmp_path / "a.parquet")
    assert [read[name][0] for name in ("decimal", "huge", "bool", "time")] == [
        1.5,
        2.0**64,
        1.0,
        61e3,
    ]  # milliseconds in the file
    assert read.texts.tolist() == ["b", "a"]
    assert read.date[0] == pd.Timestamp(day)
    assert read.nothing.isna().all()


def test_the_index_that_pandas_saved_is_no_column(tmp_path: Path) -> None:
    FRAME.set_index(FRAME.index + 5).iloc[::-1].to_parquet(tmp_path / "a.parquet")
    assert list(read_table(tmp_path / "a.parquet")) == list(FRAME)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.csv", CSV.split(b"\n")[0] + b"\n", "has no rows"),
        ("a.csv", b"\n\n", "cannot be read"),
        ("a.csv", CSV[:-30], "Expected 7 columns, got"),
        ("a.csv", CSV + b"1,2,3,4,5,6,7,8\n", "Expected 7 columns, got 8"),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)[:-99], "broken or cut short"),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)[:-8] + bytes(8), "broken or cut short"),
        ("a.csv.gz", gzip.compress(CSV, mtime=0) + b"more", "broken or cut short"),
        ("a.csv", CSV.replace(b"V2", b"V1"), "two columns of one name.*'V1' 2 times"),
        ("a.csv", CSV.replace(b"V2", b" V1"), "two columns of one name"),
        ("a.csv", CSV[:500] + b"\0" + CSV[500:], "NUL byte at position 500"),
        ("a.csv", CSV.decode().encode("utf-16-le"), "NUL byte at position 1"),
        ("a.csv", CSV.decode().encode("utf-16"), "Received UTF-16 text"),
        ("a.csv", CSV.decode().encode("latin-1"), "byte 0xe0 near position"),
        ("a.csv", CSV.replace(b",", b";"), "Expected commas between columns. Received ';'"),
        ("a.csv", CSV + b"1" * 2 * BLOCK, "a row longer than 1 MiB"),
        ("a.csv", b"PAR1" + CSV, "Received a Parquet file"),
        ("a.csv", gzip.compress(CSV, mtime=0), "Received gzip-compressed data"),
        ("a.csv", b"PK\x03\x04" + CSV, "Received a zip archive"),
        ("a.csv", b"<!DOCTYPE html>", "Received a web page"),
        ("a.csv.gz", CSV, "Expected gzip-compressed data. Received CSV text"),
        ("a.csv.gz", gzip.compress(gzip.compress(CSV, mtime=0)), "Expected CSV text. Received gzip-compressed data"),
        ("a.csv.gz", gzip.compress(b"PAR1" + CSV), "Expected CSV text. Received a Parquet file"),
        ("a.parquet", CSV, "Expected a Parquet file. Received CSV text"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.xlsx", CSV, "Received the ending .xlsx"),
        ("a", CSV, "Received none"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(name: str, data: bytes, words: str, written) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(name)} .*{words}") as caught:
        read_table(written(name, data))
    assert "Expected" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mark", [";", "\t", "|", ":"])
def test_another_separator_is_taken_where_it_is_named(mark: str, written) -> None:
    text = CSV.decode().replace(",", mark).replace("V1", '"a,b"', 1)
    read = read_table(written("a.csv", text.encode()), separator=mark)
    expected = read_table(written("b.csv", CSV)).rename(columns={"V1": "a,b"})
    pd.testing.assert_frame_equal(read, expected)
    if mark != ":":
        typed = "tab" if mark == "\t" else f"'{mark}'"
        with pytest.raises(ValueError, match=re.escape(f"--separator {typed} (separator in Python)")):
            read_table(written("a.csv", CSV.replace(b",", mark.encode())))


def test_a_separator_that_is_none_or_of_no_csv_file_is_refused(written, tmp_path: Path) -> None:
    for mark in ("", ";;", '"', "\n", "\N{EURO SIGN}"):
        with pytest.raises(ValueError, match="Expected one character"):
            read_table(written("a.csv", CSV), separator=mark)
    FRAME.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet has no separator"):
        read_table(tmp_path / "a.parquet", separator=";")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"a": [[1], [2]]}, "no plain one, 'a'.*list"),
        ({"a": [b"\xff", b"b"]}, "no plain one, 'a'.*binary"),
        ({"a": pa.array([], pa.int8())}, "has no rows"),
    ],
)
def test_a_parquet_file_without_plain_rows_is_refused(table, words: str, tmp_path: Path) -> None:
    as_parquet(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=words):
        read_table(tmp_path / "a.parquet")


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="two columns of one name"):
        read_table(tmp_path / "a.parquet")


@pytest.mark.parametrize("cut", [5, 400, 1000])
def test_a_truncated_parquet_file_is_refused(cut: int, tmp_path: Path, written) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_table(written("b.parquet", as_parquet(FRAME, tmp_path / "a.parquet")[:-cut]))


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name, words in (
        ("pipe.csv", "a pipe or a device"),
        ("zero.csv", "a pipe or a device"),
        ("folder.csv", "Is a directory"),
        ("loop.csv", "symbolic links"),
        ("none.csv", "No such file"),
    ):
        with pytest.raises(OSError, match=words):
            read_table(tmp_path / name)


def test_a_file_too_large_is_refused_by_its_first_block(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.write(b"a,Class\n" + b"0.25,1\n" * (BLOCK // 4))
        file.truncate(10 * 2**30)  # the rest is a hole: reading it would meet NUL, and last
    with pytest.raises(ValueError, match=r"a\.csv is too large.*Expected at most 20 GiB.*Received about 14\d GiB"):
        read_table(path, memory=20 * 2**30)


def test_a_small_file_that_expands_is_refused_while_it_is_decompressed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"a,Class\n")
        for _ in range(40):
            file.write(b"0,1\n" * (BLOCK // 4))
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match=r"has \d MiB of text so far, and is too large"):
        read_table(path, memory=200 * 2**20)
    with path.open("r+b") as file:
        file.truncate(10 * 2**30)  # gzip reads on through zeros
    with pytest.raises(ValueError, match=r"too large.*Received about 10 GiB"):
        read_table(path, memory=2**30)


def test_a_small_parquet_file_of_many_rows_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    as_parquet({"a": np.zeros(3_000_000, np.int8)}, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    with pytest.raises(ValueError, match="has 3,000,000 rows, and is too large"):
        read_table(tmp_path / "a.parquet", memory=50 * 2**20)


def test_a_long_text_that_is_repeated_is_held_once(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(np.zeros(20_000, np.int32), ["x" * 500_000])  # 10 GB if written out
    parquet.write_table(pa.table({"a": texts}), tmp_path / "a.parquet", store_schema=False)  # as others write it
    read = read_table(tmp_path / "a.parquet", memory=50 * 2**20)
    assert len(read.a.iloc[-1]) == 500_000


def test_there_is_some_memory_and_it_is_shown_in_units() -> None:
    assert 2**20 < memory_for_tables() < 2**50
    assert [in_units(n) for n in (5, 1536, 3 * 2**30)] == ["5 bytes", "1.5 KiB", "3 GiB"]


NOISE = [b"\0", b",", b'"', b"\n", b"\xff", b"nan", b"inf", b"1e999", b"\r", b"\x1b[2J", b";", b"9" * 40, b"True"]


def corrupted(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 7])):
        place = chance.randrange(len(spoilt)) if chance.random() < 0.7 else max(0, len(spoilt) - chance.randrange(3000))
        match chance.randrange(5):
            case 0:
                spoilt[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                spoilt[place:place] = chance.choice(NOISE)
            case 2:
                del spoilt[place : place + chance.randrange(1, 40)]
            case 3:
                spoilt[place:place] = spoilt[: chance.randrange(200)]
            case 4 if chance.random() < 0.2:
                del spoilt[place + 1 :]
    return bytes(spoilt)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.parquet.gz"])
def test_a_corrupted_file_ends_in_a_clear_error_or_in_a_table_that_can_be_used(
    name: str, tmp_path: Path, written
) -> None:
    chance = random.Random(name)
    data = as_parquet(FRAME, tmp_path / "x.parquet") if "parquet" in name else CSV
    whole = gzip.compress(data, mtime=0) if name.endswith("gz") else data
    right, used = read_table(written(name, whole)), 0
    for _ in range(150):
        spoilt = written(name, corrupted(whole, chance))
        error = ""
        try:
            read = read_table(spoilt)
            prepared = prepare(read, "Class")
        except ValueError as refusal:
            error = str(refusal)
        if error:
            assert re.search(r"Expected.*Received", error)
            assert error.isprintable()
            continue
        used += 1
        assert prepared.n_samples == len(read) >= 2 * ROWS_PER_CLASS
        assert all(np.isfinite(part.inputs).all() for part in (prepared.train, prepared.validation, prepared.test))
        if name.endswith("gz"):  # has a checksum
            pd.testing.assert_frame_equal(read, right)
    assert used > 0 or name.endswith("gz")
