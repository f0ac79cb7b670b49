"""The command: reads the options, measures one part after the other, and shows what came of it."""

import json
import math
import os
import platform
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from experiments.figures import Figure, campaign_parser, present

PARTS = ("kills", "moves", "strangers", "damage", "faults", "inputs", "forged", "memory", "soak")
DRAWN = {"inputs", "forged"}  # which take hypothesis
SOAK, QUICK_SOAK = 30.0, 0.1  # minutes
SHOWN = 20  # failures


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 0 if every figure is met, 1 if not, 2 for bad usage."""
    arguments = parsed(argv)
    measures = parts(arguments)
    figures: list[Figure] = []
    details: list[str] = []
    seconds: dict[str, float] = {}
    for name in arguments.only:
        started = time.perf_counter()
        figure = measures[name]()
        seconds[name] = round(time.perf_counter() - started, 1)
        if figure is not None:
            figures.append(figure)
            details += _details(figure)
    said = {"seed": arguments.seed, "seconds": seconds}
    return present(figures, details, arguments.json, said, quick=arguments.quick)


def parsed(argv: Sequence[str] | None) -> Namespace:
    """Read the options."""
    description = "Break things on purpose, and count what is lost, goes unnoticed, or ends in a traceback."
    parser = campaign_parser("crash", description, "a little of everything; under a minute")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure only these parts")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help=f"length of the soak ({SOAK:g}); 0 for none")
    parser.add_argument("--jobs", type=int, default=2, help="processes that kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of every random moment, damage and input (0)")
    arguments = parser.parse_args(argv)
    if arguments.soak is None:
        arguments.soak = QUICK_SOAK if arguments.quick else SOAK
    if not 0 <= arguments.soak < math.inf:
        parser.error(f"--soak is out of range. Expected minutes, at least 0. Received {arguments.soak}.")
    if arguments.jobs < 1:
        parser.error(f"--jobs is out of range. Expected at least 1. Received {arguments.jobs}.")
    arguments.only = [part for part in PARTS if part in arguments.only and (part != "soak" or arguments.soak)]
    if not hasattr(os, "fork"):
        parser.error(f"nothing can be killed here. Expected Linux, or a Unix. Received {platform.system()}.")
    drawn = ", ".join(sorted(DRAWN.intersection(arguments.only)))
    if drawn and not find_spec("hypothesis"):
        parser.error(
            f"no hypothesis. Expected `pip install backproof[test]`, or --only without {drawn}. Received no such."
        )
    return arguments


def parts(arguments: Namespace) -> dict[str, Callable[[], Figure | None]]:
    """Give what measures each part. Loaded only now: the main job takes its time, and the inputs take hypothesis."""
    from experiments.crash import damage, faults, kills, moves, soak, strangers
    from experiments.crash.inputs import memory

    def inputs() -> Figure:
        from experiments.crash.inputs import bad_inputs

        return bad_inputs.measure(quick=arguments.quick, number=arguments.seed)

    def forged() -> Figure:
        from experiments.crash.inputs import forged

        return forged.measure(quick=arguments.quick)

    return {
        "kills": lambda: kills.measure(quick=arguments.quick, jobs=arguments.jobs, seed=arguments.seed),
        "moves": lambda: moves.measure(quick=arguments.quick, seed=arguments.seed),
        "strangers": lambda: strangers.measure(quick=arguments.quick),
        "damage": lambda: damage.measure(quick=arguments.quick, seed=arguments.seed),
        "faults": lambda: faults.measure(quick=arguments.quick),
        "inputs": inputs,
        "forged": forged,
        "memory": lambda: memory.measure(quick=arguments.quick),
        "soak": lambda: soak.measure(minutes=arguments.soak),
    }


def _details(figure: Figure) -> list[str]:
    counted = {name: value for name, value in figure.numbers.items() if name != "all samples"}
    more = len(figure.failures) - SHOWN
    lines = [f"{figure.name}: {json.dumps(counted)}", *(f"  {failure}" for failure in figure.failures[:SHOWN])]
    return lines + [f"  … and {more} more"] * (more > 0)
