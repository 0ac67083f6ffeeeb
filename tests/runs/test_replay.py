"""What a run decided, or held, is a schedule again: the same values at every count, in another run and from a file."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from runtime.toys import FALL, sgd
from strategies import HORIZON, trees

import tempomat as tm
from tempomat.runs import Recorder, read_run, replay, replay_plan
from tempomat.runs.replay import decided
from tempomat.runtime import Engine
from tempomat.torch import Scheduler

TREE = FALL.then(tm.Plateau(metric="val_loss", factor=0.5, patience=0), at=4) * tm.Plateau(
    metric="reward", factor=0.9, patience=1, mode="max"
)
PLAN = tm.Plan(
    {"lr": TREE, "weight_decay": FALL * 0.1, "stage": tm.SuccessGates(window=2, min_episodes=1, max_stage=3)}
)


def play(folder, plan=PLAN, updates=20, write=lambda count, group: None, **options):
    """A run under measurements of its own; the lr at each update."""
    optimizer = sgd(weight_decay=0.0)
    scheduler = Scheduler(optimizer, plan, **options)
    used = []
    with Recorder(folder, seed=0) as recorder:
        for count in range(updates):
            optimizer.step()
            write(count, optimizer.param_groups[0])
            recorder.write(scheduler)
            used.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
            if any(node.controllers for node in plan.schedules.values()):
                scheduler.observe(val_loss=1.0, reward=float(count % 3), success=float(count % 5 > 0))
    return used


def test_a_run_replayed_without_measurements_has_the_values_it_had(tmp_path):
    used = play(tmp_path / "a")
    plan = replay_plan(read_run(tmp_path / "a"))
    assert not any(node.controllers for node in plan.schedules.values())
    assert len(set(used)) > 5
    tm.save_plan(plan, tmp_path / "plan.yaml")
    again = tm.load_plan(tmp_path / "plan.yaml")
    assert again == plan
    assert play(tmp_path / "b", again) == used
    one, other = (read_run(tmp_path / name) for name in "ab")
    for entry in PLAN.schedules:
        np.testing.assert_array_equal(one.series(entry).asked, other.series(entry).asked)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(tree=trees(), seed=st.integers(0, 2**32))
def test_any_tree_replays_to_the_values_it_had(tree, seed):
    assume(tree.controllers)
    plan = tm.Plan({"my_own": tree}, total=HORIZON.total, rates=HORIZON.rates).resolve()
    engine = Engine(plan)
    others = sorted(set(engine.counts) - {engine.clock})
    moments, values, measured = [], [], np.random.default_rng(seed)
    try:
        for count in range(40):
            for rule in plan["my_own"].controllers:
                engine.observe({rule.metric: float(measured.integers(2))})
            moments.append(dict(engine.counts))
            values.append(engine.asked["my_own"])
            engine.tick()
            engine.advance(dict.fromkeys(others, 1 + count % 3))
    except tm.TempomatError:
        assume(len(values) > 1)
    schedule = decided(plan, engine.events, "my_own")
    # a decision counts from its own count on, so the last of several at one count holds
    for counts, value in list(zip(moments, values, strict=True))[:-1]:
        assert schedule.at_counts(counts, engine.clock) == value


def test_what_a_person_wrote_replays_as_it_was_held(tmp_path):
    def person(count, group):
        if count == 6:
            group["lr"] = 7.0

    pure = tm.Plan({"lr": tm.StepDecay(init_value=1.0, factor=0.5, every=10)})
    used = play(tmp_path, pure, write=person, foreign="adopt")
    run = read_run(tmp_path)
    with pytest.raises(tm.RecordError, match=r"lr was asked to be 1 and held 7 at 6: .*source='applied'"):
        replay(run, "lr")
    schedule = replay(run, "lr", source="applied")
    assert schedule == tm.PiecewiseConstant(values=(1.0, 7.0, 0.5), boundaries=(6, 10))
    assert [schedule(count) for count in range(20)] == used


def test_a_value_that_moves_at_every_count_replays_whatever_the_length(tmp_path):
    plan = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration=10_000)})
    scheduler = Scheduler(sgd(), plan, counting="calls")
    with Recorder(tmp_path) as recorder:
        for _ in range(9_000):
            recorder.write(scheduler)
            scheduler.step()
    schedule = replay(read_run(tmp_path), "lr", source="applied")
    np.testing.assert_array_equal(schedule(np.arange(9_000)), plan["lr"](np.arange(9_000)))
    assert schedule(10**6) == schedule(8_999)
    tm.loads_plan(tm.dumps_plan(tm.Plan({"lr": schedule})))


def test_after_a_rewind_what_stood_in_the_end_is_replayed(tmp_path):
    scheduler = Scheduler(sgd(), tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5)}))
    stood = {}
    with Recorder(tmp_path) as recorder:
        for count in range(6):
            recorder.write(scheduler)
            stood[count] = scheduler.values["lr"]
            scheduler.optimizer.step()
            scheduler.step(1.0)
        scheduler.rewind(optimizer_steps=3)
        for count in range(3, 8):
            recorder.write(scheduler)
            stood[count] = scheduler.values["lr"]
            scheduler.optimizer.step()
            scheduler.step()
    run = read_run(tmp_path)
    with pytest.raises(tm.RecordError, match=r"was set back, so a count has two values.*source='applied'"):
        replay(run, "lr")
    schedule = replay(run, "lr", source="applied")
    assert [schedule(count) for count in range(8)] == list(stood.values())


def test_what_is_not_there_is_refused_with_what_is(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.write(Scheduler(sgd(), tm.Plan({"lr": FALL})))
    run = read_run(tmp_path)
    with pytest.raises(tm.RecordError, match="must be decisions or applied, got 'all'"):
        replay(run, "lr", source="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(tm.PlanError, match=r"no entry 'lrr'\. Did you mean lr"):
        replay(run, "lrr")
