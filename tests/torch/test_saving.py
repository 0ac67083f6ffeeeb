"""Saving and loading beside an optimizer: whole or not at all, and a changed plan only as told."""

import copy
import json
from typing import Any

import pytest
import torch
from runtime.toys import FALL, group, held, sgd, snapshot, through_a_file, train

import tempomat as tm
from tempomat.torch import Scheduler

SHORT = tm.Plan({"lr": FALL}, total=10)
LONG = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration=20)}, total=20)


def state_at(plan, updates=4):
    """The state of a run after so many updates."""
    optimizer = sgd(weight_decay=0.0)
    scheduler = Scheduler(optimizer, plan)
    train(optimizer, scheduler, updates)
    return scheduler.state_dict()


def plain_types(data):
    """The types of everything in a state."""
    below = (
        list(data.keys()) + list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []
    )
    return {type(data)}.union(*map(plain_types, below))


def test_a_state_holds_plain_values_alone():
    optimizer = sgd(lr=torch.tensor(0.25))
    tree = FALL * tm.Plateau(patience=0) * tm.on("env_steps", tm.warmup_cosine(peak_value=1.0, warmup=2, total=9))
    scheduler = Scheduler(optimizer, tm.Plan({"lr": tree}, total="2 epochs"), steps_per_epoch=5)
    scheduler.record_offset = 123
    one: dict[str, Any] = {tm.Unit.ENV_STEPS: torch.tensor(1)}
    for loss in (torch.tensor(1.0), 1.0):
        optimizer.step()
        scheduler.step(loss)
        scheduler.advance(**one)
    state = scheduler.state_dict()
    assert plain_types(state) <= {dict, list, str, int, float, bool, type(None)}
    assert through_a_file(state) == json.loads(json.dumps(state, allow_nan=False)) == state


def test_the_offset_of_the_record_travels_with_the_state():
    scheduler = Scheduler(sgd(), SHORT)
    scheduler.record_offset = 123
    other = Scheduler(sgd(), SHORT)
    other.load_state_dict(through_a_file(scheduler.state_dict()))
    assert other.record_offset == 123


def test_loading_writes_every_value_at_once():
    optimizer = sgd(lr=0.3)
    scheduler = Scheduler(optimizer, SHORT)
    scheduler.load_state_dict(state_at(SHORT))
    assert held(optimizer) == [FALL(4)]
    assert (scheduler.values, scheduler.last_epoch) == ({"lr": FALL(4)}, 4)


def test_a_state_saved_between_update_and_step_still_counts_that_update():
    """Any interruption at any instant continues identically."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SHORT)
    train(optimizer, scheduler, 3)
    optimizer.step()
    other = sgd()
    again = Scheduler(other, SHORT)
    again.load_state_dict(through_a_file(scheduler.state_dict()))
    for one in (scheduler, again):
        one.step()
    assert (scheduler.counts, held(optimizer)) == (again.counts, held(other)) == ({"optimizer_steps": 4}, [FALL(4)])


def test_a_position_is_not_counted_twice_after_a_resume():
    """slime#1547: once from the state and once from the loop that fast-forwards."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SHORT)
    scheduler.load_state_dict(state_at(SHORT))
    for _ in range(4):
        scheduler.step()
    assert (scheduler.counts, scheduler.skipped) == ({"optimizer_steps": 4}, 4)


def test_a_resumed_loop_is_not_warned_of_its_order():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, SHORT)
    scheduler.load_state_dict(state_at(SHORT))
    scheduler.step()
    assert train(optimizer, scheduler, 2) == [FALL(4), FALL(5)]


# a changed plan


def test_a_changed_plan_is_refused_with_the_difference_and_nothing_changes():
    """Loading restores the old total over the new one in PyTorch: .5 instead of .146 at step 150."""
    optimizer = sgd(lr=0.3)
    scheduler = Scheduler(optimizer, LONG)
    before, state = snapshot(optimizer), scheduler.state_dict()
    said = r"(?s)saved -> now.*total: 10 -> 20.*schedules\.lr\.duration: 10 -> 20.*'keep'.*'replace'.*'stretch'"
    with pytest.raises(tm.StateError, match=said):
        scheduler.load_state_dict(state_at(SHORT))
    assert (snapshot(optimizer), scheduler.state_dict()) == (before, state)
    assert train(optimizer, scheduler, 1) == [1.0]


