"""What differs between two plans, path by path."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

from hypothesis import given, settings
from strategies import plans

import tempomat as tm

LINE = tm.Linear(init_value=0.0, end_value=1.0, duration=10)


def changes(before, after, **given):
    return [str(change) for change in tm.diff(tm.Plan(before, **given), tm.Plan(after, **given))]


@settings(max_examples=60)
@given(plans(), plans())
def test_plans_without_a_difference_are_equal_and_no_others(one, two):
    assert tm.diff(one, one) == ()
    assert (tm.diff(one, two) == ()) == (one == two)


@settings(max_examples=60)
@given(plans(), plans())
def test_the_way_back_has_the_same_paths_with_before_and_after_exchanged(one, two):
    there = {change.path: (change.before, change.after) for change in tm.diff(one, two)}
    back = {change.path: (change.after, change.before) for change in tm.diff(two, one)}
    assert there == back


def test_a_changed_number_is_one_line():
    assert changes(
        {"lr": LINE, "wd": 1.0}, {"lr": tm.Linear(init_value=0.0, end_value=2.0, duration=10), "wd": 1.0}
    ) == ["schedules.lr.end_value: 1.0 -> 2.0"]


def test_a_change_deep_in_a_tree_has_its_whole_path():
    assert changes({"lr": LINE.then(0.5, at=10)}, {"lr": LINE.then(0.25, at=11)}) == [
        "schedules.lr.parts[1]: 0.5 -> 0.25",
        "schedules.lr.boundaries[0]: 10 -> 11",
    ]


def test_another_type_is_one_change_and_not_one_for_each_parameter():
    (change,) = tm.diff(tm.Plan({"lr": LINE}), tm.Plan({"lr": tm.Cosine(init_value=0, end_value=1, duration=10)}))
    assert change.path == "schedules.lr"
    assert (change.before["type"], change.after["type"]) == ("linear", "cosine")


def test_a_number_in_place_of_a_schedule_is_one_change():
    (said,) = changes({"lr": LINE}, {"lr": 0.5})
    assert said.startswith("schedules.lr: {'type': 'linear'")
    assert said.endswith("-> 0.5")


def test_entries_that_come_and_go_are_named_as_absent():
    assert changes({"lr": 1.0}, {"wd": 2.0}) == ["schedules.lr: 1.0 -> (absent)", "schedules.wd: (absent) -> 2.0"]


def test_a_list_that_grows_names_what_is_new():
    assert changes({"lr": LINE + 1.0}, {"lr": LINE + 1.0}) == []
    one = tm.Sum(parts=(1.0, 2.0))
    assert changes({"lr": one}, {"lr": tm.Sum(parts=(1.0, 2.0, 3.0))}) == ["schedules.lr.parts[2]: (absent) -> 3.0"]


def test_the_frame_of_a_plan_is_compared_too():
    one = tm.Plan({"lr": 1.0}, total=10, rates={"steps_per_epoch": 5})
    two = tm.Plan({"lr": 1.0}, total="20 epochs", clock="epochs", rates={"batch_size": 5})
    assert [str(change) for change in tm.diff(one, two)] == [
        "total: 10 -> 20 epochs",
        "clock: optimizer_steps -> epochs",
        "rates.steps_per_epoch: 5 -> (absent)",
        "rates.batch_size: (absent) -> 5",
    ]


def test_a_default_that_is_written_out_is_no_change():
    assert changes({"lr": {"type": "plateau"}}, {"lr": {"type": "plateau", "patience": 10}}) == []


def test_a_long_value_is_cut():
    long = tm.Sum(parts=[float(k) for k in range(500)])
    (said,) = changes({"lr": 1.0}, {"lr": long})
    assert said.endswith("...")
    assert len(said) < 200
