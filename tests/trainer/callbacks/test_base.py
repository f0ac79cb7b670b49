"""Callbacks are refused when misspelt, and a state keeps the first reason to stop."""

import pytest

from trainer import Callback
from trainer.callbacks.base import HOOKS


def test_there_are_seven_hooks_and_each_says_when():
    assert len(HOOKS) == 7
    for name in HOOKS:
        assert getattr(Callback, name).__doc__


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("on_bacth_end", "on_batch_end"), ("on_gradient_computed", "on_gradients_computed")],
)
def test_a_misspelt_hook_is_refused_when_the_class_is_made(wrong, meant):
    with pytest.raises(TypeError) as caught:
        type("Watcher", (Callback,), {wrong: lambda self, state: None})
    message = str(caught.value)
    assert message.startswith("Watcher defines an unknown hook. Expected one of ")
    assert all(name in message for name in HOOKS)
    assert message.endswith(f"Received {wrong}. Did you mean {meant}?")


def test_a_misspelt_hook_of_a_grandchild_is_refused_too():
    class Child(Callback):
        def on_batch_end(self, state):
            pass

    with pytest.raises(TypeError, match="on_start"):
        type("Grandchild", (Child,), {"on_start": lambda self, state: None})


def test_settings_that_begin_with_on_are_no_hooks():
    watcher = type("Watcher", (Callback,), {"on_failure": "raise"})
    assert watcher().on_failure == "raise"
