"""Schedules and controllers of the user's own: everywhere in Python, and in plan files only where Python allows it."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import copy
import json
import math
import pickle
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from strategies import bits

import tempomat as tm
from tempomat.analysis.sample import sample
from tempomat.core.fields import Length, Value


@dataclass(frozen=True, kw_only=True)
class Wave(tm.Schedule):
    """A cosine wave around a middle, as someone writes it in a file of their own."""

    middle: Value
    height: float = 0.1
    period: Length = 100

    def _at(self, t: Any, ops: Any) -> Any:
        return self.middle + self.height * ops.cos(2 * math.pi * (ops.real(t) / ops.count(self.period)))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Half(tm.Schedule):
    """A composition of one's own: half of another schedule."""

    schedule: tm.Schedule

    def _at(self, t: Any, ops: Any) -> Any:
        return 0.5 * self.schedule._at(t, ops)


@dataclass(frozen=True, kw_only=True)
class Brake(tm.Controller):
    """Halves at every measurement above a bound."""

    metric: str = "kl"
    bound: float = 1.0

    def initial(self) -> Any:
        return {"level": 1.0, "seen": ()}

    def update(self, state: Any, observation: float, count: int) -> Any:
        level = state["level"] * (0.5 if observation > self.bound else 1.0)
        return {"level": level, "seen": (*state["seen"], observation)[-3:]}

    def level(self, state: Any) -> float:
        return state["level"]


WAVE = Wave(middle=0.3, period=60)
HERE = Wave.__module__
PLAN = tm.Plan({"lr": WAVE * Brake(), "weight_decay": Half(schedule=WAVE.shift(7))}, total=240)
OWN = [Wave, Half, Brake]


def test_it_is_a_schedule_like_any_other():
    counts = np.arange(500)
    assert bits(WAVE(counts)) == bits([WAVE(int(count)) for count in counts])
    assert WAVE(0) == 0.4
    assert Wave(middle=0.3, period="60") == WAVE
    assert eval(repr(WAVE), {"Wave": Wave}) == WAVE
    assert repr(Half(schedule=0.5)) == "Half(schedule=Constant(value=0.5))"
    assert WAVE.stretch(2)(120) == WAVE(60)
    assert (WAVE.then(0.5, at=60) * 2.0)(60) == 1.0
    for again in (copy.deepcopy(WAVE), pickle.loads(pickle.dumps(Half(schedule=WAVE)))):
        assert again in (WAVE, Half(schedule=WAVE))


def test_its_parameters_are_checked_and_resolved_like_any_other():
    with pytest.raises(tm.ScheduleError, match=r"Wave: 2 faults\n  `middle` must be finite.*\n  `period` must be at"):
        Wave(middle=math.nan, period=0)
    late = Wave(middle=0.3, period="25%")
    with pytest.raises(tm.ScheduleError, match="'25%' is no count yet"):
        late(3)
    assert tm.Plan({"lr": late}, total=240).resolve()["lr"] == WAVE


def test_tensors_and_tracers_go_through_it():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    expected = WAVE(np.arange(100))
    np.testing.assert_allclose(WAVE(torch.arange(100)).numpy(), expected, rtol=1e-12, atol=0)
    np.testing.assert_allclose(jax.jit(WAVE)(jax.numpy.arange(100)), expected, rtol=1e-5, atol=0)


def test_a_plan_with_it_is_linted_drawn_and_simulated():
    assert [one for one in tm.lint(PLAN) if one.severity == "error"] == []
    assert [one.name for one in sample(PLAN).series] == ["lr", "weight_decay"]
    run = tm.simulate(PLAN, {"kl": [2.0]}, every=100)["lr"]
    assert run.values[99] == WAVE(99)
    assert run.values[100] == WAVE(100) * 0.5


# in plan files


def test_a_plan_writes_its_module_and_name_and_reads_it_where_it_is_allowed(tmp_path):
    tm.save_plan(PLAN, tmp_path / "plan.yaml")
    assert f"type: {HERE}.Wave" in (tmp_path / "plan.yaml").read_text()
    assert tm.load_plan(tmp_path / "plan.yaml", own=OWN) == PLAN
    text = tm.dumps_plan(PLAN)
    assert tm.loads_plan(text, own=(one for one in OWN)) == PLAN
    data = json.loads(json.dumps(PLAN.to_data()))
    assert tm.Plan(data["schedules"], total=240, own=OWN) == PLAN
    assert tm.Plan.from_data(data, own=OWN).fingerprint == PLAN.fingerprint


