"""The estimator: scikit-learn's own checks, and everything that estimators are put into."""

import importlib.util
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from checks import GradientCheck, GradientCheckError, Verdict
from trainer import SGD, Callback, EarlyStopping, NetworkClassifier, TrainingDiverged, TrainingHalted

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 4))
Y = np.where(X[:, 0] + X[:, 1] ** 2 > 1, "fraud", "legitimate")

# Until 1.8 that check makes labels binary by "equal to the first", once before and once after shuffling the rows.
BEFORE_1_9 = parse_version(sklearn.__version__) < parse_version("1.9")
BROKEN = {"check_sample_weight_equivalence_on_dense_data": "compares two different labellings of binary targets"}


def an_estimator(**settings):
    return NetworkClassifier(
        **{"hidden_layer_sizes": (5,), "epochs": 5, "batch_size": 32, "random_state": 0} | settings
    )


class WrongLastBias(Callback):
    """Plants a mistake: a network whose gradient of the last bias is twice what it should be."""

    def on_train_begin(self, state):
        right = state.network.loss_and_gradients
        last = list(state.parameters)[-1]

        def wrong(*args, **kwargs):
            loss, gradients = right(*args, **kwargs)
            gradients[last][...] *= 2.0
            return loss, gradients

        state.network.loss_and_gradients = wrong


@parametrize_with_checks(
    [
        NetworkClassifier(),
        NetworkClassifier(optimizer="sgd", learning_rate=0.5),
        NetworkClassifier(callbacks=(GradientCheck(every=50, coverage="directions"),)),
        NetworkClassifier((), learning_rate=0.05),
        *([NetworkClassifier(compiled=True)] if importlib.util.find_spec("numba") else []),
    ],
    expected_failed_checks=lambda estimator: BROKEN if BEFORE_1_9 else {},
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_it_learns():
    estimator = an_estimator(epochs=60, hidden_layer_sizes=(16,), learning_rate=0.02).fit(X, Y)
    assert estimator.score(X, Y) > 0.95
    assert estimator.classes_.tolist() == ["fraud", "legitimate"]
    assert np.array_equal(estimator.predict(X) == "legitimate", estimator.predict_proba(X)[:, 1] > 0.5)
    assert estimator.history_.column("epoch_loss")[-1] < estimator.history_.column("epoch_loss")[0]


@pytest.mark.parametrize("labels", [(0, 1), (-1, 1), ("a", "b"), (False, True), (2.0, 7.0), (np.int8(3), np.int8(9))])
def test_labels_of_any_kind_come_back_as_they_were(labels):
    y = np.array(labels)[(X[:, 0] > 0).astype(int)]
    predicted = an_estimator(epochs=20).fit(X, y).predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted.tolist()) == set(np.array(labels).tolist())


def test_the_check_works_in_everything_that_estimators_are_put_into():
    estimator = an_estimator(callbacks=[GradientCheck(every=3)], epochs=2)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(X, Y)
    fitted = [pipeline[-1]]
    search = GridSearchCV(pipeline, {"networkclassifier__l2": [0.0, 0.1]}, cv=2, error_score="raise").fit(X, Y)
    fitted.append(search.best_estimator_[-1])
    calibrated = CalibratedClassifierCV(estimator, cv=2).fit(X, Y)
    fitted += [part.estimator for part in calibrated.calibrated_classifiers_]
    assert len(cross_val_score(estimator, X, Y, cv=2, error_score="raise")) == 2
    for estimator in fitted:
        (check,) = estimator.callbacks_
        assert check.report.verdict is Verdict.PASS
        assert check.proof.n_checks == estimator.n_iterations_ // 3


