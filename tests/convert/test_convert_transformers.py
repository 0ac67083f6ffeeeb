"""Transformers' schedulers become schedules: held to `get_scheduler` at every step of whole runs."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tempomat as tm
from tempomat.convert import from_torch, from_transformers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROUNDING = 1e-9
"""Both compute each value anew; what is left is cancellation where a wave nears 0."""
PEAK, WARMUP, TOTAL = 0.3, 12, 90

CASES = {
    "linear": ("linear", {}),
    "cosine": ("cosine", {}),
    "cosine of three waves": ("cosine", {"num_cycles": 2.7}),
    "cosine_with_restarts": ("cosine_with_restarts", {"num_cycles": 3}),
    "polynomial": ("polynomial", {}),
    "polynomial of a power": ("polynomial", {"lr_end": 0.01, "power": 2.5}),
    "constant": ("constant", {}),
    "constant_with_warmup": ("constant_with_warmup", {}),
    "inverse_sqrt": ("inverse_sqrt", {}),
    "inverse_sqrt of a timescale": ("inverse_sqrt", {"timescale": 40}),
    "cosine_with_min_lr": ("cosine_with_min_lr", {"min_lr": 0.02}),
    "cosine_with_min_lr by rate": ("cosine_with_min_lr", {"min_lr_rate": 0.1, "num_cycles": 1.5}),
    "cosine_warmup_with_min_lr": ("cosine_warmup_with_min_lr", {"min_lr": 0.02}),
    "cosine_warmup_with_min_lr from a rate": (
        "cosine_warmup_with_min_lr", {"min_lr_rate": 0.1, "warmup_lr_rate": 0.25, "num_cycles": 1.5},
    ),
    "warmup_stable_decay": ("warmup_stable_decay", {"num_decay_steps": 30}),
    "warmup_stable_decay with a floor": (
        "warmup_stable_decay",
        {"num_decay_steps": 30, "warmup_type": "cosine", "decay_type": "1-sqrt", "min_lr_ratio": 0.1},
    ),
    "warmup_stable_decay in roots": (
        "warmup_stable_decay", {"num_decay_steps": 30, "warmup_type": "1-sqrt", "decay_type": "linear"},
    ),
    "warmup_stable_decay in waves": (
        "warmup_stable_decay", {"num_decay_steps": 30, "num_cycles": 1.25, "min_lr_ratio": 0.05},
    ),
}  # fmt: skip
NO_WARMUP = ("constant",)


def optimizer_at(lr):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def theirs(name, options, *, warmup=WARMUP, total=TOTAL, peak=PEAK):
    """The learning rates of Transformers' own scheduler before each step and after the last."""
    optimizer = optimizer_at(peak)
    scheduler = transformers.get_scheduler(name, optimizer, warmup, total, options)
    values = []
    for _ in range(total):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def ours(name, options, *, warmup=WARMUP, total=TOTAL, peak=PEAK):
    lr = from_transformers(
        name,
        learning_rate=peak,
        num_training_steps=total,
        num_warmup_steps=None if name in NO_WARMUP else warmup,
        scheduler_specific_kwargs=options,
    )
    return [lr(count) for count in range(total)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("warmup", [0, 1, WARMUP])
def test_each_name_gives_transformers_values_at_every_step(case, warmup):
    name, options = CASES[case]
    assert ours(name, options, warmup=warmup) == pytest.approx(
        theirs(name, options, warmup=warmup), rel=ROUNDING, abs=0.0
    )


@pytest.mark.parametrize("case", CASES)
def test_a_live_scheduler_of_transformers_is_read(case):
    name, options = CASES[case]
    scheduler = transformers.get_scheduler(name, optimizer_at(PEAK), WARMUP, TOTAL, options)
    lr = from_torch(scheduler)["lr"]
    values = [lr(count) for count in range(TOTAL)]
    assert values == pytest.approx(theirs(name, options), rel=ROUNDING, abs=0.0)


@pytest.mark.parametrize("case", [case for case in CASES if "stable" not in case])
def test_a_warmup_longer_than_the_run_rises_to_its_end(case):
    name, options = CASES[case]
    longer = TOTAL + 5
    assert ours(name, options, warmup=longer) == pytest.approx(
        theirs(name, options, warmup=longer), rel=ROUNDING, abs=0.0
    )


@settings(max_examples=25, deadline=None)
@given(
    case=st.sampled_from(sorted(CASES)),
    warmup=st.integers(0, 40),
    total=st.integers(75, 120),
    peak=st.floats(0.05, 2.0),
)
def test_any_size_gives_transformers_values(case, warmup, total, peak):
    name, options = CASES[case]
    found = theirs(name, options, warmup=warmup, total=total, peak=peak)
    assume(min(value for value in found[1:]) > 1e-5 * peak)  # nearer to 0 cancellation is all that is left
    assert ours(name, options, warmup=warmup, total=total, peak=peak) == pytest.approx(found, rel=ROUNDING, abs=0.0)


def test_every_name_of_transformers_is_known():
    from tempomat.convert.transformers import SCHEDULERS

    assert {kind.value for kind in transformers.SchedulerType} == set(SCHEDULERS)
    kind = transformers.SchedulerType.CONSTANT
    assert from_transformers(kind, learning_rate=0.1) == tm.Constant(value=0.1)


def test_a_wave_stays_where_transformers_climbs_again():
    optimizer = optimizer_at(PEAK)
    scheduler = transformers.get_scheduler("cosine", optimizer, 0, 10)
    for _ in range(20):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(PEAK, rel=1e-12, abs=0.0)
    lr = from_transformers("cosine", learning_rate=PEAK, num_training_steps=10)
    assert lr(10) == lr(20) == 0.0


def test_the_floor_of_cosine_with_min_lr_is_the_floor_of_each_group():
    """Transformers divides min_lr by the optimizer's default, so a group of 1e-5 ends at 1e-6 where 1e-4 was asked."""
    group = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 1e-5}
    optimizer = torch.optim.SGD([group], lr=1e-3)
    scheduler = transformers.get_scheduler("cosine_with_min_lr", optimizer, 0, 10, {"min_lr": 1e-4})
    for _ in range(10):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-6, rel=1e-9, abs=0.0)
    options = {"min_lr": 1e-4}
    lr = from_transformers(
        "cosine_with_min_lr", learning_rate=1e-5, num_training_steps=10, scheduler_specific_kwargs=options
    )
    assert lr(10) == 1e-4


