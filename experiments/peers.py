"""Peers: this project's check of a probe and other people's, each at its own defaults, as far as they are installed."""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from checks import GradientReport
from checks.measure.layout import Array, Layout
from checks.options import Options
from checks.training.probe import Probe
from checks.training.rows import Sampler
from datasets import Split
from trainer import Network, Parameters

Rng = np.random.Generator
Peer = Callable[["Problem"], bool]  # whether the peer accepts the gradient


class Problem(Protocol):
    """A loss and the gradient that is claimed of it, as functions of one flat float64 vector, and where to check."""

    point: Array

    def loss(self, vector: Array) -> float:
        """Evaluate the loss."""

    def gradient(self, vector: Array) -> Array:
        """Evaluate the gradient."""


def draw(
    network: Network, parameters: Parameters, data: Split, rows: int, rng: Rng, mask_seed: int | None = None
) -> Probe:
    """Draw a probe, as the callback does: with its parameters in one vector, of which a check makes no copy."""
    index = Sampler(data.targets, rows).draw(rng)
    return Probe(network, parameters.astype(np.float64), index, data.inputs[index], data.targets[index], mask_seed)


def check(
    probe: Probe, coverage: str, rng: Rng | None = None, derivative: Any = None, *, complex_confirmed: bool = False
) -> GradientReport:
    """Check a probe, as the callback does."""
    return probe.check(Options(coverage, derivative), rng, complex_confirmed=complex_confirmed)


class FlatProbe:
    """A probe's loss and gradient as functions of one flat float64 vector."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._layout = Layout(probe.parameters)
        self.point = self._layout.flatten(probe.parameters, "parameters")

    def loss(self, vector: Array) -> float:
        """Evaluate the loss."""
        return float(self._probe.loss(self._layout.unflatten(np.array(vector, dtype=np.float64))).real)

    def gradient(self, vector: Array) -> Array:
        """Evaluate backprop."""
        gradients = self._probe.gradients(self._layout.unflatten(np.array(vector, dtype=np.float64)))
        return self._layout.flatten(gradients, "gradients")


def available() -> dict[str, Peer]:
    """Give the peers that are installed, by name."""
    peers: dict[str, Peer] = {}
    if find_spec("torch"):
        peers |= {"torch slow": _torch_slow, "torch fast": _torch_fast}
    if find_spec("jax"):
        peers["jax"] = _jax
    if find_spec("autograd"):
        peers["autograd"] = _autograd
    if find_spec("scipy"):
        peers["scipy"] = _scipy
    return peers


def _torch(probe: Problem, *, fast_mode: bool) -> bool:
    import torch

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, vector: Any) -> Any:
            ctx.save_for_backward(vector)
            return torch.tensor(probe.loss(vector.detach().numpy()), dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            (vector,) = ctx.saved_tensors
            return gradients[0] * torch.from_numpy(probe.gradient(vector.detach().numpy()))

    point = torch.from_numpy(probe.point.copy()).requires_grad_()
    return bool(torch.autograd.gradcheck(Loss.apply, (point,), fast_mode=fast_mode, raise_exception=False))


def _torch_slow(probe: Problem) -> bool:
    return _torch(probe, fast_mode=False)


def _torch_fast(probe: Problem) -> bool:
    return _torch(probe, fast_mode=True)


def _jax(probe: Problem) -> bool:
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    scalar = jax.ShapeDtypeStruct((), np.float64)
    vector = jax.ShapeDtypeStruct(probe.point.shape, np.float64)

    @jax.custom_vjp
    def loss(x: Any) -> Any:
        return jax.pure_callback(lambda v: np.float64(probe.loss(v)), scalar, x)

    def backward(x: Any, flow: Any) -> tuple[Any]:
        return (flow * jax.pure_callback(lambda v: probe.gradient(v), vector, x),)

    loss.defvjp(lambda x: (loss(x), x), backward)
    try:
        check_grads(loss, (probe.point,), order=1, modes=("rev",))
    except AssertionError:
        return False
    return True


def _autograd(probe: Problem) -> bool:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    loss = primitive(probe.loss)
    defvjp(loss, lambda answer, x: lambda flow: flow * probe.gradient(x))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_grads(loss, modes=["rev"], order=1)(probe.point.copy())
    except AssertionError:
        return False
    return True


def _scipy(probe: Problem) -> bool:
    from scipy.optimize import check_grad

    # It returns a number and no verdict; 1e-6 is what scipy's own documentation calls "likely correct".
    return bool(check_grad(probe.loss, probe.gradient, probe.point) <= 1e-6)
