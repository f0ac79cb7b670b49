"""Labelled tables to train on, each with the meaning and the unit of its columns."""

# scikit-learn, which takes a second to import, is imported by the functions that need it.

from datasets.data import FraudData, Split
from datasets.fraud import make_fraud
from datasets.openml import fetch_table
from datasets.preparing.preparation import Preparation
from datasets.preparing.prepare import prepare
from datasets.tables.read import read_table

__all__ = ["FraudData", "Preparation", "Split", "fetch_table", "make_fraud", "prepare", "read_table"]
