"""The recipes of anneals, endless falls and ramps: their ends, lengths as shares, and what they refuse. Their curves
are in `test_oracles_recipes`.
"""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false, reportCallIssue=false

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits

import tempomat as tm

FAR = 2**62
SHAPES = ["linear", "cosine", "one_minus_sqrt", "one_minus_square", "exponential"]
RISES = ["linear", "cosine", "logarithmic", "one_minus_sqrt", "exponential"]
RUN = tm.Horizon(total=tm.Duration("10 epochs"), rates={"steps_per_epoch": 100})


@settings(max_examples=30)
@given(warmup=st.integers(1, 10**9), rest=st.integers(2, 10**9), peak=st.floats(1e-3, 1e3), end=st.floats(-1e3, 1e3))
def test_the_ends_are_exact_whatever_the_shape_and_the_numbers(warmup, rest, peak, end):
    total = warmup + rest
    values = {"peak_value": peak, "end_value": end, "init_value": 0.5, "warmup": warmup}
    for rise in RISES:
        for shape in SHAPES:
            schedule = tm.wsd(**values, decay=rest - 1, total=total, shape=shape, warmup_shape=rise)
            found = [schedule(count) for count in (0, warmup, warmup + 1, total, total + 1, FAR)]
            assert found == [0.5, peak, peak, end, end, end]
        for schedule in (
            tm.warmup_cosine(**values, total=total, warmup_shape=rise),
            tm.warmup_linear(**values, total=total, warmup_shape=rise),
            tm.warmup_polynomial(**values, total=total, warmup_shape=rise, power=1.7),
            tm.half_cosine(**values, total=total, warmup_shape=rise),
            tm.cosine_linear_tail(**values, cosine_end_value=0.1, decay=rest - 1, total=total, warmup_shape=rise),
        ):
            assert [schedule(count) for count in (0, warmup, total, FAR)] == [0.5, peak, end, end]