# the Trainer's arguments


@pytest.mark.parametrize("warmup", [0, 7, 0.05, 0.123])
def test_the_trainers_arguments_say_the_whole_schedule(tmp_path, warmup):
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), learning_rate=2e-4, lr_scheduler_type="cosine", warmup_steps=warmup, use_cpu=True
    )
    lr = from_transformers(arguments, num_training_steps=TOTAL)
    steps = arguments.get_warmup_steps(TOTAL)
    assert lr == tm.warmup_cosine(peak_value=2e-4, warmup=steps, total=TOTAL)
    assert from_transformers({"lr_scheduler_type": "constant"}) == tm.Constant(value=5e-5)


def test_max_steps_and_the_best_models_metric_are_taken(tmp_path):
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=50, metric_for_best_model="eval_f1", use_cpu=True
    )
    assert from_transformers(arguments) == tm.warmup_linear(peak_value=5e-5, warmup=0, total=50)
    fields = {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"mode": "max", "min_lr": 1e-6}}
    rule = from_transformers({**fields, "metric_for_best_model": "eval_f1", "learning_rate": 0.1})
    assert rule == tm.Plateau(metric="eval_f1", mode="max", min_value=1e-6, init_value=0.1, on_nan="bad")


@pytest.mark.parametrize(("given", "steps"), [
    ({"num_warmup_steps": 9}, 9),
    ({"warmup_steps": 9}, 9),
    ({"warmup_steps": 0.1}, 9),
    ({"warmup_ratio": 0.101}, math.ceil(9.09)),
    ({}, 0),
])  # fmt: skip
def test_a_warmup_is_said_in_any_of_its_three_ways(given, steps):
    lr = from_transformers("linear", learning_rate=1.0, num_training_steps=90, **given)
    assert lr == tm.warmup_linear(peak_value=1.0, warmup=steps, total=90)


LOSSES = [1.0, 0.9, 0.8, 0.7, 0.75, 0.76, math.nan, 0.77, 0.6, 0.5, 0.4, *[0.9] * 30]


