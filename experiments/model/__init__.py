"""A fraud detector as it is kept and used: the trained network, the preparation of its rows, and the cut."""

from experiments.model.model import FraudModel

__all__ = ["FraudModel"]
