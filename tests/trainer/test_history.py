"""The history: what is appended is in memory and on disk, as plain values and valid JSON."""

import enum
import json
import math

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


def test_rows_may_be_added_after_closing_but_stay_in_memory(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.close()
    history.append({"note": "late"})
    assert len(history) == 1
    assert (tmp_path / "history.jsonl").read_text() == ""
