"""The objective: counts, fresh arrays, refusals in words, and noise that is measured."""

import numpy as np
import pytest

from checks import Verdict, check_gradients
from checks.measure.layout import Layout
from checks.measure.objective import ComplexRefusedError, Objective

POINT = {"W": np.arange(1.0, 16.0).reshape(5, 3), "b": np.array([0.3, -0.4, 0.5])}


def make(loss, point=POINT, **options):
    layout = Layout(point)
    return Objective(loss, layout, layout.flatten(point, "parameters"), **options)


def cubes(p):
    return (p["W"] ** 3).sum() + (p["b"] ** 3).sum()


def test_every_evaluation_counts_and_the_value_is_kept():
    calls = []
    own = make(lambda p: calls.append(1) or cubes(p))
    assert own.value == own.value == cubes(POINT)
    own.along(np.ones(18), 0.1)
    own.moved_losses({"W": np.full((1, 15), 0.1)})
    own.complex_along(np.ones(18), 1e-30)
    assert own.evaluations == len(calls) == 1 + 1 + 15 + 1


def test_a_move_touches_one_coordinate_and_is_taken_back():
    seen = []
    own = make(lambda p: seen.append({name: value.copy() for name, value in p.items()}) or cubes(p))
    own.moved_losses({"W": np.where(np.arange(15) == 4, 0.25, 0.5)[None]})
    own.at(own.point)
    expected = POINT["W"].copy()
    expected[1, 1] += 0.25
    np.testing.assert_array_equal(seen[4]["W"], expected)
    np.testing.assert_array_equal(seen[4]["b"], POINT["b"])
    np.testing.assert_array_equal(seen[15]["W"], POINT["W"])


@pytest.mark.parametrize("unit", [1.0, 1j])
def test_what_a_loss_keeps_of_a_sweep_stays_as_it_was_handed_over(unit):
    seen, kept = [], []

    def loss(p):
        seen.append(p["W"].copy())
        kept.append(p["W"])
        return (p["W"] ** 3).sum()

    own = make(loss, {"W": POINT["W"].copy()})
    steps = np.full(15, 0.5)
    own.moved_losses({"W": steps[None]}) if unit == 1.0 else own.complex_losses("W", steps)
    assert len(kept) == 15
    np.testing.assert_array_equal(kept, seen)
    assert not any(np.shares_memory(kept[number], kept[number + 1]) for number in range(14))
    np.testing.assert_array_equal(own.point, POINT["W"].ravel())


@pytest.mark.parametrize("ask", [lambda own: own.value, lambda own: own.moved_losses({"W": np.ones((1, 15))})])
def test_how_a_loss_has_numpy_treat_errors_does_not_outlast_its_evaluation(ask):
    before = np.geterr()

    def loss(p):
        np.seterr(all="print")
        return cubes(p)

    ask(make(loss))
    assert np.geterr() == before


def test_a_refused_complex_step_is_refused_for_good_and_costs_nothing_more():
    calls = []

    def loss(p):
        calls.append(1)
        return float(p["b"][0])

    own = make(loss)
    for _ in range(3):
        with pytest.raises(ComplexRefusedError, match="real"):
            own.complex_along(np.ones(18), 1e-30)
    assert len(calls) == 1


def test_a_foreign_error_under_complex_parameters_is_told_with_its_text():
    def loss(p):
        if p["b"].dtype.kind == "c":
            raise KeyError("only floats here\nand a second line")
        return cubes(p)

    report = check_gradients(loss, lambda p: {n: 3.0 * v**2 for n, v in p.items()}, POINT, derivative="complex")
    assert report.verdict is Verdict.PASS
    assert "no complex step: the loss does not take complex parameters (KeyError" in " ".join(report.notes)
    assert "\n" not in " ".join(report.notes)


def test_noise_is_the_rounding_of_the_loss_for_a_smooth_one():
    for offset in (0.0, 1.0, 1e6):
        own = make(lambda p, c=offset: cubes(p) + c)
        last_place = np.spacing(abs(own.value))
        assert last_place <= own.noise <= 300.0 * last_place


