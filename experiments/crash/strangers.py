"""Strangers: other people's files, and links, in the folder of a run: nothing of anybody's is lost."""

import io
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from experiments.crash.small_run import in_memory
from experiments.figures import Figure
from experiments.fraud.main import main
from experiments.runs.folder import RunFolder
from experiments.screen import silent
from trainer.storage.durable import UNFINISHED

OPTIONS = shlex.split(
    "--samples 60 --features 3 --fraud-rate 0.2 --hidden 3 --batch-size 16 --check-every 2 --epochs 3"
)
RUN = [*OPTIONS, "--checkpoint-every", "2", "--quiet", "--no-report"]
WAYS = ((), ("--resume",), ("--overwrite",))
KINDS = ("file", "link", "hard link", "pipe", "folder")
FOREIGN = ("notes.txt", "checkpoint-best.npz", "checkpoint-3.npz", "thesis.unfinished", "violation-x.npz.unfinished")
OURS = (*RunFolder.files, "checkpoint-00000003.npz", "violation-000005.npz", "checkpoint-00000006.npz.unfinished")
QUICK_EVERY = 17
WORDS = b"somebody's only copy"


@dataclass(frozen=True)
class Case:
    """Something that stands in the folder, and how the main job is called there."""

    name: str
    kind: str
    after_a_run: bool  # whether the folder holds a run already
    way: tuple[str, ...]

    def __str__(self) -> str:
        """Tell it."""
        return f"{self.kind} {self.name}{' in the folder of a run' * self.after_a_run}, {' '.join(self.way) or 'new'}"


def cases() -> Iterator[Case]:
    """Give them all, but for a plain file with a name of ours in the folder of a run: that is the run's."""
    for name in (*FOREIGN, *OURS, *(f"{name}{UNFINISHED}" for name in RunFolder.files), RunFolder.lock):
        for kind in KINDS:
            for after_a_run in (False, True):
                if kind != "file" or not after_a_run or name in (*FOREIGN, RunFolder.lock):
                    yield from (Case(name, kind, after_a_run, way) for way in WAYS)


def attempt(case: Case, folder: Path, run: Path) -> list[str]:
    """Call the main job in such a folder; give what is wrong afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    out, victim = folder / "out", folder / "victim"
    folder.mkdir()
    victim.write_bytes(WORDS)
    if case.after_a_run:
        shutil.copytree(run, out)
    else:
        out.mkdir()
    planted = out / case.name
    planted.unlink(missing_ok=True)
    if case.kind == "file":
        planted.write_bytes(WORDS)
    elif case.kind == "link":
        planted.symlink_to(victim)
    elif case.kind == "hard link":
        os.link(victim, planted)
    elif case.kind == "pipe":
        os.mkfifo(planted)
    else:
        planted.mkdir()
        (planted / "inside").write_bytes(WORDS)
    before = os.lstat(planted)
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        code = main([*RUN, "--out", str(out), *case.way])
    wrong = []
    if code not in (0, 2) or (code == 2 and len(said.getvalue().splitlines()) != 1):
        wrong.append(f"exit code {code}: {said.getvalue()[-300:]}")
    if victim.read_bytes() != WORDS:
        wrong.append("what it led to was changed")
    if not os.path.lexists(planted) or os.lstat(planted).st_ino != before.st_ino:
        wrong.append("it is gone")
    elif case.kind == "file" and planted.read_bytes() != WORDS:
        wrong.append("it was changed")
    return wrong


def judge(counts: Counter[str], failures: list[str]) -> Figure:
    """Count the cases in which something was lost."""
    total = counts.total()
    return Figure(
        f"other people's files, links, pipes and folders under {len({case.name for case in cases()})} names in the "
        f"folder of a run ({total:,} calls, with --resume, --overwrite and neither): touched, or no clear line",
        f"{len(failures)} of {total:,}",
        "0",
        not failures and total > 0,
        numbers={"calls": total, "by kind": dict(counts)},
        failures=failures,
    )


def measure(*, quick: bool) -> Figure:
    """Try them all, or some, and judge what is left."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with silent("trainer"), silent("checks"), in_memory() as folder:
        run = folder / "run"
        with redirect_stdout(io.StringIO()):
            code = main([*RUN, "--out", str(run)])
        if code:
            raise RuntimeError("the run in whose folder they are put has failed")
        chosen = list(cases())[:: QUICK_EVERY if quick else 1]
        for case in tqdm(chosen, unit="call", desc="strangers", leave=False):
            counts[case.kind] += 1
            failures += [f"{case}: {what}" for what in attempt(case, folder / "place", run)]
    return judge(counts, failures)
