"""Exports, each run by the library that it is for: what the host applies is the schedule."""

import copy
import csv
import io
import json
import os
import pickle
import subprocess
import sys
import textwrap

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import tempomat as tm
from tempomat.convert import to_csv, to_keras, to_optax, to_rllib, to_sb3, to_torch, to_transformers
from tempomat.core import BindingError, ConversionError, PlanError, ScheduleError, StateError

torch = pytest.importorskip("torch")

os.environ.setdefault("KERAS_BACKEND", "torch")  # read when Keras is first imported

LR = tm.warmup_cosine(peak_value=0.3, end_value=0.003, warmup=10, total=60)
PLATEAU = LR * tm.Plateau(factor=0.5, patience=1)
ROUNDING = 1e-15
"""A `LambdaLR` multiplies what was divided: two roundings of float64."""


def optimizer_of(*rates):
    """An optimizer with a named group for each learning rate."""
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(1))], "name": f"net{place}", "lr": lr}
        for place, lr in enumerate(rates)
    ]
    return torch.optim.SGD(groups, lr=1.0)


def applied(optimizer, scheduler, steps):
    """The learning rates of each of the next updates, as a list per update."""
    seen = []
    for _ in range(steps):
        seen.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return seen


# PyTorch


def test_a_lambda_lr_applies_the_schedule_whatever_each_group_started_at():
    optimizer = optimizer_of(1.0, 0.02, 7e-5)
    seen = applied(optimizer, to_torch(LR, optimizer), 70)
    np.testing.assert_allclose(seen, np.repeat(LR(np.arange(70))[:, None], 3, axis=1), rtol=ROUNDING, atol=0)


def test_a_plan_of_learning_rates_drives_each_group_by_its_entry_and_leaves_the_others():
    optimizer = optimizer_of(1.0, 0.5, 0.25)
    plan = tm.Plan({"net0.lr": LR, "net2.lr": tm.Linear(init_value=1.0, end_value=0.0, duration="50%")}, total=20)
    seen = np.array(applied(optimizer, to_torch(plan, optimizer), 30))
    np.testing.assert_allclose(seen[:, 0], LR(np.arange(30)), rtol=ROUNDING, atol=0)
    assert seen[:, 1].tolist() == [0.5] * 30
    assert seen[:, 2].tolist() == [max(1.0 - t / 10, 0.0) for t in range(30)]


def test_a_learning_rate_tensor_stays_one():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=torch.tensor(1.0))
    scheduler = to_torch(LR, optimizer)
    applied(optimizer, scheduler, 10)
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)
    assert float(optimizer.param_groups[0]["lr"]) == float(np.float32(0.3))


@pytest.mark.parametrize("first", ["optimizer", "scheduler"])
def test_a_lambda_lr_goes_on_from_a_saved_state_in_either_order_of_loading(tmp_path, first):
    optimizer = optimizer_of(1.0)
    scheduler = to_torch(LR, optimizer)
    applied(optimizer, scheduler, 23)
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    fresh = optimizer_of(0.5)
    if first == "optimizer":
        fresh.load_state_dict(state["optimizer"])
        resumed = to_torch(LR, fresh)
        resumed.load_state_dict(state["scheduler"])
    else:
        resumed = to_torch(LR, fresh)
        resumed.load_state_dict(state["scheduler"])
        fresh.load_state_dict(state["optimizer"])
    assert applied(fresh, resumed, 40) == applied(optimizer, scheduler, 40)


def test_the_state_of_another_schedule_or_of_other_groups_is_refused_and_nothing_is_changed():
    state = to_torch(LR, optimizer_of(1.0)).state_dict()
    other = to_torch(LR * 2, optimizer_of(1.0))
    before = other.state_dict()
    with pytest.raises(StateError, match="belongs to another schedule than Product"):
        other.load_state_dict(state)
    with pytest.raises(StateError, match="the state has 1 groups, and the optimizer 2"):
        to_torch(LR, optimizer_of(1.0, 1.0)).load_state_dict(state)
    assert other.state_dict() == before


