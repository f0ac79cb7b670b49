"""Network: layers in order; loss and gradients are pure functions of the parameters."""

import copy
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trainer.argument import described, is_integer
from trainer.network.demands import checked_inputs, checked_targets
from trainer.network.layers import Dropout, Layer, Linear, ReLU, Tanh
from trainer.network.losses import L2Penalty, WeightedBinaryCrossEntropy, sigmoid
from trainer.network.parameters import Array, Arrays, Parameters, Rng
from trainer.network.sweep import Sweep, checked_steps
from trainer.rows import Rows

ACTIVATIONS: Mapping[str, type[ReLU] | type[Tanh]] = {"relu": ReLU, "tanh": Tanh}


class Network:
    """A classifier of two classes: LINEAR → ACTIVATION (→ DROPOUT) → … → LINEAR → SIGMOID.

    It holds its structure and nothing else: parameters come in as an argument, and no call leaves a trace.
    The sigmoid lives in the loss and in `predict_proba`; `layers` ends with the logits.

    Parameters
    ----------
    layer_sizes : sequence of int
        Width of the inputs, of each hidden layer, and of the output, which must be 1.
    activation : {"relu", "tanh"}, default="relu"
        After every hidden Linear.
    dropout : float in [0, 1), default=0.0
        Rate of the dropout after every activation; active only where a generator is passed.
    l2 : float >= 0, default=0.0
        Strength of the penalty on the weights.
    positive_weight : float > 0, default=1.0
        Weight of a row with target 1.

    Attributes
    ----------
    layers, criterion, penalty : list of Layer, WeightedBinaryCrossEntropy, L2Penalty
        To plant a mistake, or an improvement: ``copy.copy(network)`` has a list of layers of its own, and every method
        goes through these three, so replacing one of them takes effect. Layers with parameters: `with_layers`.
    shapes : dict of str to tuple of int
        ``W1, b1, W2, b2, …``, in forward order.
    weights : tuple of str
        The names that `penalty` applies to.
    n_parameters : int

    Raises
    ------
    TypeError
        If a size is no integer, or another setting no number.
    ValueError
        If an argument is out of its range.
    """

    n_outputs: int | None = 1  # None: as many as there are classes
    _has_own_layers = False

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: Literal["relu", "tanh"] = "relu",
        dropout: float = 0.0,
        l2: float = 0.0,
        positive_weight: float = 1.0,
    ) -> None:
        self.layer_sizes = _checked_sizes(layer_sizes, self.n_outputs)
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise ValueError(f"Unknown activation. Expected one of {', '.join(ACTIVATIONS)}. Received {activation!r}.")
        self.activation = activation
        self.dropout = dropout
        self.l2 = l2
        self.positive_weight = positive_weight
        self.criterion = WeightedBinaryCrossEntropy(positive_weight)
        self.penalty = L2Penalty(l2)
        self.layers: list[Layer] = []
        masks = Dropout(dropout)
        n_linear = len(self.layer_sizes) - 1
        for number, (n_inputs, n_units) in enumerate(pairwise(self.layer_sizes), start=1):
            self.layers.append(Linear(number, n_inputs, n_units, needs_input_gradient=number > 1))
            if number < n_linear:
                self.layers.append(ACTIVATIONS[activation]())
                if dropout:
                    self.layers.append(masks)
        self.shapes = self._shapes_of_layers()
        self.weights = tuple(f"W{number}" for number in range(1, n_linear + 1))
        self.n_parameters = sum(math.prod(shape) for shape in self.shapes.values())

    def __copy__(self) -> Self:
        """Return a network with a list of layers of its own."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.layers = list(self.layers)
        return twin

    def __repr__(self) -> str:
        """Show the arguments, and layers and loss of one's own."""
        return (
            f"{type(self).__name__}({self.layer_sizes}, activation={self.activation!r}, "
            f"dropout={self.dropout}, l2={self.l2}, positive_weight={self.positive_weight}{self._own_parts()})"
        )

    def _own_parts(self) -> str:
        own = f", layers=[{', '.join(map(described, self.layers))}]" if self._has_own_layers else ""
        is_own = not type(self.criterion).__module__.startswith("trainer.")
        return own + (f", criterion={described(self.criterion)}" if is_own else "")

    def with_layers(self, layers: Sequence[Layer]) -> Self:
        """Return a network of these layers, whose parameters it knows; all else is as here.

        Parameters
        ----------
        layers : sequence of Layer
            In forward order, up to the logits.

        Raises
        ------
        TypeError, ValueError
            If one is no `Layer`, or two have a parameter of the same name.
        """
        twin = copy.copy(self)
        twin.layers, twin._has_own_layers = list(layers), True
        for layer in twin.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"Not a layer. Expected instances of trainer.Layer. Received {layer!r}.")
        names = [name for layer in twin.layers for name in layer.shapes]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(
                f"Two layers have the same parameter. Expected different names. Received {twice[0]} twice."
            )
        twin.shapes = twin._shapes_of_layers()
        twin.n_parameters = sum(math.prod(shape) for shape in twin.shapes.values())
        twin.weights = tuple(name for name in self.weights if name in twin.shapes)
        return twin

    def _shapes_of_layers(self) -> dict[str, tuple[int, ...]]:
        return {name: shape for layer in self.layers for name, shape in layer.shapes.items()}

    def _demand_whole(self) -> None:
        """Refuse parts of one's own that lack something, in the words of what needs it."""
        known = self.shapes
        for layer in self.layers:
            unknown = [name for name, shape in layer.shapes.items() if known.get(name) != tuple(shape)]
            if unknown:
                raise ValueError(
                    f"The network does not know the parameters of {type(layer).__name__}. Expected it to be made by "
                    f"network.with_layers([…]). Received {', '.join(unknown)} in layers, and {known} in shapes."
                )
        missing = [name for name in ("value", "value_and_gradient") if not hasattr(self.criterion, name)]
        if missing:
            raise TypeError(
                f"The criterion lacks {' and '.join(missing)}. Expected value(logits, targets), the mean loss, and "
                f"value_and_gradient(logits, targets), with its slope. Received {type(self.criterion).__name__}."
            )

    def initial_parameters(self, rng: "np.random.Generator", dtype: DTypeLike = np.float64) -> Parameters:
        """Return fresh parameters: normal weights that keep the size of the signal, biases zero.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws the weights; both precisions start from the same float64 draws.
        dtype : dtype, default=float64

        Raises
        ------
        TypeError, ValueError
            If a layer or a loss of one's own lacks what the network needs of it.

        Notes
        -----
        The variance is ``2 / n_in`` for ReLU, which halves a signal's second moment (He et al., Delving Deep into
        Rectifiers, ICCV 2015, eq. 10), and ``2 / (n_in + n_out)`` for tanh (Glorot and Bengio, Understanding the
        difficulty of training deep feedforward neural networks, AISTATS 2010, eq. 12).
        """
        self._demand_whole()
        parameters = Parameters(self.shapes, dtype=dtype)
        for name in self.weights:
            n_units, n_inputs = self.shapes[name]
            fan = n_inputs if self.activation == "relu" else n_inputs + n_units
            parameters[name][...] = rng.standard_normal((n_units, n_inputs)) * math.sqrt(2 / fan)
        for layer in self.layers:
            for name, values in layer.initial_parameters(rng).items():
                parameters[name][...] = values
        return parameters

    def logits(self, parameters: Arrays, inputs: Array, rng: Rng = None) -> Array:
        """Return the log-odds of class 1, shape (n_rows,), for `parameters`, `inputs` and `rng` as in `loss`."""
        outputs = inputs
        for layer in self.layers:
            outputs, _ = layer.forward(parameters, outputs, rng)
        return self.as_logits(outputs)

    def as_logits(self, outputs: Array) -> Array:
        """Return what the criterion takes of the `outputs` of the last layer: the one column that there is."""
        return outputs[..., 0]

    def predict_proba(self, parameters: Arrays, inputs: Array) -> Array:
        """Return the probability of class 1, (n_rows,), without dropout; `parameters` and `inputs` as in `loss`."""
        return sigmoid(self.logits(parameters, inputs))

    def predict(self, parameters: Arrays, inputs: Array) -> Array:
        """Return the likelier class, 0 or 1, (n_rows,); `parameters` and `inputs` as in `loss`."""
        return (self.logits(parameters, inputs) > 0).astype(np.intp)

    def hidden_activations(self, parameters: Arrays, inputs: Array) -> list[Array]:
        """Return what each hidden layer passes on without dropout: arrays of shape (n_rows, n_units).

        `parameters` and `inputs` are those of `loss`.
        """
        activations = []
        outputs = inputs
        for layer in self.layers:
            if isinstance(layer, Linear):  # what it is given is the output of the hidden layer before it
                activations.append(outputs)
            outputs, _ = layer.forward(parameters, outputs, None)
        return activations[1:]

    def criterion_targets(self, inputs: Array, targets: Array) -> Array:
        """Return what the criterion holds the logits against: the `targets`; a subclass may use the `inputs`."""
        return targets

    def loss(self, parameters: Arrays, inputs: Array, targets: Array, rng: Rng = None) -> float | complex:
        """Return the mean loss over the rows plus the penalty.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            Real, or complex for a complex-step derivative; then the loss is complex.
        inputs : ndarray of shape (n_rows, n_features)
        targets : ndarray of shape (n_rows,)
            0 or 1.
        rng : numpy.random.Generator, optional
            Draws the dropout masks. None is evaluation: no dropout, nothing drawn.
        """
        data_loss = self.criterion.value(self.logits(parameters, inputs, rng), self.criterion_targets(inputs, targets))
        return data_loss + self.penalty.value(parameters, self.weights)

    def loss_and_gradients(
        self, parameters: Arrays, inputs: Array, targets: Array, rng: Rng = None, out: Parameters | None = None
    ) -> tuple[float, Parameters]:
        """Return `loss` and its gradient with respect to every parameter, by back-propagation.

        Parameters
        ----------
        parameters, inputs, targets, rng
            As in `loss`; real.
        out : Parameters, optional
            Storage for the gradients, overwritten and returned: saves an allocation per step.

        Returns
        -------
        float, Parameters
            Each gradient has the shape of its parameter; what no layer writes is zero.
        """
        gradients = Parameters(self.shapes, dtype=parameters[self.weights[0]].dtype) if out is None else out
        gradients.vector.fill(0)
        backwards = []
        outputs = inputs
        for layer in self.layers:
            outputs, backward = layer.forward(parameters, outputs, rng)
            backwards.append(backward)
        against = self.criterion_targets(inputs, targets)
        loss, gradient = self.criterion.value_and_gradient(self.as_logits(outputs), against)
        output_gradient: Array | None = gradient.reshape(outputs.shape)
        for backward in reversed(backwards):
            if output_gradient is None:  # nothing further up has parameters
                break
            output_gradient = backward(output_gradient, gradients)
        loss += self.penalty.value(parameters, self.weights).real
        self.penalty.add_gradient(parameters, gradients, self.weights)
        return loss, gradients

    def checked_inputs(self, inputs: ArrayLike, dtype: DTypeLike) -> Array:
        """Return `inputs` of shape (n_rows, n_features) as `dtype`, unless they are memory-mapped.

        Raises
        ------
        ValueError
            If they are not finite numbers of that shape, or no rows.
        """
        return checked_inputs(inputs, self.layer_sizes[0], dtype)

    def checked_rows(
        self, inputs: ArrayLike, targets: ArrayLike, dtype: DTypeLike, *, both_classes: bool = True
    ) -> Rows:
        """Return `inputs` and as many `targets` of two classes, to be trained on as `dtype`.

        Parameters
        ----------
        inputs, dtype
            As in `checked_inputs`.
        targets : array-like of shape (n_rows,)
            0 or 1.
        both_classes : bool, default=True
            Refuse rows of one class only, from which nothing can be learnt but that class.

        Raises
        ------
        ValueError
            If they are anything else.
        """
        rows = self.checked_inputs(inputs, dtype)
        labels = checked_targets(targets, rows, dtype, both_classes=both_classes)
        return Rows(rows, labels, (np.dtype(dtype), np.dtype(dtype)))

    def coordinate_losses(
        self, parameters: Arrays, inputs: Array, targets: Array, steps: Mapping[str, ArrayLike], rng: Rng = None
    ) -> dict[str, Array]:
        """Return the `loss` with each entry of some parameters moved alone, by each of its steps.

        How, without a forward pass an entry, is told in `trainer.network.sweep`.

        Parameters
        ----------
        parameters, inputs, targets
            As in `loss`.
        steps : dict of str to array-like of shape (n_steps, *shape of the parameter)
            Added to the entries of that parameter, one at a time; real or complex, as many for each parameter.
        rng : numpy.random.Generator, optional
            Every evaluation sees the masks that `loss` would draw from it now; it is not advanced.

        Returns
        -------
        dict of str to ndarray of shape (n_steps, *shape of the parameter)

        Raises
        ------
        TypeError
            If `steps` are no mapping.
        ValueError
            If they name no parameter of this network, or are of another shape.
        """
        return Sweep(self, parameters, inputs, targets, rng).coordinate_losses(checked_steps(self.shapes, steps))


def _checked_sizes(layer_sizes: Sequence[int], n_outputs: int | None) -> tuple[int, ...]:
    if not np.iterable(layer_sizes):
        raise TypeError(f"The layer sizes are no sequence. Expected e.g. (30, 16, 1). Received {layer_sizes!r}.")
    for size in layer_sizes:
        if not is_integer(size):
            raise TypeError(f"A layer size is not an integer. Expected e.g. (30, 16, 1). Received {size!r}.")
    sizes = tuple(int(size) for size in layer_sizes)
    fits = len(sizes) > 1 and min(sizes) > 0 and (sizes[-1] == n_outputs if n_outputs else sizes[-1] > 1)
    if not fits:
        last = n_outputs or "the number of classes, at least 2"
        expected = f"the width of the inputs, of each hidden layer, and {last}, all at least 1"
        raise ValueError(f"Invalid layer_sizes. Expected {expected}. Received {sizes}.")
    return sizes
