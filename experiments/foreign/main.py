"""The command: runs the campaign, counts what came of it, and shows that."""

import sys
import time
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from experiments.command import BAD_USAGE
from experiments.figures import campaign_parser, present
from experiments.foreign.sample import Unit
from experiments.screen import show, silent

#: The parts, and what each needs beside the core: whose functions they are, and who else checks them.
NEEDS = {"operators": ("torch",), "special": ("scipy",), "lax": ("jax",), "families": ("torch",)}
PEERS = {
    "operators": ("torch slow", "torch fast"),
    "special": ("scipy",),
    "lax": ("jax",),
    "families": ("torch slow", "torch fast"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every figure is met, 1 if not, 2 for bad usage or where an extra is missing."""
    description = (
        "Check the gradients of functions that other people wrote: torch's operator database, scipy's special "
        "functions, jax's, and the functions of public reports; right, and with planted mistakes. Their own checkers "
        "are asked the same."
    )
    parser = campaign_parser("foreign", description, "a fixed few of every part; under half a minute")
    parser.add_argument("--only", choices=NEEDS, nargs="+", default=list(NEEDS), help="these parts (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of points and cotangents (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="name everything that is UNDECIDED, with its evidence")
    arguments = parser.parse_args(argv)
    missing = sorted({package for part in arguments.only for package in NEEDS[part] if not find_spec(package)})
    if missing:
        line = f"{' and '.join(missing)} not installed. Expected the extra: pip install 'backproof[peers]'"
        show(f"{parser.prog}: error: {line}, or other parts (--only).", sys.stderr)
        return BAD_USAGE
    from joblib import Parallel, delayed  # now that there is something to do: these take seconds to load
    from tqdm import tqdm

    from experiments.foreign.counting import details, figures

    started = time.perf_counter()
    work = [unit for part in NEEDS if part in arguments.only for unit in units(part, arguments.seed, arguments.quick)]
    runs = Parallel(n_jobs=arguments.jobs, return_as="generator")(delayed(run_unit)(unit) for unit in work)
    outcomes = [outcome for done in tqdm(runs, total=len(work), unit="function", desc="functions") for outcome in done]
    said = {"seed": arguments.seed, "seconds": round(time.perf_counter() - started)}
    counted = figures(outcomes, quick=arguments.quick)
    return present(counted, details(outcomes, verbose=arguments.verbose), arguments.json, said, outcomes=outcomes)


def units(part: str, seed: int, quick: bool) -> list[Unit]:
    """Give the units of a part."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other people's packages warn of as they load is theirs
        return list(_module(part).units(seed, quick=quick))


def run_unit(unit: Unit) -> list[dict[str, object]]:
    """Judge all samples of a unit."""
    with warnings.catch_warnings(), silent("checks"):
        warnings.simplefilter("ignore")
        from experiments.foreign.judging import judged
        from experiments.peers import available

        peers = {name: peer for name, peer in available().items() if name in PEERS[unit.part]}
        return [outcome for sample in _module(unit.part).samples(unit) for outcome in judged(sample, unit.seed, peers)]


def _module(part: str) -> ModuleType:
    return import_module(f"experiments.foreign.{part}")