def test_three_phases_meet_at_their_corners():
    schedule = tm.one_cycle(peak_value=1.0, init_value=0.3, end_value=0.1, warmup=30, total=100, three_phase=True)
    assert [schedule(count) for count in (0, 30, 60, 100, FAR)] == [0.3, 1.0, 0.3, 0.1, 0.1]
    shortest = tm.one_cycle(peak_value=1.0, warmup=50, total=101, init_value=0.3, end_value=0.1, three_phase=True)
    assert [shortest(count) for count in (100, 101)] == [0.3, 0.1]
    assert schedule(15) == pytest.approx(schedule(45), rel=1e-14, abs=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_anneal_ends_at_the_end_and_the_next_count_is_at_the_peak(shape):
    schedule = tm.wsd_s(peak_value=0.7, end_value=0.1, warmup=10, decay=20, anneals=[30, 51, 100], shape=shape)
    assert [schedule(count) for count in (0, 10, 30, 31, 51, 52, 80, 100, FAR)] == [
        0.0,
        0.7,
        0.1,
        0.7,
        0.1,
        0.7,
        0.7,
        0.1,
        0.1,
    ]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (
            tm.wsd(peak_value=1, warmup="5%", decay="10%", shape="exponential", warmup_shape="cosine"),
            tm.wsd(peak_value=1, warmup=50, decay=100, total=1000, shape="exponential", warmup_shape="cosine"),
        ),
        (
            tm.wsd_s(peak_value=1, warmup="5%", decay="1 epoch", anneals=["30%", "60%", "100%"]),
            tm.wsd_s(peak_value=1, warmup=50, decay=100, anneals=[300, 600, 1000]),
        ),
        (
            tm.one_cycle(peak_value=1, three_phase=True),
            tm.one_cycle(peak_value=1, warmup=300, total=1000, three_phase=True),
        ),
        (tm.flat_cosine(init_value=1), tm.flat_cosine(init_value=1, flat=750, total=1000)),
        (
            tm.cosine_linear_tail(peak_value=1, cosine_end_value=0.1, warmup="5%", decay="10%"),
            tm.cosine_linear_tail(peak_value=1, cosine_end_value=0.1, warmup=50, decay=100, total=1000),
        ),
        (tm.half_cosine(peak_value=1, warmup="5%"), tm.half_cosine(peak_value=1, warmup=50, total=1000)),
        (
            tm.warmup_polynomial(peak_value=1, warmup="5%", power=2),
            tm.warmup_polynomial(peak_value=1, warmup=50, total=1000, power=2),
        ),
        (
            tm.warmup_inverse_sqrt(peak_value=1, warmup="5%", timescale="1 epoch"),
            tm.warmup_inverse_sqrt(peak_value=1, warmup=50, timescale=100),
        ),
        (tm.warmup_inverse_sqrt(peak_value=1, warmup="5%"), tm.warmup_inverse_sqrt(peak_value=1, warmup=50)),
        (tm.warmup_power(peak_value=1, warmup="5%"), tm.warmup_power(peak_value=1, warmup=50)),
        (tm.noam(model_size=512, warmup="5%"), tm.noam(model_size=512, warmup=50)),
        (
            tm.batch_ramp(init_value=16, end_value=512, increment=16, duration="30%"),
            tm.batch_ramp(init_value=16, end_value=512, increment=16, duration=300),
        ),
        (
            tm.difficulty(init_value=8, end_value=64, duration="30%", root=2),
            tm.difficulty(init_value=8, end_value=64, duration=300, root=2),
        ),
        (
            tm.length_warmup(init_value=8, end_value=64, increment=8, every="2%"),
            tm.length_warmup(init_value=8, end_value=64, increment=8, every=20),
        ),
        (
            tm.proportional(
                schedule=tm.warmup_linear(peak_value=1, warmup="5%"), from_low=0, from_high=1, to_low=1, to_high=2
            ),
            tm.proportional(
                schedule=tm.warmup_linear(peak_value=1, warmup=50, total=1000),
                from_low=0,
                from_high=1,
                to_low=1,
                to_high=2,
            ),
        ),
    ],
    ids=repr,
)
def test_lengths_as_shares_of_the_run_come_to_the_same(written, wanted):
    assert not written.resolved
    with pytest.raises(tm.ScheduleError, match="is no count yet: it depends on the run"):
        written(0)
    resolved = written.resolve(RUN)
    assert resolved == wanted
    assert bits(resolved(np.arange(0, 1100, 3))) == bits(wanted(np.arange(0, 1100, 3)))


def test_a_value_that_follows_a_controlled_one_is_controlled_itself():
    tree = tm.proportional(
        schedule=tm.Constant(value=1.0) * tm.Plateau(factor=0.5), from_low=0, from_high=1, to_low=0.25, to_high=0.75
    )
    assert isinstance(tree, tm.Reactive)
    assert [tree.given([level])(0) for level in (1.0, 0.5, 0.0)] == [0.75, 0.5, 0.25]


def test_a_batch_ramp_without_a_step_is_constant():
    assert tm.batch_ramp(init_value=16, end_value=16, increment=8, duration=100)(50) == 16.0


def test_a_curriculum_begins_at_the_first_multiple_that_is_not_below_its_start():
    schedule = tm.difficulty(init_value=10, end_value=50, duration=100, step=16)
    assert schedule(np.array([0, 14, 15, 99, 100, FAR])).tolist() == [16.0, 16.0, 16.0, 48.0, 50.0, 50.0]
    assert tm.difficulty(init_value=1, end_value=6, duration=100, step=8)(0) == 6.0


WSD_S = {"peak_value": 1, "warmup": 10, "decay": 20, "anneals": [50, 100]}
TAIL = {"peak_value": 1, "cosine_end_value": 0, "warmup": 10, "decay": 20, "total": 100}
RAMP = {"init_value": 16, "end_value": 64, "increment": 16, "duration": 100}
FOLLOWER = {"schedule": 1.0, "from_low": 0, "from_high": 1, "to_low": 0, "to_high": 2}


