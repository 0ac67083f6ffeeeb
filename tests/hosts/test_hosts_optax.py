"""optax: the example for real, and what the update compiles against what a driver writes between steps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.core import BindingError, ConversionError, StateError

optax = pytest.importorskip("optax")
jnp = pytest.importorskip("jax.numpy")

from tempomat.integrations.optax import Driver, planned  # noqa: E402 - after the skip

PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=0.1, end_value=0.001, warmup=4, total=20),
        "betas[0]": tm.Linear(init_value=0.95, end_value=0.85, duration=10),
        "weight_decay": tm.Linear(init_value=0.0, end_value=0.5, duration=20),
        "batch_size": 32,
    }
)
PLATEAU = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.5, duration=10) * tm.Plateau(factor=0.5, patience=0)})
FLOAT32 = 2e-7
"""The values are float32 in the state."""


def run(optimizer, steps, params=None, between=lambda state: state):
    """The hyperparameters of each update, and the parameters and state after them."""
    params = {"w": jnp.ones(3)} if params is None else params
    state, seen = optimizer.init(params), []
    for _ in range(steps):
        updates, state = optimizer.update({"w": jnp.ones_like(params["w"])}, state, params)
        params = optax.apply_updates(params, updates)
        seen.append({name: float(value) for name, value in state.hyperparams.items()})
        state = between(state)
    return seen, params, state


def test_the_example_trains_digits_at_the_plans_values_and_on_what_it_measures():
    example = Path(__file__).parents[2] / "examples" / "hosts" / "optax_digits.py"
    code = (
        "import importlib.util, json; "
        f"spec = importlib.util.spec_from_file_location('optax_digits', {str(example)!r}); "
        "example = importlib.util.module_from_spec(spec); spec.loader.exec_module(example); "
        "print(json.dumps(example.main()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    lr = tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup=20, total=200)(np.arange(200))
    np.testing.assert_allclose(seen["planned"]["applied"]["learning_rate"], lr, rtol=1e-5, atol=0)
    assert seen["planned"]["accuracy"] > 0.85
    assert seen["planned"]["traces"] == seen["reactive"]["traces"] == 1
    decisions = seen["reactive"]["events"]
    assert len(decisions) >= 3
    rates = seen["reactive"]["applied"]["learning_rate"]
    for event in decisions:
        if event["counts"]["optimizer_steps"] < 200:
            assert rates[event["counts"]["optimizer_steps"]] == float(np.float32(event["level"]))


def test_every_entry_goes_to_its_parameter_and_what_the_loop_reads_is_left_to_it():
    seen, _, _ = run(planned(optax.adamw, PLAN, b2=0.99), 25)
    for name, parameter in {"lr": "learning_rate", "betas[0]": "b1", "weight_decay": "weight_decay"}.items():
        applied = [one[parameter] for one in seen]
        np.testing.assert_allclose(applied, PLAN[name](np.arange(25)), rtol=1e-5, atol=0)
    assert {one["b2"] for one in seen} == {float(np.float32(0.99))}


def test_the_updates_are_those_of_optax_at_the_same_values():
    _, ours, _ = run(planned(optax.sgd, tm.Plan({"lr": PLAN["lr"]})), 12)
    plain = optax.sgd(lambda count: PLAN["lr"](count))
    params = {"w": jnp.ones(3)}
    state = plain.init(params)
    for _ in range(12):
        updates, state = plain.update({"w": jnp.ones(3)}, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(ours["w"], params["w"], rtol=FLOAT32, atol=0)


def test_a_second_beta_keeps_its_digits_beside_parameters_of_bfloat16():
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    seen, _, _ = run(planned(optax.adamw, PLAN, b2=0.999), 1, params)
    assert seen[0]["b2"] == float(np.float32(0.999))
    driver = Driver(tm.Plan({"lr": 0.1, "betas[1]": 0.999}))
    seen, _, _ = run(driver.optimizer(optax.adamw), 1, params)
    assert seen[0]["b2"] == float(np.float32(0.999))


def test_an_entry_that_fits_no_parameter_is_refused_with_the_names():
    plan = tm.Plan({"lr": 0.1, "weight_decya": 0.1, "encoder.lr": 0.2})
    with pytest.raises(BindingError, match=r"2 faults(?s:.)*Did you mean weight_decay(?s:.)*optax.partition"):
        planned(optax.adamw, plan)
    with pytest.raises(BindingError, match="weight_decay is given as a fixed value too"):
        planned(optax.adamw, PLAN, weight_decay=0.1)
    with pytest.raises(BindingError, match="sgd has no parameter b1"):
        Driver(PLAN).optimizer(optax.sgd)


def test_what_cannot_be_compiled_is_sent_to_the_driver():
    plan = tm.Plan({"lr": PLATEAU["lr"], "weight_decay": tm.on("tokens", PLAN["lr"])})
    with pytest.raises(ConversionError, match=r"(?s)2 faults.*Plateau.*Driver.*follows tokens.*Driver"):
        planned(optax.adamw, plan)
    with pytest.raises(ConversionError, match="clock: is epochs, and optax counts optimizer_steps"):
        planned(optax.adamw, tm.Plan({"lr": PLAN["lr"]}, clock="epochs"))


def test_a_driver_writes_the_same_values_as_the_compiled_schedule():
    driver = Driver(PLAN)
    written, params, _ = run(driver.optimizer(optax.adamw, b2=0.99), 25, between=driver.step)
    compiled, same, _ = run(planned(optax.adamw, PLAN, b2=0.99), 25)
    for one, other in zip(written, compiled, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=0)
    np.testing.assert_allclose(params["w"], same["w"], rtol=1e-5, atol=0)
    assert driver.counts == {"optimizer_steps": 25}


def test_a_driver_hears_measurements_and_follows_other_clocks():
    decay = tm.on("tokens", tm.Linear(init_value=0.0, end_value=1.0, duration=100))
    plan = tm.Plan({"lr": PLATEAU["lr"], "weight_decay": decay})
    driver = Driver(plan)
    optimizer = driver.optimizer(optax.adamw)
    state: Any = optimizer.init({"w": jnp.ones(3)})
    assert float(state.hyperparams["learning_rate"]) == 1.0
    state = driver.step(state, val_loss=1.0)
    state = driver.step(driver.observe(state, val_loss=2.0))
    state = driver.advance(state, tokens=25)
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(0.9 * 0.5, rel=FLOAT32, abs=0)
    assert float(state.hyperparams["weight_decay"]) == 0.25
    assert [event["level"] for event in driver.events] == [0.5]
    assert driver.values == {"lr": 0.45, "weight_decay": 0.25}


def test_a_driver_reaches_hyperparameters_inside_a_chain_and_refuses_a_state_that_has_none():
    driver = Driver(tm.Plan({"lr": PLAN["lr"]}))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), driver.optimizer(optax.sgd))
    state = driver.step(optimizer.init({"w": jnp.ones(3)}))
    assert float(state[1].hyperparams["learning_rate"]) == pytest.approx(PLAN["lr"](1), rel=FLOAT32, abs=0)
    with pytest.raises(BindingError, match="the state has no hyperparams to write"):
        driver.step(optax.sgd(0.1).init({"w": jnp.ones(3)}))


def test_a_driver_goes_on_from_its_saved_state_and_refuses_another_plans():
    driver = Driver(PLATEAU)
    state = driver.optimizer(optax.sgd).init({"w": jnp.ones(3)})
    for loss in (1.0, 2.0, 0.5):
        state = driver.step(state, val_loss=loss)
    saved = json.loads(json.dumps(driver.state_dict()))
    fresh = Driver(PLATEAU)
    start = fresh.optimizer(optax.sgd).init({"w": jnp.ones(3)})
    fresh.load_state_dict(saved)
    assert fresh.write(start).hyperparams == state.hyperparams
    assert fresh.step(start, val_loss=3.0).hyperparams == driver.step(state, val_loss=3.0).hyperparams
    with pytest.raises(StateError, match="the plan has changed"):
        Driver(PLAN).load_state_dict(saved)
