"""optax under a plan: handwritten digits, trained twice.

First with everything compiled into the update, `planned`; then with the lr halved whenever the validation loss stalls,
which no compiled schedule can do, by a `Driver`.

Usage: python examples/hosts/optax_digits.py
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import tempomat as tm
from tempomat.integrations.optax import Driver, planned

STEPS, BATCH, EVERY = 200, 64, 20
PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup="10%"),
        "weight_decay": tm.Linear(init_value=0.0, end_value=0.05, duration="100%"),
        "betas[0]": tm.PiecewiseLinear(values=[0.95, 0.85, 0.95], boundaries=["0%", "10%", "100%"]),
    },
    total=STEPS,
)
REACTIVE = tm.Plan({"lr": tm.Plateau(metric="val_loss", factor=0.5, patience=0, threshold=0.1, init_value=2e-2)})
"""Impatient, so that a run of seconds shows something."""


def digits() -> tuple[jax.Array, jax.Array]:
    """1 797 pictures of 64 pixels, and their labels."""
    images, labels = load_digits(return_X_y=True)
    return jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels, jnp.int32)


def scores(params: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """A net with one hidden layer."""
    return jax.nn.relu(images @ params["w1"]) @ params["w2"]


def loss_of(params: dict[str, jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean cross-entropy."""
    return optax.softmax_cross_entropy_with_integer_labels(scores(params, images), labels).mean()


def train(optimizer: Any, driver: Driver | None = None) -> dict[str, Any]:
    """Train for `STEPS` updates and say what was applied; a driver writes values between them."""
    images, labels = digits()
    random = np.random.default_rng(0)
    params = {
        "w1": jnp.asarray(random.normal(0, 0.1, (64, 64)), jnp.float32),
        "w2": jnp.asarray(random.normal(0, 0.1, (64, 10)), jnp.float32),
    }
    state = optimizer.init(params)

    traces: list[int] = []

    @jax.jit
    def update(params: Any, state: Any, images: jax.Array, labels: jax.Array) -> Any:
        traces.append(1)  # runs only while JAX traces
        updates, state = optimizer.update(jax.grad(loss_of)(params, images, labels), state, params)
        return optax.apply_updates(params, updates), state

    applied: dict[str, list[float]] = {name: [] for name in state.hyperparams}
    for step in range(STEPS):
        rows = random.integers(0, 1408, BATCH)
        params, state = update(params, state, images[rows], labels[rows])
        for name, value in state.hyperparams.items():
            applied[name].append(float(value))
        if driver is not None:
            state = driver.step(state)
            if step % EVERY == EVERY - 1:
                state = driver.observe(state, val_loss=loss_of(params, images[1408:], labels[1408:]))
    accuracy = float((scores(params, images[1408:]).argmax(1) == labels[1408:]).mean())
    return {"applied": applied, "accuracy": accuracy, "traces": len(traces)}


def main() -> dict[str, dict[str, Any]]:
    """Both runs."""
    driver = Driver(REACTIVE)
    reactive = train(driver.optimizer(optax.adamw, weight_decay=1e-2), driver)
    return {"planned": train(planned(optax.adamw, PLAN)), "reactive": {**reactive, "events": driver.events}}


if __name__ == "__main__":
    for kind, run in main().items():
        lr = run["applied"]["learning_rate"]
        print(f"{kind}: lr {lr[0]:.3g} -> {lr[STEPS // 10]:.3g} -> {lr[-1]:.3g}, test accuracy {run['accuracy']:.1%}")
        for event in run.get("events", []):
            print(f"  at {event['counts']}: val_loss {event['observation']:.3f}, lr {event['level']:.3g}")
