"""One step of each optimizer by hand, and that its memory is not its own."""

import numpy as np
import pytest

from trainer import SGD, Adam, CosineSchedule


def test_two_sgd_steps_by_hand():
    # theta = 1, g = 2:  theta - 0.1 * 2 = 0.8;  then g = -1:  0.8 + 0.1 = 0.9
    vector, optimizer = np.array([1.0]), SGD(learning_rate=0.1)
    state = optimizer.initial_state(1)
    optimizer.update(vector, np.array([2.0]), state)
    assert vector[0] == pytest.approx(0.8, rel=1e-15)
    optimizer.update(vector, np.array([-1.0]), state)
    assert vector[0] == pytest.approx(0.9, rel=1e-15)


def test_two_sgd_steps_with_momentum_by_hand():
    # v = 2, theta = 1 - 0.2 = 0.8;  then v = 0.5 * 2 - 3 = -2, theta = 0.8 + 0.2 = 1.0
    vector, optimizer = np.array([1.0]), SGD(learning_rate=0.1, momentum=0.5)
    state = optimizer.initial_state(1)
    optimizer.update(vector, np.array([2.0]), state)
    assert vector[0] == pytest.approx(0.8, rel=1e-15)
    optimizer.update(vector, np.array([-3.0]), state)
    assert vector[0] == pytest.approx(1.0, rel=1e-15)
    assert state.moments["velocity"][0] == -2


def test_two_adam_steps_by_hand():
    # beta_1 = 0.5, beta_2 = 0.75, rate = 0.1, epsilon = 1
    # t = 1, g = 2: m = 1, v = 1, corrected m = 1/0.5 = 2, v = 1/0.25 = 4: step 0.1 * 2 / (2 + 1) = 0.2/3
    # t = 2, g = -1: m = 0.5 - 0.5 = 0: no step, whatever v is
    # t = 3, g = 4: m = 2, corrected 2/0.875; v: 1 -> 0.75 + 0.25 = 1 -> 0.75 + 4 = 4.75, corrected
    #        4.75 / (1 - 0.421875) = 8.2162162...
    vector = np.array([1.0])
    optimizer = Adam(learning_rate=0.1, beta_1=0.5, beta_2=0.75, epsilon=1.0)
    state = optimizer.initial_state(1)
    optimizer.update(vector, np.array([2.0]), state)
    assert vector[0] == pytest.approx(1 - 0.2 / 3, rel=1e-15)
    optimizer.update(vector, np.array([-1.0]), state)
    assert vector[0] == pytest.approx(1 - 0.2 / 3, rel=1e-15)
    optimizer.update(vector, np.array([4.0]), state)
    step = 0.1 * (2 / 0.875) / (np.sqrt(4.75 / 0.578125) + 1)
    assert vector[0] == pytest.approx(1 - 0.2 / 3 - step, rel=1e-15)
    assert state.n_updates == 3


def test_adam_follows_the_paper_for_a_thousand_steps():
    rng = np.random.default_rng(0)
    vector = rng.standard_normal(7)
    expected, m, v = vector.copy(), np.zeros(7), np.zeros(7)
    optimizer = Adam(learning_rate=0.01)
    state = optimizer.initial_state(7)
    for t in range(1, 1001):
        gradient = rng.standard_normal(7) * np.logspace(-6, 3, 7)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        expected -= 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        optimizer.update(vector, gradient, state)
    np.testing.assert_allclose(vector, expected, rtol=1e-12, atol=1e-13)  # a thousand roundings


