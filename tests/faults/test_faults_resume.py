"""Composition, resume and horizon: what users report of today's schedulers, and what ours does."""

import copy

import pytest
from runtime.toys import FALL, held, sgd, through_a_file, train
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, StepLR

import tempomat as tm
from tempomat.torch import Scheduler

SHORT, LONG = (
    tm.Plan({"lr": tm.Cosine(init_value=1.0, end_value=0.0, duration="100%")}, total=total) for total in (200, 400)
)


def state_at(plan, updates):
    """The optimizer's state and the scheduler's after so many updates, as a file gives them back."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, plan)
    train(optimizer, scheduler, updates)
    return through_a_file(optimizer.state_dict()), through_a_file(scheduler.state_dict())


# composition


@pytest.mark.parametrize(
    "build", [lambda fall, rule: fall * rule, lambda fall, rule: fall.then(rule, at=4)], ids=["factor", "then"]
)
def test_9_a_plateau_scales_a_schedule_and_follows_one(build):
    """pytorch#68978, #82859, transformers#29417: `ReduceLROnPlateau` goes into no sequence and no product."""
    tree = build(FALL, tm.Plateau(metric="val_loss", factor=0.5, patience=0))
    losses = [1.0] * 8
    run = tm.simulate(tree, {"val_loss": losses}, every=1, total=8)
    assert list(run.values[:2]) == [FALL(0), FALL(1)]
    assert run.values[7] < FALL(7)
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": tree}))
    used = []
    for loss in losses:
        optimizer.step()
        used += held(optimizer)
        scheduler.step(loss)
    assert used == run.values.tolist()


def test_10_building_schedulers_changes_nothing():
    """pytorch#72874: each constructor writes, and the last one's value is in force at step 0."""
    theirs = sgd(lr=0.1)
    ExponentialLR(theirs, gamma=0.9)
    LambdaLR(theirs, lambda _: 0.01)
    assert held(theirs) == [0.001]
    optimizer = sgd(lr=0.1)
    before = copy.deepcopy(optimizer.param_groups[0])
    for _ in range(3):
        Scheduler(optimizer, tm.Plan({"lr": FALL * 0.01}))
    after = dict(optimizer.param_groups[0])
    assert {key: repr(value) for key, value in before.items()} == {key: repr(value) for key, value in after.items()}


def test_11_a_second_writer_is_refused_and_a_foreign_write_noticed():
    """Two schedulers of one hyperparameter overwrite each other, and nothing says so."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    with pytest.raises(tm.BindingError, match="One writer per key"):
        Scheduler(optimizer, tm.Plan({"lr": FALL * 0.5}))
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 123.0
    with pytest.raises(tm.BindingError, match=r"somebody else wrote 123\.0"):
        _ = scheduler.values


# resume and horizon


def test_12_an_old_total_does_not_come_back_in_silence():
    """PyTorch's state holds `T_max`: .5 instead of .146 at step 150 of what is now a run of 200 steps."""
    old, new = sgd(lr=1.0), sgd(lr=1.0)
    before, after = CosineAnnealingLR(old, T_max=300), CosineAnnealingLR(new, T_max=200)
    after.load_state_dict(before.state_dict())
    assert after.T_max == 300
    _, state = state_at(SHORT, 150)
    with pytest.raises(tm.StateError, match=r"(?s)total: 200 -> 400.*'keep'.*'replace'.*'stretch'"):
        Scheduler(sgd(), LONG).load_state_dict(state)


def test_13_a_fresh_optimizer_goes_on_at_any_count():
    """`last_epoch=N` without `initial_lr` is a KeyError; in a SequentialLR it gives unrelated values (#162591)."""
    with pytest.raises(KeyError, match="initial_lr"):
        StepLR(sgd(), step_size=1, last_epoch=5)
    optimizer = sgd()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL.then(tm.Constant(value=7.0), at=5)}))
    scheduler.advance(optimizer_steps=4)
    assert train(optimizer, scheduler, 3) == [FALL(4), 7.0, 7.0]


@pytest.mark.parametrize(("choice", "count", "of"), [("keep", 100, 200), ("replace", 100, 400), ("stretch", 200, 400)])
def test_14_a_longer_run_goes_on_as_it_was_told_to(choice, count, of):
    """open_clip#413, Lightning#12118, #19865, transformers#23099: with more epochs the value jumps on resume."""
    optimizer = sgd()
    scheduler = Scheduler(optimizer, LONG)
    kept, state = state_at(SHORT, 100)
    optimizer.load_state_dict(kept)
    scheduler.load_state_dict(state, on_change=choice)
    assert held(optimizer) == [tm.Cosine(init_value=1.0, end_value=0.0, duration=of)(count)]
    assert scheduler.events[-1]["event"] == "resume"


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_15_a_position_is_counted_once_and_a_level_kept(optimizer_first):
    """slime#1547 counts twice, rsl_rl#221 resets the adaptive lr, ml-agents#205 starts curriculum and lr from zero."""
    plan = tm.Plan({"lr": FALL * tm.Plateau(factor=0.5, patience=0)}, total=10)
    optimizer = sgd()
    scheduler = Scheduler(optimizer, plan)
    for _ in range(4):
        optimizer.step()
        scheduler.step(1.0)
    weights, state = through_a_file(optimizer.state_dict()), through_a_file(scheduler.state_dict())
    other = sgd()
    again = Scheduler(other, plan)
    loads = [lambda: other.load_state_dict(weights), lambda: again.load_state_dict(state)]
    for load in loads if optimizer_first else reversed(loads):
        load()
    for one, its in ((optimizer, scheduler), (other, again)):
        one.step()
        its.step(1.0)
    assert (again.counts, held(other)) == (scheduler.counts, held(optimizer)) == ({"optimizer_steps": 5}, held(other))
    assert held(other) == [pytest.approx(FALL(5) * 0.5**4, rel=1e-12, abs=0)]


def test_16_a_function_is_not_dropped_from_the_state():
    """PyTorch's `LambdaLR` stores [None] for a lambda, so that another one goes on unnoticed."""
    theirs = LambdaLR(sgd(), lambda count: 0.5**count)
    assert theirs.state_dict()["lr_lambdas"] == [None]
    halves = tm.Plan({"lr": tm.schedule(lambda count: 0.5**count)})
    thirds = tm.Plan({"lr": tm.schedule(lambda count: 3.0 ** -float(count))})
    optimizer = sgd()
    scheduler = Scheduler(optimizer, halves)
    train(optimizer, scheduler, 3)
    with pytest.raises(tm.TempomatError, match="function"):
        tm.dumps_plan(halves)
    with pytest.raises(tm.TempomatError, match="function"):
        Scheduler(sgd(), thirds).load_state_dict(through_a_file(scheduler.state_dict()))


def test_17_a_new_schedule_given_on_resume_is_not_ignored():
    """In published pipelines the checkpoint's schedule silently wins over the one on the command line."""
    _, state = state_at(SHORT, 10)
    other = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration="100%")}, total=200)
    optimizer = sgd()
    scheduler = Scheduler(optimizer, other)
    with pytest.raises(tm.StateError, match=r"schedules\.lr: .*cosine.*linear"):
        scheduler.load_state_dict(state)
    scheduler.load_state_dict(state, on_change="replace")
    assert held(optimizer) == [0.95]
