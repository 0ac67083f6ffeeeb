"""The shapes of `decays` and `rises` beside the libraries that have them: live where they install, and else beside the
formula as the library's source has it, with the release or commit that was read.
"""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import math
import os

import numpy as np
import pytest
from libraries import timm_schedulers

import tempomat as tm

ROUNDING = 1e-12
"""The same curve in other words: a dozen roundings of float64, amplified where a curve nears 0."""

STEPS = 250
COUNTS = np.arange(STEPS)
BASE = 0.3


def assert_equal_over_a_run(ours, theirs, tolerance=ROUNDING):
    np.testing.assert_allclose(ours(np.arange(len(theirs))), np.array(theirs), rtol=tolerance, atol=0)


def optimizer_at(lr):
    torch = pytest.importorskip("torch")
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


@pytest.fixture
def keras_schedules():
    """Keras' schedules, in double precision instead of its single one."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield keras.optimizers.schedules
    keras.config.set_floatx(before)


@pytest.mark.parametrize("staircase", [True, False])
@pytest.mark.parametrize("every", [1, 7])
def test_inverse_time_equals_keras(keras_schedules, staircase, every):
    theirs = keras_schedules.InverseTimeDecay(BASE, decay_steps=every, decay_rate=0.37, staircase=staircase)
    ours = tm.InverseTime(init_value=BASE, decay_rate=0.37, every=every, staircase=staircase)
    assert_equal_over_a_run(ours, [float(theirs(count)) for count in COUNTS])


@pytest.mark.parametrize("staircase", [True, False])
def test_an_exponential_equals_keras(keras_schedules, staircase):
    theirs = keras_schedules.ExponentialDecay(BASE, decay_steps=25, decay_rate=0.6, staircase=staircase)
    ours = tm.Exponential(init_value=BASE, decay_rate=0.6, every=25, staircase=staircase)
    assert_equal_over_a_run(ours, [float(theirs(count)) for count in COUNTS])


def test_a_geometric_fall_equals_keras_exponential_up_to_its_end(keras_schedules):
    theirs = keras_schedules.ExponentialDecay(BASE, decay_steps=STEPS, decay_rate=0.01)
    ours = tm.Geometric(init_value=BASE, end_value=BASE * 0.01, duration=STEPS)
    assert_equal_over_a_run(ours, [float(theirs(count)) for count in COUNTS])


def test_a_geometric_fall_equals_torchs_exponential_up_to_its_end():
    optimizer, values = optimizer_at(BASE), []
    theirs = pytest.importorskip("torch.optim.lr_scheduler").ExponentialLR(optimizer, gamma=0.97)
    for _ in COUNTS:
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    ours = tm.Geometric(init_value=BASE, end_value=BASE * 0.97**STEPS, duration=STEPS)
    assert_equal_over_a_run(ours, values)


def test_a_geometric_curve_equals_optaxs_exponential_up_to_its_end():
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    with jax.enable_x64(True):
        theirs = np.asarray(jax.vmap(optax.exponential_decay(0.1, STEPS, 30.0, end_value=3.0))(np.arange(2 * STEPS)))
    assert_equal_over_a_run(tm.Geometric(init_value=0.1, end_value=3.0, duration=STEPS), theirs)


@pytest.mark.parametrize(("first", "last"), [(0.3, 1e-5), (1e-7, 10.0), (-0.3, -2.0)])
def test_a_geometric_curve_equals_fastais_and_olmos(first, last):
    """fastai 2.8, `sched_exp`: start (end / start)^pos. OLMo-core, `ExponentialScheduler`: the same, rising."""
    expected = [first * (last / first) ** (count / STEPS) for count in COUNTS]
    assert_equal_over_a_run(tm.Geometric(init_value=first, end_value=last, duration=STEPS), [*expected, last, last])


@pytest.mark.parametrize(("lower", "upper"), [(-7.0, 3.0), (-6.0, 4.0), (-1.0, 0.5)])
def test_a_tangent_equals_timms(lower, upper):
    theirs = timm_schedulers().TanhLRScheduler(optimizer_at(BASE), t_initial=200, lb=lower, ub=upper, lr_min=0.003)
    ours = tm.Tanh(init_value=BASE, end_value=0.003, duration=200, lower=lower, upper=upper)
    assert_equal_over_a_run(ours, [theirs._get_lr(count)[0] for count in range(STEPS)], 1e-10)


@pytest.mark.parametrize(("first", "last"), [(1.0, 0.0), (0.3, 0.003)])
def test_rex_equals_pytorch_optimizers(first, last):
    """pytorch_optimizer at 1fe5dca, `REXScheduler`: min_lr + (max_lr - min_lr) (1 - p) / (1 - p / 2), then min_lr."""

    def theirs(count):
        share = count / 200
        return last if count >= 200 else last + (first - last) * ((1.0 - share) / (1.0 - share / 2.0))

    assert_equal_over_a_run(tm.Rex(init_value=first, end_value=last, duration=200), [theirs(c) for c in COUNTS])


@pytest.mark.parametrize(("length", "bound"), [(200, 1000), (200, 201), (200, 200), (1, 250)])
def test_a_hyperbola_equals_its_authors(length, bound):
    """The repository of arXiv:2407.15200, `HyperbolicLR`: init + (init - infimum) (h(n) - h(0)), up to its max_iter."""

    def bow(count):
        return math.sqrt((length - count) / bound * (2.0 - (length + count) / bound))

    expected = [0.3 + (0.3 - 1e-4) * (bow(min(count, length)) - bow(0)) for count in COUNTS]
    assert_equal_over_a_run(
        tm.Hyperbolic(init_value=0.3, infimum=1e-4, duration=length, upper_bound=bound), expected, 1e-9
    )


@pytest.mark.parametrize("exponent", [-0.51, -0.5, -1.0, 0.3])
def test_a_power_of_the_count_equals_the_power_scheduler(exponent):
    """arXiv:2408.13359 and OLMo-core's `PowerLR`: the peak times (t / W)^b from the warmup's end W on."""
    expected = [BASE * (count / 40) ** exponent for count in range(40, 40 + STEPS)]
    assert_equal_over_a_run(tm.PowerLaw(init_value=BASE, timescale=40, exponent=exponent), expected)


def test_a_power_of_minus_a_half_is_the_inverse_square_root():
    power = tm.PowerLaw(init_value=BASE, timescale=40, exponent=-0.5)
    assert_equal_over_a_run(power, tm.InverseSqrt(init_value=BASE, timescale=40)(COUNTS))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.3])
def test_a_power_ramp_equals_fastais_polynomial(power):
    """fastai 2.8, `SchedPoly`: start + (end - start) pos^power."""
    expected = [0.1 + (0.7 - 0.1) * (count / STEPS) ** power for count in range(STEPS)]
    ours = tm.PowerRamp(init_value=0.1, end_value=0.7, duration=STEPS, power=power)
    assert_equal_over_a_run(ours, [*expected, 0.7])


@pytest.mark.parametrize("length", [1, 2, 3, 200])
def test_a_logarithm_equals_deepspeeds_warmup(length):
    """DeepSpeed at 22779f2, `WarmupLR` with `log`: min + (max - min) ln(t + 1) / ln max(2, W) while t < W, then max."""
    scale = max(2, length)
    rise = [0.01 + (BASE - 0.01) * (1.0 / math.log(scale)) * math.log(count + 1) for count in range(scale)]
    ours = tm.Logarithmic(init_value=0.01, end_value=BASE, duration=length)
    assert_equal_over_a_run(ours, [*rise, BASE, BASE])


def test_the_second_half_of_a_cosine_is_the_cosine_from_its_middle_on():
    whole = tm.Cosine(init_value=0.5, end_value=0.1, duration=2 * STEPS)
    ours = tm.CosineTail(init_value=0.3, end_value=0.1, duration=STEPS)
    assert_equal_over_a_run(ours, whole(np.arange(STEPS, 3 * STEPS)))


@pytest.mark.parametrize(("low", "high", "step", "share"), [(8, 1024, 8, 0.3), (8, 100, 24, 0.5), (64, 512, 64, 1.0)])
def test_stairs_equal_composers_sequence_length_warmup(low, high, step, share):
    """Composer at 012538e, `SeqLengthWarmup`, of a run of 5 000 batches."""
    every = int(5_000 * share) // ((high - low) // step)
    expected = [min(max(step * (count // every) + low, low), high) for count in range(5_000)]
    stairs = tm.Staircase(init_value=low, end_value=high, increment=step, every=every)
    assert stairs(np.arange(5_000)).tolist() == expected
    recipe = tm.length_warmup(init_value=low, end_value=high, increment=step, every=every)
    assert recipe(np.arange(5_000)).tolist() == expected
