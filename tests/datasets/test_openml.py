"""What `fetch_table` fetches: from scikit-learn's folder, without a network."""

import gzip
import hashlib
import json
from pathlib import Path
from urllib.error import URLError

import pytest

from datasets import fetch_table

pytest.importorskip("pandas")

ARFF = (
    "@RELATION creditcard\n@ATTRIBUTE V1 REAL\n@ATTRIBUTE Kind STRING\n@ATTRIBUTE Class {'0','1'}\n@DATA\n"
    + "".join(f"{row / 7},k{row % 3},'{int(row % 5 == 0)}'\n" for row in range(35))
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise URLError("no network in tests")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", refuse)
    monkeypatch.setattr("sklearn.datasets._openml.time.sleep", lambda seconds: None)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """Lay the table where scikit-learn keeps what it has fetched."""
    kinds = {"V1": "numeric", "Kind": "string", "Class": "nominal"}
    features = [
        {"index": str(n), "name": name, "data_type": kind, "is_target": str(name == "Class").lower()}
        | {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
        | ({"nominal_value": ["0", "1"]} if kind == "nominal" else {})
        for n, (name, kind) in enumerate(kinds.items())
    ]
    about = {"id": "7", "name": "creditcard", "version": "1", "format": "ARFF", "file_id": "9", "status": "active"}
    about |= {"description": "", "md5_checksum": hashlib.md5(ARFF.encode()).hexdigest()}
    about |= {"url": "https://www.openml.org/data/v1/download/9"}
    found = {"did": 7, "name": "creditcard", "version": 1, "status": "active"}
    for place, data in (
        ("list/data_name/creditcard/limit/2/status/active/", {"data": {"dataset": [found]}}),
        ("7", {"data_set_description": about}),
        ("features/7", {"data_features": {"feature": features}}),
        ("qualities/7", {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": "35"}]}}),
    ):
        lay(tmp_path, f"api/v1/json/data/{place}", json.dumps(data))
    lay(tmp_path, "data/v1/download/9", ARFF)
    return tmp_path


def lay(folder: Path, place: str, text: str) -> None:
    path = Path(f"{folder}/openml/openml.org/{place}.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


@pytest.mark.parametrize("name", ["creditcard", "CreditCard", "7"])
def test_a_table_is_read_by_its_name_and_by_its_number_with_the_target_in_it(name: str, cached: Path) -> None:
    frame = fetch_table(name)
    assert list(frame) == ["V1", "Kind", "Class"]
    assert frame.V1.tolist() == pytest.approx([row / 7 for row in range(35)], rel=1e-15)
    assert frame.Class.astype(int).sum() == 7


def test_what_is_neither_there_nor_to_be_had_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"openml:creditcard cannot be fetched.*no network in tests"):
        fetch_table("creditcard")


@pytest.mark.parametrize("name", ["", "a/b", "a?b", "../x", "a b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no such table"):
        fetch_table(name)


def test_a_broken_table_is_not_taken(cached: Path) -> None:
    lay(cached, "data/v1/download/9", ARFF.replace("k1", "k2"))
    with pytest.raises((ValueError, OSError), match="openml:creditcard cannot be"):
        fetch_table("creditcard")
