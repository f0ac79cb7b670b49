"""Durable files: whatever fails, the name holds a whole file, old or new."""

import os

import pytest

from trainer.storage import durable
from trainer.storage.durable import UNFINISHED, make_folder, replace_file

OLD, NEW = b"old content", b"the new content, which is longer"


class Calls:
    """The calls that one save makes of the operating system; the one with a number fails, or only what it names."""

    def __init__(self, monkeypatch, failing=None):
        self.names = []
        self.failing = failing
        for name in ("fsync", "replace", "close", "open"):
            monkeypatch.setattr(durable.os, name, self.spying(name, getattr(os, name)))

    def spying(self, name, function):
        def call(*arguments, **options):
            self.names.append(name)
            if len(self.names) - 1 == self.failing:
                raise OSError(5, "Input/output error")
            return function(*arguments, **options)

        return call


def save(path):
    replace_file(path, lambda file: file.write(NEW))


def test_the_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    calls = Calls(monkeypatch)
    save(tmp_path / "file")
    assert calls.names == ["fsync", "replace", "open", "fsync", "close"]
    assert (tmp_path / "file").read_bytes() == NEW


@pytest.mark.parametrize("failing", range(5))
def test_whichever_call_fails_the_name_holds_a_whole_file_and_nothing_is_left_beside_it(tmp_path, monkeypatch, failing):
    (tmp_path / "file").write_bytes(OLD)
    with monkeypatch.context() as patches:
        Calls(patches, failing)
        with pytest.raises(OSError, match="Input/output"):
            save(tmp_path / "file")
    renamed = failing > ["fsync", "replace", "open", "fsync", "close"].index("replace")
    assert (tmp_path / "file").read_bytes() == (NEW if renamed else OLD)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
def test_an_exception_while_writing_leaves_the_old_content(tmp_path, error):
    (tmp_path / "file").write_bytes(OLD)

    def write(file):
        file.write(NEW[:3])
        raise error

    with pytest.raises(error):
        replace_file(tmp_path / "file", write)
    assert (tmp_path / "file").read_bytes() == OLD
    assert not (tmp_path / f"file{UNFINISHED}").exists()


def test_a_missing_folder_is_an_error_and_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "gone" / "file")
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_every_folder_made_is_synced_in_the_one_above(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    make_folder(tmp_path / "one" / "two")
    assert (tmp_path / "one" / "two").is_dir()
    assert set(synced) == {tmp_path, tmp_path / "one"}
    make_folder(tmp_path / "one")
    assert len(synced) == 2
