"""Argument: what a user hands in: a number, checked before anything is computed with it; an object, described."""

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

# Ranges for `checked_number`: what is expected, and whether a number is that; NaN fails every comparison.
Range = tuple[str, Callable[[float], bool]]
POSITIVE: Range = ("a positive, finite float", lambda number: 0 < number < math.inf)
NOT_NEGATIVE: Range = ("a finite float, at least 0", lambda number: 0 <= number < math.inf)
FRACTION: Range = ("a float in [0, 1)", lambda number: 0 <= number < 1)

#: What people write who come from elsewhere (Keras, skorch, Lightning), and what to write here instead.
OF_TRAINER = {
    "max_epochs": "epochs=",
    "lr": "optimizer=Adam(learning_rate=…)",
    "learning_rate": "optimizer=Adam(learning_rate=…)",
    "loss": "a network that knows its loss",
    "metrics": "fit(…, validation=…, metrics={name: function})",
    "verbose": "callbacks=[ProgressBar()]",
    "model": "the network first",
}
OF_FIT = {
    "validation_data": "validation=(inputs, targets)",
    "validation_split": "validation=(inputs, targets), as scikit-learn's train_test_split cuts them off",
    "epochs": "Trainer(…, epochs=)",
    "batch_size": "Trainer(…, batch_size=)",
    "callbacks": "Trainer(…, callbacks=)",
    "verbose": "Trainer(…, callbacks=[ProgressBar()])",
    "shuffle": "nothing, or Trainer(…, shuffle_window=): rows are always shuffled",
    "sample_weight": "NetworkClassifier, which takes it",
    "class_weight": "Network(…, positive_weight=), or NetworkClassifier, which takes it",
    "initial_epoch": "resume=checkpoint, or warm_start=True",
    "ckpt_path": "resume=checkpoint",
}
OF_METHODS = {
    "evaluate": "network.loss(trainer.parameters, inputs, targets), or fit(…, validation=…, metrics=…)",
    "score": "network.loss(trainer.parameters, inputs, targets), or fit(…, validation=…, metrics=…)",
    "validate": "network.loss(trainer.parameters, inputs, targets), or fit(…, validation=…, metrics=…)",
    "test": "network.loss(trainer.parameters, inputs, targets), or fit(…, validation=…, metrics=…)",
    "compile": "Trainer(network, optimizer=…)",
    "summary": "print(trainer.parameters)",
    "get_weights": "trainer.parameters",
    "set_weights": "trainer.parameters[name] = values",
    "save_weights": "save",
    "load_weights": "load",
    "partial_fit": "fit(…, warm_start=True), or NetworkClassifier.partial_fit",
}

PLAIN = (str, bytes, bool, tuple, list, dict, type(None))


def is_integer(value: Any) -> bool:
    """Say whether it is an integer of Python's or numpy's; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Say whether it is a real number of Python's or numpy's, NaN and the infinities included."""
    return isinstance(value, float | np.floating) or is_integer(value)


def checked_integer(
    value: Any, what: str, least: int, most: int | None = None, *, wrong_kind: type[Exception] = TypeError
) -> int:
    """Return an integer in range, as Python's; refuse another one by ValueError, and anything else by `wrong_kind`."""
    if is_integer(value) and value >= least and (most is None or value <= most):
        return int(value)
    expected = f"an integer, at least {least}" if most is None else f"an integer from {least} to {most}"
    error = ValueError if is_integer(value) else wrong_kind
    raise error(f"Invalid {what}. Expected {expected}. Received {value!r}.")


def checked_number(value: Any, what: str, expected: str, accepts: Callable[[float], bool]) -> Any:
    """Return a real number; refuse anything else by TypeError, and by ValueError what `accepts` says no to."""
    message = f"Invalid {what}. Expected {expected}. Received {value!r}."
    if not is_number(value):
        raise TypeError(message)
    try:
        accepted = accepts(float(value))
    except OverflowError:  # an integer beyond every float
        accepted = False
    if not accepted:
        raise ValueError(message)
    return value


def refuse_others(call: str, others: Mapping[str, object], habits: Mapping[str, str], own: Iterable[str]) -> None:
    """Refuse arguments that there are not by TypeError, with what to write for another library's or a misspelt one."""
    for name in others:
        near = difflib.get_close_matches(name, list(own), n=1)
        expected = habits.get(name) or (f"{near[0]}=" if near else f"one of {', '.join(own)}")
        raise TypeError(f"{call} takes no {name}. Expected {expected}. Received {name}=….")


def described(thing: Any) -> str:
    """Say what tells an object from others, the same in every process: its `settings`, or its repr or attributes."""
    settings, kind = getattr(thing, "settings", None), type(thing)
    own_repr: Any = kind.__repr__
    if callable(settings):
        own = settings()
    elif own_repr is not object.__repr__:
        return repr(thing)
    else:
        public = {name: value for name, value in getattr(thing, "__dict__", {}).items() if not name.startswith("_")}
        own = {name: value for name, value in public.items() if isinstance(value, PLAIN) or is_number(value)}
    shown = ", ".join(f"{name}={_shown(value)}" for name, value in own.items())
    return f"{getattr(thing, 'kind', kind.__name__)}({shown})"


def _shown(value: Any) -> str:
    if is_number(value):
        return str(value)
    if isinstance(value, PLAIN):
        return repr(value)
    if inspect.isroutine(value):
        return f"{value.__module__}.{value.__qualname__}"
    return described(value)
