"""Keras 3: the example for real on both backends, and the callback's clocks, logs, resumes and refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")  # read when Keras is first imported

import tempomat as tm
from tempomat.core import BindingError, StateError

keras = pytest.importorskip("keras")

from tempomat.integrations.keras import TempomatCallback  # noqa: E402 - after the skip

# Keras 3.15 still implements NumPy's old __array__
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

EXAMPLE = Path(__file__).parents[2] / "examples" / "hosts" / "keras_digits.py"
PLAN = tm.Plan(
    {
        "lr": tm.Linear(init_value=0.1, end_value=0.0, duration=20),
        "weight_decay": tm.Linear(init_value=0.0, end_value=0.5, duration=20),
        "betas[0]": tm.Linear(init_value=0.95, end_value=0.85, duration=20),
    }
)
ROWS = np.linspace(-1.0, 1.0, 80 * 3, dtype="float32").reshape(80, 3)


def model_of(optimizer):
    """A line, from the same start each time."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse")
    return model


def fit(model, *callbacks, **given):
    """Five updates an epoch."""
    return model.fit(
        ROWS, ROWS.sum(1, keepdims=True), batch_size=16, shuffle=False, verbose=0, callbacks=list(callbacks), **given
    ).history


class Seen(keras.callbacks.Callback):
    """What each update of an AdamW used."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        one = self.model.optimizer
        self.seen.append((float(one.learning_rate), one.weight_decay, one.beta_1))


def expected(counts):
    """The same by the plan."""
    float32 = (float(np.float32(PLAN["lr"](count))) for count in counts)
    return [(lr, PLAN["weight_decay"](t), PLAN["betas[0]"](t)) for lr, t in zip(float32, counts, strict=True)]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_example_trains_digits_at_the_plans_values(backend):
    done = subprocess.run(
        [sys.executable, "-c", _MAIN, str(EXAMPLE)], capture_output=True, text=True, check=False,
        env={**os.environ, "KERAS_BACKEND": backend},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    counts = np.arange(22, 133, 22)
    lr = tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup=13, total=132)
    assert seen["backend"] == backend
    assert seen["learning_rate"] == lr(counts).tolist()
    assert seen["weight_decay"] == pytest.approx(0.05 * counts / 132, rel=1e-12, abs=0)
    assert seen["val_accuracy"][-1] > 0.8


_MAIN = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("keras_digits", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
print(json.dumps(example.main()))
"""

JAX = """
import json, os, sys, warnings
os.environ["KERAS_BACKEND"] = "jax"
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
import test_hosts_keras as tests
from tempomat.core import BindingError
from tempomat.integrations.keras import TempomatCallback

weights = []
for eager in (False, True):
    model = tests.model_of(keras.optimizers.AdamW(1.0, weight_decay=0.1))
    model.compile(model.optimizer, loss="mse", run_eagerly=eager)
    path = f"{sys.argv[2]}/{eager}.keras"
    tests.fit(model, keras.callbacks.ModelCheckpoint(path), TempomatCallback(tests.PLAN), epochs=3)
    weights.append(np.concatenate([one.ravel() for one in model.get_weights()]).tolist())
    plain = type(model.optimizer.weight_decay).__name__, "get_config" in vars(model.optimizer)
loaded = keras.models.load_model(f"{sys.argv[2]}/False.keras")
config, count = loaded.optimizer.get_config(), len(loaded.optimizer.variables)
constant = tests.model_of(keras.optimizers.AdamW(1.0, weight_decay=0.1))
tests.fit(constant, TempomatCallback(tests.tm.Plan({"lr": tests.PLAN["lr"]})), epochs=3)
weights.append(np.concatenate([one.ravel() for one in constant.get_weights()]).tolist())
try:
    sgd = tests.model_of(keras.optimizers.SGD(0.1, momentum=0.9))
    tests.fit(sgd, TempomatCallback(tests.tm.Plan({"momentum": 0.5})))
except BindingError as error:
    refused = str(error)
print(json.dumps({"weights": weights, "plain": plain, "config": [config["weight_decay"], config["beta_1"]],
                  "count": count, "expected": len(model.optimizer.variables), "refused": refused}))
"""


def test_on_jax_compiled_training_sees_every_value_and_checkpoints_are_plain(tmp_path):
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-c", JAX, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout.splitlines()[-1])
    compiled, eager, others_fixed = run["weights"]
    np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=0)
    assert not np.allclose(compiled, others_fixed, rtol=1e-3, atol=0)
    assert run["plain"] == ["float", False]
    assert run["config"] == [PLAN["weight_decay"](15), PLAN["betas[0]"](15)]
    assert run["count"] == run["expected"]
    assert "JAX compiles momentum into the step" in run["refused"]


