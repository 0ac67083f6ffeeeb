"""Cycles: their ends and restarts to the last bit, what they refuse, and backends of few bits."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import math
from fractions import Fraction

import numpy as np
import pytest
from strategies import bits

import tempomat as tm

FAR = [10**9, 2**53 + 1, 2**62]
FALL = {"init_value": 0.3, "end_value": 0.7, "duration": 120}
WARM = {"init_value": 0.3, "end_value": 0.05, "cycle": 10}


@pytest.mark.parametrize("cycles", [0.5, 1.5, 7.5, 49.5])
def test_a_wave_of_half_cycles_ends_at_the_end_value(cycles):
    wave = tm.CosineCycles(**FALL, cycles=cycles)
    assert wave(0) == 0.3
    assert bits([wave(count) for count in [120, 121, *FAR]]) == bits([0.7] * 5)


@pytest.mark.parametrize("cycles", [1, 2, 49])
def test_a_wave_of_whole_cycles_ends_where_it_began(cycles):
    wave = tm.CosineCycles(**FALL, cycles=cycles)
    assert bits([wave(count) for count in [0, 120, 121, *FAR]]) == bits([0.3] * 6)


@pytest.mark.parametrize("cycles", [0.1, 0.7, 2.25, math.pi])
def test_a_wave_of_other_cycles_holds_where_it_is(cycles):
    wave = tm.CosineCycles(**FALL, cycles=cycles)
    formula = 0.7 - 0.4 * 0.5 * (1 + math.cos(2 * math.pi * cycles))
    np.testing.assert_allclose(wave(np.array([120, 121, *FAR])), formula, rtol=1e-14, atol=0)


def test_half_a_wave_is_a_cosine():
    counts = np.arange(200)
    np.testing.assert_allclose(tm.CosineCycles(**FALL)(counts), tm.Cosine(**FALL)(counts), rtol=1e-15, atol=0)


def test_of_one_restart_a_cosine_is_left():
    counts = np.arange(200)
    np.testing.assert_allclose(tm.CosineRestarts(**FALL)(counts), tm.Cosine(**FALL)(counts), rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("cycles", "starts"), [(3, (0, 40, 80)), (2.5, (0, 48, 96)), (0.1, (0,)), (40, range(0, 120, 3))]
)
def test_a_restart_on_a_count_is_at_the_peak(cycles, starts):
    restarts = tm.CosineRestarts(**FALL, cycles=cycles)
    values = restarts(np.arange(120))
    assert np.flatnonzero(values == 0.3).tolist() == list(starts)
    assert bits([restarts(count) for count in (120, 121, *FAR)]) == bits([0.7] * 5)


def test_restarts_between_counts_follow_the_formula():
    """Cycles of 120 / 7 counts; with so many digits that integers of 64 bits do not hold them, in floats."""
    counts = np.arange(120)
    for cycles in (7, 1.2345678901234567):
        formula = 0.7 - 0.2 * (1 + np.cos(math.pi * (counts * cycles / 120 % 1)))
        np.testing.assert_allclose(tm.CosineRestarts(**FALL, cycles=cycles)(counts), formula, rtol=1e-13, atol=0)


def test_cycles_of_one_length_restart_for_ever():
    warm = tm.WarmRestarts(**WARM)
    assert [warm(count) for count in (0, 10, 10**9, 10 * 2**58)] == [0.3] * 4
    assert bits(warm(np.arange(100))) == bits(np.tile(warm(np.arange(10)), 10))


def test_cycles_that_grow_begin_at_exact_counts_up_to_the_last():
    warm = tm.WarmRestarts(**WARM, cycle_factor=2)
    starts = [10 * (2**k - 1) for k in range(59)]
    assert starts[-1] < 2**62 < 10 * (2**59 - 1)
    assert [warm(count) for count in starts] == [0.3] * 59
    assert warm(np.array(starts)).tolist() == [0.3] * 59
    assert max(warm(count - 1) for count in starts[1:]) < 0.06
    assert max(warm(count + 1) for count in starts[:20]) < 0.3


def test_a_growth_is_the_decimal_number_that_was_written():
    """In binary 10 * 1.1 is more than 11, and the restart at 21 would be missed."""
    assert 10 * Fraction(1.1) > 11
    warm = tm.WarmRestarts(**WARM, cycle_factor=1.1)
    assert [warm(count) for count in (0, 10, 21)] == [0.3] * 3
    assert warm(20) < 0.3


def test_a_restart_between_counts_is_on_its_way_at_the_next():
    """10 + 15 + 22.5: at 48 half a count of 33.75 is behind."""
    value = 0.05 + 0.125 * (1 + math.cos(math.pi * 0.5 / 33.75))
    assert tm.WarmRestarts(**WARM, cycle_factor=1.5)(48) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(("growth", "end"), [(1, 30), (2, 70), (1.5, 47.5)])
def test_after_the_last_cycle_the_end_value_holds(growth, end):
    warm = tm.WarmRestarts(**WARM, cycle_factor=growth, cycles=3, peak_factor=0.5)
    last = math.ceil(end)
    assert bits([warm(count) for count in (last, last + 1, *FAR)]) == bits([0.05] * 5)
    assert warm(last - 1) > 0.05


def test_more_cycles_than_counts_never_end():
    assert tm.WarmRestarts(**WARM, cycle_factor=2, cycles=100)(10 * (2**58 - 1)) == 0.3


def test_each_peak_is_the_one_before_times_the_factor():
    for growth in (1, 2):
        warm = tm.WarmRestarts(**WARM, cycle_factor=growth, peak_factor=0.5)
        starts = [sum(10 * growth**i for i in range(k)) for k in range(4)]
        assert [warm(count) for count in starts] == [0.3, 0.15, 0.075, 0.0375]
    assert tm.WarmRestarts(**{**WARM, "init_value": 0}, cycle_factor=2, peak_factor=3)(2**62) < 0.05


def test_each_cycle_begins_with_its_warmup():
    warm = tm.WarmRestarts(**WARM, cycle_factor=2, peak_factor=0.5, warmup=4)
    assert [warm(count) for count in (0, 4, 10, 14)] == [0.05, 0.3, 0.05, 0.15]
    assert warm(2) == pytest.approx(0.175, rel=1e-15)
    wave = tm.Cosine(init_value=0.3, end_value=0.05, duration=6)
    np.testing.assert_allclose(warm(np.arange(4, 10)), wave(np.arange(6)), rtol=1e-15, atol=0)
    assert tm.WarmRestarts(**WARM, warmup=4, warmup_init_value=0.1)(20) == 0.1


def test_lengths_of_cycles_may_wait_for_the_run():
    warm = tm.WarmRestarts(**{**WARM, "cycle": "1 epoch"}, warmup="10%", cycle_factor=2)
    resolved = warm.resolve(tm.Horizon(total=tm.Duration("500"), rates={"steps_per_epoch": 100}))
    assert resolved == tm.WarmRestarts(**{**WARM, "cycle": 100}, warmup=50, cycle_factor=2)
    assert [resolved(count) for count in (50, 150, 350)] == [0.3] * 3


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"cycle_factor": 0.5}, r"`cycle_factor` must be at least 1, got 0\.5"),
        ({"cycle_factor": 1.001}, r"`cycle_factor` must be 1 or at least 1\.01, got 1\.001"),
        ({"peak_factor": -1}, "`peak_factor` must be at least 0, got -1"),
        ({"warmup": 10}, r"`warmup` must be shorter than `cycle` \(10\), got 10"),
        ({"cycles": 0}, "`cycles` must be between 1 and 4096, got 0"),
        ({"cycles": 1.5}, "`cycles` must be an integer count, got 1.5"),
        ({"cycles": "5%"}, "`cycles` '5%' is not a number"),
        ({"cycle": 0}, "`cycle` must be at least 1, got 0"),
    ],
)
def test_warm_restarts_refuse_what_they_cannot_keep(wrong, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.WarmRestarts(**{**WARM, **wrong})


def test_a_number_of_cycles_may_be_written_in_any_way():
    assert {tm.WarmRestarts(**WARM, cycles=given).cycles for given in (3, 3.0, "3", np.int64(3))} == {3}


UP = {"init_value": 0.1, "peak_value": 0.7, "up": 10}


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
def test_a_triangle_begins_and_ends_at_the_first_value(mode):
    cyclic = tm.Cyclic(**UP, down=30, mode=mode)
    assert [cyclic(count) for count in (0, 40, 400, 40 * 10**12)] == [0.1] * 4


def test_a_triangle_has_its_peak_at_the_end_of_the_rise():
    assert [tm.Cyclic(**UP, down=30)(count) for count in (10, 50, 40 * 10**12 + 10)] == [0.7] * 3
    assert tm.Cyclic(**UP)(5) == tm.Cyclic(**UP)(15) == pytest.approx(0.4, rel=1e-15)
    halves = [tm.Cyclic(**UP, mode="triangular2")(count) - 0.1 for count in (10, 30, 50)]
    assert halves == pytest.approx([0.6, 0.3, 0.15], rel=1e-14)
    falling = tm.Cyclic(**UP, mode="exp_range", gamma=0.9)
    assert falling(10) - 0.1 == pytest.approx(0.6 * 0.9**10, rel=1e-14)
    assert falling(2**62) == 0.1


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"up": 0}, "`up` must be at least 1, got 0"),
        ({"down": 0}, "`down` must be at least 1, got 0"),
        ({"mode": "triangle"}, r"`mode` must be one of .*, got 'triangle'\. Did you mean triangular\?"),
        ({"gamma": 0.9}, r"`gamma` is for the mode exp_range, got 0\.9 for triangular"),
        ({"mode": "exp_range", "gamma": 1.1}, r"`gamma` must be at most 1, got 1\.1"),
    ],
)
def test_a_triangle_refuses_what_it_cannot_be(wrong, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.Cyclic(**{**UP, **wrong})


LONG = 3_000_000_000
EACH = [
    tm.CosineCycles(init_value=0.1, end_value=0.7, duration=137, cycles=2.5),
    tm.CosineCycles(init_value=0.1, end_value=0.7, duration=LONG, cycles=1.5),
    tm.CosineRestarts(init_value=0.1, end_value=0.7, duration=140, cycles=7),
    tm.CosineRestarts(init_value=0.1, end_value=0.7, duration=LONG, cycles=3),
    tm.WarmRestarts(**WARM),
    tm.WarmRestarts(**WARM, cycles=10**3),
    tm.WarmRestarts(**WARM, cycle_factor=2, peak_factor=0.9, warmup=3),
    tm.WarmRestarts(**WARM, cycle_factor=3, cycles=40),
    tm.WarmRestarts(init_value=0.3, end_value=0.05, cycle=LONG, cycle_factor=2),
    tm.Cyclic(**UP, down=30, mode="triangular2"),
    tm.Cyclic(**UP, down=30, mode="exp_range", gamma=0.999),
    tm.Cyclic(**UP, down=LONG),
    tm.Cyclic(init_value=0.1, peak_value=0.7, up=2**30, down=2**30),
]


@pytest.mark.parametrize("schedule", EACH, ids=repr)
def test_in_32_bits_every_cycle_still_begins_where_it_should(schedule):
    jax = pytest.importorskip("jax")
    counts = np.array([0, 1, 5, 10, 13, 30, 33, 70, 71, 130, 150, 310, 313, 10_230, 10 * (2**20 - 1), 2**24 - 10])
    found = jax.jit(schedule)(jax.numpy.array(counts))
    assert found.dtype == np.float32
    # of float32: an angle near pi has lost half of its digits
    np.testing.assert_allclose(np.asarray(found), schedule(counts), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("schedule", EACH, ids=repr)
@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
def test_what_lies_beyond_a_torch_counts_own_type_is_never_reached(schedule, kind):
    torch = pytest.importorskip("torch")
    counts = [0, 1, 10, 30, 40, 70, 250]
    found = schedule(torch.tensor(counts, dtype=getattr(torch, kind)))
    np.testing.assert_allclose(found.numpy(), schedule(np.array(counts)), rtol=1e-14, atol=0)
