"""Model: what the trainer asks of a network, and the one place that knows what one may offer besides."""

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from trainer.network.parameters import Arrays, Parameters, Rng
from trainer.rows import Array, Rows, checked_array, demand_targets

#: What a model must have, and what it may have besides: all that the trainer and the checks ever ask one for.
DEMANDED = ("initial_parameters", "loss", "loss_and_gradients")
OPTIONAL = (
    "predict",
    "predict_proba",
    "coordinate_losses",
    "hidden_activations",
    "shapes",
    "settings",
    "dropout",
    "penalty",
    "checked_inputs",
    "checked_rows",
)


class Model(Protocol):
    """What `Trainer` trains and `GradientCheck` checks: any object with these three methods; nothing is inherited.

    Parameters and gradients are mappings of name to array, such as plain dicts; gradients may be called ``dW1``, too.
    The trainer keeps the parameters in one vector, and hands the model views of it. Rows and targets are arrays of any
    shape whose first axis counts rows. Real numbers come in the precision of the run, integers and booleans as they
    are.

    Notes
    -----
    What a model has besides is used: ``predict(parameters, inputs)`` and ``predict_proba(parameters, inputs)``, for
    `Trainer.predict`, `Trainer.predict_proba` and metrics; ``settings()``, plain data that tell it from others of its
    class, which a checkpoint compares (else its ``repr``, or its public attributes); ``shapes``, name to shape of each
    parameter; ``coordinate_losses(parameters, inputs, targets, steps, rng)``, which makes a full check quicker,
    and ``hidden_activations(parameters, inputs)``, of which a proof says how many units were active: as in `Network`.
    One ``coordinate_losses(parameters, inputs, targets, name, step, rng)`` is asked for one tensor and step at a time.
    If `loss_and_gradients` takes ``out``, it is lent storage for the gradients.
    """

    def initial_parameters(self, rng: "np.random.Generator", dtype: DTypeLike) -> Arrays:
        """Return fresh parameters.

        Parameters
        ----------
        rng : numpy.random.Generator
        dtype : dtype
            Of the run; what is returned is converted to it.
        """

    def loss(self, parameters: Arrays, inputs: Array, targets: Array, rng: Rng = None) -> float | complex:
        """Return the loss of the rows.

        Parameters
        ----------
        parameters : mapping of str to ndarray
            In any precision; a loss that also accepts complex ones can be checked more sharply.
        inputs, targets : ndarray of shape (n_rows, ...)
        rng : numpy.random.Generator, optional
            Draws what is random in training, such as dropout masks. None is evaluation: nothing is drawn.
        """

    def loss_and_gradients(
        self, parameters: Arrays, inputs: Array, targets: Array, rng: Rng = None
    ) -> tuple[float, Arrays]:
        """Return `loss` and its gradient with respect to every parameter, under its name and in its shape.

        Parameters
        ----------
        parameters, inputs, targets, rng
            As in `loss`; real.
        """


def checked_model(model: Any) -> Any:
    """Return what has the methods of a `Model`, or raise TypeError."""
    missing = [name for name in DEMANDED if not callable(getattr(model, name, None))]
    if missing or isinstance(model, type):
        received = f"the class {model.__name__} itself" if isinstance(model, type) else repr(model)
        lacks = f", which has no {', '.join(missing)}" if missing else ""
        raise TypeError(
            f"Invalid network. Expected a trainer.Model, an object with the methods {', '.join(DEMANDED)}. "
            f"Received {received}{lacks}."
        )
    return model


def offered(model: Any, name: str) -> Any:
    """Return one of the things that a model may have, or None where it has none."""
    if name not in OPTIONAL:
        raise ValueError(f"A model is not asked for that. Expected one of {', '.join(OPTIONAL)}. Received {name!r}.")
    return getattr(model, name, None)


def demanded(model: Any, *names: str) -> Any:
    """Return the first of these things that a model has, or raise TypeError."""
    for name in names:
        if (found := offered(model, name)) is not None:
            return found
    raise TypeError(
        f"The model makes no predictions. Expected it to have {' or '.join(names)}(parameters, inputs). "
        f"Received {type(model).__name__}, which has none."
    )


