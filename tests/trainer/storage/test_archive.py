"""Archives: what goes in comes out, any damage is noticed, and forged ones cannot hurt."""

import hashlib
import io
import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from trainer.storage.archive import ArchiveError, read_archive, write_archive

RNG = np.random.default_rng(0)
ARRAYS = {
    "W1": RNG.normal(size=(5, 7)),
    "b1": RNG.normal(size=3).astype(np.float32),
    "columns_first": np.asfortranarray(RNG.normal(size=(3, 5))),
    "none": np.zeros((0, 3)),
    "number": np.array(7),
    "rows": np.array([True, False, True]),
}
FACTS = {"iteration": 300, "best": float("inf"), "state": 2**127 + 1, "name": "<é>", "nothing": None}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "archive.npz"
    write_archive(path, "checkpoint", 1, ARRAYS, FACTS)
    return path


def forge(path, members, *, compression=zipfile.ZIP_STORED):
    """Write an archive by hand, with a checksum that is right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.comment = b"0" * 64
        for name, content in members:
            file.writestr(name, content)
    content = buffer.getvalue()[:-64]
    path.write_bytes(content + hashlib.sha256(content).hexdigest().encode())


def npy(array=None, header=None):
    buffer = io.BytesIO()
    if header is None:
        np.lib.format.write_array(buffer, array)
    else:
        np.lib.format.write_array_header_1_0(buffer, header)
        buffer.write(b"\0" * 64)
    return buffer.getvalue()


def facts(**more):
    return "facts.json", json.dumps({"kind": "checkpoint", "version": 1} | more)


def test_what_goes_in_comes_out_to_the_last_bit(path):
    archive = read_archive(path, "checkpoint", 1)
    assert archive.facts == {"kind": "checkpoint", "version": 1} | FACTS
    assert list(archive.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert archive.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(archive.arrays[name], array)
        assert archive.arrays[name].flags.writeable


def test_numpy_reads_it_too(path):
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["W1"], ARRAYS["W1"])


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    write_archive(tmp_path / "twin.npz", "checkpoint", 1, ARRAYS, FACTS)
    assert (tmp_path / "twin.npz").read_bytes() == path.read_bytes()


def test_every_flipped_bit_is_noticed(path):
    content = path.read_bytes()
    for bit in RNG.permutation(8 * len(content))[:2_000]:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError, match=r"Expected .* Received "):
            read_archive(path, "checkpoint", 1)


def test_every_truncation_is_noticed(path):
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ArchiveError, match=r"Expected .* Received "):
            read_archive(path, "checkpoint", 1)


def test_without_its_checksum_damage_would_go_unnoticed(path, monkeypatch):
    content = bytearray(path.read_bytes())
    content[content.index(ARRAYS["W1"].tobytes()) + 3] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr("trainer.storage.archive._verify", lambda *_: None)
    monkeypatch.setattr(zipfile.ZipExtFile, "_update_crc", lambda *_: None)
    assert not np.array_equal(read_archive(path, "checkpoint", 1).arrays["W1"], ARRAYS["W1"])


@pytest.mark.parametrize(("kind", "version"), [("violation", 1), ("checkpoint", 2)])
def test_another_format_is_refused_with_what_was_expected_and_received(path, kind, version):
    expected = rf"Expected {kind}, version {version}\. Received checkpoint, version 1\."
    with pytest.raises(ArchiveError, match=expected):
        read_archive(path, kind, version)


def test_a_file_that_unpacks_to_far_more_is_refused_with_its_size_before_memory_is_taken(path):
    zeros = np.zeros(50_000_000, np.uint8)
    np.savez_compressed(path, zeros=zeros)
    tracemalloc.start()
    with pytest.raises(ArchiveError, match=r"declares 50,000,\d+ bytes unpacked"):
        read_archive(path, "checkpoint", 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


FORGED = {
    "compressed": ([facts(), ("W1.npy", npy(np.zeros(10**6)))], {"compression": zipfile.ZIP_DEFLATED}),
    "more declared than there is": (
        [facts(), ("W1.npy", npy(header={"descr": "<f8", "fortran_order": False, "shape": (10**12,)}))],
        {},
    ),
    "a shape that overflows": (
        [facts(), ("W1.npy", npy(header={"descr": "<f8", "fortran_order": False, "shape": (2**32, 2**32)}))],
        {},
    ),
    "a negative shape": (
        [facts(), ("W1.npy", npy(header={"descr": "<f8", "fortran_order": False, "shape": (-2, -4)}))],
        {},
    ),
    "objects": ([facts(), ("W1.npy", npy(np.array([{}], dtype=object)))], {}),
    "text": ([facts(), ("W1.npy", npy(np.array(["text"])))], {}),
    "a path that leads elsewhere": ([facts(), ("../W1.npy", npy(np.zeros(3)))], {}),
    "an absolute path": ([facts(), ("/etc/W1.npy", npy(np.zeros(3)))], {}),
    "the same name twice": ([facts(), ("W1.npy", npy(np.zeros(3))), ("W1.npy", npy(np.ones(3)))], {}),
    "no facts": ([("W1.npy", npy(np.zeros(3)))], {}),
    "facts that are a list": ([("facts.json", "[1, 2]")], {}),
    "facts nested too deeply": ([("facts.json", "[" * 100_000)], {}),
    "facts that are no JSON": ([("facts.json", "__import__('os').system('true')")], {}),
    "a pickle": ([facts(), ("W1.npy", pickle.dumps([1, 2, 3]))], {}),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_archive_with_a_right_checksum_is_refused_in_one_line(tmp_path, kind):
    members, options = FORGED[kind]
    path = tmp_path / "forged.npz"
    forge(path, members, **options)
    with pytest.raises(ArchiveError, match=r"^.* is no checkpoint\. Expected .* Received .*\.$"):
        read_archive(path, "checkpoint", 1)


def test_a_file_longer_than_the_limit_is_not_read(path):
    with pytest.raises(ArchiveError, match="Expected at most 100 bytes"):
        read_archive(path, "checkpoint", 1, limit=100)


def test_a_folder_or_a_missing_file_is_an_error_of_its_own(tmp_path):
    with pytest.raises(ArchiveError, match="Received a folder"):
        read_archive(tmp_path, "checkpoint", 1)
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "none.npz", "checkpoint", 1)
