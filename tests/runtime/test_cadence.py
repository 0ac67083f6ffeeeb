"""Moments: each is told once, however counts jump and wherever the run is broken off."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime.toys import sgd, through_a_file

import tempomat as tm
from tempomat.runtime import Every, Stopwatch
from tempomat.torch import Scheduler

DENSE_EARLY = tm.PiecewiseConstant(values=(10, 100), boundaries=(30,))


def told(every, counts):
    return [count for count in counts if every.due(count)]


def naive(distance, first, counts):
    """The moments one by one, and at which of the counts each is first reached; several at once are one."""
    due, reached = int(distance(0)) if first is None else first, []
    for count in counts:
        if count >= due:
            reached.append(count)
            while due <= count:
                due += int(distance(due))
    return reached


def test_a_fixed_distance_begins_one_distance_after_zero():
    assert told(Every(10), range(35)) == [10, 20, 30]
    assert told(Every(10, first=0), range(35)) == [0, 10, 20, 30]
    assert told(Every(10, first=3), range(35)) == [3, 13, 23, 33]


def test_a_schedule_of_distances_is_read_at_each_moment():
    assert told(Every(DENSE_EARLY), range(300)) == [10, 20, 30, 130, 230]
    assert told(Every(tm.Linear(init_value=1, end_value=5, duration=10)), range(20)) == [1, 2, 3, 5, 8, 12, 17]


@given(
    steps=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    schedule=st.sampled_from([7.0, 2.5, DENSE_EARLY, tm.Linear(init_value=1, end_value=50, duration=90)]),
    first=st.none() | st.integers(0, 20),
    broken=st.integers(0, 60),
)
def test_no_moment_is_lost_or_doubled_whatever_the_jumps_and_the_interruptions(steps, schedule, first, broken):
    counts = [sum(steps[: place + 1]) for place in range(len(steps))]
    distance = schedule if isinstance(schedule, tm.Schedule) else tm.Constant(value=schedule)
    expected = naive(distance, first, counts)
    assert told(Every(distance, first=first), counts) == expected
    one = Every(distance, first=first)
    before = told(one, counts[:broken])
    again = Every(distance, first=first)
    again.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert before + told(again, counts[broken:]) == expected


def test_a_far_jump_over_an_even_distance_costs_no_walk():
    every = Every(1, clock="env_steps")
    assert every.due(2**61)
    assert every.next == 2**61 + 1


def test_listed_and_log_spaced_moments_come_once_each():
    assert told(Every.at([0, 5, 6]), range(10)) == [0, 5, 6]
    dense = Every.log_spaced(first=1, per_decade=20)
    expected = sorted({round(10 ** (k / 20)) for k in range(61)})
    assert told(dense, range(1_001)) == expected
    assert dense.next == round(10 ** (61 / 20))


@given(first=st.integers(1, 50), density=st.integers(1, 30), count=st.integers(0, 10**12))
def test_the_next_log_spaced_moment_is_the_first_after_any_count(first, density, count):
    every = Every.log_spaced(first=first, per_decade=density)
    every.due(count)
    moments = [round(first * 10 ** (k // density) * 10 ** (k % density / density)) for k in range(13 * density)]
    assert every.next == next(one for one in moments if one > count or (count < first and one == first))


def test_units_and_shares_are_those_of_the_plan_and_its_end_is_a_moment_too():
    plan = tm.Plan({"lr": 0.1}, total="3 epochs", rates={"steps_per_epoch": 100})
    assert told(Every("1 epochs", plan=plan), range(400)) == [100, 200, 300]
    assert told(Every("40%", plan=plan, at_end=True), range(1_000)) == [120, 240, 300]
    assert told(Every(75, plan=plan, at_end=True), range(1_000)) == [75, 150, 225, 300]
    assert told(Every("150 optimizer_steps", clock="epochs", plan=plan), range(5)) == [2, 4]
    with pytest.raises(tm.ScheduleError, match=r"Every: `interval` epochs cannot be turned .* steps_per_epoch="):
        Every("2 epochs")
    with pytest.raises(tm.ScheduleError, match="`at_end` needs a plan with a total"):
        Every(10, at_end=True)


def test_the_end_is_told_once_even_by_a_jump_over_it():
    plan = tm.Plan({"lr": 0.1}, total=100)
    every = Every(30, plan=plan, at_end=True)
    assert told(every, [0, 64, 99, 128, 192]) == [64, 99, 128]
    assert every.next is None


def test_it_follows_an_entry_of_the_running_plan_also_where_a_controller_moves_it():
    plan = tm.Plan({"lr": 0.1, "eval_interval": DENSE_EARLY * tm.Plateau(factor=0.5, patience=0)})
    optimizer = sgd()
    scheduler = Scheduler(optimizer, plan)
    every = Every.following(scheduler, "eval_interval")
    reached = []
    for count in range(1, 120):
        optimizer.step()
        scheduler.step()
        if every.due(scheduler.counts):
            reached.append(count)
            scheduler.observe(val_loss=1.0)
    assert reached == [10, 20, 30, 80, 105, 117]  # at 30 it is 100 halved once, at 80 halved twice


def test_it_follows_a_pure_entry_on_its_own_clock():
    plan = tm.Plan({"lr": 0.1, "checkpoint_interval": tm.on("env_steps", DENSE_EARLY)})
    scheduler = Scheduler(sgd(), plan)
    every = Every.following(scheduler, "checkpoint_interval")
    assert every.clock == "env_steps"
    reached = []
    for _ in range(20):
        scheduler.advance(env_steps=8)
        if every.due(scheduler.counts):
            reached.append(scheduler.counts["env_steps"])
    assert reached == [16, 24, 32, 136]


def test_changed_moments_are_refused_or_go_on_from_the_last_one():
    old = Every(10)
    told(old, range(25))
    state = through_a_file(old.state_dict())
    new = Every(7)
    with pytest.raises(tm.StateError, match=r"moments have changed .*every 10.* -> every 7.*on_change='replace'"):
        new.load_state_dict(state)
    assert new.next == 7
    new.load_state_dict(state, on_change="replace")
    assert (new.last, new.next) == (20, 21)


@pytest.mark.parametrize("wrong", [{}, {"next": 3}, {"moments": "", "next": -1, "last": None}])
def test_what_is_no_state_is_refused(wrong):
    with pytest.raises(tm.StateError, match="a state of Every has moments, next, last"):
        Every(10).load_state_dict(wrong)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Every(0), "`interval` must be at least 1, got 0"),
        (lambda: Every("ten"), "Every: `interval` 'ten' is not a length"),
        (lambda: Every(10, clock="steps"), "no unit of the name 'steps'"),
        (lambda: Every.at([5, 5]), r"Every.at: .*\[1\].*must come after"),
        (lambda: Every.log_spaced(first=0), "`first` must be at least 1, got 0"),
        (lambda: Every(tm.Plateau(init_value=5) * 1.0), "Every.following"),
    ],
    ids=["zero", "word", "unit", "twice", "log", "controller"],
)
def test_what_gives_no_moments_is_refused(build, said):
    with pytest.raises(tm.ScheduleError, match=said):
        build()


def test_a_clock_that_is_not_advanced_or_a_distance_of_nothing_is_an_error():
    with pytest.raises(tm.BindingError, match=r"looks at seconds, and the counts are of optimizer_steps"):
        Every(10, clock="seconds").due({"optimizer_steps": 3})
    with pytest.raises(tm.BindingError, match=r"the distance comes to 0\.0 at 0"):
        Every(tm.Constant(value=0.0))
    with pytest.raises(tm.BindingError, match="the count must be an integer"):
        Every(10).due(2.5)  # pyright: ignore[reportArgumentType]


def test_a_stopwatch_tells_whole_seconds_and_keeps_the_rest_over_a_resume():
    now = [100.0]
    watch = Stopwatch(lambda: now[0])
    now[0] += 2.75
    assert (watch.passed(), watch.passed()) == (2, 0)
    state = json.loads(json.dumps(watch.state_dict()))
    now[0] += 5_000.0
    again = Stopwatch(lambda: now[0])
    again.load_state_dict(state)
    now[0] += 0.5
    assert (again.passed(), again.passed()) == (1, 0)
    with pytest.raises(tm.StateError, match="has rest"):
        again.load_state_dict({"rest": "long"})
    with pytest.raises(tm.StateError, match="has rest"):
        again.load_state_dict({})