def test_a_lambda_lr_is_pickled_and_copied_with_its_schedule():
    scheduler = to_torch(LR, optimizer_of(0.5))
    applied(scheduler.optimizer, scheduler, 5)
    for twin in (pickle.loads(pickle.dumps(scheduler)), copy.deepcopy(scheduler)):
        applied(twin.optimizer, twin, 3)
        assert twin.get_last_lr() == pytest.approx([LR(8)], rel=ROUNDING, abs=0)
    assert scheduler.get_last_lr() == pytest.approx([LR(5)], rel=ROUNDING, abs=0)


def test_a_group_that_starts_at_zero_is_refused_with_its_place():
    with pytest.raises(ConversionError, match=r"2 faults\n  param_groups\[0\]: starts at 0.*\n  param_groups\[2\]"):
        to_torch(LR, optimizer_of(0.0, 1.0, 0.0))


def test_what_is_no_learning_rate_is_refused_and_an_unknown_group_too():
    plan = tm.Plan({"lr": LR, "weight_decay": 0.1, "momentum": 0.9})
    with pytest.raises(ConversionError, match=r"(?s)schedules.weight_decay: is no learning rate.*schedules.momentum"):
        to_torch(plan, optimizer_of(1.0))
    with pytest.raises(BindingError, match="no param group is named 'net7'"):
        to_torch(tm.Plan({"net7.lr": LR}), optimizer_of(1.0))


def test_a_negative_learning_rate_is_refused_before_it_is_applied():
    optimizer = optimizer_of(1.0)
    scheduler = to_torch(tm.Linear(init_value=1.0, end_value=-1.0, duration=4), optimizer)
    with pytest.raises(ScheduleError, match=r"lr comes to -0.5 at count 3, and must be at least 0"):
        applied(optimizer, scheduler, 4)


# what every export refuses

