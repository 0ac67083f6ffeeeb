"""optax's schedules and NumPy's interpolation, run live beside ours, in double precision."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import numpy as np
import pytest

import tempomat as tm

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

OPTAX_ROUNDING = 1e-12
"""optax writes the same curves in other words: a dozen roundings of float64, amplified where a curve nears its end."""

COUNTS = np.arange(300)
SCALES = {30: 0.5, 80: 0.1, 200: 4.0}

PAIRS = {
    "constant": (lambda: optax.constant_schedule(0.3), tm.Constant(value=0.3)),
    "linear": (lambda: optax.linear_schedule(0.1, 0.7, 137), tm.Linear(init_value=0.1, end_value=0.7, duration=137)),
    "linear from later on": (
        lambda: optax.linear_schedule(0.1, 0.7, 137, transition_begin=40),
        tm.Linear(init_value=0.1, end_value=0.7, duration=137).shift(40),
    ),
    "polynomial": (
        lambda: optax.polynomial_schedule(0.7, 0.1, 2.3, 137),
        tm.Polynomial(init_value=0.7, end_value=0.1, duration=137, power=2.3),
    ),
    "cosine": (
        lambda: optax.cosine_decay_schedule(0.7, 137, alpha=0.01),
        tm.Cosine(init_value=0.7, end_value=0.007, duration=137),
    ),
    "cosine of a power": (
        lambda: optax.cosine_decay_schedule(0.7, 137, alpha=0.01, exponent=2.3),
        tm.Cosine(init_value=0.7, end_value=0.007, duration=137, power=2.3),
    ),
    "cosine of a power below 1": (
        lambda: optax.cosine_decay_schedule(0.7, 137, exponent=0.4),
        tm.Cosine(init_value=0.7, end_value=0.0, duration=137, power=0.4),
    ),
    "warm restarts with a warmup in each cycle": (
        lambda: optax.sgdr_schedule(
            [
                {
                    "init_value": 0.01,
                    "peak_value": 0.7 * 0.5**k,
                    "warmup_steps": 9,
                    "decay_steps": 40 * 2**k,
                    "end_value": 0.05,
                }
                for k in range(3)
            ]
        ),
        tm.WarmRestarts(
            init_value=0.7,
            end_value=0.05,
            cycle=40,
            cycle_factor=2,
            peak_factor=0.5,
            warmup=9,
            warmup_init_value=0.01,
            cycles=3,
        ),
    ),
    "exponential": (
        lambda: optax.exponential_decay(0.7, 25, 0.6),
        tm.Exponential(init_value=0.7, decay_rate=0.6, every=25),
    ),
    "exponential in stairs": (
        lambda: optax.exponential_decay(0.7, 25, 0.6, staircase=True),
        tm.Exponential(init_value=0.7, decay_rate=0.6, every=25, staircase=True),
    ),
    "exponential to a floor": (
        lambda: optax.exponential_decay(0.7, 25, 0.6, end_value=0.1),
        tm.Exponential(init_value=0.7, decay_rate=0.6, every=25, end_value=0.1),
    ),
    "exponential to a ceiling": (
        lambda: optax.exponential_decay(0.1, 25, 1.6, end_value=0.9),
        tm.Exponential(init_value=0.1, decay_rate=1.6, every=25, end_value=0.9),
    ),
    "exponential from later on": (
        lambda: optax.exponential_decay(0.7, 25, 0.6, transition_begin=40),
        tm.Exponential(init_value=0.7, decay_rate=0.6, every=25).shift(40),
    ),
    "step decay as stairs": (
        lambda: optax.exponential_decay(0.7, 25, 0.6, staircase=True),
        tm.StepDecay(init_value=0.7, factor=0.6, every=25),
    ),
    "piecewise constant": (
        lambda: optax.piecewise_constant_schedule(0.7, SCALES),
        tm.PiecewiseConstant(values=(0.7, 0.35, 0.035, 0.14), boundaries=tuple(SCALES)),
    ),
    "multistep": (
        lambda: optax.piecewise_constant_schedule(0.7, {30: 0.3, 80: 0.3}),
        tm.MultiStep(init_value=0.7, factor=0.3, milestones=(30, 80)),
    ),
    "piecewise linear": (
        lambda: optax.piecewise_interpolate_schedule("linear", 0.7, SCALES),
        tm.PiecewiseLinear(values=(0.7, 0.35, 0.035, 0.14), boundaries=(0, *SCALES)),
    ),
    "joined": (
        lambda: optax.join_schedules(
            [optax.linear_schedule(0.0, 0.7, 30), optax.constant_schedule(0.7), optax.linear_schedule(0.7, 0.1, 50)],
            [30, 80],
        ),
        tm.Linear(init_value=0.0, end_value=0.7, duration=30)
        .then(0.7, at=30)
        .then(tm.Linear(init_value=0.7, end_value=0.1, duration=50), at=80),
    ),
    "warmup constant": (
        lambda: optax.warmup_constant_schedule(0.1, 0.7, 30),
        tm.warmup_constant(init_value=0.1, peak_value=0.7, warmup=30),
    ),
    "warmup cosine": (
        lambda: optax.warmup_cosine_decay_schedule(0.01, 0.7, 30, 137, end_value=0.05),
        tm.warmup_cosine(init_value=0.01, peak_value=0.7, end_value=0.05, warmup=30, total=137),
    ),
    "warmup exponential": (
        lambda: optax.warmup_exponential_decay_schedule(0.01, 0.7, 30, 25, 0.6, end_value=0.05),
        tm.Linear(init_value=0.01, end_value=0.7, duration=30).then(
            tm.Exponential(init_value=0.7, decay_rate=0.6, every=25, end_value=0.05), at=30
        ),
    ),
    "one cycle with cosines": (
        lambda: optax.cosine_onecycle_schedule(200, 0.7, pct_start=0.25, div_factor=25, final_div_factor=1e4),
        tm.one_cycle(peak_value=0.7, warmup=50, total=200, end_value=0.7 / 25 / 1e4),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_ours_equals_optaxs_over_a_whole_run(name):
    build, ours = PAIRS[name]
    with jax.enable_x64(True):
        theirs = np.broadcast_to(np.asarray(jax.vmap(build())(COUNTS)), COUNTS.shape)
    assert theirs.dtype == np.float64
    np.testing.assert_allclose(ours(COUNTS), theirs, rtol=OPTAX_ROUNDING, atol=0)


def test_a_boundary_that_is_missing_is_refused_where_optax_drops_a_schedule():
    constants = [optax.constant_schedule(value) for value in (1.0, 2.0, 3.0)]
    assert float(optax.join_schedules(constants, [10])(10**6)) == 2.0
    with pytest.raises(tm.ScheduleError, match=r"boundaries` must be one less than the parts \(3\), got 1"):
        tm.Sequence(parts=(1.0, 2.0, 3.0), boundaries=(10,))


@pytest.mark.parametrize("places", [(0, 300), (5, 30, 31, 290), (0, 1, 2, 3)])
def test_a_line_through_points_equals_numpys_interpolation(places):
    values = [0.7, 0.1, 0.4, 0.9][: len(places)]
    ours = tm.PiecewiseLinear(values=values, boundaries=places)
    np.testing.assert_allclose(ours(COUNTS), np.interp(COUNTS, places, values), rtol=1e-15 * 4, atol=0)
