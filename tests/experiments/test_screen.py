"""What the main job shows while it runs: log lines, the bar, a report that fits, and as little as asked for."""

import io
import logging
import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from checks import GradientReport, check_gradients
from experiments.fraud.main import main
from experiments.screen import HEIGHT, WIDTH, log_lines, of_payments, one_screen, stride_of
from trainer import History

ROOT = Path(__file__).parents[2]
SMALL = shlex.split(
    "--samples=1000 --features=9 --hidden 7 5 --epochs=2 --batch-size=64 --check-every=5 --no-report --baselines=off"
)
N_CHECKS = 4  # in 20 iterations
Captured = pytest.CaptureFixture[str]


class Stream(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_every_check_is_one_log_line_and_one_row_of_the_history(tmp_path: Path, capsys: Captured) -> None:
    main([*SMALL, "--out", str(tmp_path)])
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().err == log
    pattern = r"INFO    iteration (\d+)  PASS  difference \S+  applied \S+$"
    assert re.findall(pattern, log, re.MULTILINE) == ["5", "10", "15", "20"]
    rows = [row for row in History.read(tmp_path / "history.jsonl") if "verdict" in row]
    assert [row["iteration"] for row in rows] == [5, 10, 15, 20]
    assert all(row["verdict"] == "PASS" and row["parameters_checked"] == 116 for row in rows)


def test_a_terminal_shows_about_fifty_of_the_checks_that_pass_and_every_other_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n_checks, terminal in ((375, True), (74, True), (7, True), (375, False)):
        monkeypatch.setattr("sys.stderr", shown := Stream(terminal=terminal))
        with log_lines(quiet=False, file=tmp_path / "log.txt", stride=stride_of(n_checks)):
            for number in range(n_checks):
                checks = logging.getLogger("checks.training.callback")
                checks.info("iteration %d  PASS", number)
                if number % 11 == 5:
                    checks.warning("iteration %d  UNDECIDED", number)
                    logging.getLogger("experiments.fraud").info("not of a check, after %d", number)
        log = (tmp_path / "log.txt").read_text(encoding="utf-8")
        others = len(range(5, n_checks, 11))
        for text, passing in ((log, [n_checks]), (shown.getvalue(), range(34, 75) if terminal else [n_checks])):
            assert text.count("  PASS") in ([7] if n_checks == 7 else passing)
            assert text.count("  UNDECIDED") == text.count("not of a check") == others
        assert "iteration 0  PASS" in shown.getvalue()


def test_a_check_takes_one_line_of_a_terminal_with_79_columns(tmp_path: Path) -> None:
    assert main([*SMALL, "--quiet", "--check-every", "1", "--out", str(tmp_path)]) == 0
    assert main([*SMALL, "--quiet", "--bug", "sign", "--on-failure", "log", "--out", str(tmp_path), "--overwrite"]) == 0
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    about = [line for line in lines if re.search(r"iteration \d+  (PASS|FAIL|UNDECIDED)", line)]
    assert len(about) >= N_CHECKS
    assert max(map(len, about)) <= 79


def test_quiet_shows_the_result_only_and_logs_all_the_same(tmp_path: Path, capsys: Captured) -> None:
    assert main([*SMALL, "--quiet", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "average precision" in shown.out
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").count("PASS") == N_CHECKS


def test_quiet_does_not_hide_a_halt(capsys: Captured) -> None:
    assert main([*SMALL, "--quiet", "--bug", "dW2"]) == 1
    shown = capsys.readouterr().err
    assert "ERROR" in shown
    assert "INFO" not in shown
    assert "Look here first: W2" in shown


def test_the_report_of_a_deep_network_still_fits_the_screen() -> None:
    parameters = {f"W{layer}": np.full((3, 5), 0.1 * layer) for layer in range(1, 51)}

    def report(wrong: range) -> GradientReport:
        gradients = {name: 2.0 * value for name, value in parameters.items()}
        for layer in wrong:
            gradients[f"W{layer}"] = -3.0 * gradients[f"W{layer}"]
        return check_gradients(lambda p: sum((p[name] ** 2).sum() for name in p), gradients, parameters)

    for wrong in (range(7, 8), range(1, 51)):
        lines = one_screen(report(wrong), "Training halted at iteration 5.").splitlines()
        assert len(lines) <= HEIGHT
        assert max(map(len, lines)) <= WIDTH
        assert any(f"Look here first: W{wrong[-1]}[" in line for line in lines)
        assert any(line.startswith(f"  W{wrong[-1]} ") and "FAIL" in line for line in lines)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("64 rows, 106 of the 240 with target 1 among them", "64 rows, 106 of the 240 with fraud among them"),
        ("The terms class 0, class 1, l2 of the loss", "The terms legitimate rows, fraud rows, l2 of the loss"),
        ("Term 'rows of class 1' on its own: PASS", "Term 'fraud rows' on its own: PASS"),
        ("legitimate rows, fraud rows, with fraud, class 10", "legitimate rows, fraud rows, with fraud, class 10"),
    ],
)
def test_classes_and_targets_are_shown_in_the_words_of_payments(said: str, words: str) -> None:
    assert of_payments(said) == words


def test_logging_is_left_as_it_was_found() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    main(SMALL)
    assert (root.level, list(root.handlers)) == before


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "experiments.fraud", *SMALL, "--quiet"]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_on_a_terminal_the_bar_and_the_log_lines_do_not_tear_each_other() -> None:
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, np.array([40, 79, 0, 0], dtype=np.uint16).tobytes())
    command = [sys.executable, "-m", "experiments.fraud", *SMALL]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=side, cwd=ROOT) as process:
        os.close(side)
        shown = b""
        with suppress(OSError):  # how Linux says that nobody writes any more
            while part := os.read(terminal, 1 << 12):
                shown += part
    os.close(terminal)
    assert process.returncode == 0
    screen = shown.decode()
    pieces = [piece for piece in re.split(r"[\r\n]+", screen) if piece.strip()]
    assert all(re.match(r"\d\d:\d\d:\d\d INFO ", piece) for piece in pieces if "PASS" in piece)
    assert sum("  PASS  " in piece for piece in pieces) == N_CHECKS
    bars = [piece for piece in pieces if "20/20 [" in piece]
    assert re.search(r"epoch 2/2: 100%.*loss=[\d.]+, difference=\d", bars[-1])