@pytest.mark.parametrize(
    ("recipe", "good", "change", "match"),
    [
        (
            tm.wsd_s,
            WSD_S,
            {"anneals": [29, 100]},
            r"wsd_s: anneals\[0\]: would begin at 9, but the warmup lasts to 10. Shorten `decay`, or end it later",
        ),
        (
            tm.wsd_s,
            WSD_S,
            {"anneals": [50, 70]},
            r"anneals\[1\]: would begin at 50, but the anneal before it ends at 50",
        ),
        (tm.wsd_s, WSD_S, {"anneals": [50, 40]}, r"anneals\[1\]: must come after"),
        (
            tm.one_cycle,
            {"peak_value": 1, "total": 100, "three_phase": True},
            {"warmup": 50},
            r"one_cycle: warmup: must be at least 1 and less than half of `total` \(100\) in three phases",
        ),
        (
            tm.one_cycle,
            {"peak_value": 1, "total": 100, "three_phase": True},
            {"warmup": 0},
            "must be at least 1 and less than half",
        ),
        (
            tm.flat_cosine,
            {"init_value": 1, "total": 100},
            {"flat": 100},
            r"flat_cosine: flat: must be shorter than `total` \(100\), got 100",
        ),
        (tm.cosine_linear_tail, TAIL, {"decay": 91}, r"decay: and `warmup` \(10\) together are longer than `total`"),
        (tm.half_cosine, {"peak_value": 1, "total": 100}, {"warmup": 100}, "half_cosine: warmup: must be shorter"),
        (tm.warmup_polynomial, {"peak_value": 1, "total": 100}, {"warmup": 100}, "warmup: must be shorter"),
        (
            tm.warmup_constant,
            {"peak_value": 1, "warmup": 10},
            {"warmup_shape": "exponential"},
            r"warmup_constant: init_value: must not be 0 and have the sign of `peak_value` \(1\) for an exponential "
            r"warmup, got 0. Give a small one, such as 0.001",
        ),
        (tm.warmup_power, {"peak_value": 1}, {"warmup": 0}, "warmup_power: warmup: must be at least 1, got 0"),
        (tm.noam, {"model_size": 512, "warmup": 10}, {"model_size": 0}, "noam: model_size: must be above 0, got 0"),
        (
            tm.batch_ramp,
            RAMP,
            {"increment": 17},
            r"batch_ramp: increment: must lead from .* \(16 to 64\) in whole steps, got 17",
        ),
        (tm.batch_ramp, RAMP, {"end_value": 0}, "increment: must lead from"),
        (tm.batch_ramp, RAMP, {"end_value": 16 * 4098}, "increment: must make at most 4095 steps of the way, got 4097"),
        (tm.batch_ramp, RAMP, {"duration": 2}, r"duration: must be at least the number of steps \(3\), got 2"),
        (tm.length_warmup, {**RAMP, "every": 3}, {"end_value": 0}, "length_warmup: increment: must lead from"),
        (
            tm.difficulty,
            {"init_value": 8, "duration": 9},
            {"end_value": 7},
            r"difficulty: end_value: must not be below `init_value` \(8\), got 7",
        ),
        (tm.proportional, FOLLOWER, {"from_high": 0}, "from_high: must differ from `from_low`, got 0 for both"),
        (tm.proportional, FOLLOWER, {"from_high": 5e-324}, "from_high: is too close to `from_low`"),
        (
            tm.wsd,
            {"peak_value": 1, "warmup": 1, "decay": 9, "total": 10},
            {"decay_ratio": 1},
            "decay_ratio: must be below 1",
        ),
    ],
)
def test_what_cannot_be_is_refused_under_the_recipes_own_name(recipe, good, change, match):
    given = {key: value for key, value in good.items() if recipe is not tm.length_warmup or key != "duration"}
    with pytest.raises(tm.ScheduleError, match=match):
        recipe(**given | change)
