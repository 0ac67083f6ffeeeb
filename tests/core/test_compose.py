"""Compositions: what joins, scales, moves and repeats; several clocks; what is refused."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from strategies import bits

import tempomat as tm

UP = tm.Linear(init_value=0.0, end_value=1.0, duration=10)
DOWN = tm.Cosine(init_value=1.0, end_value=0.0, duration=90)


def test_then_gives_the_other_its_own_zero_and_the_boundary_belongs_to_it():
    whole = UP.then(DOWN, at=10)
    assert (whole(9), whole(10), whole(55), whole(100)) == (0.9, 1.0, DOWN(45), 0.0)
    early = UP.then(tm.Constant(value=7.0), at=4)
    assert (early(3), early(4), early(2**62)) == (0.3, 7.0, 7.0)


def test_a_chain_of_then_is_one_sequence():
    chain = UP.then(DOWN, at=10).then(0.5, at=100)
    assert chain == tm.Sequence(parts=(UP, DOWN, 0.5), boundaries=(10, 100))


@pytest.mark.parametrize("at", [5, 10])
def test_then_cuts_a_sequence_where_it_says(at):
    """Until `at` the sequence, then the other, although the sequence would have changed at 10 by itself."""
    whole = UP.then(DOWN, at=10).then(tm.Constant(value=7.0), at=at)
    assert bits(whole(np.arange(at))) == bits(UP(np.arange(at)))
    assert (whole(at), whole(at + 100)) == (7.0, 7.0)


def test_then_onto_a_sequence_keeps_it_whole():
    inner = UP.then(DOWN, at=10)
    whole = tm.Constant(value=7.0).then(inner, at=3)
    assert bits(whole(np.arange(3, 120))) == bits(inner(np.arange(117)))


def test_a_bare_number_stands_for_a_constant_anywhere():
    assert tm.Sum(parts=(UP, tm.Constant(value=1.0))) == UP + 1
    assert tm.Product(parts=(tm.Constant(value=2.0), UP)) == 2 * UP
    assert UP.then(3, at=5).parts[1] == tm.Constant(value=3.0)
    assert UP.minimum("0.5") == tm.Minimum(parts=(UP, tm.Constant(value=0.5)))


def test_sums_and_products_go_from_left_to_right():
    parts = (0.1, 0.2, 0.3)
    assert tm.Sum(parts=parts)(0) == (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)
    assert tm.Product(parts=parts)(0) == (0.1 * 0.2) * 0.3


def test_shift_holds_the_first_value_before_it_starts():
    late = tm.Linear(init_value=0.3, end_value=1.0, duration=10).shift(100)
    assert [late(count) for count in (0, 99, 100, 110, 2**62)] == [0.3, 0.3, 0.3, 1.0, 1.0]


def test_stretch_by_a_fraction_shortens():
    assert UP.stretch(0.5)(2) == UP(4)
    assert UP.stretch(2.5)(25) == 1.0
    assert UP.stretch(2.5)(24) == 24 / 2.5 / 10


def test_stretching_progress_runs_from_zero_to_one():
    progress = tm.Linear(init_value=0.0, end_value=1.0, duration=1).stretch(3)
    assert [progress(count) for count in range(5)] == [0.0, 1 / 3, 2 / 3, 1.0, 1.0]


def test_repeat_without_times_goes_on_for_ever():
    saw = UP.repeat(10)
    assert [saw(count) for count in (0, 9, 10, 2**62)] == [0.0, 0.9, 0.0, UP(2**62 % 10)]


def test_repeat_with_times_then_holds_the_value_at_the_end():
    saw = UP.repeat(10, times=2)
    assert [saw(count) for count in (9, 10, 19, 20, 21, 2**62)] == [0.9, 0.0, 0.9, 1.0, 1.0, 1.0]


def test_exact_restarts_are_at_the_peak_however_far():
    """Where a cycle index comes from a rounded logarithm, 31 of 594 exact restarts give the floor instead."""
    saw = tm.Cosine(init_value=1.0, end_value=0.0, duration=7).repeat(7)
    for cycle in (1, 3, 111, 10**6, 10**15 // 7, 2**61 // 7):
        assert saw(7 * cycle) == 1.0
        assert saw(7 * cycle + 6) == saw(6) < 0.1


def test_clip_with_one_bound_leaves_the_other_side():
    assert [UP.clip(min=0.25)(count) for count in (0, 5, 10)] == [0.25, 0.5, 1.0]
    assert [UP.clip(max=0.75)(count) for count in (0, 5, 10)] == [0.0, 0.5, 0.75]
    assert [UP.clip(min=0.25, max=0.25)(count) for count in (0, 5, 10)] == [0.25, 0.25, 0.25]


def test_the_smaller_and_the_larger_follow_each_count():
    assert [UP.minimum(0.5)(count) for count in (0, 5, 10)] == [0.0, 0.5, 0.5]
    assert [UP.maximum(0.5)(count) for count in (0, 5, 10)] == [0.5, 0.5, 1.0]


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (
            lambda: tm.Sequence(parts=(UP, DOWN), boundaries=(1, 2)),
            r"Sequence: `boundaries` must be one less than the parts \(2\), got 2",
        ),
        (lambda: tm.Sequence(parts=(UP,), boundaries=(1,)), "`parts` must have 2 to 4096 entries, got 1"),
        (lambda: UP.then(DOWN, at=0), r"`boundaries\[0\]` must be at least 1, got 0"),
        (
            lambda: tm.Sequence(parts=(UP, DOWN, UP), boundaries=(5, 5)),
            r"`boundaries\[1\]` must come after .* \(5\), got 5",
        ),
        (lambda: UP + "high", r"Sum: `parts\[1\]` 'high' is not a number"),
        (lambda: UP * float("nan"), r"Product: `parts\[1\]` must be finite, got nan"),
        (lambda: UP.maximum(None), r"Maximum: `parts\[1\]` must be a number, got None"),
        (lambda: tm.Sum(parts=UP), "Sum: `parts` must be a list, got Linear"),
        (lambda: UP.clip(), "Clip: `min` and `max` are both left out"),
        (lambda: UP.clip(min=2, max=1), r"Clip: `min` must not be above `max` \(1\), got 2"),
        (lambda: UP.shift(0), "Shift: `by` must be at least 1, got 0"),
        (lambda: UP.shift(-1), "Shift: `by` must be between 0 and"),
        (lambda: UP.stretch(0), "Stretch: `factor` must be above 0, got 0"),
        (lambda: UP.stretch(-1), "Stretch: `factor` must be above 0, got -1"),
        (lambda: UP.stretch(float("inf")), "Stretch: `factor` must be finite, got inf"),
        (lambda: UP.stretch(True), "Stretch: `factor` must be a number, got True"),
        (lambda: UP.repeat(0), "Repeat: `every` must be at least 1, got 0"),
        (lambda: UP.repeat(5, times=0), "Repeat: `times` must be at least 1, got 0"),
        (lambda: tm.on("step", UP), "On: `unit` must be one of optimizer_steps, .* got 'step'"),
        (lambda: tm.on("env_step", UP), "Did you mean env_steps?"),
    ],
)
def test_what_cannot_be_composed_is_refused(build, match):
    with pytest.raises(tm.ScheduleError, match=match):
        build()


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: tm.Sum(UP, DOWN), "positional"),
        (lambda: tm.Sum(part=(UP, DOWN)), "part"),
        (lambda: tm.Sum(), "parts"),
        (lambda: tm.Sum(parts=(UP, tm.Plateau()), more=1), "more"),
        (lambda: tm.Clip(min=1.0), "schedule"),
    ],
)
def test_a_call_with_wrong_parameters_is_a_type_error_as_for_any_function(build, match):
    with pytest.raises(TypeError, match=match):
        build()


def test_a_tree_that_one_clock_drives_takes_one_count_whatever_that_clock_is():
    assert UP.clocks == {""}
    assert tm.Constant(value=1.0).clocks == set()
    assert tm.on("env_steps", UP).clocks == {"env_steps"}
    assert (tm.on("env_steps", UP) * 2.0)(5) == 1.0


def test_a_tree_of_several_clocks_asks_for_all_their_counts():
    both = tm.on("env_steps", UP) + tm.on("epochs", DOWN) * UP
    assert both.clocks == {"", "env_steps", "epochs"}
    with pytest.raises(tm.ScheduleError, match=r"follows several clocks \(env_steps, epochs, the plan\).*at_counts"):
        both(5)
    counts = {"optimizer_steps": 5, "env_steps": 7, "epochs": 45, "frames": 1}
    assert both.at_counts(counts, clock="optimizer_steps") == UP(7) + DOWN(45) * UP(5)
    with pytest.raises(tm.ScheduleError, match=r"no count for the clock epochs; got env_steps, optimizer_steps|got"):
        both.at_counts({"optimizer_steps": 5, "env_steps": 7}, clock="optimizer_steps")


def test_a_clock_of_its_own_counts_from_its_own_zero_inside_anything():
    inner = tm.on("epochs", UP)
    counts = {"optimizer_steps": 1_003, "epochs": 4}
    for tree in (inner.shift(500), inner.stretch(7), inner.repeat(3), tm.Constant(value=9.0).then(inner, at=1_000)):
        assert tree.at_counts(counts, clock="optimizer_steps") == UP(4)


def test_the_inner_of_two_clocks_counts():
    assert tm.on("epochs", tm.on("frames", UP)).clocks == {"frames"}
    assert tm.on("epochs", tm.on("frames", UP) + UP).clocks == {"frames", "epochs"}


def test_a_clock_that_nothing_below_reads_is_not_asked_for():
    tree = tm.on("epochs", tm.on("frames", UP) + 1.0)
    assert tree.clocks == {"frames"}
    assert tree.at_counts({"frames": 5}) == tree(5) == 1.5


def test_a_sequence_moves_on_with_the_clock_that_drives_it():
    tree = tm.on("epochs", UP).then(7.0, at=100)
    assert tree.at_counts({"optimizer_steps": 99, "epochs": 5}, clock="optimizer_steps") == 0.5
    assert tree.at_counts({"optimizer_steps": 100, "epochs": 5}, clock="optimizer_steps") == 7.0


def test_durations_below_a_clock_become_counts_of_it():
    horizon = tm.Horizon(total=tm.Duration("1000"), rates={"steps_per_epoch": 100})
    tree = tm.on("epochs", tm.Linear(init_value=0, end_value=1, duration="100%")).then(
        tm.Linear(init_value=0, end_value=1, duration="10%"), at="2 epochs"
    )
    resolved = tree.resolve(horizon)
    assert resolved.boundaries == (200,)
    assert resolved.parts[0].schedule.duration == 10
    assert resolved.parts[1].duration == 100


def test_what_does_not_resolve_is_named_with_its_path_all_at_once():
    tree = tm.Linear(init_value=0, end_value=1, duration="2 epochs").then(UP.shift("5%"), at="10 samples")
    with pytest.raises(tm.ScheduleError, match="Sequence: 3 faults") as caught:
        tree.resolve(tm.Horizon())
    assert [fault.path for fault in caught.value.faults] == ["parts[0].duration", "parts[1].by", "boundaries[0]"]


def test_lengths_that_come_out_of_order_are_refused_when_they_are_known():
    tree = tm.MultiStep(init_value=1, factor=0.1, milestones=["50%", "2 epochs"])
    assert tree.resolve(tm.Horizon(total=tm.Duration("100"), rates={"steps_per_epoch": 30})).milestones == (50, 60)
    with pytest.raises(tm.ScheduleError, match=r"milestones\[1\].*must come after the one before it \(50\), got 20"):
        tree.resolve(tm.Horizon(total=tm.Duration("100"), rates={"steps_per_epoch": 10}))
    with pytest.raises(tm.ScheduleError, match=r"duration.*must be at least 1, got 0"):
        tm.Linear(init_value=0, end_value=1, duration="0.1%").resolve(tm.Horizon(total=tm.Duration("10")))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ladder(tm.Schedule):
    """Parameters under plain annotations: each is checked as what it is."""

    inner: tm.Schedule
    steps: tuple[float, ...] = (1.0,)
    every: int = 1
    up: bool = True
    unit: tm.Unit = tm.Unit.EPOCHS
    label: str = "ladder"
    kind: Literal["a", "b"] = "a"

    def _at(self, t, ops):
        return self.inner._at(t, ops) * self.steps[0]


def test_a_class_of_ones_own_has_its_parameters_checked_by_their_annotations():
    ladder = Ladder(inner=2, steps=[3], every="1k")
    assert ladder(5) == 6.0
    assert (ladder.inner, ladder.steps, ladder.every) == (tm.Constant(value=2.0), (3.0,), 1_000)
    assert eval(repr(ladder), {**vars(tm), "Ladder": Ladder}) == ladder
    with pytest.raises(tm.ScheduleError, match="Ladder: 7 faults") as caught:
        Ladder(inner="x", steps=["y"], every=1.5, up=1, unit="steps", label="", kind="c")
    assert [fault.path.partition("[")[0] for fault in caught.value.faults] == list(ladder.parameters())


def test_an_annotation_that_says_nothing_is_refused_by_name():
    @dataclass(frozen=True, slots=True, kw_only=True, repr=False)
    class Vague(tm.Schedule):
        """One parameter of any kind."""

        what: bytes

        def _at(self, t, ops):
            return ops.full(t, 0.0)

    with pytest.raises(TypeError, match="no kind of parameter for the annotation <class 'bytes'>"):
        Vague(what=b"")


def test_a_schedule_of_ones_own_composes_with_all_others():
    class Sawtooth(tm.Schedule):
        """A class that only knows its formula."""

        __slots__ = ()

        def _at(self, t, ops):
            return ops.real(t % 4) / 4

    whole = (Sawtooth() * 2.0).then(UP, at=8)
    assert [whole(count) for count in (0, 3, 4, 8, 18)] == [0.0, 1.5, 0.0, 0.0, 1.0]
    assert bits(whole(np.arange(30))) == bits([whole(count) for count in range(30)])