def test_numbers_and_durations_are_read_as_for_any_other_type():
    text = f"schedules: {{lr: {{type: {HERE}.Wave, middle: 3e-1, period: 25%}}}}\ntotal: 240"
    assert tm.loads_plan(text, own=[Wave]).resolve()["lr"] == WAVE


def test_its_faults_have_a_path_and_a_line():
    text = f"schedules:\n  lr:\n    type: {HERE}.Wave\n    midle: 1\n    period: 0\n"
    with pytest.raises(tm.PlanError, match=r"line 4, schedules.lr.midle: .* Did you mean middle\?") as caught:
        tm.loads_plan(text, own=[Wave])
    said = str(caught.value)
    assert "line 5, schedules.lr.period: must be at least 1, got 0" in said
    assert "schedules.lr.middle: is missing; " in said


@pytest.mark.parametrize(
    "read", [tm.loads_plan, lambda text: tm.Plan.from_data({"schedules": {"lr": {"type": "x.Y"}}})]
)
def test_a_file_that_names_one_that_is_not_allowed_says_how_to_allow_it(read):
    with pytest.raises(
        tm.PlanError,
        match=r"schedules.lr.type: no schedule of the name 'x.Y'\. Nothing is imported because a plan names it; "
        r"a class of your own you allow by `load_plan\(path, own=\[Y\]\)`",
    ):
        read("schedules: {lr: {type: x.Y}}")


def test_another_one_that_is_allowed_is_named_beside_it():
    with pytest.raises(tm.PlanError, match=rf"'{HERE}.Wafe'. Did you mean {HERE}.Wave\? Allowed are {HERE}.Wave\. Not"):
        tm.loads_plan(f"schedules: {{lr: {{type: {HERE}.Wafe}}}}", own=[Wave])


def test_the_bare_name_is_not_enough():
    with pytest.raises(tm.PlanError, match=r"schedules.lr.type: no schedule of the name 'Wave'"):
        tm.loads_plan("schedules: {lr: {type: Wave, middle: 1}}", own=[Wave])


def test_nothing_is_imported_because_a_file_names_it(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("trap.Wave", "trap", "os.system", "tempomat.core.shapes.Cosine", "builtins.eval"):
        with pytest.raises(tm.PlanError, match=f"no schedule of the name '{name}'"):
            tm.loads_plan(f"schedules: {{lr: {{type: {name}, middle: 1}}}}", own=OWN)
    assert "trap" not in sys.modules


def test_what_is_allowed_once_is_not_allowed_for_ever():
    text = tm.dumps_plan(PLAN)
    tm.loads_plan(text, own=OWN)
    with pytest.raises(tm.PlanError, match="Nothing is imported because a plan names it"):
        tm.loads_plan(text)


def test_one_inside_another_needs_leave_of_its_own():
    with pytest.raises(tm.PlanError, match=rf"schedules.lr.schedule.type: no schedule of the name '{HERE}.Wave'"):
        tm.Plan({"lr": {"type": f"{HERE}.Half", "schedule": {"type": f"{HERE}.Wave", "middle": 1}}}, own=[Half])


class Plain(tm.Schedule):
    """No dataclass."""

    def _at(self, t: Any, ops: Any) -> Any:
        return ops.full(t, 1.0)


@dataclass(frozen=True, kw_only=True)
class Unfinished(tm.Schedule):
    """Lacks its formula."""


@dataclass(frozen=True, kw_only=True)
class Unreadable(tm.Schedule):
    """Has a parameter that no plan could write."""

    table: dict[str, float] = field(default_factory=dict)

    def _at(self, t: Any, ops: Any) -> Any:
        return ops.full(t, 1.0)


@pytest.mark.parametrize(
    ("own", "match"),
    [
        (Wave, r"own: must be a list of classes, `own=\[MyShape\]`, got <class"),
        ("Wave", r"own: must be a list of classes, `own=\[MyShape\]`, got 'Wave'"),
        (5, "own: must be a list of classes"),
        ([WAVE], r"own\[0\]: must be a class of your own, a Schedule or a Controller, got Wave\("),
        ([Wave, "x.Y"], r"own\[1\]: must be a class of your own, a Schedule or a Controller, got 'x.Y'"),
        ([dict], r"own\[0\]: must be a class of your own"),
        ([tm.Cosine], r"own\[0\]: Cosine comes with Tempomat, and needs no leave"),
        (
            [Plain],
            r"own\[0\]: Plain must be a frozen dataclass; put `@dataclass\(frozen=True, kw_only=True\)` above it",
        ),
        ([Unfinished], r"own\[0\]: Unfinished is abstract; it lacks _at"),
        ([Unreadable], r"own\[0\]: the parameters of Unreadable cannot be read: no kind of parameter"),
        ([Plain, tm.Cosine], "Plan: 2 faults"),
    ],
    ids=["class", "text", "number", "instance", "name", "dict", "known", "plain", "abstract", "unreadable", "several"],
)
def test_what_cannot_be_allowed_is_refused(own, match):
    with pytest.raises(tm.PlanError, match=match):
        tm.Plan({"lr": 1.0}, own=own)


def test_two_classes_of_one_name_are_refused_and_one_given_twice_is_one():
    def made() -> type[tm.Schedule]:
        @dataclass(frozen=True)
        class Twin(tm.Schedule):
            def _at(self, t: Any, ops: Any) -> Any:
                return ops.full(t, 1.0)

        return Twin

    with pytest.raises(tm.PlanError, match=rf"own\[1\]: another class has the name {HERE}.*Twin"):
        tm.Plan({"lr": 1.0}, own=[made(), made()])
    assert tm.loads_plan(tm.dumps_plan(PLAN), own=[*OWN, *OWN]) == PLAN


# in a run


def scheduler_of(plan):
    torch = pytest.importorskip("torch")
    from tempomat.torch import Scheduler

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    return optimizer, Scheduler(optimizer, plan)


def go(pair, start, stop):
    optimizer, scheduler = pair
    used = []
    for count in range(start, stop):
        optimizer.step()
        used += [optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]]
        scheduler.observe(kl=2.0 if count % 40 == 39 else 0.5)
        scheduler.step()
    return used


