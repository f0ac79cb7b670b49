"""The cut is the best one that its rule allows among the rows that it is chosen on."""

import math

import numpy as np
import pytest

from experiments.model.threshold import Rows, Rule, Threshold

N = 97


def rows_of(seed: int, **more: object) -> Rows:
    """Give rows whose probabilities have ties."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(N) < 0.3).astype(float)
    return Rows(np.round(np.clip(0.4 * targets + 0.7 * rng.random(N), 0.0, 1.0), 2), targets, **more)


def counted(rows: Rows, cut: float) -> tuple[int, int]:
    """Count the frauds that are found, and the alarms."""
    called = rows.probabilities >= cut
    return int((called & (rows.targets == 1.0)).sum()), int(called.sum())


def every_cut(rows: Rows) -> list[float]:
    return [math.inf, *np.unique(rows.probabilities)]


@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize("floor", [0.5, 0.9, 1.0])
def test_with_a_floor_on_precision_it_finds_most_with_fewest_alarms(seed: int, floor: float) -> None:
    rows = rows_of(seed)
    best = (0, 0)
    for cut in every_cut(rows):
        found, alarms = counted(rows, cut)
        if alarms and found / alarms >= floor:
            best = max(best, (found, -alarms))
    found, alarms = counted(rows, Rule("precision", floor).chosen(rows).cut)
    assert (found, -alarms) == best


@pytest.mark.parametrize("seed", range(7))
def test_by_cost_no_cut_costs_less(seed: int) -> None:
    amounts = np.random.default_rng(seed + 99).gamma(2.0, 35.0, N)
    for missed, alarm in ((amounts, 5.0), (1.0, amounts), (3.0, 7.0)):
        rows = rows_of(seed, missed=missed, alarm=alarm)
        chosen = Rule("cost").chosen(rows).cut
        costs = {cut: rows.cost(rows.probabilities >= cut) for cut in every_cut(rows)}
        assert rows.cost(rows.probabilities >= chosen) == pytest.approx(min(costs.values()))


@pytest.mark.parametrize(("rule", "most"), [(Rule("share", 0.07), 6), (Rule("number", 3.0), 10)])
def test_by_alarms_there_are_as_many_as_allowed_and_ties_stay_together(rule: Rule, most: int) -> None:
    for seed in range(7):
        rows = rows_of(seed, days=3.5)
        _, alarms = counted(rows, rule.chosen(rows).cut)
        assert alarms <= most
        assert not any(alarms < counted(rows, cut)[1] <= most for cut in every_cut(rows))


def test_the_cut_lies_between_the_last_row_that_is_called_and_the_next() -> None:
    rows = Rows(np.array([0.9999, 0.999, 0.01, 0.001]), np.array([1.0, 1, 0, 0]))
    cut = Rule("precision", 0.9).chosen(rows).cut
    assert np.log(cut / (1.0 - cut)) == pytest.approx((np.log(0.999 / 0.001) + np.log(0.01 / 0.99)) / 2.0)
    for pair in ((1.0, 0.0), (0.5, np.nextafter(0.5, 0.0)), (1e-300, 0.0), (1.0, np.nextafter(1.0, 0.0))):
        assert pair[1] < Rule("precision", 0.9).chosen(Rows(np.array(pair), np.array([1.0, 0.0]))).cut <= pair[0]


def test_where_no_cut_is_good_enough_nothing_is_called_fraud() -> None:
    honest_first = Rows(np.linspace(0.9, 0.1, 9), np.array([0.0, 0, 0, 1, 0, 1, 0, 0, 0]))
    assert Rule("precision", 0.5).chosen(honest_first).cut == math.inf
    assert Rule("share", 0.05).chosen(honest_first).cut == math.inf
    assert Rule("cost").chosen(Rows(honest_first.probabilities, honest_first.targets, 1.0, 9.0)).cut == math.inf
    assert Rule("cost").chosen(Rows(honest_first.probabilities, honest_first.targets, 9.0, 1.0)).cut == pytest.approx(
        0.3483, abs=1e-4
    )


@pytest.mark.parametrize(
    ("cut", "shown"),
    [(0.44781, "0.448"), (0.99958, "0.99958"), (0.9999999987, "0.999999999"), (1.0, "1"), (np.inf, "inf")],
)
def test_a_cut_close_to_1_is_not_shown_as_1(cut: float, shown: str) -> None:
    assert str(Threshold(cut, "a test")) == shown


def test_a_rule_says_what_it_asks_for() -> None:
    rules = [Rule("precision", 0.9), Rule("cost"), Rule("share", 0.005), Rule("number", 20.0)]
    words = ["precision of at least 0.9", "lowest cost", "at most 0.5 % of alarms", "at most 20 alarms a day"]
    assert all(word in str(rule) for rule, word in zip(rules, words, strict=True))
