"""Place: where a run stands within its epoch, and what it will draw next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(eq=False)
class Place:
    """What a checkpoint needs beside parameters and optimizer, so that a run goes on to the same last bit.

    Attributes
    ----------
    order, masks : numpy.random.Generator
        Of the order of the rows in every epoch, and of the dropout masks.
    order_at_epoch : dict
        State of `order` when the epoch began: from it the epoch's batches can be drawn again.
    batches : int
        Done in this epoch.
    total : float
        Sum over the rows of this epoch of the losses so far, in the order in which they were added.
    """

    order: np.random.Generator
    masks: np.random.Generator
    order_at_epoch: Mapping[str, Any]
    batches: int = 0
    total: float = 0.0

    def begin_epoch(self) -> None:
        """Note where the epoch's random order comes from."""
        self.order_at_epoch = self.order.bit_generator.state
        self.batches, self.total = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Give it as plain data."""
        return {
            "order_at_epoch": self.order_at_epoch,
            "masks": self.masks.bit_generator.state,
            "batches": self.batches,
            "total": self.total,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where a `state_dict` left off; `order` goes back to the beginning of the epoch."""
        self.order_at_epoch = state["order_at_epoch"]
        self.order.bit_generator.state = self.order_at_epoch
        self.masks.bit_generator.state = state["masks"]
        self.batches, self.total = int(state["batches"]), float(state["total"])