def test_three_classes_are_learnt_and_their_gradients_checked():
    y = np.array(["a", "b", "c"])[(X[:, 0] > 0.3).astype(int) + (X[:, 1] > 0)]
    check = GradientCheck(every=100, rows=20, terms=True)
    estimator = an_estimator(epochs=60, hidden_layer_sizes=(9,), learning_rate=0.02, callbacks=[check]).fit(X, y)
    assert estimator.score(X, y) > 0.9
    assert estimator.decision_function(X).shape == (120, 3)
    np.testing.assert_allclose(estimator.predict_proba(X).sum(axis=1), 1)
    np.testing.assert_array_equal(estimator.classes_[estimator.predict_proba(X).argmax(axis=1)], estimator.predict(X))
    proof = estimator.callbacks_[0].proof
    assert proof.passed == proof.n_checks > 0
    assert proof.terms == ["class 0", "class 1", "class 2", "l2"]


def test_of_three_classes_an_integer_weight_is_as_many_copies_and_a_class_weight_one_of_all_its_rows():
    y, weights = np.arange(120) % 3, np.random.default_rng(1).integers(1, 4, 120)
    settings = {"batch_size": 10_000, "epochs": 20, "l2": 0.0}
    copies = np.repeat(np.arange(120), weights)
    weighted = an_estimator(**settings).fit(X, y, weights)
    np.testing.assert_allclose(
        weighted.predict_proba(X), an_estimator(**settings).fit(X[copies], y[copies]).predict_proba(X), rtol=1e-6
    )
    by_class = an_estimator(**settings, class_weight={0: 2.0, 1: 1.0, 2: 3.0})
    assert by_class.fit(X, y).network_.class_weights == (1.0, 0.5, 1.5)
    balanced = an_estimator(**settings, class_weight="balanced").fit(X[:110], np.repeat([0, 1, 2], [20, 40, 50]))
    assert balanced.network_.class_weights == (1.0, 0.5, 0.4)


def test_three_classes_may_come_one_after_the_other():
    estimator = an_estimator(learning_rate=0.05)
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    for _ in range(40):
        for label in (0, 1, 2):
            estimator.partial_fit(X[y == label], y[y == label], classes=[0, 1, 2])
    assert estimator.score(X, y) > 0.8


def test_compiled_it_gives_the_same_to_rounding_with_weights_too():
    pytest.importorskip("numba", reason="the extra fast")
    weights = RNG.uniform(0.5, 2.0, len(X))
    for given in ((X, Y), (X, Y, weights)):
        plain, compiled = (an_estimator(compiled=way, dropout=0.2).fit(*given) for way in (False, True))
        assert type(compiled.network_).__name__ == "CompiledNetwork"
        np.testing.assert_allclose(compiled.predict_proba(X), plain.predict_proba(X), rtol=1e-9)


def test_every_fit_has_callbacks_of_its_own():
    check = GradientCheck(every=2)
    estimator = an_estimator(callbacks=[check])
    estimator.fit(X, Y)
    assert check.report is None
    assert estimator.callbacks_[0].report is not None
    assert clone(estimator).callbacks[0] is not check


def test_training_is_bit_identical_with_and_without_the_check():
    plain, checked = (an_estimator(callbacks=c, dropout=0.3).fit(X, Y) for c in ((), (GradientCheck(every=1),)))
    assert np.array_equal(plain.parameters_.vector, checked.parameters_.vector)


def test_a_halted_fit_is_an_error_and_no_fitted_estimator():
    estimator = an_estimator().fit(X, Y)
    estimator.set_params(callbacks=[WrongLastBias(), GradientCheck(every=2)])
    with pytest.raises(TrainingHalted) as caught:
        estimator.fit(X, Y)
    assert isinstance(caught.value, GradientCheckError)
    assert caught.value.report.culprits[0].name == "b2"
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    assert estimator.callbacks_[1].report is caught.value.report


def test_a_halt_is_an_error_in_a_search_too():
    estimator = an_estimator(callbacks=[WrongLastBias(), GradientCheck(every=2)])
    with pytest.raises(ValueError, match=r"All the 4 fits failed(.|\n)*Training halted at iteration 1"):
        GridSearchCV(estimator, {"l2": [0.0, 0.1]}, cv=2).fit(X, Y)
    with pytest.raises(TrainingHalted):
        GridSearchCV(estimator, {"l2": [0.0, 0.1]}, cv=2, error_score="raise").fit(X, Y)
    with pytest.raises(ValueError, match="All the 2 fits failed"):
        cross_val_score(estimator, X, Y, cv=2)


