"""Trainer: sets a run up, has its epochs run, and sees to its end."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from trainer.argument import checked_integer
from trainer.batches import Batch, Batches, checked_inputs, checked_targets, in_blocks
from trainer.callbacks.base import Callback, Metric, Outcome, Place, TrainState
from trainer.callbacks.snapshot import Snapshot
from trainer.loop import Hooks, run_epochs
from trainer.network.network import Network
from trainer.network.parameters import Array, Parameters
from trainer.optimizers import Adam, Optimizer
from trainer.storage.durable import File
from trainer.storage.history import History


class Trainer:
    """Fits a network by mini-batches.

    An **iteration** is one parameter update, an **epoch** one pass over the training rows in a fresh random
    order; both are counted from 1, and the iteration goes on counting from epoch to epoch.

    Parameters
    ----------
    network : Network
    optimizer : Optimizer, optional
        ``Adam()`` by default.
    batch_size : int >= 1, default=256
        Rows per iteration; the last batch of an epoch may be smaller.
    epochs : int >= 1, default=5
    shuffle_window : int >= 1, optional
        Rows that are shuffled together; see `trainer.batches.Batches`. Default: all rows of arrays in memory,
        131,072 of a memory-mapped file.
    dtype : {"float64", "float32"}, default="float64"
        Of parameters, gradients and batches.
    seed : int >= 0, default=0
        Of three independent generators: initial parameters, order of the rows, dropout masks. The same seed
        gives bit-identical parameters on the same machine.
    callbacks : iterable of Callback, default=()
        Called in this order.
    history_path : path, optional
        Where `History` writes its rows as JSON lines.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If an argument is out of its range.
    """

    def __init__(
        self,
        network: Network,
        *,
        optimizer: Optimizer | None = None,
        batch_size: int = 256,
        epochs: int = 5,
        shuffle_window: int | None = None,
        dtype: Literal["float64", "float32"] = "float64",
        seed: int = 0,
        callbacks: Iterable[Callback] = (),
        history_path: File | Path | str | None = None,
    ) -> None:
        if not isinstance(dtype, str) or dtype not in ("float64", "float32"):
            raise ValueError(f"Invalid dtype. Expected 'float64' or 'float32'. Received {dtype!r}.")
        optimizer = Adam() if optimizer is None else optimizer
        for name, value, fits, expected in (
            ("network", network, isinstance(network, Network), "trainer.Network"),
            ("optimizer", optimizer, isinstance(optimizer, Optimizer), "trainer.Optimizer"),
            ("callbacks", callbacks, np.iterable(callbacks), "list of trainer.Callback"),
            ("history_path", history_path, isinstance(history_path, str | Path | File | None), "path"),
        ):
            if not fits:
                raise TypeError(f"Invalid {name}. Expected a {expected}. Received {value!r}.")
        self.network = network
        self.optimizer = optimizer
        self.batch_size = checked_integer(batch_size, "batch_size", 1)
        self.epochs = checked_integer(epochs, "epochs", 1)
        self.shuffle_window = shuffle_window
        if shuffle_window is not None:
            self.shuffle_window = checked_integer(shuffle_window, "shuffle_window", 1)
        self.dtype = np.dtype(dtype)
        self.seed = checked_integer(seed, "seed", 0)
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"Not a callback. Expected instances of trainer.Callback. Received {callback!r}.")
        self.history_path = history_path
        self._state: TrainState | None = None

    def __repr__(self) -> str:
        """Show the settings, and how the last run ended or how far this one is."""
        settings = f"batch_size={self.batch_size}, epochs={self.epochs}, dtype={self.dtype.name!r}, seed={self.seed}"
        run = self._state
        watched = ", ".join(type(callback).__name__ for callback in self.callbacks)
        settings += f", callbacks=[{watched}]"
        stands = "not fitted" if run is None else f"{run.outcome} at iteration {run.iteration} of {run.n_iterations}"
        return f"{type(self).__name__}({self.network!r}, optimizer={self.optimizer!r}, {settings}; {stands})"

    @property
    def state(self) -> TrainState:
        """The last run, or the current one.

        Raises
        ------
        RuntimeError
            If nothing was fitted yet, here and in the properties below.
        """
        if self._state is None:
            raise RuntimeError("Nothing was fitted yet. Expected a call of fit before. Received none.")
        return self._state

    @property
    def parameters(self) -> Parameters:
        """The fitted parameters; after a halt, those from before the suspect update."""
        return self.state.parameters

    @property
    def history(self) -> History:
        """The rows of the last run."""
        return self.state.history

    @property
    def outcome(self) -> Outcome:
        """How the last run ended; see `TrainState`."""
        return self.state.outcome

    def fit(
        self,
        inputs: ArrayLike,
        targets: ArrayLike,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        metrics: Mapping[str, Metric] | None = None,
        both_classes: bool = True,
        resume: Snapshot | Path | str | None = None,
    ) -> History:
        """Train from fresh parameters, or go on from a snapshot; nothing else of an earlier fit is kept.

        Parameters
        ----------
        inputs : array-like of shape (n_samples, n_features)
            A memory-mapped array is never held as a whole: it is read window by window.
        targets : array-like of shape (n_samples,)
            0 or 1, both present unless `both_classes` says otherwise.
        validation : pair of array-likes, optional
            Inputs and targets on which ``"validation_loss"`` is measured after every epoch: the same loss,
            penalty included, without dropout.
        metrics : mapping of str to callable, optional
            ``{"average_precision": sklearn.metrics.average_precision_score}`` logs ``"validation_average_precision"``
            after every epoch: each is called with the targets and the probabilities of the validation rows.
        both_classes : bool, default=True
            Refuse rows of one class only, from which nothing can be learnt but that class.
        resume : Snapshot or path, optional
            Where an interrupted run of the same settings and rows stood, as `latest_checkpoint` reads it: the run goes
            on from there, and ends with bit-identical parameters and history (but for times) as if it had
            never been interrupted. `epochs` may be larger than it was.

        Returns
        -------
        History
            One row an iteration (its loss before the update, dropout included), one an epoch
            (``"epoch_loss"`` is the mean of those losses over the rows), and one at the end.

        Raises
        ------
        ValueError, TypeError
            If the rows, or the snapshot (`ResumeError`), are not what is expected; then nothing was trained or written.
        TrainingDiverged
            If the loss of a batch is not finite, or parameters after an epoch or at the end.
        ExceptionGroup
            If `on_train_end` hooks fail; its cause is the exception that ended the run, if any. Any exception out of
            another hook, as `TrainingHalted`, and `KeyboardInterrupt`, leaves as it was raised, once every
            `on_train_end` was called and the end row is written.
        """
        snapshot = None if resume is None else Snapshot.given(resume)
        rows = self._checked(inputs, targets, both_classes)
        held_out = None
        if validation is not None:
            if not isinstance(validation, tuple | list) or len(validation) != 2:
                received = type(validation).__name__
                raise TypeError(f"The validation rows are no pair. Expected (inputs, targets). Received {received}.")
            held_out = self._checked(*validation, both_classes=False)
        if metrics and held_out is None:
            raise ValueError(
                "The metrics have no rows. Expected fit(…, validation=(inputs, targets), metrics=…). Received no rows."
            )
        batches = Batches(*rows, self.batch_size, self.dtype, self.shuffle_window)
        seeds = np.random.SeedSequence(self.seed).spawn(3)
        initial, order, masks = (np.random.default_rng(seed) for seed in seeds)
        parameters = self.network.initial_parameters(initial, self.dtype)
        state = TrainState(
            network=self.network,
            parameters=parameters,
            gradients=parameters.zeros_like(),
            optimizer=self.optimizer,
            optimizer_state=self.optimizer.initial_state(parameters.vector.size, self.dtype),
            inputs=rows.inputs,
            targets=rows.targets,
            n_epochs=self.epochs,
            n_iterations=self.epochs * len(batches),
            history=History(),
            place=Place(order, masks, order.bit_generator.state),
            batch=Batch(rows.inputs[:0], rows.targets[:0]),
            callbacks=self.callbacks,
            settings={
                "batch_size": self.batch_size,
                "shuffle_window": self.shuffle_window,
                "dtype": self.dtype.name,
                "seed": self.seed,
            },
            resumed=snapshot is not None,
            validation=held_out,
            metrics=_checked_metrics(metrics),
        )
        if snapshot is None:
            state.history = History(self.history_path)
        else:  # first what may be refused, and then the file is changed
            snapshot.restore(state)
            state.history = snapshot.history(self.history_path)
        self._state = state
        self._run(state, batches, snapshot)
        return state.history

    def predict_proba(self, inputs: ArrayLike) -> Array:
        """Return the probability of class 1, shape (n_rows,), for `inputs` of shape (n_rows, n_features).

        Raises
        ------
        ValueError
            If the inputs are not finite numbers of that shape.
        """
        rows = checked_inputs(inputs, self.network.layer_sizes[0], self.dtype)
        return in_blocks(lambda block: self.network.predict_proba(self.parameters, block), rows, self.dtype)

    def _checked(self, inputs: ArrayLike, targets: ArrayLike, both_classes: bool) -> Batch:
        rows = checked_inputs(inputs, self.network.layer_sizes[0], self.dtype)
        return Batch(rows, checked_targets(targets, len(rows), self.dtype, both_classes=both_classes))

    def _run(self, state: TrainState, batches: Batches, snapshot: Snapshot | None) -> None:
        hooks = Hooks(self.callbacks)
        error: BaseException | None = None
        try:
            stop = hooks.begin(state)
            if snapshot is not None:
                snapshot.restore_callbacks(self.callbacks)
            if not stop:
                run_epochs(state, hooks, batches)
            state.demand_finite()
        except BaseException as caught:
            error = caught
            raise
        finally:
            hooks.end(state, error)


def _checked_metrics(metrics: Mapping[str, Metric] | None) -> dict[str, Metric]:
    if not isinstance(metrics, Mapping | None):
        raise TypeError(f"The metrics are no mapping. Expected functions by name. Received {metrics!r}.")
    for name, metric in (metrics or {}).items():
        if not callable(metric) or not isinstance(name, str) or name == "loss":
            expected = "a name, other than loss, and a function of targets and predictions"
            raise TypeError(f"Invalid metric. Expected {expected}. Received {name!r}: {metric!r}.")
    return dict(metrics or {})
