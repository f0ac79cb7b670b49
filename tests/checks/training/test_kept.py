"""A report that went through a file is the same report."""

import json

import numpy as np
import pytest

from checks import check_gradients
from checks.explain.entries import Entries
from checks.training.kept import restored


def kept(report):
    """Give the data as a file would hold them: NaN and the infinities as text."""

    def finite(value):
        if isinstance(value, float) and not np.isfinite(value):
            return str(value)
        if isinstance(value, dict):
            return {name: finite(item) for name, item in value.items()}
        return [finite(item) for item in value] if isinstance(value, list) else value

    return json.loads(json.dumps(finite(report.to_dict()), allow_nan=False))


@pytest.mark.parametrize("coverage", ["full", "directions"])
@pytest.mark.parametrize("factor", [1.0, 2.0, np.nan])
def test_a_restored_report_reads_like_the_original(case, coverage, factor):
    network = case((5, 7, 3, 1), n_rows=11, l2=1e-3)
    right = network.gradients(network.parameters)
    claimed = right | {"W2": factor * right["W2"]}
    terms = {"all": (network.loss, lambda p: claimed)}
    report = check_gradients(network.loss, claimed, network.parameters, coverage=coverage, terms=terms)
    again = restored(kept(report))
    assert str(again) == str(report)
    assert again.summary() == report.summary()
    assert kept(again) == kept(report)


def test_the_entries_go_to_their_tensors(case):
    network = case((5, 7, 3, 1))
    report = check_gradients(network.loss, network.gradients(network.parameters), network.parameters)
    one = Entries(np.ones((3, 7)), np.ones((3, 7)), np.zeros((3, 7)), np.zeros((3, 7), dtype=bool))
    again = restored(kept(report), {"W2": one})
    assert again.tensors["W2"].entries is one
    assert again.tensors["W1"].entries is None


@pytest.mark.parametrize("broken", [{}, {"tensors": 3}, {"difference": []}, {"tensors": {"W1": {"verdict": "FINE"}}}])
def test_what_is_no_report_is_refused(case, broken):
    network = case((5, 7, 3, 1))
    report = check_gradients(network.loss, network.gradients(network.parameters), network.parameters)
    data = kept(report) | broken if broken else broken
    with pytest.raises(ValueError, match=r"The report.* Expected .* Received"):
        restored(data)
