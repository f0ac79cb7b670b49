"""The units of the campaign: which networks, how they are trained, and what is done with them."""

from dataclasses import dataclass
from itertools import product
from typing import Any

from trainer import Network

Outcome = dict[str, Any]  # of one check


@dataclass(frozen=True)
class Unit:
    """One network and what is done with it."""

    sizes: tuple[int, ...]
    activation: str
    dtype: str
    rich: bool  # with dropout, L2 and a class weight; else with none of them
    seed: int  # of data, parameters and probes; odd: trained by full-batch SGD, even: by Adam on batches of 64
    stages: tuple[int, ...]  # numbers of training steps after which it is checked
    rows: tuple[int, ...]  # sizes of the probes
    repeats: int  # probes of each size
    dead_checks: int  # probes of a network whose first layer is dead and whose biases are zero
    mutant_stages: tuple[int, ...]  # those of the stages at which mistakes are planted too

    def network(self) -> Network:
        """Build the network."""
        options = {"dropout": 0.3, "l2": 1e-3, "positive_weight": 5.0} if self.rich else {}
        return Network(self.sizes, activation=self.activation, **options)  # type: ignore[arg-type]


def full_units() -> list[Unit]:
    """Give the units of the full campaign, the slow ones first."""
    widths = ((30, 64, 64), (30, 64, 32), (12, 16, 16), (30, 16, 8), (6, 5, 5), (7, 5, 3), (4, 5, 3))
    return [
        Unit(
            (*shape, 1),
            activation,
            dtype,
            rich,
            seed,
            stages=(0, 300, 20_000) if seed < 2 and dtype == "float64" else (0, 300),
            rows=(3, 17, 64, 256, 512),
            repeats=1 if shape[1] > 16 else 3,
            dead_checks=1 if activation == "relu" and seed == 0 and dtype == "float64" else 0,
            mutant_stages=_mutant_stages(shape[1]) if rich and seed == 0 and dtype == "float64" else (),
        )
        for shape, activation, dtype, rich, seed in product(
            widths, ("relu", "tanh"), ("float64", "float32"), (True, False), (0, 1)
        )
    ]


def quick_units() -> list[Unit]:
    """Give the units of the quick campaign: mistakes in each shape at one of the stages."""
    shapes = (((7, 5, 3, 1), "relu", (300,)), ((6, 5, 5, 1), "relu", (300,)), ((4, 5, 3, 1), "tanh", (0,)))
    return [
        Unit(shape, activation, dtype, True, 0, (0, 300), (3, 64), 1, 0, stages if dtype == "float64" else ())
        for (shape, activation, stages), dtype in product(shapes, ("float64", "float32"))
    ]


def _mutant_stages(width: int) -> tuple[int, ...]:
    """Plant mistakes in wide networks at one stage only: finding out what is wrong with all of W2 takes a second."""
    return (300,) if width > 16 else (0, 300, 20_000)