@pytest.mark.parametrize(
    ("coarse", "grain"),
    [
        (lambda value: np.float32(value), np.spacing(np.float32(8.0))),
        (lambda value: round(float(value), 7), 1e-7),
        (lambda value: (value + 1e9) - 1e9, np.spacing(1e9)),
    ],
    ids=["float32", "rounded", "cancelled"],
)
def test_noise_is_at_least_the_grain_of_a_loss_that_moves_in_steps(coarse, grain):
    rng = np.random.default_rng(0)
    for _ in range(20):
        point = {"b": rng.standard_normal(7)}
        own = make(lambda p: coarse(8.5 + np.sin(p["b"]).sum() / 20.0), point)
        assert grain <= 2.0 * own.noise  # an estimate from few values
        assert own.noise <= 100.0 * grain


def test_nudging_moves_by_the_last_place_only():
    own = make(cubes)
    rng = np.random.default_rng(0)
    nudged = np.array([own.nudged(rng) for _ in range(20)])
    assert np.all(np.abs(nudged - own.point) <= 2.0 * np.spacing(np.abs(own.point)))
    assert np.ptp(nudged, axis=0).min() > 0.0


@pytest.mark.parametrize(("spread", "repeats"), [(0.0, True), (1e-14, True), (1e-6, False), (0.1, False)])
def test_a_loss_repeats_if_it_gives_the_same_number_up_to_rounding(spread, repeats):
    rng = np.random.default_rng(0)
    own = make(lambda p: cubes(p) * (1.0 + spread * rng.standard_normal()))
    assert own.value != 0.0
    assert own.repeats() is repeats


def fast(p):
    """Give the coordinate losses of `cubes`, entry by entry, from p as it is."""

    def losses(name, step):
        moved = p[name] + step
        return cubes(p) - p[name] ** 3 + moved**3

    return losses


@pytest.mark.parametrize("derivative", ["central", "complex"])
def test_a_fast_sweep_is_used_where_it_is_faithful(derivative):
    calls = []
    report = check_gradients(
        lambda p: calls.append(1) or cubes(p),
        lambda p: {name: 3.0 * value**2 for name, value in p.items()},
        POINT,
        derivative=derivative,
        coordinate_losses=fast(POINT),
    )
    assert report.verdict is Verdict.PASS
    assert not any("coordinate_losses" in note for note in report.notes)
    assert len(calls) < report.evaluations


@pytest.mark.parametrize("derivative", ["central", "complex"])
def test_a_fast_sweep_that_differs_from_the_loss_is_dropped_and_the_report_says_so(derivative):
    def another(name, step):
        return fast(POINT)(name, step) + 0.01 * (POINT[name] + step)

    for factor, verdict in ((1.0, Verdict.PASS), (2.0, Verdict.FAIL)):
        report = check_gradients(
            cubes,
            lambda p, f=factor: {name: f * 3.0 * value**2 for name, value in p.items()},
            POINT,
            derivative=derivative,
            coordinate_losses=another,
        )
        assert report.verdict is verdict
        assert any("coordinate_losses differs from the loss at W[4, 2]" in note for note in report.notes)


def test_a_gradient_that_is_a_function_can_be_asked_at_other_points():
    objective = Objective.of(lambda p: (p["w"] ** 3).sum(), {"w": np.ones(3)}, lambda p: {"dw": 3.0 * p["w"] ** 2})
    before = objective.evaluations
    assert np.array_equal(objective.gradient_at(np.array([1.0, 2.0, 3.0])), [3.0, 12.0, 27.0])
    assert objective.evaluations == before + 1
    assert np.array_equal(objective.point, np.ones(3))


def test_a_gradient_that_is_numbers_cannot_be_asked_at_other_points():
    assert Objective.of(lambda p: p.sum(), np.ones(3), np.ones(3)).gradient_at is None
    assert Objective.of(lambda p: p.sum(), np.ones(3)).gradient_at is None


def test_a_gradient_that_cannot_be_had_beside_the_point_is_not_a_number_there():
    def gradients(p):
        if p[0] < 0.0:
            raise ValueError("outside the domain")
        p /= 2.0  # it may do with its arrays what it likes
        return 1.0 / p

    objective = Objective.of(lambda p: np.log(p).sum(), np.ones(2), gradients)
    asked = np.array([2.0, 1.0])
    assert np.array_equal(objective.gradient_at(asked), [1.0, 2.0])
    assert np.array_equal(asked, [2.0, 1.0])
    assert np.isnan(objective.gradient_at(-asked)).all()
