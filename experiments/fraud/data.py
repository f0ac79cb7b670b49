"""Data: the table that the settings ask for, prepared for a network."""

from pathlib import Path

from datasets import FraudData, fetch_table, make_fraud, prepare, read_table
from datasets.wording import shown
from experiments.fraud.settings import Settings, UsageError

OPENML = "openml:"


def data_of(settings: Settings) -> FraudData:
    """Make the synthetic table, or read one.

    Raises
    ------
    UsageError
        If there is no such table, or nothing can be learned from it.
    """
    if settings.data is None or settings.target is None:
        return make_fraud(settings.samples, settings.features, fraud_rate=settings.fraud_rate, seed=settings.seed)
    of_openml = settings.data.startswith(OPENML)
    name = shown(settings.data if of_openml else Path(settings.data).name)
    try:
        frame = fetch_table(settings.data.removeprefix(OPENML)) if of_openml else read_table(settings.data)
        return prepare(frame, settings.target, split_by=settings.split_by, seed=settings.seed, name=name)
    except (ImportError, ValueError) as error:
        raise UsageError(str(error)) from error
    except MemoryError as error:
        raise UsageError(f"{name} does not fit into memory. Expected a smaller table. Received: {error}.") from error
    except OSError as error:
        raise UsageError(
            f"--data cannot be read. Expected a regular file or openml:NAME. "
            f"Received {shown(settings.data)}: {shown(error.strerror or str(error))}."
        ) from error