def takes_out(model: Any) -> bool:
    """Say whether `loss_and_gradients` takes, as its fifth argument, storage for the gradients."""
    takes = _parameters_of(model.loss_and_gradients)
    fifth = [each for each in takes.values() if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)][4:5]
    return [each.name for each in fifth] == ["out"] or any(each.kind is each.VAR_POSITIONAL for each in takes.values())


def coordinate_losses_of(model: Any) -> Callable[..., Mapping[str, Array]] | None:
    """Return what gives a model's losses with single entries moved, of all steps at once; None where it has none.

    One of a single ``step`` of the parameter ``name``, as up to version 0.1, is asked for one after the other.
    """
    own = offered(model, "coordinate_losses")
    method = getattr(own, "__func__", None)  # other callables may be no key of a cache
    if own is None or not (_is_of_one_step(method) if method is not None else "step" in _parameters_of(own)):
        found: Callable[..., Mapping[str, Array]] | None = own
        return found

    def one_by_one(
        parameters: Arrays, inputs: Array, targets: Array, steps: Mapping[str, Array], rng: Rng = None
    ) -> dict[str, Array]:
        given = parameters, inputs, targets
        return {
            name: np.stack([own(*given, name, step, copy.deepcopy(rng)) for step in several])
            for name, several in steps.items()
        }

    return one_by_one


@lru_cache(maxsize=1)  # every check of a run asks, and a look at a signature takes as long as a pass
def _is_of_one_step(method: Callable[..., Any]) -> bool:
    return "step" in _parameters_of(method)


def _parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # compiled, and tells nothing
        return {}


def taken(answer: Any) -> tuple[float, Any]:
    """Return what `loss_and_gradients` gave, the loss as a float, or raise TypeError."""
    try:
        loss, gradients = answer
        return float(loss), gradients
    except (TypeError, ValueError) as error:
        expected = "a pair: the loss, a real number, and the gradients, arrays by name"
        raise TypeError(f"loss_and_gradients gave something else. Expected {expected}. Received {answer!r}.") from error


def initial_parameters(model: Any, rng: "np.random.Generator", dtype: DTypeLike) -> Parameters:
    """Return a model's fresh parameters as views of one vector; TypeError or ValueError where they are none."""
    given = model.initial_parameters(rng, dtype)
    if isinstance(given, Parameters) and given.vector.dtype == dtype:
        return given
    if not isinstance(given, Mapping) or not given or not all(isinstance(name, str) for name in given):
        raise TypeError(f"The initial parameters are no mapping. Expected arrays by name. Received {given!r}.")
    arrays = {name: np.asarray(value) for name, value in given.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            received = f"dtype {array.dtype}" if array.dtype.kind not in "fiub" else "NaN or infinity"
            raise ValueError(f"The initial {name} is no parameter. Expected finite real numbers. Received {received}.")
    parameters = Parameters({name: array.shape for name, array in arrays.items()}, dtype=dtype)
    parameters.assign(arrays)
    return parameters


def checked_inputs(
    model: Any, inputs: ArrayLike, dtype: DTypeLike, row: tuple[int, ...]
) -> tuple[Array, np.dtype[Any]]:
    """Return rows to predict, each of the shape of those that were trained on, and their dtype in a batch."""
    own: Callable[..., Array] | None = offered(model, "checked_inputs")
    if own is not None:
        return own(inputs, dtype), np.dtype(dtype)
    rows = checked_array("inputs", inputs, dtype)
    if rows.shape[1:] != row:
        expected = f"(n_rows{''.join(f', {size}' for size in row)})"
        raise ValueError(f"The inputs have the wrong shape. Expected {expected}, as in fit. Received {rows.shape}.")
    return rows, rows.dtype


def checked_rows(model: Any, inputs: ArrayLike, targets: ArrayLike, dtype: DTypeLike, *, both_classes: bool) -> Rows:
    """Return rows of any kind as they are trained on; a model may have demands of its own, as `Network` has."""
    own: Callable[..., Rows] | None = offered(model, "checked_rows")
    if own is not None:
        return own(inputs, targets, dtype, both_classes=both_classes)
    rows = Rows.of(checked_array("inputs", inputs, dtype), checked_array("targets", targets, dtype), dtype)
    demand_targets(rows.inputs, rows.targets)
    return rows
