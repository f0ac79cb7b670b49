"""Truth: textbook back-propagation in numpy's widest float, which shares no formula with `trainer` or `checks`."""

from collections.abc import Mapping

import numpy as np

from trainer import Dropout, Network
from trainer.network.parameters import Array


def textbook_gradients(
    network: Network, parameters: Mapping[str, Array], inputs: Array, targets: Array, mask_seed: int | None = None
) -> tuple[dict[str, Array], bool]:
    """Compute the gradient by the textbook; also say whether a ReLU's input is exactly zero: there it has none."""
    wide = {name: np.asarray(value, dtype=np.longdouble) for name, value in parameters.items()}
    depth = len(network.layer_sizes) - 1
    rng = None if mask_seed is None else np.random.default_rng(mask_seed)  # one mask a hidden layer, in forward order
    activations, slopes = [inputs.astype(np.longdouble)], []
    at_kink = False
    for layer in range(1, depth):
        z = activations[-1] @ wide[f"W{layer}"].T + wide[f"b{layer}"]
        if network.activation == "relu":
            at_kink = at_kink or bool((z.astype(np.float64) == 0.0).any())
            a, slope = np.where(z > 0, z, 0), np.where(z > 0, 1, 0)
        else:
            a = np.tanh(z)
            slope = 1 - a**2
        if rng is not None and network.dropout:
            # Which units are dropped is chance, and asked of the layer; the factor is that of its 16 bits.
            kept = Dropout(network.dropout).forward({}, np.ones(z.shape), rng)[0] != 0
            mask = np.where(kept, 1 / (1 - np.round(np.longdouble(network.dropout) * 2**16) / 2**16), 0)
            a, slope = a * mask, slope * mask
        activations.append(a)
        slopes.append(slope)
    z = (activations[-1] @ wide[f"W{depth}"].T + wide[f"b{depth}"])[:, 0]
    weight = np.where(targets == 1, np.longdouble(network.positive_weight), 1)
    dz = (weight * (1 / (1 + np.exp(-z)) - targets) / len(targets))[:, None]
    gradients: dict[str, Array] = {}
    for layer in range(depth, 0, -1):
        gradients[f"W{layer}"] = dz.T @ activations[layer - 1] + network.l2 * wide[f"W{layer}"]
        gradients[f"b{layer}"] = dz.sum(axis=0)
        if layer > 1:
            dz = (dz @ wide[f"W{layer}"]) * slopes[layer - 2]
    return gradients, at_kink


def differences(gradients: Mapping[str, Array], truth: Mapping[str, Array]) -> dict[str, float]:
    """Compare with the truth, tensor by tensor: relative difference of the Euclidean norms."""
    result = {}
    for name, right in truth.items():
        scale = float(np.sqrt(np.sum(right**2)) + np.sqrt(np.sum(np.asarray(gradients[name]) ** 2)))
        apart = float(np.sqrt(np.sum((np.asarray(gradients[name]) - right) ** 2)))
        result[name] = apart / scale if scale else 0.0
    return result
