"""What the main job refuses, in one line that says what was expected and received, and what its help teaches."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.bugs.bugs import BUGS
from experiments.fraud.arguments import parse
from experiments.fraud.main import main
from experiments.screen import WIDTH

ROOT = Path(__file__).parents[3]
SMALL = [
    *["--samples=1000", "--features=9", "--hidden", "7", "5", "--epochs=2", "--batch-size=64", "--check-every=5"],
    "--baselines=off",
]
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "options",
    [
        *("--samples 0", "--samples many", "--samples 100", "--features 1", "--fraud-rate 0", "--fraud-rate 1"),
        *(
            "--fraud-rate nan",
            "--seed -1",
            "--hidden 0",
            "--hidden 7,5",
            "--activation gelu",
            "--dropout 1",
            "--l2 -1e-4",
        ),
        *(
            "--l2 inf",
            "--positive-weight 0",
            "--epochs 0",
            "--batch-size 1.5",
            "--optimizer adamw",
            "--learning-rate 0",
        ),
        *("--learning-rate nan", "--dtype float16", "--check-every -1", "--check-rows 1", "--coverage half"),
        *(
            "--derivative exact",
            "--check-dropout on",
            "--check-dropout frozen --dropout 0",
            "--threshold 0",
            "--threshold 1",
        ),
        *("--threshold -1e-7", "--step nan", "--on-failure ignore", "--bug dW9", "--bug-after 3"),
        *("--bug dW2 --bug-after -1", "--bug dW2 --hidden"),
        *("--target Class", "--split-by Time", "--compiled --activation tanh"),
        *("--precision 0", "--precision 1.1", "--alerts 0%", "--alerts 150%", "--alerts few", "--alerts 20"),
        *("--cost-missed 5", "--cost-alarm 5", "--cost-missed 0 --cost-alarm 0", "--cost-missed -1 --cost-alarm 5"),
        *("--cost-missed Amount --cost-alarm 5", "--cost-missed 5 --cost-alarm nan", "--alerts 5% --precision 0.8"),
        *("--cost-missed 5 --cost-alarm 1 --alerts 5%", "--baselines maybe", "--patience 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(options: str, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "run"
    assert main([*SMALL, *options.split(), "--out", str(out)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"python -m experiments\.fraud: error: .*Expected.*Received.*\n", shown.err)
    assert not out.exists()


def test_a_compiler_that_is_missing_is_one_line(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.fraud.arguments.find_spec", lambda name: None)
    assert main([*SMALL, "--compiled"]) == 2
    assert re.fullmatch(r".*--compiled needs numba\. Expected .*Received no numba.*\n", capsys.readouterr().err)


@pytest.mark.parametrize("options", ["--nonsense", "--epochs", "stray", "--overwrite", "--epoch 3"])
def test_bad_usage_is_one_line(options: str, capsys: Captured) -> None:
    assert main([*SMALL, *options.split()]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_mistake_is_listed_with_what_it_does(capsys: Captured) -> None:
    assert main(["--bug", "list"]) == 0
    listed = capsys.readouterr().out
    for bug in BUGS.values():
        assert re.search(rf"^{bug.name} +{re.escape(bug.description)}$", listed, re.MULTILINE)
    assert all(re.search(rf"^{name} ", listed, re.MULTILINE) for name in ("dW2", "db1", "notebook"))


def test_help_teaches_examples_and_exit_codes_and_its_examples_can_be_typed(capsys: Captured) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= WIDTH
    for heading in ("network:", "training:", "gradient check:", "planted mistakes:", "output:", "exit codes:"):
        assert heading in text
    examples = re.findall(r"^  python -m experiments\.fraud((?: \S+)*)", text, re.MULTILINE)
    assert len(examples) >= 5
    for options in examples:
        parse(options.split())


@pytest.mark.parametrize("options", [["--help"], ["--samples", "many"]])
def test_nothing_that_takes_a_second_to_import_is_imported_before_the_options_are_read(options: list[str]) -> None:
    """In a process of its own: here everything is imported already."""
    program = "import sys\nfrom experiments.fraud.main import main\n"
    program += f"try:\n    main({options})\nexcept SystemExit:\n    pass\n"
    program += (
        "print(*{'sklearn', 'scipy', 'pandas', 'matplotlib', 'numba', 'torch'} & set(sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == ""
