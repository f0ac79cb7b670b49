"""Labelled tables to train on, each with the meaning and the unit of its columns.

PYTEST_DONT_REWRITE: nothing in it asserts, and pytest would warn where it was imported before.
"""

# scikit-learn, which takes a second to import, is imported by the functions that need it.

from typing import TYPE_CHECKING

from datasets.data import FraudData, Split
from datasets.fraud import make_fraud
from datasets.openml import fetch_table
from datasets.preparing.preparation import Preparation
from datasets.preparing.prepare import prepare
from datasets.tables.read import read_table

if TYPE_CHECKING:
    from datasets.preparing.preparer import TablePreparer

__all__ = ["FraudData", "Preparation", "Split", "TablePreparer", "fetch_table", "make_fraud", "prepare", "read_table"]

#: Names that are looked for in Hugging Face's package of the same name.
OF_HUGGING_FACE = {
    *(
        "ClassLabel",
        "Dataset",
        "DatasetDict",
        "Features",
        "IterableDataset",
        "IterableDatasetDict",
        "Sequence",
        "Value",
    ),
    *("concatenate_datasets", "interleave_datasets", "load_dataset", "load_dataset_builder", "load_from_disk"),
}


def __getattr__(name: str) -> object:
    """Import what takes scikit-learn when it is asked for; say whose package this is where the other one's is."""
    if name == "TablePreparer":
        from datasets.preparing.preparer import TablePreparer

        return TablePreparer
    if name in OF_HUGGING_FACE:
        raise ImportError(
            f"`datasets` is backproof's package here, and has no {name}: for Hugging Face's of the same name go on in "
            "an environment without backproof, or from another folder than backproof's",
            name=__name__,
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
