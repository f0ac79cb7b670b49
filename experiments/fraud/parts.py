"""Parts: the network, the optimizer and the check that the settings of the main job ask for."""

from dataclasses import asdict

from checks import GradientCheck
from experiments.bugs.bugs import plant
from experiments.fraud.arguments import MOMENTUM
from experiments.fraud.settings import Settings
from trainer import SGD, Adam, Callback, CompiledAdam, CompiledNetwork, Network, Optimizer


def network_of(settings: Settings, n_features: int) -> tuple[Network, list[Callback]]:
    """Build the network, with the mistake that is to be planted, and the callbacks that switch it on.

    Raises
    ------
    ValueError
        If the mistake is none in this network.
    """
    network = (CompiledNetwork if settings.compiled else Network)(
        (n_features, *settings.hidden, 1),
        activation=settings.activation,
        dropout=settings.dropout,
        l2=settings.l2,
        positive_weight=settings.positive_weight,
    )
    if settings.bug is None:
        return network, []
    mistaken, switch = plant(network, settings.bug, after=settings.bug_after)
    return mistaken, [switch]


def optimizer_of(settings: Settings) -> Optimizer:
    """Build the optimizer."""
    if settings.optimizer == "adam":
        return (CompiledAdam if settings.compiled else Adam)(settings.learning_rate)
    return SGD(settings.learning_rate, momentum=MOMENTUM)


def check_of(settings: Settings) -> GradientCheck | None:
    """Build the gradient check, unless there is to be none."""
    if not settings.check_every:
        return None
    return GradientCheck(
        settings.check_every,
        rows=settings.check_rows,
        coverage=settings.coverage,
        derivative=settings.derivative,
        threshold=settings.threshold,
        step=settings.step,
        dropout=settings.check_dropout,
        terms=settings.terms,
        on_failure=settings.on_failure,
        seed=settings.seed,
        violations=settings.out,
        settings=asdict(settings),
    )
