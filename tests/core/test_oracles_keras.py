"""Keras' schedules, run live beside ours, in double precision as `keras.config.set_floatx` gives it."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import os

import numpy as np
import pytest

import tempomat as tm

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
keras = pytest.importorskip("keras")
schedules = keras.optimizers.schedules

ROUNDING = 1e-10
BASE = 0.3
COUNTS = np.arange(300)


@pytest.fixture(autouse=True)
def _double_precision():
    """Keras computes schedules in its default precision, which is single."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def theirs(schedule, counts=COUNTS):
    return np.array([float(schedule(int(count))) for count in counts])


PAIRS = {
    "CosineDecay": (
        lambda: schedules.CosineDecay(BASE, 137, alpha=0.01),
        tm.Cosine(init_value=BASE, end_value=0.01 * BASE, duration=137),
    ),
    "CosineDecay after a warmup": (
        lambda: schedules.CosineDecay(0.01, 137, alpha=0.1, warmup_target=BASE, warmup_steps=30),
        tm.warmup_cosine(init_value=0.01, peak_value=BASE, end_value=0.1 * BASE, warmup=30, total=167),
    ),
    "PolynomialDecay": (
        lambda: schedules.PolynomialDecay(BASE, 137, end_learning_rate=0.003, power=1.7),
        tm.Polynomial(init_value=BASE, end_value=0.003, duration=137, power=1.7),
    ),
    "PolynomialDecay as a line": (
        lambda: schedules.PolynomialDecay(BASE, 137, end_learning_rate=0.003),
        tm.Linear(init_value=BASE, end_value=0.003, duration=137),
    ),
    "ExponentialDecay": (
        lambda: schedules.ExponentialDecay(BASE, 25, 0.6),
        tm.Exponential(init_value=BASE, decay_rate=0.6, every=25),
    ),
    "ExponentialDecay in stairs": (
        lambda: schedules.ExponentialDecay(BASE, 25, 0.6, staircase=True),
        tm.Exponential(init_value=BASE, decay_rate=0.6, every=25, staircase=True),
    ),
    "ExponentialDecay as steps": (
        lambda: schedules.ExponentialDecay(BASE, 25, 0.6, staircase=True),
        tm.StepDecay(init_value=BASE, factor=0.6, every=25),
    ),
    "PiecewiseConstantDecay, each boundary one count later": (
        lambda: schedules.PiecewiseConstantDecay([30, 80], [0.3, 0.1, 0.7]),
        tm.PiecewiseConstant(values=(0.3, 0.1, 0.7), boundaries=(31, 81)),
    ),
    "InverseTimeDecay": (
        lambda: schedules.InverseTimeDecay(BASE, 25, 0.6),
        tm.InverseTime(init_value=BASE, decay_rate=0.6, every=25),
    ),
    "InverseTimeDecay in stairs": (
        lambda: schedules.InverseTimeDecay(BASE, 25, 0.6, staircase=True),
        tm.InverseTime(init_value=BASE, decay_rate=0.6, every=25, staircase=True),
    ),
    "CosineDecayRestarts, lower each time": (
        lambda: schedules.CosineDecayRestarts(BASE, 32, t_mul=1.0, m_mul=0.7),
        tm.WarmRestarts(init_value=BASE, end_value=0.0, cycle=32, peak_factor=0.7),
    ),
    "CosineDecayRestarts over a floor": (
        lambda: schedules.CosineDecayRestarts(BASE, 32, t_mul=1.0, alpha=0.1),
        tm.WarmRestarts(init_value=BASE, end_value=0.1 * BASE, cycle=32),
    ),
    "CosineDecayRestarts over a floor and lower each time": (
        lambda: schedules.CosineDecayRestarts(BASE, 32, t_mul=1.0, m_mul=0.7, alpha=0.1),
        tm.WarmRestarts(init_value=0.9 * BASE, end_value=0.0, cycle=32, peak_factor=0.7) + 0.1 * BASE,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_ours_equals_that_of_keras_over_a_whole_run(name):
    build, ours = PAIRS[name]
    np.testing.assert_allclose(ours(COUNTS), theirs(build()), rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("growth", [1.5, 2.0, 3.0, 7.0])
def test_growing_cycles_equal_those_of_keras_at_every_restart_too(growth):
    ours = tm.WarmRestarts(init_value=BASE, end_value=0.03, cycle=20, cycle_factor=growth)
    found = theirs(schedules.CosineDecayRestarts(BASE, 20, t_mul=growth, alpha=0.1))
    np.testing.assert_allclose(ours(COUNTS), found, rtol=ROUNDING, atol=0)


def test_every_restart_is_at_the_peak_where_keras_in_single_precision_gives_the_floor():
    """In its default precision the logarithm that finds the cycle is rounded to below 2 at 57 = 1 + 7 + 49."""
    keras.config.set_floatx("float32")
    restarts = [8, 57, 400, 2801]
    found = theirs(schedules.CosineDecayRestarts(1.0, 1, t_mul=7.0), restarts)
    ours = tm.WarmRestarts(init_value=1.0, end_value=0.0, cycle=1, cycle_factor=7)
    assert found[1:].max() < 1e-9
    assert [ours(count) for count in restarts] == [1.0] * 4
