"""scikit-learn's own callbacks: epochs are the tasks, a True stops, and without the module all works without."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from checks import GradientCheck
from trainer import Callback, NetworkClassifier, TrainingHalted

callback = pytest.importorskip("sklearn.callback", reason="this scikit-learn has no callbacks")
X = np.random.default_rng(0).standard_normal((90, 3))
Y = np.where(X[:, 0] + X[:, 1] ** 2 > 1, "fraud", "legitimate")


def an_estimator(**settings):
    return NetworkClassifier((4,), epochs=4, batch_size=30, random_state=0, **settings)


class Recorder:
    """Keeps what it is told; returns True at the end of one task."""

    def __init__(self, stop_at=None):
        self.events = []
        self.stop_at = stop_at

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, context.task_id))

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name, context.task_id))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.events.append(("begin", context.task_name, context.task_id))
        self.given = X, y, metadata

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(("end", context.task_name, context.task_id))
        self.fitted = fitted_estimator
        if context.task_name == "epoch":
            self.score = None if fitted_estimator is None else fitted_estimator.score(X, Y)
        return context.task_id == self.stop_at


def test_epochs_are_the_tasks_of_a_fit():
    recorder = Recorder()
    weights = np.ones(90)
    estimator = an_estimator().set_callbacks(recorder).fit(X, Y, sample_weight=weights)
    epochs = [(what, "epoch", number) for number in range(4) for what in ("begin", "end")]
    outer = [("setup", "fit", 0), ("begin", "fit", 0)], [("end", "fit", 0), ("teardown", "fit", 0)]
    assert recorder.events == [*outer[0], *epochs, *outer[1]]
    assert recorder.given[0] is X
    assert recorder.given[1] is Y
    assert recorder.given[2] == {"sample_weight": weights}
    assert recorder.score == estimator.score(X, Y)


def test_the_callbacks_change_no_weight():
    plain, watched = an_estimator().fit(X, Y), an_estimator().set_callbacks(Recorder()).fit(X, Y)
    assert np.array_equal(plain.parameters_.vector, watched.parameters_.vector)


def test_a_hook_that_returns_true_stops_the_fit():
    estimator = an_estimator().set_callbacks(Recorder(stop_at=1)).fit(X, Y)
    assert len(estimator.history_.column("epoch_loss")) == 2
    assert estimator.history_.rows[-1]["outcome"] == "stopped"
    assert estimator.history_.rows[-1]["reason"] == "a scikit-learn callback asked for it"
    assert estimator.score(X, Y) > 0


def test_an_epoch_that_a_stop_cuts_short_ends_with_nothing_to_show():
    class StopsInTheThird(Callback):
        def on_batch_end(self, state):
            if state.iteration == 7:
                state.request_stop("enough")

    recorder = Recorder()
    an_estimator(callbacks=[StopsInTheThird()]).set_callbacks(recorder).fit(X, Y)
    assert [event for event in recorder.events if event[0] == "end"] == [
        *(("end", "epoch", number) for number in range(3)),
        ("end", "fit", 0),
    ]
    assert recorder.score is None


def test_a_halted_fit_is_torn_down_and_has_no_end():
    class Halts(Callback):
        def on_gradients_computed(self, state):
            if state.iteration == 5:
                raise TrainingHalted("do not trust this")

    recorder = Recorder()
    with pytest.raises(TrainingHalted):
        an_estimator(callbacks=[Halts()]).set_callbacks(recorder).fit(X, Y)
    assert recorder.events[-2:] == [("begin", "epoch", 1), ("teardown", "fit", 0)]


def test_the_scoring_monitor_scores_every_epoch():
    monitor = callback.ScoringMonitor(scoring="roc_auc")
    estimator = an_estimator(callbacks=[GradientCheck(every=3)]).set_callbacks(monitor).fit(X, Y)
    scores = [row["roc_auc"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 4
    assert len(set(scores)) > 1
    assert estimator.callbacks_[0].report is not None


def test_average_precision_is_scored_in_a_grid_search_too():
    monitor = callback.ScoringMonitor(scoring="average_precision")
    estimator = an_estimator().set_callbacks(monitor)
    search = GridSearchCV(estimator, {"l2": [0.0, 0.1]}, cv=2, error_score="raise").fit(X, Y == "fraud")
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == (2 * 2 + 1) * 4
    assert all(0.0 < row["average_precision"] <= 1.0 for row in rows)
    assert monitor.get_logs().estimator_name == "GridSearchCV"
    assert search.best_estimator_.score(X, Y == "fraud") > 0.5


def test_a_table_with_named_columns_is_scored_without_a_warning():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    monitor = callback.ScoringMonitor(scoring="average_precision")
    an_estimator().set_callbacks(monitor).fit(pandas.DataFrame(X, columns=["a", "b", "c"]), Y == "fraud")
    assert len(monitor.get_logs().data) == 5


@pytest.mark.parametrize("searched", [False, True])
def test_the_progress_bar_counts_epochs(searched, capsys):
    pytest.importorskip("rich", reason="scikit-learn's progress bar needs rich")
    bar = callback.ProgressBar()
    if searched:
        GridSearchCV(an_estimator(), {"l2": [0.0, 0.1]}, cv=2).set_callbacks(bar).fit(X, Y)
    else:
        an_estimator().set_callbacks(bar).fit(X, Y)
    shown = capsys.readouterr().out
    assert "NetworkClassifier" in shown
    assert "100%" in shown


PROGRAM = """
import sys
import sklearn.model_selection
del sklearn.callback
sys.modules["sklearn.callback"] = None
import numpy as np
from trainer import NetworkClassifier
X = np.random.default_rng(0).standard_normal((30, 2))
estimator = NetworkClassifier((3,), epochs=2).fit(X, X[:, 0] > 0)
assert not hasattr(estimator, "set_callbacks")
assert estimator.predict(X).shape == (30,)
"""


def test_without_the_module_the_estimator_works_without():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
