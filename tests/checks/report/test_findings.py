"""The findings: held in columns, of which rows are made on demand, the same that would have been made at once."""

import pickle

import numpy as np
import pytest

from checks import GradientReport, TensorReport, Verdict, check_gradients
from checks.judge.directions import DirectionCheck
from checks.verdict import Cause


def checked(case, derivative, factor=1.0, **options):
    network = case((7, 5, 3, 1), n_rows=33, **options)
    return check_gradients(
        network.loss,
        lambda p: {name: factor * value for name, value in network.gradients(p).items()},
        network.parameters,
        coverage="directions",
        derivative=derivative,
        rng=np.random.default_rng(3),
    )


@pytest.mark.parametrize("derivative", ["central", "complex"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_rows_of_a_pass_are_those_made_one_by_one(case, derivative, activation, monkeypatch):
    together = checked(case, derivative, activation=activation).tensors
    # Without a norm at hand that is not 0, every tensor goes the long way.
    monkeypatch.setattr("checks.judge.directions.all", lambda values: False, raising=False)
    one_by_one = checked(case, derivative, activation=activation).tensors
    assert list(together) == list(one_by_one)
    assert len(together) == 6
    for name, tensor in one_by_one.items():
        own = together[name]
        for part in ("difference", "gradient_norm", "excluded"):
            assert getattr(own, part) == pytest.approx(getattr(tensor, part), rel=1e-12), part
        parts = set(tensor.__dataclass_fields__) - {"difference", "gradient_norm", "excluded"}
        assert {part: getattr(own, part) for part in parts} == {part: getattr(tensor, part) for part in parts}


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_what_the_columns_say_is_what_the_rows_say(case, factor):
    report = checked(case, "complex", factor=factor)
    rows = list(report.tensors.values())
    for name in TensorReport.__dataclass_fields__:
        assert list(report.column(name)) == [getattr(row, name) for row in rows], name
    twin = GradientReport(
        **{name: getattr(report, name) for name in report.__dataclass_fields__} | {"tensors": dict(report.tensors)}
    )
    for name in ("verdict", "cause", "culprits", "n_parameters", "kinks"):
        assert getattr(report, name) == getattr(twin, name), name
    assert report.verdict is (Verdict.PASS if factor == 1.0 else Verdict.FAIL)
    assert (report.cause, report.n_parameters) == (Cause.AGREES if factor == 1.0 else Cause.WRONG, 62)
    assert report.excluded_errors() == twin.excluded_errors()
    assert report.differences() == twin.differences()
    assert (str(report), report.summary(), report.to_dict()) == (str(twin), twin.summary(), twin.to_dict())


def test_a_pass_makes_no_row_until_somebody_looks_at_one(case):
    tensors = checked(case, "complex").tensors
    assert tensors._rows == {}
    assert repr(tensors).startswith("Tensors(W1: PASS, b1: PASS")
    assert tensors["b2"] is tensors["b2"]
    with pytest.raises(KeyError, match="b9"):
        tensors["b9"]


def test_it_crosses_the_border_of_a_process_before_and_after_it_was_looked_at(case):
    report = checked(case, "complex")
    for _ in range(2):
        twin = pickle.loads(pickle.dumps(report))
        assert twin.to_dict() == report.to_dict()
        assert twin.tensors["W1"] == report.tensors["W1"]


def test_a_tensor_that_was_not_exercised_is_no_pass_of_all(case):
    network = case((7, 5, 3, 1), n_rows=33)
    network.parameters["b1"][:] = -1e3  # every unit of the first layer is dead
    report = check_gradients(network.loss, network.gradients, network.parameters, coverage="directions")
    assert report.tensors["W1"].cause is Cause.NOT_EXERCISED


def test_a_tensor_hidden_behind_larger_ones_is_still_looked_into(monkeypatch):
    # Along central differences a tensor with a tiny gradient has hardly been seen: it gets directions of its own.
    looked_into = []
    own = DirectionCheck._look_into
    monkeypatch.setattr(DirectionCheck, "_look_into", lambda self, name: (looked_into.append(name), own(self, name))[1])
    point = {"large": np.ones(7), "small": np.ones(5)}
    check_gradients(
        lambda p: float((p["large"] ** 3).sum() + 1e-7 * (p["small"] ** 3).sum()),
        lambda p: {"large": 3.0 * p["large"] ** 2, "small": 3e-7 * p["small"] ** 2},
        point,
        coverage="directions",
        derivative="central",
        rng=np.random.default_rng(0),
    )
    assert "small" in looked_into


def test_a_loss_that_is_not_finite_is_no_pass_though_its_slope_is():
    def loss(x):
        return np.inf + (x**3).sum()  # the imaginary part stays what it is

    report = check_gradients(loss, lambda x: 3.0 * x**2, np.arange(1.0, 6.0), coverage="directions")
    assert (report.verdict, report.cause) == (Verdict.UNDECIDED, Cause.NOT_FINITE)
