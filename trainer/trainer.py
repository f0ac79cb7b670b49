"""Trainer: sets a run up, has its epochs run, and sees to its end."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Never, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike

from trainer.argument import OF_FIT, OF_METHODS, OF_TRAINER, checked_integer, described, refuse_others
from trainer.batches import Batch, Batches
from trainer.callbacks.base import Callback, Metric, Outcome, Place, TrainState
from trainer.callbacks.snapshot import Snapshot
from trainer.loop import Hooks, run_epochs
from trainer.model import Model, checked_inputs, checked_model, checked_rows, demanded, initial_parameters
from trainer.network.parameters import Array, Parameters
from trainer.optimizers import Adam, Optimizer
from trainer.rows import Rows, in_blocks
from trainer.storage.archive import ArchiveError, read_archive, write_archive
from trainer.storage.codec import BrokenError, from_plain
from trainer.storage.durable import File
from trainer.storage.history import History

NOTHING = "Nothing was fitted yet. Expected a call of fit before. Received none."
KIND, VERSION = "model", 1


class Trainer:
    """Fits a network by mini-batches: a `Network`, or whatever else has the methods of a `Model`.

    An **iteration** is one parameter update, an **epoch** one pass over the training rows in a fresh random
    order; both are counted from 1, and the iteration goes on counting from epoch to epoch.

    Parameters
    ----------
    network : Model
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
    **others
        Refused, with what to write instead of an argument of another library.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If an argument is out of its range.
    """

    def __init__(
        self,
        network: Model,
        *,
        optimizer: Optimizer | None = None,
        batch_size: int = 256,
        epochs: int = 5,
        shuffle_window: int | None = None,
        dtype: Literal["float64", "float32"] = "float64",
        seed: int = 0,
        callbacks: Iterable[Callback] = (),
        history_path: File | Path | str | None = None,
        **others: Never,
    ) -> None:
        refuse_others("Trainer", others, OF_TRAINER, ARGUMENTS)
        if not isinstance(dtype, str) or dtype not in ("float64", "float32"):
            raise ValueError(f"Invalid dtype. Expected 'float64' or 'float32'. Received {dtype!r}.")
        optimizer = Adam() if optimizer is None else optimizer
        for name, value, fits, expected in (
            ("optimizer", optimizer, isinstance(optimizer, Optimizer), "trainer.Optimizer"),
            ("callbacks", callbacks, np.iterable(callbacks), "list of trainer.Callback"),
            ("history_path", history_path, isinstance(history_path, str | Path | File | None), "path"),
        ):
            if not fits:
                raise TypeError(f"Invalid {name}. Expected a {expected}. Received {value!r}.")
        self.network: Any = checked_model(network)
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
                hint = ", a class with a hook such as on_epoch_end(self, state)" if callable(callback) else ""
                raise TypeError(f"Not a callback. Expected instances of trainer.Callback{hint}. Received {callback!r}.")
        self.history_path = history_path
        self._state: TrainState | None = None
        self._fitted: tuple[Parameters, tuple[int, ...]] | None = None  # and the shape of a row

    if not TYPE_CHECKING:  # to which a name that there is not would be one

        def __getattr__(self, name: str) -> NoReturn:
            """Say what to write instead of a method of another library."""
            hint = f" Expected {OF_METHODS[name]}." if name in OF_METHODS else ""
            raise AttributeError(f"{type(self).__name__} has no {name!r}.{hint}", name=name, obj=self)

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
            raise RuntimeError(NOTHING)
        return self._state

    @property
    def parameters(self) -> Parameters:
        """The parameters that were fitted or loaded; after a halt, those from before the suspect update."""
        if self._fitted is None:
            raise RuntimeError(NOTHING)
        return self._fitted[0]

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
        warm_start: bool = False,
        **others: Never,
    ) -> History:
        """Train from fresh parameters, or go on; of an earlier fit nothing else is kept.

        Parameters
        ----------
        inputs, targets : array-like of shape (n_samples, ...)
            Of a `Network` (n_samples, n_features), and (n_samples,) of 0 or 1, both present unless `both_classes` says
            otherwise. A memory-mapped array is never held as a whole: it is read window by window.
        validation : pair of array-likes, optional
            Inputs and targets on which ``"validation_loss"`` is measured after every epoch: the same loss,
            penalty included, without dropout.
        metrics : mapping of str to callable, optional
            ``{"average_precision": sklearn.metrics.average_precision_score}`` logs ``"validation_average_precision"``
            after every epoch: each is called with the targets of the validation rows, and what the model's
            ``predict_proba`` says of them, or its ``predict`` where it has no such.
        both_classes : bool, default=True
            Of a `Network`: refuse rows of one class only, from which nothing can be learnt but that class.
        resume : Snapshot or path, optional
            Where an interrupted run of the same settings and rows stood, as `latest_checkpoint` reads it: the run goes
            on from there, and ends with bit-identical parameters and history (but for times) as if it had
            never been interrupted. `epochs` may be larger than it was.
        warm_start : bool, default=False
            Go on from the last fit: with its parameters, optimizer, generators and history, on these rows, for `epochs`
            more; callbacks begin afresh. From what was loaded only the parameters are taken; without either it begins.
        **others
            Refused, with what to write instead of an argument of another library.

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
        refuse_others("fit", others, OF_FIT, ARGUMENTS_OF_FIT)
        if warm_start and resume is not None:
            raise ValueError("There are two ways to go on. Expected resume or warm_start. Received both.")
        snapshot = None if resume is None else Snapshot.given(resume)
        rows = self._checked(inputs, targets, both_classes)
        held_out = None
        if validation is not None:
            if not isinstance(validation, tuple | list) or len(validation) != 2:
                received = type(validation).__name__
                raise TypeError(f"The validation rows are no pair. Expected (inputs, targets). Received {received}.")
            held_out = Batch(*self._checked(*validation, both_classes=False)[:2])
        if metrics and held_out is None:
            raise ValueError(
                "The metrics have no rows. Expected fit(…, validation=(inputs, targets), metrics=…). Received no rows."
            )
        batches = Batches(rows, self.batch_size, self.shuffle_window)
        seeds = np.random.SeedSequence(self.seed).spawn(3)
        initial, order, masks = (np.random.default_rng(seed) for seed in seeds)
        parameters = initial_parameters(self.network, initial, self.dtype)
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
        if warm_start and self._fitted is not None:
            self._go_on(state)
        if snapshot is None:
            state.history = state.history if state.iteration else History(self.history_path)
        else:  # first what may be refused, and then the file is changed
            snapshot.restore(state)
            state.history = snapshot.history(self.history_path)
        self._state, self._fitted = state, (parameters, rows.inputs.shape[1:])
        self._run(state, batches, snapshot)
        return state.history

    def predict_proba(self, inputs: ArrayLike) -> Array:
        """Return the probabilities of `inputs`, as `predict`: of a `Network` those of class 1, shape (n_rows,)."""
        return self._predicted("predict_proba", inputs)

    def predict(self, inputs: ArrayLike) -> Array:
        """Return what the model predicts: of a `Network` the likelier class, 0 or 1, shape (n_rows,).

        Parameters
        ----------
        inputs : array-like of shape (n_rows, ...)
            As in `fit`.

        Raises
        ------
        TypeError
            If the model has no such method.
        ValueError
            If the inputs are not finite numbers of that shape.
        """
        return self._predicted("predict", inputs)

    def save(self, path: Path | str) -> None:
        """Save what was fitted to `path`, whole or not at all: the parameters, and of which network they are.

        Raises
        ------
        RuntimeError
            If nothing was fitted yet.
        OSError
            If it cannot be written.
        """
        arrays = {f"parameters.{number}": array for number, array in enumerate(self.parameters.values())}
        facts = {"network": described(self.network), "names": list(self.parameters), "row": list(self._row_shape)}
        write_archive(path, KIND, VERSION, arrays, facts)

    def load(self, path: Path | str) -> Self:
        """Return itself, with what a trainer of the same network has saved at `path`, to predict or to go on from.

        Raises
        ------
        ArchiveError
            If the file is damaged or something else.
        ValueError
            If it is of another network.
        """
        archive = read_archive(path, KIND, VERSION)
        facts, network = archive.facts, described(self.network)
        if facts.get("network") != network:
            raise ValueError(f"The file is of another network. Expected {network}. Received {facts.get('network')}.")
        parameters = initial_parameters(self.network, np.random.default_rng(self.seed), self.dtype)
        try:
            names = from_plain(list[str], facts.get("names"), "names")
            row = tuple(from_plain(list[int], facts.get("row"), "row"))
            parameters.assign({name: archive.arrays[f"parameters.{n}"] for n, name in enumerate(names)})
        except (BrokenError, KeyError, ValueError) as error:
            raise ArchiveError(
                f"{path} is no fitted model. Expected what save has written. Received {error}"
            ) from error
        self._state, self._fitted = None, (parameters, row)
        return self

    @property
    def _row_shape(self) -> tuple[int, ...]:
        return () if self._fitted is None else self._fitted[1]

    def _go_on(self, state: TrainState) -> None:
        """Put a fresh run where the last one ended."""
        earlier = self.parameters
        if earlier.shapes != state.parameters.shapes:
            raise ValueError(
                "There are other parameters to go on from. "
                f"Expected shapes {state.parameters.shapes}. Received {earlier.shapes}."
            )
        state.parameters.vector[...] = earlier.vector
        if self._state is None:
            return
        last = self._state
        kept = {name: moment.astype(self.dtype) for name, moment in last.optimizer_state.moments.items()}
        if kept.keys() == state.optimizer_state.moments.keys():
            state.optimizer_state.moments, state.optimizer_state.n_updates = kept, last.optimizer_state.n_updates
        state.epoch, state.iteration = last.epoch, last.iteration
        state.n_epochs += last.epoch
        state.n_iterations += last.iteration
        state.place, state.history = replace(last.place), last.history
        state.history.reopen()

    def _predicted(self, name: str, inputs: ArrayLike) -> Array:
        predict, parameters = demanded(self.network, name), self.parameters
        rows, dtype = checked_inputs(self.network, inputs, self.dtype, self._row_shape)
        return in_blocks(lambda block: predict(parameters, block), rows, dtype)

    def _checked(self, inputs: ArrayLike, targets: ArrayLike, both_classes: bool) -> Rows:
        return checked_rows(self.network, inputs, targets, self.dtype, both_classes=both_classes)

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


ARGUMENTS, ARGUMENTS_OF_FIT = (
    [name for name in inspect.signature(call).parameters if name not in ("self", "others")]
    for call in (Trainer.__init__, Trainer.fit)
)
