"""The peers: other people's gradient checkers on the same probes, each at its own defaults.

All are extras; `available` says which are installed, and a peer that is not is absent from every table.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from checks.measure.layout import Array, Layout
from checks.training.probe import Probe

Peer = Callable[["FlatProbe"], bool]  # whether the peer accepts the gradient


class FlatProbe:
    """A probe's loss and gradient as functions of one flat float64 vector.

    Parameters
    ----------
    probe : Probe
        Network, parameters and rows.
    """

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


def _torch(probe: FlatProbe, *, fast_mode: bool) -> bool:
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


def _torch_slow(probe: FlatProbe) -> bool:
    return _torch(probe, fast_mode=False)


def _torch_fast(probe: FlatProbe) -> bool:
    return _torch(probe, fast_mode=True)


def _jax(probe: FlatProbe) -> bool:
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


def _autograd(probe: FlatProbe) -> bool:
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


def _scipy(probe: FlatProbe) -> bool:
    from scipy.optimize import check_grad

    # It returns a number and no verdict; 1e-6 is what scipy's own documentation calls "likely correct".
    return bool(check_grad(probe.loss, probe.gradient, probe.point) <= 1e-6)
