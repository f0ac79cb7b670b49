"""Durable files: whatever fails, the name holds a whole file, old or new."""

import os
import shutil
from contextlib import nullcontext

import pytest

from trainer.storage import durable
from trainer.storage.durable import UNFINISHED, File, Folder, FolderLost, NoFileOfOurs, replace_file

OLD, NEW = b"old content", b"the new content, which is longer"
CALLS = ["open", "open", "fsync", "replace", "fsync", "close"]  # of the folder, of the file beside


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
    assert calls.names == CALLS
    assert (tmp_path / "file").read_bytes() == NEW


@pytest.mark.parametrize("failing", range(len(CALLS)))
def test_whichever_call_fails_the_name_holds_a_whole_file_and_nothing_is_left_beside_it(tmp_path, monkeypatch, failing):
    (tmp_path / "file").write_bytes(OLD)
    with monkeypatch.context() as patches:
        Calls(patches, failing)
        with pytest.raises(OSError, match="Input/output") if CALLS[failing] != "close" else nullcontext():
            save(tmp_path / "file")
    renamed = failing > CALLS.index("replace")
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
    monkeypatch.setattr(Folder, "sync", lambda folder: synced.append(folder.path))
    Folder(tmp_path / "one" / "two").make()
    assert (tmp_path / "one" / "two").is_dir()
    assert set(synced) == {tmp_path, tmp_path / "one"}
    Folder(tmp_path / "one").make()
    assert len(synced) == 2


def planted(kind, path, victim):
    """Put something else where a file is to be written."""
    victim.write_bytes(OLD)
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
@pytest.mark.parametrize("mode", ["w", "r+", "c", "a", "beside"])
def test_whatever_is_no_file_of_ones_own_is_refused_and_left_alone(tmp_path, kind, mode):
    path, victim = tmp_path / "file", tmp_path / "victim"
    planted(kind, path if mode != "beside" else tmp_path / f"file{UNFINISHED}", victim)
    with pytest.raises(NoFileOfOurs, match=r"left alone\. Expected a plain file, with this name only\. Received "):
        save(path) if mode == "beside" else File.of(path).open(mode)
    assert victim.read_bytes() == OLD
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_is_read_through_and_a_pipe_is_not_waited_for(tmp_path):
    planted("link", tmp_path / "link", tmp_path / "victim")
    planted("pipe", tmp_path / "pipe", tmp_path / "victim")
    with File.of(tmp_path / "link").open("r") as file:
        assert file.read() == OLD
    with pytest.raises(NoFileOfOurs, match="Received a pipe"):
        File.of(tmp_path / "pipe").open("r")


def test_what_a_killed_save_has_left_beside_goes(tmp_path):
    (tmp_path / f"file{UNFINISHED}").write_bytes(b"torn")
    save(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_held_stays_the_one_that_it_was(tmp_path):
    (tmp_path / "one").mkdir()
    folder = Folder(tmp_path / "one")
    assert folder.hold()
    assert not folder.hold()
    (tmp_path / "one").rename(tmp_path / "away")
    (tmp_path / "other").mkdir()
    (tmp_path / "one").symlink_to(tmp_path / "other")
    folder.replace("file", lambda file: file.write(NEW))
    (folder / "log").open("a").close()
    assert folder.names() == ["file", "log"]
    folder.unlink("log")
    folder.release()
    assert (tmp_path / "away" / "file").read_bytes() == NEW
    assert list((tmp_path / "other").iterdir()) == []
    assert folder.names() == []  # by its path, again


def test_a_guard_that_raises_keeps_everything_as_it_is(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    folder = Folder(tmp_path)

    def guard():
        raise PermissionError("not now")

    folder.guard = guard
    for change in (lambda: folder.replace("file", print), lambda: folder.unlink("file"), lambda: folder.open("b", "w")):
        with pytest.raises(PermissionError):
            change()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_lost_in_the_middle_of_a_write_is_told_as_that(tmp_path):
    folder = Folder(tmp_path / "out")
    folder.make()
    folder.hold()

    def guard():
        if not folder.path.exists():
            raise FolderLost("moved")

    folder.guard = guard
    with pytest.raises(FolderLost, match="moved"):
        folder.replace("file", lambda file: shutil.rmtree(folder.path))
    folder.release()