@pytest.mark.parametrize(
    "through", [lambda state: state, lambda state: json.loads(json.dumps(state))], ids=["at once", "json"]
)
def test_a_run_goes_on_from_its_state_as_if_it_had_never_stopped(through):
    whole = go(scheduler_of(PLAN), 0, 200)
    one, two = scheduler_of(PLAN), scheduler_of(PLAN)
    assert go(one, 0, 90) == whole[:180]
    two[1].load_state_dict(through(one[1].state_dict()))
    assert go(two, 90, 200) == whole[180:]


def test_a_state_of_a_changed_parameter_is_refused_with_what_changed_and_can_be_kept():
    pair = scheduler_of(PLAN)
    go(pair, 0, 50)
    state = pair[1].state_dict()
    changed = tm.Plan({"lr": Wave(middle=0.3, period=61) * Brake(), "weight_decay": PLAN["weight_decay"]}, total=240)
    with pytest.raises(tm.StateError, match=r"schedules.lr.parts\[0\].period: 60 -> 61"):
        scheduler_of(changed)[1].load_state_dict(state)
    kept = scheduler_of(changed)
    kept[1].load_state_dict(state, on_change="keep")
    assert go(kept, 50, 60) == go(pair, 50, 60)


def test_a_saved_plan_of_classes_that_are_gone_cannot_be_kept_and_says_why():
    state = scheduler_of(PLAN)[1].state_dict()
    with pytest.raises(tm.StateError, match=r"(?s)on_change='keep': the saved plan cannot be rebuilt.*own=\[Wave\]"):
        scheduler_of(tm.Plan({"lr": 0.1}, total=240))[1].load_state_dict(state, on_change="keep")


def test_a_run_is_recorded_read_back_and_resumed(tmp_path):
    pytest.importorskip("torch")
    from tempomat.runs import Recorder, read_run

    pair = scheduler_of(PLAN)
    with Recorder(tmp_path, plan=pair[1].plan) as recorder:
        for count in range(5):
            recorder.write(pair[1])
            go(pair, count, count + 1)
        state = recorder.state_dict()
    with Recorder(tmp_path, plan=pair[1].plan, resume=state) as recorder:
        recorder.write(pair[1])
    run = read_run(tmp_path, own=OWN)
    assert run.plan == PLAN.resolve()
    assert run.series("lr").asked.tolist() == [WAVE(count) for count in range(6)]
    with pytest.raises(tm.RecordError, match=r"(?s)the plan of the run cannot be read: .*own=\[Wave\]"):
        read_run(tmp_path)