def test_the_check_checks_the_weighted_loss():
    weights = RNG.uniform(0.0, 3.0, len(X))
    settings = {"epochs": 2, "class_weight": {"fraud": 2.0, "legitimate": 0.5}}
    for options in ({}, {"terms": True}, {"coverage": "directions"}):
        estimator = an_estimator(callbacks=[GradientCheck(every=3, **options)], **settings)
        (check,) = estimator.fit(X, Y, weights).callbacks_
        assert check.report.verdict is Verdict.PASS
        assert not any("coordinate_losses" in note for note in check.report.notes)

    class ForgetsTheWeights(Callback):
        def on_train_begin(self, state):
            criterion = state.network.criterion
            plain = type(criterion).__mro__[1](criterion.positive_weight).value_and_gradient
            right = criterion.value_and_gradient
            criterion.value_and_gradient = lambda z, t: (right(z, t)[0], plain(z, t[:, 0])[1])

    with pytest.raises(GradientCheckError):
        an_estimator(callbacks=[ForgetsTheWeights(), GradientCheck(every=3)], **settings).fit(X, Y, weights)


@pytest.mark.parametrize("class_weight", [None, "balanced", {"fraud": 3.0, "legitimate": 1.0}])
def test_a_weight_is_so_many_copies_and_a_weight_of_zero_is_none(class_weight):
    counts = RNG.integers(0, 4, len(X))
    estimator = an_estimator(batch_size=1000, epochs=20, class_weight=class_weight, validation_fraction=0.0)
    weighted = clone(estimator).fit(X, Y, sample_weight=0.1 * counts)
    repeated = clone(estimator).fit(np.repeat(X, counts, axis=0), np.repeat(Y, counts))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-8)
    plain = clone(estimator).fit(X, Y)
    assert not np.allclose(weighted.predict_proba(X), plain.predict_proba(X), rtol=1e-3)


def test_only_the_ratio_of_class_weights_counts():
    fits = [an_estimator(class_weight={"fraud": a, "legitimate": b}).fit(X, Y) for a, b in ((2.0, 1.0), (6.0, 3.0))]
    assert np.array_equal(fits[0].parameters_.vector, fits[1].parameters_.vector)
    assert fits[0].network_.positive_weight == 0.5  # "legitimate" comes second