def test_every_update_uses_the_values_of_its_count_and_the_logs_have_them():
    model, callback, seen = model_of(keras.optimizers.AdamW(1.0)), TempomatCallback(PLAN), Seen()
    history = fit(model, callback, seen, epochs=5)
    assert seen.seen == expected(range(25))
    assert history["learning_rate"] == PLAN["lr"](np.arange(5, 26, 5)).tolist()
    assert history["weight_decay"] == PLAN["weight_decay"](np.arange(5, 26, 5)).tolist()
    assert history["beta_1"] == PLAN["betas[0]"](np.arange(5, 26, 5)).tolist()
    assert callback.values == {name: PLAN[name](25) for name in PLAN.schedules}


def test_a_restored_model_goes_on_where_it_was_with_a_new_callback(tmp_path):
    model, seen = model_of(keras.optimizers.AdamW(1.0)), Seen()
    fit(model, TempomatCallback(PLAN), epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    fit(loaded, TempomatCallback(PLAN), seen, epochs=4, initial_epoch=2)
    assert seen.seen == expected(range(10, 20))


def test_a_plan_on_epochs_changes_once_an_epoch():
    plan = tm.Plan({"lr": tm.PiecewiseConstant(values=[0.1, 0.01], boundaries=[2])}, clock="epochs")
    model = model_of(keras.optimizers.SGD(1.0))
    assert fit(model, TempomatCallback(plan), epochs=4)["learning_rate"] == [0.1, 0.1, 0.01, 0.01]
    callback = TempomatCallback(plan)
    fit(model, callback, epochs=4)
    with pytest.raises(BindingError, match=r"(?s)epochs are at 3, and Keras goes back to 0.*initial_epoch"):
        fit(model, callback, epochs=4)


def test_a_plateau_hears_the_validation_loss_at_each_epochs_end_and_its_state_is_saved():
    never = tm.Plateau(metric="val_loss", factor=0.5, patience=0, threshold=1e6, threshold_mode="abs")
    plan = tm.Plan({"lr": 0.5 * never})
    model, callback = model_of(keras.optimizers.SGD(1.0)), TempomatCallback(plan)
    data = (ROWS, ROWS.sum(1, keepdims=True))
    assert fit(model, callback, epochs=3, validation_data=data)["learning_rate"] == [0.5, 0.5, 0.25]
    state = json.loads(json.dumps(callback.state_dict()))
    resumed = TempomatCallback(plan)
    resumed.load_state_dict(state)
    assert fit(model, resumed, epochs=4, initial_epoch=3, validation_data=data)["learning_rate"] == [0.125]
    with pytest.raises(StateError, match="the plan has changed"):
        TempomatCallback(PLAN).load_state_dict(state)


def test_a_value_that_is_no_attribute_goes_to_its_target_or_is_read():
    given, plan = [], tm.Plan({"dropout": tm.Linear(init_value=0.5, end_value=0.0, duration=10), "temperature": 2.0})
    callback = TempomatCallback(plan, targets={"dropout": given.append, "temperature": None})
    fit(model_of(keras.optimizers.SGD(1.0)), callback, epochs=2)
    assert given == [plan["dropout"](count) for count in range(11)]
    assert callback.values == {"dropout": 0.0, "temperature": 2.0}


def test_momentum_moves_and_accumulated_updates_count_once():
    plan = tm.Plan({"lr": PLAN["lr"], "momentum": tm.Linear(init_value=0.9, end_value=0.5, duration=10)})
    model = model_of(keras.optimizers.SGD(1.0, momentum=0.1, gradient_accumulation_steps=5))
    history = fit(model, TempomatCallback(plan), epochs=4)
    assert history["learning_rate"] == PLAN["lr"](np.arange(1, 5)).tolist()
    assert history["momentum"] == plan["momentum"](np.arange(1, 5)).tolist()


def test_everything_that_does_not_fit_is_named_at_once():
    plan = tm.Plan({"encoder.lr": 0.1, "weigth_decay": 0.1, "momentum": 0.9, "lr": 0.1})
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    told = (
        r"4 faults\n  schedules.encoder.lr: names a group(?s:.)*"
        r"SGD has no weigth_decay. Did you mean weight_decay\?(?s:.)*"
        r"schedules.momentum: the optimizer was built without momentum(?s:.)*"
        r"schedules.lr: the optimizer's learning rate is a schedule or function of its own"
    )
    with pytest.raises(BindingError, match=told):
        fit(model_of(keras.optimizers.SGD(schedule)), TempomatCallback(plan))
    with pytest.raises(BindingError, match="the plan follows tokens, and Keras has optimizer_steps and epochs"):
        TempomatCallback(tm.Plan({"lr": tm.on("tokens", PLAN["lr"])}))


def test_an_update_that_loss_scaling_skips_does_not_count():
    inner = keras.optimizers.SGD(1.0)
    model = model_of(keras.optimizers.LossScaleOptimizer(inner, initial_scale=3e38))
    history = fit(model, TempomatCallback(tm.Plan({"lr": PLAN["lr"]})), epochs=4)
    counted = int(inner.iterations)
    assert 0 < counted < 20
    assert history["learning_rate"][-1] == PLAN["lr"](counted)
