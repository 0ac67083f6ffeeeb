"""Tables of half-open intervals: the presets of an RL pipeline at their boundaries, gaps, overlaps, open ends."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import math

import numpy as np
import pytest
from strategies import bits

import tempomat as tm

M = 1_000_000
FAR = 2**62


def steps(*rows):
    """A step table from (start, end, lr)."""
    return tm.IntervalTable(rule="step_decay", intervals=[{"start": a, "end": b, "lr": lr} for a, b, lr in rows])


def exponential(*rows):
    """An exponential table from (start, end, init_lr, decay_rate, decay_interval)."""
    keys = ("start", "end", "init_lr", "decay_rate", "decay_interval")
    return tm.IntervalTable(rule="exponential_decay", intervals=[dict(zip(keys, row, strict=True)) for row in rows])


def lines(*rows):
    """A linear table from (start, end, init_lr, final_lr)."""
    keys = ("start", "end", "init_lr", "final_lr")
    return tm.IntervalTable(rule="linear_decay", intervals=[dict(zip(keys, row, strict=True)) for row in rows])


PRESETS = {
    "gentle_decay": (
        steps((0, 2 * M, 1e-4), (2 * M, 4 * M, 5e-5), (4 * M, 10 * M, 2.5e-5)),
        {0: 1e-4, 2 * M - 1: 1e-4, 2 * M: 5e-5, 4 * M - 1: 5e-5, 4 * M: 2.5e-5, 10 * M: 2.5e-5},
    ),
    "aggressive_decay": (
        steps((0, M, 2e-4), (M, 2 * M, 1e-4), (2 * M, 3 * M, 5e-5), (3 * M, 4 * M, 2e-5), (4 * M, 10 * M, 1e-5)),
        {0: 2e-4, M - 1: 2e-4, M: 1e-4, 2 * M: 5e-5, 3 * M - 1: 5e-5, 3 * M: 2e-5, 4 * M: 1e-5, 10 * M: 1e-5},
    ),
    "stage_based": (
        steps(
            (0, M // 2, 1.2e-4),
            (M // 2, 3 * M // 2, 1e-4),
            (3 * M // 2, 3 * M, 7e-5),
            (3 * M, 5 * M, 5e-5),
            (5 * M, 10 * M, 3e-5),
        ),
        {0: 1.2e-4, M // 2 - 1: 1.2e-4, M // 2: 1e-4, 3 * M // 2: 7e-5, 3 * M: 5e-5, 5 * M - 1: 5e-5, 5 * M: 3e-5},
    ),
    "exponential_smooth": (
        exponential((0, 3 * M, 1e-4, 0.9995, 10_000), (3 * M, 10 * M, 5e-5, 0.999, 10_000)),
        {
            0: 1e-4,
            9_999: 1e-4,
            10_000: 1e-4 * 0.9995,
            3 * M - 1: 1e-4 * 0.9995**299,
            3 * M: 5e-5,
            3 * M + 10_000: 5e-5 * 0.999,
            10 * M - 1: 5e-5 * 0.999**699,
            10 * M: 5e-5 * 0.999**700,
            20 * M: 5e-5 * 0.999**1700,
        },
    ),
    "differential encoder": (steps((0, 3 * M, 8e-5), (3 * M, 10 * M, 4e-5)), {0: 8e-5, 3 * M - 1: 8e-5, 3 * M: 4e-5}),
    "differential actor": (
        exponential((0, 2 * M, 1.2e-4, 0.999, 5_000), (2 * M, 10 * M, 6e-5, 0.9995, 10_000)),
        {0: 1.2e-4, 5_000: 1.2e-4 * 0.999, 2 * M - 1: 1.2e-4 * 0.999**399, 2 * M: 6e-5, 2 * M + 10_000: 6e-5 * 0.9995},
    ),
    "differential critic": (
        steps((0, M, 1.5e-4), (M, 5 * M // 2, 7e-5), (5 * M // 2, 10 * M, 3e-5)),
        {0: 1.5e-4, M - 1: 1.5e-4, M: 7e-5, 5 * M // 2 - 1: 7e-5, 5 * M // 2: 3e-5, 10 * M: 3e-5},
    ),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_its_values_on_both_sides_of_every_boundary(name):
    table, wanted = PRESETS[name]
    assert bits([table(count) for count in wanted]) == bits(list(wanted.values()))
    assert bits(table(np.array(list(wanted)))) == bits(list(wanted.values()))


def test_the_smooth_presets_jump_where_two_intervals_meet():
    """8.61e-5 to 5e-5, and 8.05e-5 to 6e-5: figures that a linter has to find."""
    smooth, actor = PRESETS["exponential_smooth"][0], PRESETS["differential actor"][0]
    assert smooth(3 * M - 1) == pytest.approx(8.61e-5, rel=1e-3, abs=0)
    assert actor(2 * M - 1) == pytest.approx(8.05e-5, rel=1e-3, abs=0)


def test_an_exponential_interval_equals_the_printed_formula():
    table = exponential((100, 1_000, 0.3, 0.9, 7))
    printed = [0.3 * 0.9 ** ((t - 100) // 7) for t in range(100, 1_000)]
    assert bits(table(np.arange(100, 1_000))) == bits([table(t) for t in range(100, 1_000)]) == bits(printed)


def test_a_linear_interval_equals_its_formula_and_ends_exactly():
    table = lines((100, 149, 0.7, 0.1))
    printed = [0.7 + (0.1 - 0.7) * ((t - 100) / 49) for t in range(100, 149)] + [0.1]
    assert bits(table(np.arange(100, 150))) == bits([table(t) for t in range(100, 150)]) == bits(printed)


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (steps((10, 20, 0.1), (30, 40, 0.2)), {0: 0.1, 10: 0.1, 20: 0.1, 29: 0.1, 30: 0.2, 40: 0.2, FAR: 0.2}),
        (
            exponential((10, 20, 0.5, 0.5, 4), (30, 40, 0.25, 0.5, 5)),
            {
                0: 0.5,
                13: 0.5,
                14: 0.25,
                19: 0.125,
                20: 0.125,
                29: 0.125,
                30: 0.25,
                39: 0.125,
                40: 0.0625,
                45: 0.03125,
                FAR: 0.0,
            },
        ),
        (
            lines((10, 20, 1.0, 0.5), (30, 40, 0.25, 0.75)),
            {0: 1.0, 10: 1.0, 15: 0.75, 20: 0.5, 29: 0.5, 30: 0.25, 35: 0.5, 40: 0.75, FAR: 0.75},
        ),
    ],
    ids=["step", "exponential", "linear"],
)
def test_before_the_first_in_a_gap_and_past_the_last_interval_values_are_as_declared(table, wanted):
    """Before: the first value. In a gap: what was reached. After: steps hold, lines stay, exponentials go on."""
    assert bits([table(count) for count in wanted]) == bits(list(wanted.values()))
    assert bits(table(np.array(list(wanted)))) == bits(list(wanted.values()))


def test_an_open_end_goes_on():
    assert steps((0, None, 0.1))(FAR) == 0.1
    assert exponential((0, None, 0.5, 0.5, 10))(35) == 0.0625


def test_start_and_end_may_be_left_out():
    table = tm.IntervalTable(rule="step_decay", intervals=[{"end": 10, "lr": 1.0}, {"start": 10, "lr": 0.5}])
    assert (table(0), table(9), table(10), table(FAR)) == (1.0, 1.0, 0.5, 0.5)
    assert tm.IntervalTable(rule="step_decay", intervals=[{"lr": 1.0}])(FAR) == 1.0


def test_intervals_may_come_in_any_order():
    sorted_table = steps((0, 10, 0.1), (10, 20, 0.2), (20, 30, 0.3))
    table = steps((20, 30, 0.3), (0, 10, 0.1), (10, 20, 0.2))
    assert bits(table(np.arange(40))) == bits(sorted_table(np.arange(40)))
    assert "intervals=((('start', 20)" in repr(table)


def test_counts_may_be_written_as_people_write_them():
    table = tm.IntervalTable(
        rule="step_decay", intervals=[{"start": "0", "end": "1M", "lr": "1e-4"}, {"start": 1e6, "lr": 5e-5}]
    )
    assert (table(M - 1), table(M)) == (1e-4, 5e-5)


def test_intervals_may_be_given_in_other_units_and_are_held_to_the_rules_when_they_are_known():
    table = tm.IntervalTable(
        rule="step_decay", intervals=[{"end": "2M frames", "lr": 1.0}, {"start": "50%", "lr": 0.5}]
    )
    assert not table.resolved
    rates = {"action_repeat": 2}
    resolved = table.resolve(tm.Horizon(clock=tm.Unit.ENV_STEPS, total=tm.Duration("2M"), rates=rates))
    assert (resolved(M - 1), resolved(M)) == (1.0, 0.5)
    with pytest.raises(tm.ScheduleError, match=r"starts at 500_000, before intervals\[0\] ends \(1_000_000\)"):
        table.resolve(tm.Horizon(clock=tm.Unit.ENV_STEPS, total=tm.Duration("1M"), rates=rates))
    with pytest.raises(tm.ScheduleError, match=r"intervals\[0\].end.*action_repeat") as caught:
        table.resolve(tm.Horizon(clock=tm.Unit.ENV_STEPS))
    assert [fault.path for fault in caught.value.faults] == ["intervals[0].end", "intervals[1].start"]


@pytest.mark.parametrize(
    ("rule", "intervals", "match"),
    [
        (
            "step_decay",
            [{"start": 0, "end": 2 * M, "lr": 1}, {"start": M, "lr": 2}],
            r"`intervals\[1\]` starts at 1_000_000, before intervals\[0\] ends \(2_000_000\)",
        ),
        (
            "step_decay",
            [{"start": M, "lr": 1}, {"start": 0, "end": M + 1, "lr": 2}],
            r"`intervals\[0\]` starts at 1_000_000, before intervals\[1\] ends",
        ),
        (
            "step_decay",
            [{"start": 0, "lr": 1}, {"start": M, "lr": 2}],
            r"`intervals\[1\]` starts at 1_000_000, before intervals\[0\] ends \(it has no end\)",
        ),
        (
            "step_decay",
            [{"start": 5, "end": 9, "lr": 1}, {"start": 5, "end": 9, "lr": 1}],
            r"`intervals\[1\]` starts at 5, before intervals\[0\] ends \(9\)",
        ),
        ("step_decay", [{"start": 5, "end": 5, "lr": 1}], r"`intervals\[0\]` is empty: it starts at 5 and ends at 5"),
        ("step_decay", [{"start": 6, "end": 5, "lr": 1}], r"`intervals\[0\]` is empty: it starts at 6 and ends at 5"),
        ("step_decay", [{"start": 0}], r"`intervals\[0\].lr` is missing; an interval of step_decay needs lr"),
        ("step_decay", [{"start": 0, "lr": None}], r"`intervals\[0\].lr` must be a number, got None"),
        ("exponential_decay", [{"init_lr": 1, "decay_rate": 0.5}], r"`intervals\[0\].decay_interval` is missing"),
        (
            "exponential_decay",
            [{"lr": 1}],
            r"`intervals\[0\].lr` belongs to another rule; an interval of exponential_decay has init_lr",
        ),
        ("step_decay", [{"lr": 1, "init_lr": 1}], r"`intervals\[0\].init_lr` belongs to another rule"),
        ("linear_decay", [{"end": 5, "init_lr": 1}], r"`intervals\[0\].final_lr` is missing"),
        ("linear_decay", [{"init_lr": 1, "final_lr": 0}], r"`intervals\[0\].end` is missing"),
        (
            "step_decay",
            [{"start": 0, "end": 5, "lr": 1}, {"start": 5, "init_lr": 1, "decay_rate": 0.5, "decay_interval": 1}],
            r"`intervals\[1\].\w+` (is missing|belongs)",
        ),
        ("step_decay", [{"begin": 0, "lr": 1}], r"`intervals\[0\].begin` no key of that name.*Keys: start, end"),
        ("step_decay", [{"strat": 0, "lr": 1}], "Did you mean start?"),
        ("step_decay", [{"start": -1, "lr": 1}], r"`intervals\[0\].start` must be between 0 and"),
        ("step_decay", [{"end": 0, "lr": 1}], r"`intervals\[0\].end` must be at least 1, got 0"),
        ("step_decay", [{"start": True, "lr": 1}], r"`intervals\[0\].start` must be an integer count, got True"),
        ("step_decay", [{"start": 0.5, "lr": 1}], r"`intervals\[0\].start` must be an integer count, got 0.5"),
        ("step_decay", [{"lr": math.nan}], r"`intervals\[0\].lr` must be finite, got nan"),
        ("step_decay", [{"lr": "on"}], r"`intervals\[0\].lr` 'on' is not a number"),
        (
            "exponential_decay",
            [{"init_lr": 1, "decay_rate": 0, "decay_interval": 1}],
            r"decay_rate` must be above 0, got 0",
        ),
        (
            "exponential_decay",
            [{"init_lr": 1, "decay_rate": 0.5, "decay_interval": 0}],
            r"decay_interval` must be at least 1, got 0",
        ),
        ("step_decay", [], "`intervals` must be a list of 1 to 4096 intervals"),
        (
            "step_decay",
            [{"start": k, "end": k + 1, "lr": 1} for k in range(4097)],
            "`intervals` must be a list of 1 to 4096 intervals",
        ),
        ("step_decay", {"start": 0, "lr": 1}, "`intervals` must be a list of 1 to 4096 intervals"),
        ("step_decay", "0-1", "`intervals` must be a list of 1 to 4096 intervals"),
        ("step_decay", [3], r"`intervals\[0\]` must be an interval such as .*, got 3"),
        ("step_decay", [(1, 2)], r"`intervals\[0\]` must be an interval such as"),
        (
            "stepdecay",
            [{"lr": 1}],
            "`rule` must be one of step_decay, .*, got 'stepdecay'. Did you mean step_decay?",
        ),
        (None, [{"lr": 1}], "`rule` must be one of step_decay, exponential_decay, linear_decay, got None"),
    ],
)
def test_what_cannot_be_is_refused_with_the_interval_it_is_in(rule, intervals, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.IntervalTable(rule=rule, intervals=intervals)


def test_every_fault_of_a_table_is_named_at_once():
    intervals = [{"start": 0, "end": 0, "lr": 1}, {"start": 5, "lr": "x"}, {"strt": 5}]
    with pytest.raises(tm.ScheduleError, match="IntervalTable: 3 faults") as caught:
        tm.IntervalTable(rule="step_decay", intervals=intervals)
    assert [fault.path for fault in caught.value.faults] == ["intervals[0].end", "intervals[1].lr", "intervals[2].strt"]


def test_a_table_that_changes_its_rule_alone_says_which_keys_it_now_needs():
    """What overriding only the type of a step preset does."""
    with pytest.raises(tm.ScheduleError, match="4 faults") as caught:
        tm.IntervalTable(rule="exponential_decay", intervals=[{"start": 0, "lr": 1e-4}])
    found = {fault.path for fault in caught.value.faults}
    assert found == {
        "intervals[0].init_lr",
        "intervals[0].decay_rate",
        "intervals[0].decay_interval",
        "intervals[0].lr",
    }