EXPORTS = {
    "to_torch": lambda tree: to_torch(tree, optimizer_of(1.0)),
    "to_transformers": lambda tree: to_transformers(tree, optimizer_of(1.0)),
    "to_optax": to_optax,
    "to_rllib": lambda tree: to_rllib(tree, 100),
    "to_sb3": lambda tree: to_sb3(tree, 100),
    "to_csv": lambda tree: to_csv(tree, total=100),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_a_controller_is_refused_with_the_ways_that_there_are(export):
    with pytest.raises(ConversionError, match=r"measurements \(Plateau\).*tree.given\(\[1.0\]\).*simulate.*replay"):
        EXPORTS[export](PLATEAU)
    EXPORTS[export](PLATEAU.given([0.5]))


@pytest.mark.parametrize("export", [one for one in EXPORTS if one != "to_csv"])
def test_a_clock_that_the_host_does_not_count_is_refused(export):
    with pytest.raises(
        ConversionError, match=r"follows tokens, and there only (optimizer_steps|env_steps) are counted"
    ):
        EXPORTS[export](tm.on("tokens", LR))


@pytest.mark.parametrize("export", ["to_torch", "to_optax"])
def test_a_tie_to_the_clock_that_the_host_counts_is_no_obstacle(export):
    EXPORTS[export](tm.on("optimizer_steps", LR) * tm.Linear(init_value=1.0, end_value=0.5, duration=10))


def test_a_length_that_needs_the_run_asks_for_it():
    with pytest.raises(ScheduleError, match="Give the plan a `total`"):
        to_optax(tm.Linear(init_value=1.0, end_value=0.0, duration="50%"))
    with pytest.raises(ConversionError, match=r"takes one schedule, got a plan of 2 \(lr, momentum\). Say which"):
        to_optax(tm.Plan({"lr": LR, "momentum": 0.9}))
    with pytest.raises(ConversionError, match="needs a schedule or a plan of one, got float"):
        to_optax(0.1)  # pyright: ignore[reportArgumentType]


# optax

OPTAX = """
import json, sys
import jax, jax.numpy as jnp, numpy as np, optax
jax.config.update("jax_enable_x64", sys.argv[1] == "64")
import tempomat as tm
from tempomat.convert import to_optax
LR = tm.warmup_cosine(peak_value=0.3, end_value=0.003, warmup="10%", total="100%")
schedule = to_optax(LR, total=60)
optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=schedule)
params = {"w": jnp.ones(3)}
state = optimizer.init(params)

@jax.jit
def update(params, state):
    updates, state = optimizer.update({"w": jnp.ones(3)}, state, params)
    return optax.apply_updates(params, updates), state

seen, moved = [], []
for _ in range(70):
    before = params["w"][0]
    params, state = update(params, state)
    seen.append(float(state.hyperparams["learning_rate"]))
    moved.append(float(before - params["w"][0]))
plain = optax.adamw(schedule)
plain.update({"w": jnp.ones(3)}, plain.init(params), params)
print(json.dumps({"seen": seen, "moved": moved, "traces": update._cache_size(), "type": str(params["w"].dtype)}))
"""


@pytest.mark.parametrize("bits", [32, 64])
def test_optax_trains_under_jit_at_the_schedules_values(bits):
    pytest.importorskip("optax")
    done = subprocess.run([sys.executable, "-c", OPTAX, str(bits)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    expected = tm.warmup_cosine(peak_value=0.3, end_value=0.003, warmup=6, total=60)(np.arange(70))
    # JAX evaluates the formula in its own type; near the end of the cosine a float32 loses digits to the subtraction
    np.testing.assert_allclose(run["seen"], expected, rtol=1e-5 if bits == 32 else 1e-13, atol=0)
    np.testing.assert_allclose(run["moved"][1:], expected[1:], rtol=1e-3 if bits == 32 else 1e-10, atol=0)
    assert run["traces"] == 1
    assert run["type"] == f"float{bits}"


# Keras

KERAS = """
import json, os, sys, tempfile, warnings
os.environ["KERAS_BACKEND"] = sys.argv[1]
warnings.simplefilter("ignore")
import keras, numpy as np
import tempomat as tm
from tempomat.convert import to_keras
LR = tm.warmup_cosine(peak_value=0.3, end_value=0.003, warmup=10, total=60)
x = np.random.default_rng(0).normal(size=(80, 3)).astype("float32")
y = x.sum(1, keepdims=True)

class Seen(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        rates.append(float(self.model.optimizer.learning_rate))

rates = []
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(to_keras(LR)), loss="mse")
model.fit(x, y, batch_size=16, epochs=8, verbose=0, callbacks=[Seen()])
with tempfile.TemporaryDirectory() as folder:
    model.save(folder + "/model.keras")
    loaded = keras.models.load_model(folder + "/model.keras")
loaded.fit(x, y, batch_size=16, epochs=6, verbose=0, callbacks=[Seen()])
rate = loaded.optimizer._learning_rate
config = keras.saving.serialize_keras_object(rate)
print(json.dumps({"rates": rates, "equal": rate.schedule == LR, "config": config, "called": float(rate(10))}))
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_keras_trains_saves_loads_and_goes_on_at_the_schedules_values(backend):
    pytest.importorskip("keras")
    done = subprocess.run([sys.executable, "-c", KERAS, backend], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    # float32, as the weights; the count after an epoch of five updates is the next update's
    np.testing.assert_allclose(run["rates"], LR(np.arange(5, 75, 5)), rtol=1e-5, atol=0)
    assert run["equal"]
    assert run["called"] == float(np.float32(0.3))
    assert run["config"]["registered_name"] == "tempomat>PlannedSchedule"
    assert run["config"]["config"]["schedule"]["type"] == "warmup_cosine"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_keras_config_is_plain_data_and_what_is_none_is_refused():
    pytest.importorskip("keras")
    from tempomat.integrations.keras import PlannedSchedule

    rate = to_keras(tm.Linear(init_value=1.0, end_value=0.0, duration="10%"), total=100, name="mine")
    config = json.loads(json.dumps(rate.get_config()))
    assert config == {
        "schedule": {"type": "linear", "init_value": 1.0, "end_value": 0.0, "duration": 10},
        "name": "mine",
    }
    again = PlannedSchedule.from_config(config)
    assert (again.schedule, again.name) == (rate.schedule, "mine")
    with pytest.raises(PlanError, match=r"no schedule of the name 'linaer'. Did you mean linear"):
        PlannedSchedule.from_config({"schedule": {**config["schedule"], "type": "linaer"}})
    with pytest.raises(ConversionError, match="without controllers"):
        PlannedSchedule(PLATEAU)
    with pytest.raises(ConversionError, match="Plateau"):
        to_keras(PLATEAU)


# Transformers


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_logs_and_applies_every_entry_and_resumes(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    plan = tm.Plan(
        {
            "lr": tm.warmup_cosine(peak_value=0.1, end_value=0.001, warmup="25%"),
            "weight_decay": tm.Linear(init_value=0.0, end_value=0.5, duration="100%"),
        }
    )

    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(2, 1)

        def forward(self, x, labels):
            out = self.line(x)
            return {"loss": ((out - labels) ** 2).mean(), "logits": out}

    class Seen(transformers.TrainerCallback):
        def on_optimizer_step(self, args, state, control, optimizer, **_):
            seen.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]))

    def trainer_of(folder):
        torch.manual_seed(0)
        model = Line()
        rows = [{"x": torch.tensor([i / 16, 1.0]), "labels": torch.tensor([i / 8])} for i in range(16)]
        pair = to_transformers(plan, torch.optim.AdamW(model.parameters(), lr=9.0), num_training_steps=12)
        args = transformers.TrainingArguments(
            str(folder), max_steps=12, per_device_train_batch_size=4, logging_steps=1, save_steps=5,
            report_to=[], disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        return transformers.Trainer(model, args, train_dataset=rows, optimizers=pair, callbacks=[Seen()])

    resolved = plan.resolve(total=12)
    seen = []
    trainer = trainer_of(tmp_path / "run")
    trainer.train()
    assert seen == [(resolved["lr"](t), resolved["weight_decay"](t)) for t in range(12)]
    logged = [row["learning_rate"] for row in trainer.state.log_history if "learning_rate" in row]
    assert logged == [resolved["lr"](t) for t in range(12)]
    whole, seen = seen, []
    trainer_of(tmp_path / "run").train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-5"))
    assert seen == whole[5:]


def test_the_trainers_pair_names_every_entry_that_it_could_not_feed():
    plan = tm.Plan({"lr": PLATEAU, "weight_decay": tm.on("tokens", LR)}, clock="epochs")
    with pytest.raises(ConversionError, match=r"3 faults(?s:.)*schedules.lr: is moved(?s:.)*schedules.weight_decay: "):
        to_transformers(plan, optimizer_of(1.0))


# RLlib


def interpolated(knots, count):
    """RLlib's rule: lines between the points, the last value after them."""
    times, values = zip(*knots, strict=True)
    return np.interp(count, times, values)


CURVES = {
    "cosine to zero": (tm.Cosine(init_value=1e-3, end_value=0.0, duration=100_000), 100_000),
    "warmup": (tm.warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup=1_000, total=50_000), 60_000),
    "steps": (tm.StepDecay(init_value=1.0, factor=0.1, every=300), 2_000),
    "through zero": (tm.Linear(init_value=1.0, end_value=-1.0, duration=1_001), 2_000),
    "restarts": (tm.Cosine(init_value=1.0, end_value=0.1, duration=100).repeat(100), 750),
    "inverse square root": (tm.InverseSqrt(init_value=1.0, timescale=10), 100_000),
}


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("curve", CURVES)
def test_the_points_are_within_tolerance_of_the_schedule_at_every_count(curve, tolerance):
    schedule, total = CURVES[curve]
    knots = to_rllib(schedule, total, rel_tolerance=tolerance)
    assert knots[0] == [0, schedule(0)]
    assert knots[-1] == [total, schedule(total)]
    counts = np.arange(total + 1)
    np.testing.assert_allclose(interpolated(knots, counts), schedule(counts), rtol=tolerance * 1.000001, atol=0)
    assert all(type(count) is int and type(value) is float for count, value in knots)


def test_straight_parts_need_two_points_and_curves_few():
    assert to_rllib(tm.Constant(value=0.2), 100) == [[0, 0.2], [100, 0.2]]
    assert to_rllib(CURVES["through zero"][0], 2_000) == [[0, 1.0], [1_001, -1.0], [2_000, -1.0]]
    assert len(to_rllib(tm.Cosine(init_value=1.0, end_value=0.1, duration=10**6), 10**6)) < 40
    assert len(to_rllib(CURVES["steps"][0], 2_000)) == 14


@hypothesis.given(st.integers(1, 400), st.floats(0.05, 1.0), st.integers(1, 60), st.sampled_from([1e-1, 1e-3]))
@hypothesis.settings(max_examples=30)
def test_no_count_is_missed_however_the_curve_jumps(total, low, every, tolerance):
    schedule = tm.Cosine(init_value=1.0, end_value=low, duration=every).repeat(every) * tm.StepDecay(
        init_value=1.0, factor=0.7, every=37
    )
    counts = np.arange(total + 1)
    knots = to_rllib(schedule, total, rel_tolerance=tolerance)
    np.testing.assert_allclose(interpolated(knots, counts), schedule(counts), rtol=tolerance * 1.000001, atol=0)


def test_a_curve_of_too_many_points_is_refused_with_the_number():
    with pytest.raises(ConversionError, match=r"needs more than 10_000 points to stay within 0.001 of every value"):
        to_rllib(tm.Linear(init_value=1.0, end_value=2.0, duration=2).repeat(2), 30_000)
    with pytest.raises(ConversionError, match=r"`rel_tolerance` must be at least 1e-12 and below 1, got 0.0"):
        to_rllib(LR, 100, rel_tolerance=0.0)


def test_rllibs_own_scheduler_reads_the_points():
    scheduler = pytest.importorskip("ray.rllib.utils.schedules.scheduler")
    schedule, total = CURVES["warmup"]
    knots = to_rllib(schedule, total)
    scheduler.Scheduler.validate(fixed_value_or_schedule=knots, setting_name="lr", description="learning rate")
    theirs = scheduler.Scheduler(fixed_value_or_schedule=knots)
    counts = np.linspace(0, total + 1_000, 97).astype(int)
    np.testing.assert_allclose(
        [float(theirs.update(int(count))) for count in counts], schedule(counts), rtol=1.001e-3, atol=0
    )


# Stable-Baselines3


def test_ppo_trains_at_the_schedules_values_and_is_saved_and_loaded(tmp_path):
    sb3 = pytest.importorskip("stable_baselines3")
    rate = to_sb3(tm.Linear(init_value=1e-3, end_value=1e-4, duration="100%"), 256)
    clip = to_sb3(tm.PiecewiseConstant(values=[0.3, 0.1], boundaries=["50%"]), 256)
    model = sb3.PPO("MlpPolicy", "CartPole-v1", rate, n_steps=64, batch_size=32, n_epochs=1, clip_range=clip, seed=0)
    seen = []

    class Seen(sb3.common.callbacks.BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            seen.append(self.model.policy.optimizer.param_groups[0]["lr"])

    model.learn(256, callback=Seen())
    # each rollout of 64 steps begins with what the update before it used; the first one with the value at 0
    assert seen == [rate.schedule(count) for count in (0, 64, 128, 192)]
    assert [model.clip_range(1.0), model.clip_range(0.5)] == [0.3, 0.1]
    model.save(tmp_path / "model.zip")
    loaded = sb3.PPO.load(tmp_path / "model.zip")
    assert loaded.lr_schedule(0.5) == rate(0.5) == rate.schedule(128)


@pytest.mark.parametrize("total", [1, 7, 1_000_003, 10**9 + 7])
def test_progress_is_turned_back_into_the_very_count(total):
    rate = to_sb3(tm.Linear(init_value=0.0, end_value=1.0, duration=2**40), total)
    for count in {0, 1, total // 3, total - 1, total}:
        assert rate(1.0 - count / total) == rate.schedule(count)
    assert rate(-0.2) == rate.schedule(total)
    assert rate(1.5) == rate.schedule(0)


def test_a_total_that_is_no_count_is_refused():
    for wrong in (0, "20 epochs", 1.5):
        with pytest.raises((ConversionError, ScheduleError), match=r"total_timesteps|to_sb3"):
            to_sb3(LR, wrong)  # pyright: ignore[reportArgumentType]
    assert pickle.loads(pickle.dumps(to_sb3(LR, 60)))(0.5) == LR(30)


# CSV

PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=0.3, end_value=0.003, warmup="10%"),
        "noise": tm.on("frames", tm.Linear(init_value=1.0, end_value=0.1, duration="200 frames")),
    },
    total=100,
    rates={"env_steps_per_optimizer_step": 1, "action_repeat": 2},
)


def read(text):
    """A table's columns by name, each number read back."""
    names, *rows = csv.reader(io.StringIO(text))
    return {name: [float(row[place]) for row in rows] for place, name in enumerate(names)}


def test_the_table_has_every_entry_exactly_at_every_count(tmp_path):
    text = to_csv(PLAN, tmp_path / "plan.csv")
    assert (tmp_path / "plan.csv").read_bytes() == text.encode()
    table = read(text)
    assert list(table) == ["optimizer_steps", "lr", "noise"]
    assert table["optimizer_steps"] == list(range(101))
    assert table["lr"] == PLAN.resolve()["lr"](np.arange(101)).tolist()
    assert table["noise"] == [PLAN.resolve()["noise"](2 * t) for t in range(101)]


def test_the_table_may_have_fewer_lines_and_always_the_ends():
    assert read(to_csv(PLAN, every=30))["optimizer_steps"] == [0, 30, 60, 90, 100]
    assert read(to_csv(PLAN, points=5))["optimizer_steps"] == [0, 25, 50, 75, 100]
    assert read(to_csv(PLAN, points=5_000))["optimizer_steps"] == list(range(101))
    assert read(to_csv(PLAN, total=40, every=40))["lr"] == [0.0, 0.003]


def test_a_table_that_cannot_be_made_says_why(tmp_path):
    for given, message in [
        ({"points": 3, "every": 2}, "takes `points` or `every`, not both"),
        ({"points": 1}, "points must be at least 2, got 1"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"total": 10**12}, r"would have 1_000_000_000_001 lines"),
    ]:
        with pytest.raises(ConversionError, match=message):
            to_csv(PLAN, **given)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConversionError, match="total: no total is given"):
        to_csv(tm.Plan({"lr": 1.0}))
    two = tm.Plan({"lr": PLATEAU, "batch": tm.Linear(init_value=1, end_value=2, duration="2 epochs")})
    with pytest.raises(ConversionError, match=r"3 faults(?s:.)*schedules.lr: is moved(?s:.)*schedules.batch.duration"):
        to_csv(two)
    with pytest.raises(ConversionError, match="cannot be written: No such file or directory"):
        to_csv(PLAN, tmp_path / "missing" / "plan.csv")


def test_a_clock_that_nothing_converts_is_named():
    with pytest.raises(ConversionError, match=r"to_csv: schedules.noise: optimizer_steps cannot be turned into frames"):
        to_csv(tm.Plan({"noise": tm.on("frames", LR)}, total=10))


def test_importing_the_exports_imports_no_framework():
    code = textwrap.dedent("""
        import sys
        import tempomat.convert.export
        found = [one for one in ("torch", "jax", "keras", "optax", "transformers", "ray") if one in sys.modules]
        assert not found, found
    """)
    subprocess.run([sys.executable, "-c", code], check=True)
