"""Keras 3 under a plan: handwritten digits; lr, weight decay and Adam's first beta by schedule, on PyTorch or JAX.

Usage: python examples/hosts/keras_digits.py        (KERAS_BACKEND=jax for JAX)
"""

import os
from typing import Any, cast

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_digits

import tempomat as tm
from tempomat.integrations.keras import TempomatCallback

EPOCHS, BATCH = 6, 64
PLAN = tm.Plan(
    {
        "lr": tm.warmup_cosine(peak_value=1e-2, end_value=1e-4, warmup="10%"),
        "weight_decay": tm.Linear(init_value=0.0, end_value=0.05, duration="100%"),
        "betas[0]": tm.PiecewiseLinear(values=[0.95, 0.85, 0.95], boundaries=["0%", "10%", "100%"]),
    },
    total=f"{EPOCHS} epochs",
)


def main() -> dict[str, Any]:
    """Train, and give Keras' history with the test accuracy."""
    keras.utils.set_random_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    model = keras.Sequential(
        [keras.layers.Input((64,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1.0), loss=loss, metrics=["accuracy"])
    steps = -(-1408 // BATCH)
    history: Any = model.fit(
        images[:1408],
        labels[:1408],
        validation_data=(images[1408:], labels[1408:]),
        batch_size=BATCH,
        epochs=EPOCHS,
        callbacks=[TempomatCallback(PLAN, steps_per_epoch=steps)],
        verbose=cast(Any, 0),  # Keras' annotation has only its default
    )
    return {**history.history, "steps": EPOCHS * steps, "backend": keras.backend.backend()}


if __name__ == "__main__":
    seen = main()
    names = ("learning_rate", "weight_decay", "beta_1", "loss", "val_accuracy")
    print(f"{seen['backend']}, {seen['steps']} updates; at each epoch's end:")
    print("".join(f"{name:>15}" for name in names))
    for row in zip(*(seen[name] for name in names), strict=True):
        print("".join(f"{value:15.5g}" for value in row))