def test_adam_leaves_a_parameter_that_never_had_a_gradient():
    vector, optimizer = np.array([1.5]), Adam()
    optimizer.update(vector, np.zeros(1), optimizer.initial_state(1))
    assert vector[0] == 1.5


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.1)], ids=repr)
def test_float32_stays_float32_and_the_gradient_is_only_read(optimizer):
    vector, gradient = np.ones(5, np.float32), np.arange(5, dtype=np.float32)
    state = optimizer.initial_state(5, np.float32)
    for _ in range(3):
        optimizer.update(vector, gradient, state)
    assert {array.dtype for array in [state.scratch, *state.moments.values()]} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(gradient, np.arange(5))
    assert (vector[1:] < 1).all()


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), Adam(0.1)], ids=repr)
def test_two_fits_share_an_optimizer_without_sharing_its_memory(optimizer):
    results = []
    for _ in range(2):
        vector, state = np.ones(5), optimizer.initial_state(5)
        for gradient in (1.0, -2.0, 0.5):
            optimizer.update(vector, np.full(5, gradient), state)
        results.append(vector)
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SGD(learning_rate=0.0), "learning_rate"),
        (lambda: SGD(learning_rate=float("inf")), "learning_rate"),
        (lambda: SGD(momentum=1.0), "momentum"),
        (lambda: SGD(momentum=-0.1), "momentum"),
        (lambda: Adam(learning_rate=float("nan")), "learning_rate"),
        (lambda: Adam(beta_1=1.0), "beta_1"),
        (lambda: Adam(beta_2=-0.5), "beta_2"),
        (lambda: Adam(epsilon=0.0), "epsilon"),
        (lambda: SGD(max_norm=0.0), "max_norm"),
        (lambda: Adam(max_norm=float("inf")), "max_norm"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(make, name):
    with pytest.raises(ValueError, match=f"Invalid {name}. Expected .* Received"):
        make()


OPTIMIZERS = {
    "sgd": lambda **options: SGD(0.1, **options),
    "momentum": lambda **options: SGD(0.1, 0.9, **options),
    "adam": lambda **options: Adam(0.1, **options),
}


def moved(optimizer, gradients, dtype):
    """Return the parameters after one update a gradient."""
    vector = np.ones(gradients.shape[1], dtype)
    state = optimizer.initial_state(len(vector), dtype)
    for gradient in gradients.astype(dtype):
        given = gradient.copy()
        optimizer.update(vector, gradient, state)
        np.testing.assert_array_equal(gradient, given)  # only read
    return vector


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_gradient_above_the_largest_norm_is_scaled_down_to_it(make, dtype):
    gradients = np.random.default_rng(0).standard_normal((30, 7)) * np.logspace(-3, 3, 30)[:, None]
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    assert (norms < 2.5).any()  # and those stay as they are, to the last bit
    scaled = np.where(norms > 2.5, gradients * (2.5 / norms), gradients)
    tolerance = {"float64": 1e-12, "float32": 1e-4}[dtype]
    np.testing.assert_allclose(moved(make(max_norm=2.5), gradients, dtype), moved(make(), scaled, dtype), tolerance)
    below = gradients[norms[:, 0] < 2.5]
    np.testing.assert_array_equal(moved(make(max_norm=2.5), below, dtype), moved(make(), below, dtype))


@pytest.mark.parametrize(("dtype", "huge"), [("float64", 1e300), ("float64", 1.5e308), ("float32", 3e38)])
def test_a_norm_that_overflows_is_scaled_down_all_the_same(dtype, huge):
    gradient = np.array([[huge, -huge, 0.0, huge, huge]])
    expected = 1 - 0.1 * 2.0 * np.array([0.5, -0.5, 0.0, 0.5, 0.5])
    np.testing.assert_allclose(moved(SGD(0.1, max_norm=2.0), gradient, dtype), expected, rtol=1e-6)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_not_finite_in_a_gradient_is_not_clipped_away(make, value):
    gradients = np.array([[1.0, value, 100.0]])
    np.testing.assert_array_equal(moved(make(max_norm=2.0), gradients, "float64"), moved(make(), gradients, "float64"))


def test_the_text_names_the_largest_norm_only_where_there_is_one():
    assert repr(SGD(0.1)) == "SGD(learning_rate=0.1, momentum=0.0)"
    assert repr(SGD(0.1, max_norm=2)) == "SGD(learning_rate=0.1, momentum=0.0, max_norm=2.0)"
    assert repr(Adam(0.1, max_norm=2)) == repr(Adam(0.1)).removesuffix(")") + ", max_norm=2.0)"


def test_a_decoupled_decay_by_hand():
    # theta = 2, rate 0.1, decay 0.5: 2 * (1 - 0.05) = 1.9, and from there Adam's first step, 0.1 * 2 / (2 + 1)
    vector, optimizer = np.array([2.0]), Adam(0.1, 0.5, 0.75, 1.0, weight_decay=0.5)
    optimizer.update(vector, np.array([2.0]), optimizer.initial_state(1))
    assert vector[0] == pytest.approx(1.9 - 0.2 / 3, rel=1e-15)


def test_what_decays_is_no_part_of_the_moments():
    optimizers = [Adam(0.1), Adam(0.1, weight_decay=0.5)]
    vectors = [np.ones(7), np.zeros(7)]  # where nothing is left to decay
    states = [optimizer.initial_state(7) for optimizer in optimizers]
    for optimizer, vector, state in zip(optimizers, vectors, states, strict=True):
        optimizer.update(vector, np.arange(7.0), state)
    for name in Adam.moment_names:
        np.testing.assert_array_equal(states[0].moments[name], states[1].moments[name])
    np.testing.assert_allclose(vectors[0] - 1, vectors[1], atol=1e-15)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_schedule_is_asked_for_the_rate_of_every_update_counted_from_1(kind):
    asked = []

    def schedule(update):
        asked.append(update)
        return 0.1 / update

    constant, scheduled = kind(0.1), kind(schedule)
    vectors = [np.ones(3), np.ones(3)]
    states = [optimizer.initial_state(3) for optimizer in (constant, scheduled)]
    for update in (1, 2, 3):
        before = [vector.copy() for vector in vectors]
        for optimizer, vector, state in zip((constant, scheduled), vectors, states, strict=True):
            optimizer.update(vector, np.array([1.0, -2.0, 3.0]), state)
        steps = [vector - earlier for vector, earlier in zip(vectors, before, strict=True)]
        np.testing.assert_allclose(steps[1] * update, steps[0], rtol=1e-12)
    assert asked == [1, 2, 3]


@pytest.mark.parametrize(("learning_rate", "error"), [("0.1", TypeError), (0.0, ValueError), (None, TypeError)])
def test_a_learning_rate_that_is_none_is_refused(learning_rate, error):
    with pytest.raises(error, match=r"Invalid learning_rate. Expected .*, or a function of the update. Received"):
        Adam(learning_rate)


@pytest.mark.parametrize("rate", [-0.1, np.nan, np.inf])
def test_a_schedule_that_gives_no_rate_is_refused_with_the_update(rate):
    optimizer = SGD(lambda update: 0.1 if update < 2 else rate)
    vector, state = np.ones(1), optimizer.initial_state(1)
    optimizer.update(vector, np.ones(1), state)
    with pytest.raises(ValueError, match=r"Invalid learning rate of update 2. Expected .* Received"):
        optimizer.update(vector, np.ones(1), state)


def test_an_optimizer_shows_its_settings_and_what_is_not_set_is_not_shown():
    assert repr(SGD(0.1)) == "SGD(learning_rate=0.1, momentum=0.0)"
    assert repr(Adam(max_norm=2)) == "Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-08, max_norm=2.0)"
    assert Adam(weight_decay=0.1).settings()["weight_decay"] == 0.1
    assert "CosineSchedule(peak=0.1, updates=7, final=0.0)" in repr(SGD(CosineSchedule(0.1, 7)))