def test_partial_fit_goes_on_where_it_was():
    whole = an_estimator(epochs=1, batch_size=30, callbacks=[GradientCheck(every=3)])
    for start in range(0, 120, 30):
        part = slice(start, start + 30)
        whole.partial_fit(X[part], Y[part], classes=["legitimate", "fraud"])
    assert whole.n_iterations_ == 4
    assert [row["iteration"] for row in whole.history_ if row["event"] == "iteration"] == [4]
    assert whole._last.optimizer_state.n_updates == 4
    before = whole.parameters_.vector.copy()
    one_class = Y == "fraud"
    whole.partial_fit(X[one_class], Y[one_class])
    assert not np.array_equal(before, whole.parameters_.vector)
    assert whole.n_iterations_ == 4 + -(-one_class.sum() // 30)
    assert whole.callbacks_[0].proof.n_checks  # it fired at the sixth update of them all, not at the third here


def test_partial_fit_after_fit_is_deterministic_and_a_pickle_goes_on_alike():
    first, second = (an_estimator().fit(X, Y) for _ in range(2))
    second = pickle.loads(pickle.dumps(second))
    for estimator in (first, second):
        estimator.partial_fit(X, Y, sample_weight=np.arange(120))
    assert np.array_equal(first.parameters_.vector, second.parameters_.vector)


def test_a_halted_partial_fit_is_no_fitted_estimator_but_bad_rows_cost_nothing():
    callbacks = [WrongLastBias(), GradientCheck(every=9, applied=False)]
    estimator = an_estimator(callbacks=callbacks, epochs=1).fit(X, Y)
    before = estimator.predict_proba(X)
    for rows, labels in ((X[:, :2], Y), (X, np.full(120, "other"))):
        with pytest.raises(ValueError, match=r"features|Unknown label"):
            estimator.partial_fit(rows, labels)
    assert np.array_equal(estimator.predict_proba(X), before)
    estimator.partial_fit(X, Y)  # iterations 5 to 8
    with pytest.raises(TrainingHalted):
        estimator.partial_fit(X, Y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


class Diverges(Callback):
    """Spoils a parameter after an iteration, as a step that is too large does."""

    def __init__(self, after):
        self.after = after

    def on_batch_end(self, state):
        if state.iteration == self.after:
            state.parameters["b2"][0] = np.nan


def test_a_fit_that_diverges_is_no_fitted_estimator_and_a_partial_fit_leaves_it_as_it_was():
    estimator = an_estimator(callbacks=[Diverges(after=6)], epochs=1).fit(X, Y)
    before = estimator.predict_proba(X)
    with pytest.raises(TrainingDiverged):
        estimator.partial_fit(X, Y)  # iterations 5 to 8
    assert np.array_equal(estimator.predict_proba(X), before)
    with pytest.raises(TrainingDiverged):
        estimator.set_params(epochs=3).fit(X, Y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_validation_rows_feed_early_stopping():
    stopping = EarlyStopping(patience=1, min_delta=0.5)
    estimator = an_estimator(validation_fraction=0.25, callbacks=[stopping]).fit(X, Y, np.ones(120))
    assert len(estimator.history_.column("validation_loss")) == 2
    assert estimator.history_.rows[-1]["outcome"] == "stopped"


def test_an_optimizer_of_ones_own():
    estimator = clone(an_estimator(optimizer=SGD(0.1, momentum=0.9))).fit(X, Y)
    assert estimator.get_params()["optimizer"].momentum == 0.9


def test_a_table_of_pandas_keeps_its_names():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(X, columns=["amount", "hour", "distance", "age"])
    labels, weights = pandas.Series(Y, dtype="category"), pandas.Series(np.ones(120))
    estimator = an_estimator().fit(table, labels, sample_weight=weights)
    assert estimator.feature_names_in_.tolist() == ["amount", "hour", "distance", "age"]
    assert set(estimator.predict(table)) <= {"fraud", "legitimate"}
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(table[["hour", "amount", "distance", "age"]])


@pytest.mark.parametrize(
    ("settings", "y", "fit", "message"),
    [
        ({"optimizer": "lbfgs"}, Y, {}, "Unknown optimizer. Expected 'adam', 'sgd' or an Optimizer. Received 'lbfgs'"),
        ({"class_weight": {"fraud": 0.0, "legitimate": 1.0}}, Y, {}, "Expected positive weights of all classes"),
        ({"dtype": "float16"}, Y, {}, "Invalid dtype"),
        ({}, X[:, 0], {}, "Unknown label type: continuous"),
        ({}, np.full(120, "fraud"), {}, r"one class only. Expected labels of two classes. Received \['fraud'\]"),
        ({}, Y, {"sample_weight": -np.ones(120)}, "Negative sample weight"),
        ({}, Y, {"sample_weight": (Y == "fraud").astype(float)}, "one class only"),
    ],
)
def test_bad_input_is_refused(settings, y, fit, message):
    with pytest.raises(ValueError, match=message):
        an_estimator(**settings).fit(X, y, **fit)


def test_bad_input_to_partial_fit_is_refused():
    with pytest.raises(ValueError, match="classes are unknown"):
        an_estimator().partial_fit(X, Y)
    with pytest.raises(ValueError, match="partial_fit knows nothing of rows to come"):
        an_estimator(class_weight="balanced").partial_fit(X, Y, classes=["fraud", "legitimate"])
    with pytest.raises(ValueError, match=r"classes have changed. Expected \['fraud', 'legitimate'\]"):
        an_estimator().fit(X, Y).partial_fit(X, Y, classes=["fraud", "other"])


def test_importing_the_trainer_does_not_import_scikit_learn():
    import subprocess
    import sys

    program = "import sys, trainer; assert 'sklearn' not in sys.modules; trainer.NetworkClassifier; trainer.nothing"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "AttributeError: module 'trainer' has no attribute 'nothing'"
