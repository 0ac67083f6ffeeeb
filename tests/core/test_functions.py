"""`tm.schedule(function)`: any function as a schedule, on every backend, and what a function cannot be."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import functools
import importlib
import math
import sys

import numpy as np
import pytest
from strategies import bits

import tempomat as tm
from tempomat.analysis.sample import sample
from tempomat.core.functions import FromFunction

DECAY = tm.schedule(lambda t: 0.1 / (1 + t))


def wave(t):
    """A function with a name."""
    return math.cos(t / 100)


def test_it_is_the_function():
    assert [DECAY(count) for count in (0, 1, 9)] == [0.1, 0.05, 0.01]
    assert type(DECAY(np.int64(3))) is float
    assert isinstance(DECAY, tm.Schedule)


def test_an_array_is_taken_element_by_element_and_equals_its_scalars_to_the_last_bit():
    counts = np.arange(20_000).reshape(100, 200)
    found = tm.schedule(wave)(counts)
    assert found.shape == counts.shape
    assert bits(found.reshape(-1)) == bits([wave(count) for count in range(20_000)])
    assert DECAY(np.empty((0, 3), dtype=np.int64)).shape == (0, 3)


def test_the_function_gets_python_ints_and_below_a_stretch_floats():
    kinds = set()
    seen = tm.schedule(lambda t: kinds.add(type(t)) or 1.0)
    for one, counts in ((seen, 2**62), (seen, np.arange(3, dtype=np.uint8)), (seen.shift(2), np.arange(5))):
        one(counts)
    assert kinds == {int}
    seen.stretch(2)(np.arange(3))
    assert kinds == {int, float}


@pytest.mark.parametrize("kind", [float, int, np.float32, np.float64, np.array])
def test_a_number_of_any_library_is_a_value(kind):
    assert tm.schedule(lambda t: kind(2))(0) == 2.0
    assert bits(tm.schedule(lambda t: kind(2))(np.arange(2))) == bits([2.0, 2.0])


def test_it_composes_with_everything_else():
    tree = tm.Linear(init_value=0.0, end_value=0.1, duration=10).then(DECAY, at=10) * 2.0
    assert [tree(count) for count in (5, 10, 11)] == [0.1, 0.2, 0.1]
    counts = np.arange(40)
    for one in (DECAY.clip(min=0.01), DECAY.repeat(7), DECAY.shift(3), DECAY.stretch(3), DECAY.minimum(0.05)):
        assert bits(one(counts)) == bits([one(int(count)) for count in counts])
    assert tm.on("epochs", DECAY).clocks == {"epochs"}
    assert (DECAY * tm.Plateau()).given([0.5])(1) == 0.025


def test_functions_are_equal_where_they_are_the_same_one():
    assert tm.schedule(wave) == tm.schedule(wave)
    assert hash(tm.schedule(wave)) == hash(tm.schedule(wave))
    assert tm.schedule(wave) != tm.schedule(lambda t: wave(t))
    assert eval(repr(tm.schedule(wave)), {"schedule": tm.schedule, "wave": wave}) == tm.schedule(wave)


def test_it_is_shown_by_the_name_of_the_function():
    assert repr(tm.schedule(wave)) == "schedule(wave)"
    assert repr(tm.schedule(functools.partial(max, 1))) == "schedule(partial)"
    assert "<lambda>" in repr(DECAY * 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_count(bad):
    breaks = tm.schedule(lambda t: bad if t == 7 else 1.0)
    for counts in (7, np.arange(10)):
        with pytest.raises(
            tm.ScheduleError, match=rf"schedule\(.*\): must give a finite number, gave {bad} at count 7"
        ):
            breaks(counts)


@pytest.mark.parametrize("bad", ["0.1", None, True, [0.1], np.ones(1), 1j, 10**400])
def test_what_is_no_number_is_refused_with_its_count(bad):
    with pytest.raises(tm.ScheduleError, match=r"schedule\(.*\): must give a number, gave .* at count 3"):
        tm.schedule(lambda t: bad)(3)


def test_a_function_that_fails_says_at_which_count_and_why():
    table = tm.schedule([3.0, 2.0, 1.0].__getitem__)
    assert table(2) == 1.0
    for counts in (3, np.arange(5)):
        with pytest.raises(tm.ScheduleError, match=r"schedule\(list.__getitem__\): fails at count 3: IndexError: list"):
            table(counts)


@pytest.mark.parametrize("bad", [0.1, "wave", None, tm.Cosine, tm.Constant(value=1.0)])
def test_what_is_no_function_is_refused(bad):
    with pytest.raises(tm.ScheduleError, match="FromFunction: `function` must be a function of one count, got"):
        tm.schedule(bad)


def test_a_callable_that_has_no_hash_is_refused():
    class Odd:
        __hash__ = None  # pyright: ignore[reportAssignmentType]

        def __call__(self, t):
            return 1.0

    with pytest.raises(tm.ScheduleError, match=r"must be hashable, got .* Wrap it in a function"):
        tm.schedule(Odd())


# other backends


def test_a_tensor_reaches_the_function_whole():
    torch = pytest.importorskip("torch")
    lr = tm.schedule(lambda t: 0.1 / (1 + t))
    found = lr(torch.arange(50, dtype=torch.int32).reshape(5, 10))
    assert (found.dtype, found.shape) == (torch.float64, (5, 10))
    # PyTorch takes a reciprocal where it divides a number by a tensor
    np.testing.assert_allclose(found.numpy(), lr(np.arange(50).reshape(5, 10)), rtol=1e-15, atol=0)
    assert tm.schedule(lambda t: 3)(torch.arange(4)).tolist() == [3.0] * 4


def test_inside_torch_compile_it_is_one_graph():
    torch = pytest.importorskip("torch")
    lr = tm.schedule(lambda t: 0.1 / (1 + t)) * 2.0
    compiled = torch.compile(lambda counts: lr(counts), fullgraph=True, backend="eager")
    np.testing.assert_allclose(compiled(torch.arange(5)).numpy(), lr(np.arange(5)), rtol=1e-15, atol=0)


def test_jax_traces_it():
    jax = pytest.importorskip("jax")
    lr = tm.schedule(lambda t: 0.1 / (1 + t))
    found = jax.jit(lr)(jax.numpy.arange(5))
    np.testing.assert_allclose(found, lr(np.arange(5)), rtol=1e-6, atol=0)  # JAX counts in float32 unless told


def test_a_function_that_an_array_cannot_go_through_says_so():
    torch = pytest.importorskip("torch")
    with pytest.raises(tm.ScheduleError, match=r"schedule\(wave\): fails for counts in a Tensor: .*such arrays have"):
        tm.schedule(wave)(torch.arange(3))
    with pytest.raises(tm.ScheduleError, match=r"must give an array of the shape of its counts, \(3,\), got tensor"):
        tm.schedule(lambda t: t.sum())(torch.arange(3))


# in a plan


PLAN = tm.Plan({"lr": tm.schedule(wave) * 0.1 + 0.2, "weight_decay": 0.1}, total=1_000)


def test_a_plan_with_a_function_is_linted_and_drawn():
    assert [one.code for one in tm.lint(PLAN) if one.severity == "error"] == []
    assert [one.name for one in sample(PLAN).series] == ["lr", "weight_decay"]
    assert tm.simulate(PLAN, {}, total=10)["lr"].values[3] == wave(3) * 0.1 + 0.2


def test_a_scheduler_follows_a_function_even_one_that_ends_with_the_run():
    torch = pytest.importorskip("torch")
    from tempomat.torch import Scheduler

    table = np.linspace(1.0, 0.1, 30).tolist()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": tm.schedule(table.__getitem__)}, total=30))
    used = []
    for _ in range(29):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert used == table[:29]
    optimizer.step()
    with pytest.raises(tm.ScheduleError, match=r"fails at count 30: IndexError"):
        scheduler.step()


def test_what_would_have_to_be_saved_is_refused_with_its_path(tmp_path):
    torch = pytest.importorskip("torch")
    from tempomat.runs import Recorder
    from tempomat.torch import Scheduler

    said = r"schedules.lr: schedule\(wave\) is a function, which has no plain data: a plan with it cannot be saved"
    for ask in (tm.dumps_plan, lambda plan: plan.fingerprint, lambda plan: tm.diff(plan, plan)):
        with pytest.raises(tm.PlanError, match=said):
            ask(PLAN)
    with pytest.raises(tm.PlanError, match=said):
        tm.save_plan(PLAN, tmp_path / "plan.yaml")
    scheduler = Scheduler(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), PLAN)
    with pytest.raises(tm.StateError, match=said):
        scheduler.state_dict()
    with Recorder(tmp_path / "run", plan=scheduler.plan) as recorder, pytest.raises(tm.PlanError, match=said):
        recorder.write(scheduler)
    assert [one.name for one in tmp_path.rglob("*") if one.suffix in (".yaml", ".json", ".jsonl")] == []


def test_all_functions_of_a_plan_are_named_at_once():
    plan = tm.Plan({"lr": DECAY, "momentum": 0.9, "weight_decay": 2 * DECAY})
    with pytest.raises(tm.PlanError, match=r"(?s)Plan: 2 faults.*schedules.lr: .*schedules.weight_decay: "):
        plan.to_data()


# the name


def test_the_name_is_the_function_and_the_module_of_that_name_is_still_imported():
    from tempomat.core import schedule
    from tempomat.core.schedule import Node

    assert tm.schedule is schedule is tm.core.schedule
    assert Node is tm.Node
    assert importlib.import_module("tempomat.core.schedule") is sys.modules["tempomat.core.schedule"]
    assert sys.modules["tempomat.core.schedule"].Schedule is tm.Schedule
    assert type(tm.schedule(wave)) is FromFunction
