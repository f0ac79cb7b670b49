"""Parts: the table, the network, the optimizer and the check that the settings of the main job ask for."""

import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from checks import GradientCheck
from checks.measure.processes import one_thread
from datasets import fetch_table, make_fraud, prepare, read_table
from datasets.wording import shown
from experiments.bugs.bugs import plant
from experiments.command import UsageError
from experiments.fraud.payments import Payments
from experiments.fraud.settings import CHECK, MOMENTUM, NETWORK, Settings
from experiments.runs import judging
from experiments.runs.judging import cuts
from trainer import SGD, Adam, Callback, CompiledAdam, CompiledNetwork, EarlyStopping, Network, Optimizer
from trainer.network.parameters import Array
from trainer.storage.durable import Folder

logger = logging.getLogger("experiments.fraud")

OPENML = "openml:"
METRIC = "average_precision"  # that the best epoch has most of
# Of the loss, in nats: less than any two average precisions differ by. Where frauds are few, many epochs rank all
# validation rows alike, and the first of them has learned least.
TRACE = 1e-7
# Multiplications in a product from which on a second thread pays: below, two take up to seven times as long as one.
WORTH_THREADS = 3e7


def payments_of(settings: Settings) -> Payments:
    """Make the synthetic table, or read one; a `UsageError` says why nothing can be learned from it."""
    if settings.data is None or settings.target is None:
        data = make_fraud(settings.samples, settings.features, fraud_rate=settings.fraud_rate, seed=settings.seed)
        return Payments.synthetic(data, settings)
    of_openml = settings.data.startswith(OPENML)
    name = shown(settings.data if of_openml else Path(settings.data).name)
    try:
        if of_openml:
            frame = fetch_table(settings.data.removeprefix(OPENML))
        else:
            frame = read_table(settings.data, separator=settings.separator or ",")
        asked = {name: getattr(settings, name) for name in ("split_by", "fraud_label", "drop", "categorical", "seed")}
        data = prepare(frame, settings.target, **asked, name=name)
        return Payments.of_table(data, frame, settings)
    except (ImportError, ValueError) as error:
        raise UsageError(str(error)) from error
    except MemoryError as error:
        raise UsageError(f"{name} does not fit into memory. Expected a smaller table. Received: {error}.") from error
    except OSError as error:
        raise UsageError(
            f"--data cannot be read. Expected a regular file or openml:NAME. "
            f"Received {shown(settings.data)}: {shown(error.strerror or str(error))}."
        ) from error


def network_of(settings: Settings, n_features: int) -> tuple[Network, list[Callback]]:
    """Build the network, with the mistake that is to be planted (a ValueError if it is none here), and its switch."""
    options = settings.of(NETWORK)
    layer_sizes = (n_features, *options.pop("hidden"), 1)
    network = (CompiledNetwork if settings.compiled else Network)(layer_sizes, **options)
    if settings.bug is None:
        return network, []
    mistaken, switch = plant(network, settings.bug, after=settings.bug_after)
    return mistaken, [switch]


def best_epoch_of(settings: Settings) -> EarlyStopping:
    """Build what keeps the best epoch, and ends the run once there was none better for a while, if it is to."""
    patience = settings.patience or settings.epochs
    return EarlyStopping(f"validation_{METRIC}", patience, mode="max", restore_best=True)


def average_precision(targets: Array, probabilities: Array) -> float:
    """Give the average precision, less a trace of the loss for epochs alike in it; NaN of what is not finite."""
    if not np.isfinite(probabilities).all():
        return math.nan
    order, ends = cuts(probabilities)
    of_truth = np.where(targets == 1.0, probabilities, 1.0 - probabilities)
    log_loss = -float(np.mean(np.log(np.maximum(of_truth, np.finfo(of_truth.dtype).eps))))
    return judging.average_precision(np.cumsum(targets[order] == 1.0)[ends], ends + 1) - TRACE * log_loss


def threads_of(settings: Settings, network: Network) -> AbstractContextManager[None]:
    """Keep a training to one thread in which two would wait for each other, and keep both cores busy with that."""
    product = settings.batch_size * max(n * m for n, m in pairwise(network.layer_sizes))
    return one_thread() if product < WORTH_THREADS else nullcontext()


class Compiling:
    """Hears from numba that it compiles, and says so once; of what is only loaded it does not hear."""

    def __init__(self) -> None:
        self.is_said = False

    def notify(self, event: Any) -> None:
        """Take an event."""
        if not self.is_said:
            self.is_said = True
            logger.info("compiling, which takes seconds, once on this machine")


@contextmanager
def telling_of_compilation(settings: Settings) -> Iterator[None]:
    """Have it said, while a compiled network trains, that numba compiles."""
    if not settings.compiled:
        yield
        return
    from numba.core.event import Listener, install_listener  # numba is an extra

    Listener.register(Compiling)
    with install_listener("numba:compile", Compiling()):
        yield


def optimizer_of(settings: Settings) -> Optimizer:
    """Build the optimizer."""
    if settings.optimizer == "adam":
        return (CompiledAdam if settings.compiled else Adam)(settings.learning_rate)
    return SGD(settings.learning_rate, momentum=MOMENTUM)


def check_of(settings: Settings, violations: Folder | None = None) -> GradientCheck | None:
    """Build the gradient check, unless there is to be none; `violations` is where a failed one is kept."""
    if not settings.check_every:
        return None
    options = {name.removeprefix("check_"): value for name, value in settings.of(CHECK).items()}
    options["applied"] = options["applied"] == "on"
    return GradientCheck(**options, seed=settings.seed, violations=violations, settings=asdict(settings))
