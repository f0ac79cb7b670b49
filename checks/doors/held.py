"""held_by: a model that holds its parameters, as a function of them; it is left as it was."""

from typing import Any

from checks.doors.problem.holding import Held, holders

__all__ = ["held_by"]


def held_by(model: Any, *names: str, **gradients: str) -> Held:
    """Make functions of the parameters of a model that holds them.

    Parameters
    ----------
    model : object, or list, tuple or dict of objects
        What has the parameters as attributes: a network, or its layers, of which some may lack one.
    *names : str
        Attributes that hold parameters, arrays or structures of arrays: ``held_by(model, "params")``.
    **gradients : str
        The same, each with the attribute in which the backward pass leaves its gradient: ``held_by(layers, W="dW")``.

    Returns
    -------
    Held
        ``held.parameters`` are those of the moment. ``held(function)`` makes of a function without arguments, such as
        ``lambda: model.loss(X, y)``, one of the parameters. ``held.gradients(function)`` is one that calls it and
        gives what stands in the attributes for gradients.

    Raises
    ------
    ValueError, TypeError
        If there are no names, or nothing has such an attribute.

    Notes
    -----
    Arrays of float64 are written to in place, so that layers that share them follow; others are replaced. After every
    call both parameters and gradients are what they were.

    Examples
    --------
    >>> from checks import check_gradients
    >>> class Cube:
    ...     w = 2.0
    ...     def loss(self):
    ...         return self.w**3, 3.0 * self.w**2
    >>> cube = Cube()
    >>> held = held_by(cube, "w")
    >>> check_gradients(held(cube.loss), True, held.parameters).verdict.value
    'PASS'
    """
    attributes = (*names, *gradients)
    if not attributes:
        raise TypeError("held_by got no names. Expected those of attributes that hold parameters. Received none.")
    layers = list(holders(model).values())
    for name in attributes:
        if not any(hasattr(layer, name) for layer in layers):
            got = ", ".join(dict.fromkeys(type(layer).__name__ for layer in layers))
            raise ValueError(f"nothing holds {name!r}. Expected an attribute of that name. Received {got or 'none'}.")
    return Held(model, attributes, gradients)
