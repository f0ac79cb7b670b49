"""Entrances: where input comes in, each with the inputs that are tried there. A new one belongs into `entrances`."""

import hashlib
import io
import json
import shlex
import zipfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from checks import GradientCheck, assert_gradients, check_gradients
from checks.check import GradientCheckError
from checks.flat import check_flat
from checks.training.violation_file import read_violation
from datasets import make_fraud, prepare, read_table
from experiments.crash.inputs.bad_values import (
    anything,
    arrays,
    calls,
    commands,
    json_values,
    lines,
    mutated,
    numbers,
    words,
)
from experiments.crash.inputs.entrance import CLEAR, WITH_ROWS, Entrance
from experiments.crash.small_run import SmallRun
from experiments.fraud.arguments import parse
from experiments.fraud.main import main
from experiments.fraud.resuming import resumed
from experiments.replay import main as replay
from experiments.report import main as report
from experiments.runs.folder import RunFolder
from trainer import SGD, Adam, Checkpoint, EarlyStopping, History, Network, Snapshot, Trainer
from trainer.callbacks.checkpoint import checkpoints
from trainer.storage.archive import read_archive, write_archive
from trainer.storage.codec import to_plain
from trainer.storage.json_rows import line_of

QUICK_RUN = shlex.split(
    "--samples 60 --features 3 --fraud-rate 0.2 --hidden 3 --batch-size 16 --check-every 2 --baselines off"
)
OPTIONS = shlex.split(
    "--samples --features --fraud-rate --seed --hidden --activation --dropout --l2 --positive-weight --epochs "
    "--batch-size --optimizer --learning-rate --dtype --compiled --check-every --check-rows --coverage "
    "--derivative --check-dropout --terms --threshold --step --on-failure --bug --bug-after --out --checkpoint-every "
    "--resume --overwrite --quiet --help --nothing -h"
)
VALUES = shlex.split("0 1 2 3 7 0.5 1e-4 -1 1e400 nan inf adam sgd relu tanh full directions central float32 dW2 list")
SMALL_VALUES = [value for value in VALUES if value != "list"]
PAGE_FILES = ("settings.json", "metrics.json", "proof.json", "report.json", "run.json", "history.jsonl", "check.npz")
ROWS = [["7", f"{row}.5", "DE" if row % 3 else "FR", "01"[row % 2]] for row in range(12)]
TABLE = [["Time", "V1", "Country", "Class"], *ROWS]


def entrances(folder: Path) -> list[Entrance]:
    """List the entrances; files go into a folder."""
    return [*_files(folder), *_checks(), *_training(folder), *_command_line(folder), *_kept(folder), *_tables(folder)]


def _called(
    function: Callable[..., object], good: Mapping[str, Any], share: float = 1.0, clear: Any = CLEAR, **how: Any
) -> Entrance:
    """Call a function with good arguments, some of which are replaced."""
    return Entrance(function.__name__, calls(good, **how), lambda given: function(**given), share, clear)


def _json(data: Any) -> bytes:
    return json.dumps(data).encode()


def _files(folder: Path) -> list[Entrance]:
    run = SmallRun(folder / "run", every=5, epochs=1)
    snapshot = Snapshot.read(checkpoints(run.folder)[0])
    forged, text = folder / "forged.npz", folder / "text"
    place = folder / "place"
    place.mkdir()
    settings = {"argv": [*QUICK_RUN, "--out", str(place)], "samples": 60}

    def go_on(facts: Any) -> None:
        if not isinstance(facts, dict):  # which Snapshot does not write
            return
        (folder / "history.jsonl").write_bytes(run.files["history.jsonl"])
        write_archive(forged, "checkpoint", 1, snapshot.arrays, facts)
        run.trainer(folder).fit(run.inputs, run.targets, resume=Snapshot.read(forged))
        for path in checkpoints(folder):
            path.unlink()

    def read_settings(data: Any) -> None:
        (place / "settings.json").write_bytes(_json(data))
        resumed(parse(["--resume", "--out", str(place)]))

    def read(path: Path, content: bytes, reader: Any) -> None:
        path.write_bytes(content)
        reader(path)

    return [
        Entrance("archive, noise", st.binary(max_size=300), lambda raw: read(forged, raw, Snapshot.read), 0.5),
        Entrance(
            "archive, forged",
            _forged(snapshot),
            lambda raw: read(forged, raw, lambda path: read_archive(path, "checkpoint", 1)),
            2,
        ),
        Entrance("checkpoint, forged", mutated(to_plain(snapshot.facts)), go_on, 2),
        Entrance(
            "history file", lines(lambda row: line_of({"row": row})), lambda raw: read(text, raw, History.read), 2
        ),
        Entrance(
            "history state",
            mutated(snapshot.facts.history),
            lambda state: History.verify(state, run.folder / "history.jsonl"),
        ),
        Entrance(
            "settings file, bytes",
            st.binary(max_size=50) | json_values.map(_json),
            lambda raw: read(place / "run.json", raw, lambda path: RunFolder(place, resume=True).read_json(path.name)),
        ),
        Entrance("settings file", mutated(settings), read_settings),
    ]