@pytest.mark.parametrize(("name", "options"), [
    ("reduce_lr_on_plateau", {"patience": 1, "factor": 0.5, "cooldown": 1, "min_lr": 0.01}),
    ("greedy", {"patience": 1, "factor": 0.8, "cooldown": 1, "warmup": 2, "min_lr": 0.05, "max_lr": 0.5}),
    ("greedy", {"patience": 0, "min_lr": 0.25, "reset_start": 3}),
])  # fmt: skip
def test_what_measurements_move_moves_as_transformers_does(name, options):
    optimizer = optimizer_at(PEAK)
    scheduler = transformers.get_scheduler(name, optimizer, scheduler_specific_kwargs=options)
    rule = from_transformers(name, learning_rate=PEAK, scheduler_specific_kwargs=options, metric="loss")
    assert rule.metric == "loss"
    state = rule.initial()
    for count, loss in enumerate(LOSSES):
        scheduler.step(loss)
        state = rule.update(state, loss, count)
        assert rule.level(state) == optimizer.param_groups[0]["lr"]


# what cannot be said

GOOD = {"learning_rate": 1.0, "num_training_steps": 90}


@pytest.mark.parametrize(("name", "change", "said"), [
    ("cosin", {}, r"no scheduler of the name 'cosin'. Did you mean cosine\?"),
    (3, {}, "no scheduler of the name 3"),
    ({"lr": 1.0}, {}, r"needs a scheduler's name or a TrainingArguments"),
    ({"lr_scheduler_type": "cosine"}, {"warmup_ratio": 0.1}, "warmup_ratio: is said by the TrainingArguments"),
    ("cosine", {"learning_rate": None}, "learning_rate: is missing"),
    ("cosine", {"num_training_steps": None}, "num_training_steps: is missing"),
    ("cosine", {"num_warmup_steps": 1.5}, "num_warmup_steps: must be"),
    ("cosine", {"num_warmup_steps": 1, "warmup_ratio": 0.1}, "num_warmup_steps: and warmup_ratio say the same thing"),
    ("cosine", {"warmup_ratio": 3}, "warmup_ratio: must be a share from 0 to 1, got 3"),
    ("inverse_sqrt", {"num_training_steps": None, "warmup_ratio": 0.1}, "warmup_ratio: is a share of the run"),
    ("constant", {"num_warmup_steps": 5}, "num_warmup_steps: constant has none, and Transformers would ignore it"),
    ("cosine", {"scheduler_specific_kwargs": {"num_cycle": 1}}, "num_cycle: no argument of that name. Did you mean"),
    ("cosine", {"scheduler_specific_kwargs": [1]}, "scheduler_specific_kwargs: must be a mapping"),
    ("cosine_with_min_lr", {}, "min_lr: and min_lr_rate are not given"),
    ("cosine_with_min_lr", {"scheduler_specific_kwargs": {"min_lr": 0.1, "min_lr_rate": 0.1}}, "are both given"),
    ("polynomial", {"scheduler_specific_kwargs": {"lr_end": 2.0}}, r"lr_end: must be below the learning rate \(1\)"),
    ("polynomial", {"num_warmup_steps": 90}, "num_warmup_steps: leaves nothing to decay"),
    ("warmup_stable_decay", {}, "num_decay_steps: is missing"),
    (
        "warmup_stable_decay",
        {"num_training_steps": None, "scheduler_specific_kwargs": {"num_decay_steps": 3}},
        "num_stable_steps: and num_training_steps are both missing",
    ),
    (
        "warmup_stable_decay",
        {"num_warmup_steps": 50, "scheduler_specific_kwargs": {"num_decay_steps": 50}},
        r"num_decay_steps: and the warmup are longer than the run \(90\), got 50",
    ),
    ("greedy", {"scheduler_specific_kwargs": {"min_lr": [0.1, 0.2]}}, "min_lr: is one for each param group"),
])  # fmt: skip
def test_what_transformers_has_not_is_refused(name, change, said):
    given = {key: value for key, value in {**GOOD, **change}.items() if isinstance(name, str) or key in change}
    with pytest.raises(tm.ConversionError, match=said):
        from_transformers(name, **given)


def test_every_fault_is_told_at_once():
    with pytest.raises(tm.ConversionError, match="3 faults") as caught:
        from_transformers("cosine", learning_rate="fast", scheduler_specific_kwargs={"num_cycles": -1})
    assert [fault.path for fault in caught.value.faults] == ["learning_rate", "num_training_steps", "num_cycles"]
