"""Every shape against its printed formula, to the last bit over whole runs; its ends; what it refuses."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits

import tempomat as tm

FAR = 2**62


def lr_by_warmup_and_cosine(step, warmup=10_000, total=1_000_000, base_lr=3e-4, final_lr=3e-6):
    """The worked example of warmup and cosine decay, line by line as it is printed."""
    if step < warmup:
        return base_lr * (step / warmup)
    p = (step - warmup) / (total - warmup)
    return final_lr + 0.5 * (base_lr - final_lr) * (1 + math.cos(math.pi * p))


def lr_by_milestones(epoch, lr_0, gamma, milestones):
    """`lr_t = lr_prev * gamma if epoch in milestones`, from the first epoch on."""
    lr = lr_0
    for now in range(1, epoch + 1):
        if now in milestones:
            lr = lr * gamma
    return lr


def test_warmup_and_cosine_equal_the_printed_rule_over_the_whole_run():
    lr = tm.warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup=10_000, total=1_000_000)
    printed = [lr_by_warmup_and_cosine(step) for step in range(1_000_001)]
    assert bits(lr(np.arange(1_000_001))) == bits(printed)
    for step in [*range(0, 1_000_001, 997), 9_999, 10_000, 10_001, 999_999, 1_000_000]:
        assert bits(lr(step)) == bits(printed[step])


@settings(max_examples=30)
@given(
    warmup=st.integers(1, 500),
    decay=st.integers(1, 1000),
    base=st.floats(1e-8, 10.0),
    final=st.floats(0.0, 10.0),
)
def test_warmup_and_cosine_equal_the_printed_rule_whatever_its_numbers(warmup, decay, base, final):
    lr, total = tm.warmup_cosine(peak_value=base, end_value=final, warmup=warmup, total=warmup + decay), warmup + decay
    printed = [lr_by_warmup_and_cosine(step, warmup, total, base, final) for step in range(total)]
    printed[warmup] = base  # where the printed rule rounds, 2 * 0.5 * (base - final) + final, ours is exact
    assert bits(lr(np.arange(total))) == bits(printed)
    assert bits(lr(total)) == bits(final)


@pytest.mark.parametrize(
    ("lr_0", "gamma", "step_size"), [(0.1, 0.1, 10), (3e-4, 0.9, 1), (1.0, 0.5, 7), (1e-3, 1.01, 30)]
)
def test_step_decay_equals_the_printed_formula(lr_0, gamma, step_size):
    schedule = tm.StepDecay(init_value=lr_0, factor=gamma, every=step_size)
    printed = [lr_0 * gamma ** (epoch // step_size) for epoch in range(500)]
    assert bits(schedule(np.arange(500))) == bits([schedule(epoch) for epoch in range(500)]) == bits(printed)


@pytest.mark.parametrize(("lr_0", "gamma"), [(0.1, 0.1), (3e-4, 0.95), (1.0, 1 / 3)])
@pytest.mark.parametrize("milestones", [(30, 80), (1,), (2, 3, 5, 7, 11, 13)])
def test_milestones_equal_the_printed_rule(lr_0, gamma, milestones):
    """The previous value times gamma: one rounding per milestone, which a power of gamma would not give."""
    printed = [lr_by_milestones(epoch, lr_0, gamma, milestones) for epoch in range(100)]
    for schedule in (
        tm.MultiStep(init_value=lr_0, factor=gamma, milestones=milestones),
        tm.step_decay(init_value=lr_0, factor=gamma, milestones=milestones),
    ):
        assert bits(schedule(np.arange(100))) == bits([schedule(epoch) for epoch in range(100)]) == bits(printed)


@pytest.mark.parametrize(("lr_0", "gamma"), [(0.1, 0.95), (1e-3, 0.999), (1.0, 0.1), (1e-3, 1.05)])
def test_exponential_decay_equals_the_printed_formula(lr_0, gamma):
    schedule = tm.Exponential(init_value=lr_0, decay_rate=gamma)
    printed = [lr_0 * gamma**epoch for epoch in range(500)]
    assert bits(schedule(np.arange(500))) == bits([schedule(epoch) for epoch in range(500)]) == bits(printed)


@pytest.mark.parametrize(
    ("lr_max", "lr_min", "t_max"), [(1e-3, 1e-5, 50), (0.1, 0.0, 50), (1.0, 2.0, 7), (3e-4, 3e-6, 999)]
)
def test_cosine_equals_the_printed_formula(lr_max, lr_min, t_max):
    schedule = tm.Cosine(init_value=lr_max, end_value=lr_min, duration=t_max)
    printed = [lr_min + 0.5 * (lr_max - lr_min) * (1 + math.cos(math.pi * t / t_max)) for t in range(1, t_max)]
    printed = [lr_max, *printed, lr_min]
    assert bits(schedule(np.arange(t_max + 1))) == bits([schedule(t) for t in range(t_max + 1)]) == bits(printed)


def test_a_line_equals_its_formula():
    schedule = tm.Linear(init_value=0.9, end_value=0.1, duration=37)
    printed = [0.9 + (0.1 - 0.9) * (t / 37) for t in range(37)] + [0.1]
    assert bits(schedule(np.arange(38))) == bits([schedule(t) for t in range(38)]) == bits(printed)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.7])
def test_a_polynomial_equals_its_formula(power):
    schedule = tm.Polynomial(init_value=0.9, end_value=0.1, duration=37, power=power)
    printed = [0.9, *(0.1 + (0.9 - 0.1) * (1 - t / 37) ** power for t in range(1, 37)), 0.1]
    assert bits(schedule(np.arange(38))) == bits([schedule(t) for t in range(38)]) == bits(printed)


def test_an_inverse_square_root_equals_its_formula():
    schedule = tm.InverseSqrt(init_value=0.3, timescale=100)
    printed = [0.3 * math.sqrt(100 / (t + 100)) for t in range(1000)]
    assert bits(schedule(np.arange(1000))) == bits([schedule(t) for t in range(1000)]) == bits(printed)


def test_exponential_in_stairs_moves_only_at_multiples():
    schedule = tm.Exponential(init_value=0.3, decay_rate=0.7, every=9, staircase=True)
    assert bits(schedule(np.arange(100))) == bits([0.3 * 0.7 ** (t // 9) for t in range(100)])
    smooth = tm.Exponential(init_value=0.3, decay_rate=0.7, every=9)
    assert bits(smooth(np.arange(100))) == bits([0.3 * 0.7 ** (t / 9) for t in range(100)])


@pytest.mark.parametrize(
    ("schedule", "ends"),
    [
        (tm.Constant(value=0.3), {0: 0.3, 1: 0.3, FAR: 0.3}),
        (tm.Linear(init_value=0.1, end_value=0.7, duration=3), {0: 0.1, 3: 0.7, 4: 0.7, FAR: 0.7}),
        (tm.Linear(init_value=0.7, end_value=0.1, duration=49), {0: 0.7, 49: 0.1, 50: 0.1, FAR: 0.1}),
        (tm.Cosine(init_value=0.1, end_value=0.7, duration=49), {0: 0.1, 49: 0.7, 50: 0.7, FAR: 0.7}),
        (tm.Cosine(init_value=0.7, end_value=0.1, duration=1), {0: 0.7, 1: 0.1, 2: 0.1, FAR: 0.1}),
        (tm.Polynomial(init_value=0.1, end_value=0.7, duration=49, power=0.3), {0: 0.1, 49: 0.7, 50: 0.7, FAR: 0.7}),
        (tm.Exponential(init_value=0.1, decay_rate=0.9), {0: 0.1, FAR: 0.0}),
        (tm.Exponential(init_value=0.1, decay_rate=0.9, end_value=0.01), {0: 0.1, 22: 0.01, FAR: 0.01}),
        (tm.Exponential(init_value=-0.1, decay_rate=0.9, end_value=-0.01), {0: -0.1, 22: -0.01, FAR: -0.01}),
        (tm.Exponential(init_value=0.1, decay_rate=2.0, end_value=0.5), {0: 0.1, 2: 0.4, 3: 0.5, FAR: 0.5}),
        (tm.InverseSqrt(init_value=0.1, timescale=7), {0: 0.1, 21: 0.05, FAR: 0.1 * math.sqrt(7 / 2.0**62)}),
        (tm.StepDecay(init_value=0.1, factor=0.5, every=7), {0: 0.1, 6: 0.1, 7: 0.05, 14: 0.025, FAR: 0.0}),
        (tm.StepDecay(init_value=0.1, factor=0.0, every=7), {0: 0.1, 6: 0.1, 7: 0.0, FAR: 0.0}),
        (tm.MultiStep(init_value=0.1, factor=0.5, milestones=(3, 5)), {0: 0.1, 2: 0.1, 3: 0.05, 5: 0.025, FAR: 0.025}),
        (tm.PiecewiseConstant(values=(0.1, 0.2, 0.3), boundaries=(3, 5)), {0: 0.1, 2: 0.1, 3: 0.2, 5: 0.3, FAR: 0.3}),
        (
            tm.PiecewiseLinear(values=(0.1, 0.7, 0.3), boundaries=(3, 9, 49)),
            {0: 0.1, 3: 0.1, 9: 0.7, 49: 0.3, 50: 0.3, FAR: 0.3},
        ),
        (tm.PiecewiseLinear(values=(0.1,), boundaries=(0,)), {0: 0.1, 1: 0.1, FAR: 0.1}),
    ],
    ids=repr,
)
def test_the_ends_are_exact(schedule, ends):
    assert bits([schedule(count) for count in ends]) == bits(list(ends.values()))
    assert bits(schedule(np.array(list(ends)))) == bits(list(ends.values()))


@settings(max_examples=60)
@given(first=st.floats(-1e9, 1e9), last=st.floats(-1e9, 1e9), length=st.integers(1, 2**53), power=st.floats(0.1, 9.0))
def test_the_ends_are_exact_whatever_the_numbers(first, last, length, power):
    for schedule in (
        tm.Linear(init_value=first, end_value=last, duration=length),
        tm.Cosine(init_value=first, end_value=last, duration=length),
        tm.Polynomial(init_value=first, end_value=last, duration=length, power=power),
        tm.PiecewiseLinear(values=(first, last), boundaries=(0, length)),
    ):
        assert (schedule(0), schedule(length), schedule(length + 1), schedule(FAR)) == (first, last, last, last)


@settings(max_examples=60)
@given(first=st.floats(0.0, 1.0), last=st.floats(0.0, 1.0), length=st.integers(2, 10**6), share=st.floats(0.0, 1.0))
def test_a_fall_or_rise_stays_between_its_ends(first, last, length, share):
    """Within one rounding of the larger end: 4 units in the last place of 1.0."""
    count, low, high = int(share * length), min(first, last) - 1e-15, max(first, last) + 1e-15
    for schedule in (
        tm.Linear(init_value=first, end_value=last, duration=length),
        tm.Cosine(init_value=first, end_value=last, duration=length),
        tm.Polynomial(init_value=first, end_value=last, duration=length, power=2.0),
    ):
        assert low <= schedule(count) <= high


@pytest.mark.parametrize("far", [10**4, 10**15, FAR])
def test_what_is_zero_stays_zero_however_it_would_grow(far):
    """0 times infinity is no number: the factor overflows, the value must not."""
    table = [{"start": 0, "init_lr": 0.0, "decay_rate": 2.0, "decay_interval": 1}]
    for schedule in (
        tm.Exponential(init_value=0.0, decay_rate=2.0),
        tm.Exponential(init_value=0.0, decay_rate=2.0, staircase=True),
        tm.StepDecay(init_value=0.0, factor=2.0, every=1),
        tm.IntervalTable(rule="exponential_decay", intervals=table),
    ):
        assert schedule(far) == 0.0
        assert schedule(np.array([far])).tolist() == [0.0]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_growth_beyond_the_largest_float_is_infinite_and_no_error(sign):
    """A range guard before writing refuses it, with the name of what would be written."""
    for schedule in (
        tm.Exponential(init_value=sign, decay_rate=2.0),
        tm.StepDecay(init_value=sign, factor=2.0, every=1),
    ):
        assert schedule(10**6) == sign * math.inf
        assert schedule(np.array([0, 10**6])).tolist() == [sign, sign * math.inf]


def test_a_ceiling_holds_where_the_factor_overflows():
    schedule = tm.Exponential(init_value=0.1, decay_rate=2.0, end_value=0.5)
    assert schedule(10**15) == 0.5
    assert schedule(np.array([10**15])).tolist() == [0.5]


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: tm.Linear(init_value=1, end_value=0, duration=0), r"^Linear: `duration` must be at least 1, got 0"),
        (lambda: tm.Linear(init_value=1, end_value=0, duration=-3), r"`duration` must be between 0 and 2\^53, got -3"),
        (lambda: tm.Linear(init_value=1, end_value=0, duration=2**53 + 1), r"`duration` must be between 0 and 2\^53"),
        (lambda: tm.Linear(init_value=1, end_value=0, duration=2.5), "`duration` must be an integer count, got 2.5"),
        (lambda: tm.Linear(init_value=1, end_value=0, duration=True), "`duration` must be an integer count, got True"),
        (lambda: tm.Linear(init_value=1, end_value=0, duration=None), "`duration` must be an integer count, got None"),
        (
            lambda: tm.Linear(init_value=1, end_value=0, duration=math.inf),
            "`duration` must be an integer count, got inf",
        ),
        (
            lambda: tm.Linear(init_value=1, end_value=0, duration=math.nan),
            "`duration` must be an integer count, got nan",
        ),
        (lambda: tm.Linear(init_value=1, end_value=0, duration="5 apples"), "no unit of the name 'apples'"),
        (lambda: tm.Linear(init_value=math.nan, end_value=0, duration=1), "`init_value` must be finite, got nan"),
        (lambda: tm.Linear(init_value=math.inf, end_value=0, duration=1), "`init_value` must be finite, got inf"),
        (lambda: tm.Linear(init_value=10**400, end_value=0, duration=1), "`init_value` must be finite, got 1000"),
        (lambda: tm.Linear(init_value=True, end_value=0, duration=1), "`init_value` must be a number, got True"),
        (lambda: tm.Linear(init_value=None, end_value=0, duration=1), "`init_value` must be a number, got None"),
        (lambda: tm.Linear(init_value="high", end_value=0, duration=1), "`init_value` 'high' is not a number"),
        (
            lambda: tm.Linear(init_value=[1], end_value=0, duration=1),
            r"`init_value` must be a number, got \[1\] \(list\)",
        ),
        (lambda: tm.Linear(init_value=1j, end_value=0, duration=1), r"`init_value` must be a number, got 1j"),
        (lambda: tm.Polynomial(init_value=1, end_value=0, duration=1, power=0), "`power` must be above 0, got 0"),
        (lambda: tm.Exponential(init_value=1, decay_rate=0), "`decay_rate` must be above 0, got 0"),
        (lambda: tm.Exponential(init_value=1, decay_rate=-0.5), "`decay_rate` must be above 0, got -0.5"),
        (lambda: tm.Exponential(init_value=1, decay_rate=0.5, every=0), "`every` must be at least 1, got 0"),
        (lambda: tm.Exponential(init_value=1, decay_rate=0.5, staircase=1), "`staircase` must be true or false, got 1"),
        (
            lambda: tm.Exponential(init_value=1, decay_rate=0.5, end_value=2),
            "`end_value` the curve falls from 1 and never meets 2",
        ),
        (
            lambda: tm.Exponential(init_value=1, decay_rate=1.5, end_value=0.5),
            "`end_value` the curve rises from 1 and never",
        ),
        (
            lambda: tm.Exponential(init_value=-1, decay_rate=0.5, end_value=-2),
            "`end_value` the curve rises from -1 and never",
        ),
        (lambda: tm.InverseSqrt(init_value=1, timescale=0), "`timescale` must be at least 1, got 0"),
        (lambda: tm.StepDecay(init_value=1, factor=-0.1, every=1), "`factor` must be at least 0, got -0.1"),
        (
            lambda: tm.MultiStep(init_value=1, factor=0.1, milestones=()),
            r"`milestones` must have 1 to 4096 entries, got 0",
        ),
        (
            lambda: tm.MultiStep(init_value=1, factor=0.1, milestones=(0, 1)),
            r"`milestones\[0\]` must be at least 1, got 0",
        ),
        (
            lambda: tm.MultiStep(init_value=1, factor=0.1, milestones=(5, 5)),
            r"`milestones\[1\]` must come after .* \(5\), got 5",
        ),
        (
            lambda: tm.MultiStep(init_value=1, factor=0.1, milestones=(5, 4)),
            r"`milestones\[1\]` must come after .* \(5\), got 4",
        ),
        (lambda: tm.MultiStep(init_value=1, factor=0.1, milestones=30), "`milestones` must be a list, got int"),
        (lambda: tm.MultiStep(init_value=1, factor=0.1, milestones="30"), "`milestones` must be a list, got str"),
        (
            lambda: tm.MultiStep(init_value=1, factor=0.1, milestones=range(1, 5000)),
            "`milestones` must have 1 to 4096 entries",
        ),
        (
            lambda: tm.PiecewiseConstant(values=(1, 2), boundaries=(1, 2)),
            r"`values` must be one more than the boundaries \(2\), got 2",
        ),
        (lambda: tm.PiecewiseConstant(values=np.float64(1), boundaries=(1,)), "`values` must be a list, got float"),
        (lambda: tm.PiecewiseConstant(values={1: 2}, boundaries=(1,)), "`values` must be a list, got dict"),
        (
            lambda: tm.PiecewiseLinear(values=(1,), boundaries=(1, 2)),
            r"`values` must be as many as the boundaries \(2\), got 1",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_name_and_what_it_got(build, match):
    with pytest.raises(tm.ScheduleError, match=match):
        build()


def test_all_faults_of_a_schedule_are_named_at_once():
    with pytest.raises(
        tm.ScheduleError, match=r"Linear: 3 faults\n.*`init_value`.*\n.*`end_value`.*\n.*`duration`"
    ) as caught:
        tm.Linear(init_value="a", end_value=math.nan, duration=0)
    assert [fault.path for fault in caught.value.faults] == ["init_value", "end_value", "duration"]


def test_all_faults_of_a_list_are_named_at_once():
    with pytest.raises(tm.ScheduleError, match="3 faults") as caught:
        tm.PiecewiseConstant(values=(1.0, None, "x"), boundaries=(3, True))
    assert [fault.path for fault in caught.value.faults] == ["values[1]", "values[2]", "boundaries[1]"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [(np.float32(0.5), 0.5), (np.int64(3), 3.0), (3, 3.0), ("3e-4", 3e-4), ("1_000", 1000.0), ("3M", 3e6)],
)
def test_a_value_may_be_a_number_of_any_library_or_its_text(written, meant):
    schedule = tm.Constant(value=written)
    assert type(schedule.value) is float
    assert schedule.value == meant


@pytest.mark.parametrize(
    "written", [np.int32(50), np.uint64(50), 50.0, np.float64(50), "50", "5e1", tm.Duration("50")], ids=repr
)
def test_a_length_may_be_an_integer_of_any_library_or_its_text(written):
    schedule = tm.Linear(init_value=1, end_value=0, duration=written)
    assert type(schedule.duration) is int
    assert schedule.duration == 50


def test_lists_may_be_tuples_lists_ranges_and_arrays():
    wanted = tm.PiecewiseConstant(values=(1.0, 2.0, 3.0), boundaries=(1, 2))
    assert tm.PiecewiseConstant(values=[1, 2, 3], boundaries=range(1, 3)) == wanted
    assert tm.PiecewiseConstant(values=np.array([1, 2, 3]), boundaries=np.array([1, 2])) == wanted
    assert hash(tm.PiecewiseConstant(values=[1, 2, 3], boundaries=[1, 2])) == hash(wanted)


def test_the_sign_of_a_zero_is_no_difference():
    one, two = tm.Constant(value=0.0), tm.Constant(value=-0.0)
    assert one == two
    assert repr(one) == repr(two)
    assert bits(one(0)) == bits(two(0))


@pytest.mark.parametrize("given", [{"power": 2.5}, {"power": 0.4}, {"k_decay": 3.0}, {"k_decay": 0.3, "power": 1.7}])
@pytest.mark.parametrize("first", [0.3, -2.0])
def test_powers_and_k_decay_follow_their_formulas_and_keep_the_ends(given, first):
    power, k, share = given.get("power", 1.0), given.get("k_decay", 1.0), np.arange(1, 137) / 137
    span = {"init_value": first, "end_value": 0.7, "duration": 137}
    for schedule, left in (
        (tm.Cosine(**span, **given), np.cos(0.5 * math.pi * share**k) ** 2),
        (tm.Polynomial(**{**span, "power": power, **given}), 1 - share**k),
    ):
        np.testing.assert_allclose(schedule(np.arange(1, 137)), 0.7 + (first - 0.7) * left**power, rtol=1e-12, atol=0)
        assert bits([schedule(count) for count in (0, 137, 138, FAR)]) == bits([first, 0.7, 0.7, 0.7])


@pytest.mark.parametrize("shape", [tm.Cosine, tm.Polynomial])
@pytest.mark.parametrize("name", ["power", "k_decay"])
def test_a_power_that_is_not_above_zero_is_refused(shape, name):
    given = {"init_value": 1, "end_value": 0, "duration": 10, "power": 1, name: 0}
    with pytest.raises(tm.ScheduleError, match=f"`{name}` must be above 0, got 0"):
        shape(**given)