def _forged(snapshot: Snapshot) -> st.SearchStrategy[bytes]:
    """Draw zip files with a right checksum and wrong members."""

    def npy(header: Mapping[str, Any]) -> bytes:
        stream = io.BytesIO()
        stream.write(b"\x93NUMPY\x01\x00")
        described = repr(dict(header)).encode("latin1", errors="replace")
        stream.write(len(described).to_bytes(2, "little") + described + bytes(64))
        return stream.getvalue()

    def archive(members: list[tuple[str, bytes]], method: int) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as file:
            file.comment = b"0" * 64
            for name, content in dict(members).items():
                file.writestr(name.partition("\0")[0] or "empty", content)
        raw = stream.getvalue()[:-64]
        return raw + hashlib.sha256(raw).hexdigest().encode()

    header = st.fixed_dictionaries(
        {
            "descr": st.sampled_from(["<f8", "<f4", "|b1", "|O", "<U3", "<c16", [("a", "<f8")], "<f8, <i4", "\0"])
            | words,
            "fortran_order": st.booleans() | json_values,
            "shape": st.tuples(st.integers(-2, 8)) | st.tuples(st.integers(), st.integers()) | json_values,
        }
    )
    kind = _json(to_plain(snapshot.facts) | {"kind": "checkpoint", "version": 1})
    facts = st.just(kind) | json_values.map(_json) | st.binary(max_size=9)
    names = (
        st.sampled_from(["W1.npy", "parameters.npy", "../W1.npy", "/W1.npy", "W1", "a/b.npy", "facts.json/x"]) | words
    )
    content = header.map(npy) | st.binary(max_size=99)
    members = st.tuples(st.lists(st.tuples(names, content), max_size=3), facts)
    return st.tuples(members, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])).map(
        lambda two: archive([*two[0][0], ("facts.json", two[0][1])], two[1])
    )


def _checks() -> list[Entrance]:
    def loss(p: Any, *more: Any) -> Any:
        return sum(float(np.sum(np.square(part))) for part in (p.values() if isinstance(p, dict) else [p]))

    def gradient(p: Any, *more: Any) -> Any:
        return {name: 2 * part for name, part in p.items()} if isinstance(p, dict) else 2 * p

    options = {"coverage": "full", "derivative": None, "threshold": 1e-7, "step": None, "rng": None, "n_jobs": 1}
    good = {"loss": loss, "gradients": gradient, "parameters": {"w": np.ones(3), "b": 0.5}}
    flat = {"f": loss, "grad": gradient, "x": np.ones(3), "args": (), "names": None}
    check = {"every": 3, "rows": 5, "dropout": "off", "terms": False, "on_failure": "raise", "seed": 0}
    check |= {name: options[name] for name in ("coverage", "derivative", "threshold", "step")}

    def checked(given: Mapping[str, Any]) -> None:
        check_gradients(**given)

    def assertion(given: Mapping[str, Any]) -> None:
        with suppress(GradientCheckError):
            assert_gradients(**given)

    values = anything.map(lambda value: {"loss": lambda p: value, "gradients": gradient, "parameters": np.ones(3)})
    claimed = anything.map(lambda value: {"loss": loss, "gradients": value, "parameters": np.ones(3)})
    return [
        _called(check_gradients, good, 3, WITH_ROWS, most=2),
        Entrance("check_gradients, options", calls(good | options), checked, 3, WITH_ROWS),
        Entrance("check_gradients, losses", values, checked, 1, WITH_ROWS),
        Entrance("check_gradients, gradients", claimed, checked, 1, WITH_ROWS),
        Entrance("assert_gradients", calls(good), assertion, 1, WITH_ROWS),
        _called(check_flat, flat, 2, WITH_ROWS),
        _called(GradientCheck, check),
    ]


def _training(folder: Path) -> list[Entrance]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(11, 3))
    network = Network((3, 2, 1))
    sizes = {"layer_sizes": (3, 2, 1), "activation": "relu", "dropout": 0.1, "l2": 0.0, "positive_weight": 1.0}
    trainer: dict[str, Any] = {"network": network, "optimizer": None, "batch_size": 4, "epochs": 1, "seed": 0}
    trainer |= {"dtype": "float64", "callbacks": (), "history_path": None, "shuffle_window": None}
    targets = np.arange(11) % 2
    rows = {"inputs": inputs, "targets": targets, "validation": None, "both_classes": True, "resume": None}
    adam = {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}
    stopping = {"monitor": "epoch_loss", "patience": 2, "min_delta": 0.0}
    saves = {"folder": folder / "saves", "every": 3, "keep": 2}
    table = {"n_samples": 60, "n_features": 3, "fraud_rate": 0.2, "seed": 0}
    small = anything.filter(lambda value: not isinstance(value, int) or value < 100 or value >= 10**9)

    def fit(given: Mapping[str, Any]) -> None:
        Trainer(network, batch_size=4, epochs=1).fit(given["inputs"], given["targets"], given["validation"])

    def fit_set_up(given: Mapping[str, Any]) -> None:
        ready = Trainer(**given)
        ready.epochs = min(ready.epochs, 2)  # a million epochs are no mistake
        ready.fit(inputs, targets)

    fitted = Trainer(network, epochs=1)
    fitted.fit(inputs, targets)
    return [
        _called(Network, sizes, bad=small),
        _called(Adam, adam),
        _called(SGD, {"learning_rate": 0.01, "momentum": 0.5}),
        Entrance("Trainer", calls(trainer, most=2), fit_set_up, 2, WITH_ROWS),
        Entrance("fit", calls(rows), fit, 3, WITH_ROWS),
        Entrance("predict_proba", anything | arrays, fitted.predict_proba, 1, WITH_ROWS),
        _called(EarlyStopping, stopping),
        _called(Checkpoint, saves),
        _called(make_fraud, table, 1.5, WITH_ROWS, bad=small),
    ]


