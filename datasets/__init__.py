"""Labelled tables to train on, each with the meaning and the unit of its columns."""

from datasets.fraud import FraudData, Split, make_fraud

__all__ = ["FraudData", "Split", "make_fraud"]
