"""Kills: runs that are killed outright at random moments, then resumed, end with the same bits as others."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from experiments.crash.killed_run import MOMENTS, KilledRun
from experiments.crash.remains import differences, outcome, torn
from experiments.crash.small_run import in_memory, on_disk
from experiments.figures import Figure
from trainer.storage.durable import UNFINISHED

RUNS, QUICK_RUNS = 288, 12
LEAST = 200  # runs that a kill must have met before their end; of the quick campaign half
FURTHER = 0.4  # probability that a run which goes on is killed once more
MOST = 4  # kills of one run
SOONER = (0.5, 0.25, 0.1, 0.03)  # shares of a run's time in which a first kill is tried again that came too late
SMALL = "--samples 1000 --features 9 --hidden 7 5 --batch-size 64 --epochs 12 --check-every 5"
WIDE = "--samples 3000 --features 30 --hidden 64 32 --batch-size 256 --epochs 15 --check-every 9 --coverage directions"
LINEAR = "--samples 700 --features 5 --hidden --batch-size 13 --epochs 3 --dropout 0 --check-every 2 --terms"
TINY = "--samples 700 --features 5 --hidden 3 --batch-size 32 --epochs 3 --check-every 5"
QUICK = (
    f"{TINY} --dropout 0.2 --checkpoint-every 2",
    f"{TINY} --optimizer sgd --dtype float32 --coverage directions --checkpoint-every 5",
)
RHYTHMS = ("1", "7", "50", "3", "20")  # iterations between two checkpoints


@dataclass(frozen=True)
class Campaign:
    """The kills of one setting: one run that is left alone, and some that are not.

    Attributes
    ----------
    options : str
        Of the main job.
    runs, first, seed : int
        How many are killed, the number of the first, and what their moments are drawn from.
    on_disk : bool, default=True
        Where the files are: on a disk, whose syncs take their time, or in memory.
    """

    options: str
    runs: int
    first: int
    seed: int
    on_disk: bool = True


def settings() -> list[str]:
    """List the settings: every optimizer, dtype and dropout with both coverages, and other rhythms of saves."""
    each = product((SMALL, WIDE), ("adam", "sgd"), ("float64", "float32"), ("0", "0.2"))
    found = [f"{size} --optimizer {name} --dtype {dtype} --dropout {rate}" for size, name, dtype, rate in each]
    found += [f"{SMALL} --dropout 0.3 --check-dropout frozen", f"{LINEAR} --optimizer sgd"]
    rhythms = cycle(RHYTHMS)
    return [f"{options} --seed {seed} --checkpoint-every {next(rhythms)}" for seed, options in enumerate(found)]


def run_campaign(campaign: Campaign) -> list[dict[str, Any]]:
    """Kill runs of one setting, and give what came of each."""
    outcomes = []
    with on_disk() if campaign.on_disk else in_memory() as folder:
        whole = KilledRun(campaign.options.split(), folder / "whole")
        duration = whole.finish()
        for number in range(campaign.first, campaign.first + campaign.runs):
            rng = random.Random(1_000 * campaign.seed + number)
            run = KilledRun(campaign.options.split(), folder / f"run-{number}")
            outcomes.append({"options": campaign.options, **_cut(run, whole, number, duration, rng)})
    return outcomes


def _cut(run: KilledRun, whole: KilledRun, number: int, duration: float, rng: random.Random) -> dict[str, Any]:
    places: list[str] = []
    wrong: list[str] = []
    try:
        while not places or (len(places) < MOST and rng.random() < FURTHER):
            moment = MOMENTS[number % len(MOMENTS)] if not places else rng.choice(MOMENTS)
            place = run.kill(moment, duration, rng)
            for shorter in SOONER if not places else ():
                if place != "after the end":
                    break
                run.forget()
                place = run.kill(moment, shorter * duration, rng)
            places.append(place)
            if run.let_in:
                wrong.append("a second run was let into the folder")
            wrong += [f"torn under a good name: {name}" for name in torn(run.out)]
            if outcome(run.out) not in (None, "running", "completed"):
                wrong.append(f"run.json says {outcome(run.out)} after a kill")
            if outcome(run.out) == "completed":
                wrong += [f"completed with another end: {name}" for name in differences(run.out, whole.out)]
        run.finish("--resume")
        wrong += [f"another end: {name}" for name in differences(run.out, whole.out)]
        wrong += [f"left behind: {path.name}" for path in run.out.glob(f"*{UNFINISHED}")]
    except Exception as error:
        wrong.append(f"{type(error).__name__}: {error}")
    return {"places": places, "wrong": wrong}


def judge(outcomes: Sequence[dict[str, Any]], required: int) -> Figure:
    """Count the runs that ended as if they had never been killed."""
    same = sum(not outcome["wrong"] for outcome in outcomes)
    places = Counter(place for outcome in outcomes for place in outcome["places"])
    kills = places.total() - places["after the end"]  # the others came too late
    hit = sum(set(outcome["places"]) != {"after the end"} for outcome in outcomes)
    return Figure(
        f"runs killed by SIGKILL at random moments ({kills} kills, {hit} runs hit), then resumed: same bits as a run "
        "never interrupted",
        f"{same} of {len(outcomes)}",
        f"all, at least {required} hit",
        same == len(outcomes) and hit >= required,
        numbers={
            "runs": len(outcomes),
            "same": same,
            "hit": hit,
            "kills": kills,
            "where": dict(places.most_common()),
            "settings": len({outcome["options"] for outcome in outcomes}),
        },
        failures=[f"{outcome['options']}: {'; '.join(outcome['wrong'])}" for outcome in outcomes if outcome["wrong"]],
    )


def measure(*, quick: bool, jobs: int, seed: int) -> Figure:
    """Kill and resume runs, and judge what came of them."""
    runs = QUICK_RUNS if quick else RUNS
    chosen = QUICK if quick else settings()
    share, more = divmod(runs, len(chosen))
    campaigns, first = [], 0
    for number, options in enumerate(chosen):
        campaigns.append(Campaign(options, share + (number < more), first, seed, not quick))
        first += campaigns[-1].runs
    with parallel_config("loky", inner_max_num_threads=1):
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(run_campaign)(c) for c in campaigns)
    outcomes: list[dict[str, Any]] = []
    with tqdm(total=runs, unit="run", desc="kills", leave=False) as bar:
        for some in done:
            outcomes += some
            bar.update(len(some))
    return judge(outcomes, runs // 2 if quick else LEAST)