def _kept(folder: Path) -> list[Entrance]:
    """List what a run has kept for its replay and its page."""
    halted = folder / "halted"
    quietly(main, [*QUICK_RUN, "--epochs", "1", "--quiet", "--bug", "dW2", "--out", str(halted)])
    violation = next(halted.glob("violation-*.npz"))
    case = read_archive(violation, "violation", 1)
    forged = folder / "violation.npz"
    files = {name: (halted / name).read_bytes() for name in PAGE_FILES if (halted / name).exists()}

    def read_forged(facts: Any) -> None:
        if isinstance(facts, dict):  # which write_archive takes
            write_archive(forged, "violation", 1, case.arrays, facts)
            read_violation(forged)

    def shown(content: bytes) -> None:
        forged.write_bytes(content)
        command(replay.main, [str(forged)])

    def page(changed: tuple[str, bytes]) -> None:
        name, content = changed
        (halted / name).write_bytes(content)
        try:
            command(report.main, [str(halted), "--to", str(folder / "page.html")])
        finally:
            (halted / name).write_bytes(files[name])

    data = {name: json.loads(raw) for name, raw in files.items() if name.endswith(".json")}
    as_json = st.sampled_from(sorted(data)).flatmap(
        lambda name: mutated(data[name]).map(lambda tree: (name, _json(tree)))
    )
    as_bytes = st.tuples(st.sampled_from(sorted(files)), st.binary(max_size=60))
    return [
        Entrance("violation, forged", mutated(case.facts), read_forged, 2),
        Entrance("replay, noise", _damaged(violation.read_bytes()), shown, 0.5),
        Entrance("report, files of a run", as_json, page, 0.3 if find_spec("matplotlib") else 1),
        Entrance("report, noise", as_bytes, page, 0.3 if find_spec("matplotlib") else 1),
    ]


def _tables(folder: Path) -> list[Entrance]:
    if not find_spec("pyarrow"):  # the extra `tables`
        return []
    path = folder / "table.csv"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        prepare(read_table(path), "Class")

    cells = st.lists(st.lists(words | st.sampled_from(["", "1", "nan", "=1+1", '"']), max_size=5), max_size=7)
    mixed = mutated(TABLE).filter(lambda table: isinstance(table, list)) | cells
    text = mixed.map(
        lambda rows: "\n".join(",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)
    )
    return [
        Entrance("table", text.map(lambda all_of_it: all_of_it.encode(errors="replace")), read, 2),
        Entrance("table, noise", st.binary(max_size=200), read, 0.5),
        Entrance("table, JSON", json_values.map(_json), read, 0.3),
    ]


def _damaged(content: bytes) -> st.SearchStrategy[bytes]:
    places = st.integers(0, len(content) - 1)
    flipped = st.tuples(places, st.integers(1, 255)).map(
        lambda two: content[: two[0]] + bytes([content[two[0]] ^ two[1]]) + content[two[0] + 1 :]
    )
    return flipped | places.map(lambda end: content[:end]) | st.binary(max_size=99)


def _command_line(folder: Path) -> list[Entrance]:
    out = folder / "out"

    def run(argv: list[str]) -> None:
        command(main, [*argv, "--epochs", "1", "--hidden", "3", "--out", str(out), "--overwrite", "--quiet"])

    def read(argv: list[str]) -> None:
        with redirect_stdout(io.StringIO()):
            parse(argv)

    return [
        Entrance("parse", commands([], OPTIONS, VALUES), read, 4),
        Entrance("parse, any words", st.lists(words | numbers.map(str), max_size=4), read, 1),
        Entrance("main", commands(QUICK_RUN, OPTIONS, SMALL_VALUES), run, 2.5),
    ]


def command(called: Any, argv: list[str]) -> None:
    """Run a command; bad input must be one line and exit code 2."""
    said, code = quietly(called, argv)
    if code not in (0, 1, 2) or "Traceback" in said:
        raise RuntimeError(f"exit code {code}: {said}")
    if code == 2 and len(said.splitlines()) != 1:
        raise RuntimeError(f"bad usage is not one line: {said}")


def quietly(called: Any, argv: list[str]) -> tuple[str, int]:
    """Run a command; give what it has said of errors, and its exit code."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        code = called(argv)
    return said.getvalue(), code