def test_a_schedule_is_never_left_out_of_the_state():
    """PyTorch's LambdaLR stores [None] for a function, and a new one given on resume is ignored in silence."""
    steeper = tm.Plan({"lr": tm.Polynomial(init_value=1.0, end_value=0.0, duration=10, power=2.0)}, total=10)
    with pytest.raises(tm.StateError, match=r"schedules\.lr: .*linear.* -> .*polynomial"):
        Scheduler(sgd(), steeper).load_state_dict(state_at(SHORT))


@pytest.mark.parametrize(
    ("choice", "used"),
    [
        ("keep", [FALL(count) for count in (4, 5, 6)]),
        ("replace", [1.0 - count / 20 for count in (4, 5, 6)]),
        ("stretch", [1.0 - count / 20 for count in (8, 9, 10)]),
    ],
)
def test_each_choice_goes_on_with_its_own_values(choice, used):
    """Resumed with more epochs, the value jumps elsewhere (open_clip#413, Lightning#12118, transformers#23099)."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, LONG)
    scheduler.load_state_dict(state_at(SHORT), on_change=choice)
    assert train(optimizer, scheduler, 3) == pytest.approx(used, rel=1e-15)  # 1 - t/20 rounds once more than ours
    assert [(one["event"], one["choice"]) for one in scheduler.events] == [("resume", choice)]
    assert scheduler.plan == (SHORT if choice == "keep" else LONG)


def test_another_total_given_to_the_scheduler_is_a_change_too():
    plan = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration="100%")}, total=10)
    saved = state_at(plan)
    longer = Scheduler(sgd(), plan, total=20)
    with pytest.raises(tm.StateError, match="total: 10 -> 20"):
        longer.load_state_dict(saved)
    longer.load_state_dict(saved, on_change="stretch")
    assert longer.values == {"lr": 0.6}


def test_a_run_that_was_changed_resumes_under_its_new_plan_without_being_asked_again():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, LONG)
    scheduler.load_state_dict(state_at(SHORT), on_change="stretch")
    train(optimizer, scheduler, 1)
    again = Scheduler(sgd(), LONG)
    again.load_state_dict(scheduler.state_dict())
    assert again.counts == {"optimizer_steps": 9}


def test_a_kept_plan_writes_the_keys_that_the_saved_one_had():
    both = tm.Plan({"lr": FALL, "weight_decay": FALL * 0.5})
    optimizer = sgd(weight_decay=0.25)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": 1.0}))
    scheduler.load_state_dict(state_at(both), on_change="keep")
    train(optimizer, scheduler, 1)
    assert (held(optimizer), held(optimizer, "weight_decay")) == ([FALL(5)], [FALL(5) * 0.5])


# loads that fail

REACTIVE = tm.Plan({"lr": FALL * tm.Plateau(patience=0), "noise": tm.on("env_steps", FALL)}, total=10)


def flipped(state, key):
    """A state with one key damaged."""
    return {**state, key: "damaged" if state[key] != "damaged" else 0}


@pytest.mark.parametrize("started", [True, False], ids=["running", "not started"])
@pytest.mark.parametrize("key", sorted(state_at(REACTIVE)))
def test_a_load_that_fails_leaves_scheduler_and_optimizer_exactly_as_they_were(key, started):
    optimizer = sgd("encoder", "head", lr=torch.tensor(0.3))
    scheduler = Scheduler(optimizer, REACTIVE)
    if started:
        train(optimizer, scheduler, 2)
        scheduler.observe(val_loss=1.0)
    before = snapshot(optimizer), scheduler.state_dict(), scheduler.values, scheduler.events, scheduler.get_last_lr()
    good = through_a_file(state_at(REACTIVE))
    for bad in (flipped(good, key), {name: one for name, one in good.items() if name != key}, {}, None):
        with pytest.raises(tm.StateError, match="state"):
            scheduler.load_state_dict(bad)  # pyright: ignore[reportArgumentType]
    after = snapshot(optimizer), scheduler.state_dict(), scheduler.values, scheduler.events, scheduler.get_last_lr()
    assert after == before
    count = 2 if started else 0
    assert train(optimizer, scheduler, 2) == pytest.approx([FALL(count), FALL(count + 1)], rel=1e-7)


def test_a_kept_plan_that_does_not_fit_the_optimizer_leaves_all_as_it_was():
    optimizer = sgd("encoder")
    scheduler = Scheduler(optimizer, SHORT)
    train(optimizer, scheduler, 2)
    elsewhere = Scheduler(sgd("head"), tm.Plan({"head.lr": FALL * 0.5}))
    before, state = snapshot(optimizer), scheduler.state_dict()
    with pytest.raises(tm.BindingError, match=r"head\.lr: no param group is named 'head'"):
        scheduler.load_state_dict(elsewhere.state_dict(), on_change="keep")
    assert (snapshot(optimizer), scheduler.state_dict()) == (before, state)
    assert train(optimizer, scheduler, 1) == [FALL(2)]


def test_a_count_at_which_a_value_is_impossible_leaves_all_as_it_was():
    sinks = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=-1.0, duration=10)})
    optimizer = sgd()
    scheduler = Scheduler(optimizer, sinks)
    train(optimizer, scheduler, 2)
    before, state = snapshot(optimizer), scheduler.state_dict()
    with pytest.raises(tm.BindingError, match=r"lr comes to -0\.19"):
        scheduler.load_state_dict(state_at(tm.Plan({"lr": FALL}), 6), on_change="replace")
    assert (snapshot(optimizer), scheduler.state_dict()) == (before, state)
    assert train(optimizer, scheduler, 1) == [sinks["lr"](2)]


@pytest.mark.parametrize("started", [True, False], ids=["running", "not started"])
def test_a_function_of_the_users_that_fails_during_a_load_leaves_all_as_it_was(started):
    plan = tm.Plan({"lr": FALL, "batch_size": FALL + 1, "weight_decay": FALL})
    saved = Scheduler(sgd(weight_decay=0.0), plan, counting="calls", targets={"batch_size": None})
    saved.advance(optimizer_steps=4)
    fails, seen = [], []

    def target(value):
        if fails:
            raise RuntimeError(fails.pop())
        seen.append(value)

    optimizer = sgd(weight_decay=0.0)
    scheduler = Scheduler(optimizer, plan, targets={"batch_size": target})
    if started:
        train(optimizer, scheduler, 2)
    before, state = snapshot(optimizer), scheduler.state_dict()
    fails.append("the sampler is gone")
    with pytest.raises(RuntimeError, match="the sampler is gone"):
        scheduler.load_state_dict(saved.state_dict())
    assert (snapshot(optimizer), scheduler.state_dict()) == (before, state)
    scheduler.load_state_dict(saved.state_dict())
    assert (held(optimizer), seen[-1]) == ([FALL(4)], FALL(4) + 1)


def test_pytorchs_own_state_is_told_from_ours():
    theirs = torch.optim.lr_scheduler.StepLR(sgd(), step_size=2).state_dict()
    with pytest.raises(tm.StateError, match=r"lacks format, plan.* has unknown step_size"):
        Scheduler(sgd(), SHORT).load_state_dict(theirs)


class Own(tm.Schedule):
    """A schedule class that no plan file could name."""

    def _at(self, t, ops):
        return ops.real(t) / 8


def test_a_schedule_of_the_users_own_resumes_under_itself_and_cannot_be_built_from_a_state():
    """No code comes from data: its name is in the state, to be compared and never imported."""
    plan = tm.Plan({"lr": Own()})
    state = through_a_file(state_at(plan, 3))
    again = Scheduler(sgd(), plan)
    again.load_state_dict(state)
    assert again.values == {"lr": 3 / 8}
    other = Scheduler(sgd(), SHORT)
    with pytest.raises(tm.StateError, match=r"schedules\.lr: .*Own.* -> .*linear"):
        other.load_state_dict(state)
    with pytest.raises(tm.StateError, match=r"(?s)'keep': the saved plan cannot be rebuilt.*Own"):
        other.load_state_dict(state, on_change="keep")
    other.load_state_dict(state, on_change="replace")
    assert other.values == {"lr": FALL(3)}


def test_groups_added_since_the_build_are_loaded_too():
    optimizer = sgd("encoder")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "head.lr": FALL * 0.5}), later=["head"])
    optimizer.add_param_group(group("head"))
    state = copy.deepcopy(scheduler.state_dict())
    train(optimizer, scheduler, 3)
    scheduler.load_state_dict(state)
    assert held(optimizer) == [1.0, 0.5]
