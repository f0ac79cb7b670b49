"""The history: what is appended is in memory and on disk, as plain values and valid JSON."""

import enum
import json
import math
import tracemalloc
from io import FileIO

import numpy as np
import pytest

from trainer import History


class Verdict(enum.StrEnum):
    PASS = "pass"


def test_a_row_is_on_disk_before_append_returns(tmp_path):
    history = History(tmp_path / "history.jsonl")
    for iteration in (1, 2, 3):
        history.append({"event": "iteration", "iteration": iteration})
        lines = (tmp_path / "history.jsonl").read_text().splitlines()
        assert [json.loads(line)["iteration"] for line in lines] == list(range(1, iteration + 1))
    history.close()


def test_numpy_and_enum_values_become_plain_ones():
    history = History()
    history.append({"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.arange(3), "e": Verdict.PASS})
    assert history.rows == [{"a": 0.5, "b": 3, "c": True, "d": [0, 1, 2], "e": "pass"}]
    assert [type(value) for value in history.rows[0].values()] == [float, int, bool, list, str]


def test_a_row_is_copied():
    history, row = History(), {"loss": 1.0}
    history.append(row)
    row["loss"] = 2.0
    assert history.rows == [{"loss": 1.0}]


def test_nan_and_infinity_are_valid_json_and_survive_the_way_back(tmp_path):
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.append({"loss": math.nan, "up": math.inf, "down": np.float64(-math.inf), "index": [1, math.nan]})
    history.close()

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    line = json.loads(path.read_text(), parse_constant=refuse)
    assert line == {"loss": "nan", "up": "inf", "down": "-inf", "index": [1, "nan"]}
    row = History.read(path).rows[0]
    assert math.isnan(row["loss"])
    assert (row["up"], row["down"]) == (math.inf, -math.inf)


def test_reading_gives_the_rows_that_were_written(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.append({"event": "iteration", "loss": 0.1 + 0.2, "worst": (1, 2)})
    history.append({"event": "end", "outcome": "completed", "reason": None, "note": "schön"})
    history.close()
    assert list(History.read(tmp_path / "history.jsonl")) == history.rows


def test_a_value_that_json_does_not_know_cannot_lose_the_row(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.append({"loss": 1.0, "where": tmp_path})
    history.close()
    assert History.read(tmp_path / "history.jsonl").rows == [{"loss": 1.0, "where": str(tmp_path)}]


def test_a_column_skips_the_rows_without_it():
    history = History()
    for row in ({"loss": 1.0}, {"difference": 2.0}, {"loss": 3.0}):
        history.append(row)
    assert history.column("loss") == [1.0, 3.0]
    assert history.column("nothing") == []
    assert len(history) == 3


def test_a_new_history_replaces_an_old_file(tmp_path):
    for value in (1, 2):
        history = History(tmp_path / "history.jsonl")
        history.append({"value": value})
        history.close()
    assert History.read(tmp_path / "history.jsonl").column("value") == [2]


def test_a_path_that_cannot_be_written_fails_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        History(tmp_path / "missing" / "history.jsonl")


def test_without_a_file_rows_may_be_added_after_closing_and_with_one_that_is_an_error(tmp_path):
    history = History()
    history.close()
    history.append({"note": "late"})
    assert len(history) == 1
    history = History(tmp_path / "history.jsonl")
    history.close()
    with pytest.raises(ValueError, match="closed"):
        history.append({"note": "late"})
    assert (tmp_path / "history.jsonl").read_text() == ""


def test_with_a_file_a_long_run_takes_no_more_memory_than_a_short_one(tmp_path):
    history = History(tmp_path / "history.jsonl")
    tracemalloc.start()
    for iteration in range(5_000):
        history.append({"event": "iteration", "iteration": iteration, "loss": 0.5})
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 20_000
    assert len(history) == 5_000
    assert history.column("iteration") == list(range(5_000))
    history.close()


def test_the_last_rows_are_at_hand_with_and_without_a_file(tmp_path):
    for path in (None, tmp_path / "history.jsonl"):
        history = History(path)
        history.append({"a": 1})
        assert history.last(3) == [{"a": 1}]
        history.append({"a": np.float32(2)})
        assert history.last(1) == [{"a": 2.0}]
        assert history.last(2) == history.rows
        assert history.last(0) == []
        history.close()


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_is_skipped_and_counted_wherever_it_was_cut(tmp_path, caplog, cut):
    path = tmp_path / "history.jsonl"
    whole = b'{"event": "iteration", "a": 1}\n'
    path.write_bytes(whole + whole[:cut])
    history = History.read(path)
    assert len(history) == 1
    assert history.torn == cut
    assert f"({cut} bytes)" in caplog.text


def test_a_whole_file_has_nothing_torn(tmp_path, caplog):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n')
    assert History.read(path).torn == 0
    assert not caplog.text


@pytest.mark.parametrize("line", [b"{", b"[1]", b"3", b"\xff\xfe", b"null", b"[" * 5_000])
def test_a_broken_line_that_is_not_the_last_is_an_error_with_its_number(tmp_path, line):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    with pytest.raises(ValueError, match=r"is no history\. Expected a JSON object in line 2\. Received b'"):
        History.read(path)


def written(path, n):
    history = History(path)
    for iteration in range(n):
        history.append({"event": "iteration", "iteration": iteration, "loss": 1 / (iteration + 1)})
    return history


@pytest.mark.parametrize("with_file", [True, False])
def test_a_history_goes_on_from_its_state_as_if_nothing_had_been_written_since(tmp_path, with_file):
    path = tmp_path / "history.jsonl" if with_file else None
    history = written(path, 5)
    state = json.loads(json.dumps(history.state_dict()))
    history.append({"iteration": "lost"})
    history.close()
    if path is not None:
        with path.open("ab") as file:
            file.write(b'{"torn')
    resumed = History.from_state(state, path)
    resumed.append({"iteration": 5})
    resumed.close()
    assert resumed.column("iteration") == [0, 1, 2, 3, 4, 5]
    assert len(resumed) == 6
    if path is not None:
        assert History.read(path).rows == resumed.rows
        assert History.read(path).torn == 0


@pytest.mark.parametrize("damage", ["shorter", "changed"])
def test_a_file_that_does_not_begin_with_the_rows_of_the_state_is_refused_and_left_alone(tmp_path, damage):
    path = tmp_path / "history.jsonl"
    history = written(path, 5)
    state = history.state_dict()
    history.close()
    content = path.read_bytes()
    content = content[:-3] if damage == "shorter" else content.replace(b"0.25", b"0.26")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not the history of this run\. Expected .* Received "):
        History.from_state(state, path)
    assert path.read_bytes() == content


def test_a_state_of_a_file_needs_a_file(tmp_path):
    history = written(tmp_path / "history.jsonl", 3)
    history.close()
    with pytest.raises(ValueError, match="Expected the history_path of the run"):
        History.from_state({"n_rows": 3, "n_bytes": 9, "crc32": 0}, None)


def test_a_disk_that_fills_up_ends_the_file_with_a_whole_row(tmp_path, monkeypatch):
    history = written(tmp_path / "history.jsonl", 3)
    room = 10

    class Full(FileIO):
        """Has room for a few bytes more."""

        def write(self, data):
            nonlocal room
            if room == 0:
                raise OSError(28, "No space left on device")
            n, room = min(room, len(data)), 0
            return super().write(bytes(data)[:n])

    real = history._file
    history._file = Full(tmp_path / "history.jsonl", "r+")
    history._file.seek(0, 2)
    with pytest.raises(OSError, match="No space"):
        history.append({"event": "iteration", "iteration": 3})
    real.close()
    history.close()
    again = History.read(tmp_path / "history.jsonl")
    assert (again.column("iteration"), again.torn) == ([0, 1, 2], 0)
    assert len(history) == 3


BROKEN = [None, [], {}, {"rows": 3}, {"rows": [3]}, {"n_rows": 1, "n_bytes": "2", "crc32": 3}, {"n_rows": -1}]


@pytest.mark.parametrize("state", [*BROKEN, {"n_rows": 1, "n_bytes": 2, "crc32": {}}])
def test_a_state_that_no_history_gave_is_refused(tmp_path, state):
    with pytest.raises(ValueError, match=r"Expected .* Received "):
        History.verify(state, tmp_path / "history.jsonl")


def test_the_name_of_the_file_is_on_disk_once_a_checkpoint_counts_on_it(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("trainer.storage.durable.Folder.sync", lambda folder: synced.append(folder.path))
    history = History(tmp_path / "history.jsonl")
    history.append({"loss": 1.0})
    assert synced == []
    history.state_dict()
    history.state_dict()
    assert synced == [tmp_path]
    history.close()
