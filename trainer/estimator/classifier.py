"""NetworkClassifier: the trainer as a scikit-learn estimator."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from trainer.batches import PREDICTION_ROWS
from trainer.callbacks.base import Callback, TrainingHalted, TrainState
from trainer.estimator.labelled_rows import ClassWeight, LabelledRows, RowWeightedNetwork, checked_classes
from trainer.estimator.sklearn_callbacks import CallbackSupport, fit_task, with_callbacks
from trainer.network.losses import sigmoid
from trainer.network.network import Network
from trainer.network.parameters import Array, Parameters
from trainer.optimizers import SGD, Adam, Optimizer, OptimizerState
from trainer.trainer import Trainer

FLOATS = (np.float64, np.float32)  # what a table may stay; anything else becomes the first
OPTIMIZERS: dict[Any, Callable[[float], Optimizer]] = {"adam": Adam, "sgd": SGD}


class NetworkClassifier(CallbackSupport, ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier of two classes over `Trainer`.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(16, 8)
        Width of each hidden layer; empty for logistic regression.
    activation, dropout, l2
        As in `Network`.
    class_weight : dict of label to float, "balanced" or None, default=None
        Only the ratio counts: a row of the second class weighs ``weight[1] / weight[0]`` times one of the first.
    optimizer : {"adam", "sgd"} or Optimizer, default="adam"
        By name with `learning_rate`; or made by yourself, such as ``SGD(0.01, momentum=0.9)``.
    learning_rate : float > 0, default=0.005
        Of an optimizer that is given by name.
    batch_size, epochs, dtype
        As in `Trainer`; 256, 100, "float64" by default.
    validation_fraction : float in [0, 1), default=0.0
        Share of the rows, stratified, that is not trained on but gives the ``"validation_loss"`` of every epoch.
    callbacks : sequence of Callback, default=()
        Every fit works on copies of its own: look at `callbacks_` afterwards. scikit-learn's own callbacks go
        through ``set_callbacks`` instead.
    random_state : int, RandomState instance or None, default=None
        Of initial parameters, order of the rows, dropout and the choice of validation rows.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The labels; the second is the one whose probability the network gives.
    network_, parameters_, history_ : Network, Parameters, History
        Of the last fit or `partial_fit`.
    callbacks_ : list of Callback
        The copies that watched the fit; there also after one that was halted.
    n_iterations_ : int
        Parameter updates so far.

    Notes
    -----
    `TrainingDiverged`, and any exception out of a callback, such as `TrainingHalted`, leaves `fit` as it was raised,
    and the estimator is not fitted, not even if it was before. `GridSearchCV` and its like make a NaN and a warning of
    it, and raise if every fit failed; with ``error_score="raise"`` they raise at once.

    Sample weights are relative: they are divided by their mean. A row of weight 0 is left out. An integer weight
    is the same as so many copies of the row where a batch holds all rows, and in expectation where it does not.
    With weights, `TrainState.inputs` and what callbacks see of it has them as a last column.
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (16, 8),
        *,
        activation: Literal["relu", "tanh"] = "relu",
        dropout: float = 0.0,
        l2: float = 1e-4,
        class_weight: ClassWeight = None,
        optimizer: Literal["adam", "sgd"] | Optimizer = "adam",
        learning_rate: float = 0.005,
        batch_size: int = 256,
        epochs: int = 100,
        validation_fraction: float = 0.0,
        dtype: Literal["float64", "float32"] = "float64",
        callbacks: Sequence[Callback] = (),
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.l2 = l2
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.dtype = dtype
        self.callbacks = callbacks
        self.random_state = random_state

    @with_callbacks
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train from fresh parameters.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels of two classes, of any kind.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts, at least 0.

        Returns
        -------
        NetworkClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            If the rows or a setting are not what is expected above.
        TrainingHalted
            If a callback does not trust the gradients.
        """
        self.__dict__.pop("parameters_", None)
        rows, labels = validate_data(self, X, y, dtype=FLOATS)
        self._begin(checked_classes(labels))
        data = LabelledRows.of(rows, labels, self.classes_, sample_weight)
        with fit_task(self, self.epochs, X, y, sample_weight) as tasks:
            kept, held_out = data.split(self.validation_fraction, self._random)
            self._train(kept, held_out, epochs=self.epochs, callbacks=[*self.callbacks_, *tasks])
        return self

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train one epoch over these rows, from where the last `fit` or `partial_fit` ended.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; rows of one class only will do.
        classes : array-like of shape (2,), optional
            All labels that will ever occur; needed in the first call.

        Returns
        -------
        NetworkClassifier
            Itself.

        Raises
        ------
        ValueError, TypeError, TrainingHalted
            As in `fit`; also if the classes are missing or have changed, or `class_weight` is ``"balanced"``.

        Notes
        -----
        Only a halt costs the estimator what it has learnt; after rows on which the training diverged it is as it was
        before them. The iteration goes on counting from call to call, so ``GradientCheck(every=100)`` fires at every
        hundredth update of them all.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "partial_fit knows nothing of rows to come. Expected class_weight=None or a dict. Received 'balanced'."
            )
        first = not self.__sklearn_is_fitted__()
        rows, labels = validate_data(self, X, y, dtype=FLOATS, reset=first)
        given = None if classes is None else checked_classes(classes)
        if first:
            if given is None:
                raise ValueError("The classes are unknown. Expected classes=[…] in the first call. Received None.")
            self._begin(given)
        elif given is not None and not np.array_equal(given, self.classes_):
            raise ValueError(f"The classes have changed. Expected {self.classes_.tolist()}. Received {given.tolist()}.")
        checked_classes(labels)
        data = LabelledRows.of(rows, labels, self.classes_, sample_weight)
        try:
            earlier = [] if first else [self._last]
            self._train(data, epochs=1, callbacks=[*earlier, *self.callbacks_], both_classes=False)
        except TrainingHalted:
            self.__dict__.pop("parameters_", None)
            raise
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Return the log-odds of the second class, shape (n_samples,), for `X` of shape (n_samples, n_features)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=FLOATS, reset=False).astype(self.parameters_.vector.dtype, copy=False)
        blocks = [rows[block] for block in gen_batches(len(rows), PREDICTION_ROWS)]
        return np.concatenate([self.network_.logits(self.parameters_, block) for block in blocks])

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probabilities of both classes, shape (n_samples, 2), for `X` as in `decision_function`."""
        logits = self.decision_function(X).astype(np.float64, copy=False)
        return np.stack([sigmoid(-logits), sigmoid(logits)], axis=1)

    def predict(self, X: ArrayLike) -> Array:
        """Return the likelier label, shape (n_samples,), for `X` as in `decision_function`."""
        positive = self.decision_function(X) > 0
        labels: Array = self.classes_[positive.astype(np.intp)]
        return labels

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether a fit has ended well."""
        return hasattr(self, "parameters_")

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that there are two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _begin(self, classes: Array) -> None:
        if len(classes) != 2:
            raise ValueError(f"There is one class only. Expected labels of two classes. Received {classes.tolist()}.")
        self.classes_ = classes
        self.callbacks_ = copy.deepcopy(list(self.callbacks))
        self._random = check_random_state(self.random_state)

    def _train(
        self,
        data: LabelledRows,
        validation: tuple[Array, Array] | None = None,
        *,
        epochs: int,
        callbacks: Sequence[Callback],
        both_classes: bool = True,
    ) -> None:
        hidden = (self.hidden_layer_sizes,) if isinstance(self.hidden_layer_sizes, int) else self.hidden_layer_sizes
        sizes = (self.n_features_in_, *hidden, 1)
        settings: dict[str, Any] = {name: getattr(self, name) for name in ("activation", "dropout", "l2")}
        settings["positive_weight"] = data.positive_weight(self.class_weight, self.classes_)
        trainer = Trainer(
            Network(sizes, **settings) if data.weights is None else RowWeightedNetwork(sizes, **settings),
            optimizer=self._optimizer(),
            batch_size=self.batch_size,
            epochs=epochs,
            dtype=self.dtype,
            seed=int(self._random.randint(2**31 - 1)),
            callbacks=callbacks,
        )
        self.network_ = Network(sizes, **settings)
        trainer.fit(data.table, data.targets, validation, both_classes=both_classes)
        self.parameters_ = trainer.parameters
        self.history_ = trainer.history
        self.n_iterations_ = trainer.state.iteration
        self._last = Resumption(trainer.state)

    def _optimizer(self) -> Optimizer:
        if isinstance(self.optimizer, Optimizer):
            return self.optimizer
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"Unknown optimizer. Expected 'adam', 'sgd' or an Optimizer. Received {self.optimizer!r}.")
        return OPTIMIZERS[self.optimizer](self.learning_rate)


class Resumption(Callback):
    """Puts back parameters, what the optimizer remembers, and the count of iterations; first in the list.

    Of the earlier run's state only these are kept, not its rows.
    """

    def __init__(self, state: TrainState) -> None:
        self.parameters: Parameters = state.parameters
        self.optimizer_state: OptimizerState = state.optimizer_state
        self.iteration = state.iteration

    def on_train_begin(self, state: TrainState) -> None:
        """Begin where the earlier run ended; copies, so that a run that fails costs nothing."""
        state.parameters.vector[...] = self.parameters.vector
        state.optimizer_state = replace(self.optimizer_state, moments=copy.deepcopy(self.optimizer_state.moments))
        state.iteration = self.iteration
        state.n_iterations += self.iteration
