"""Keras' schedules, live, as their configs, and as Keras saves them."""

import math
import os
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
schedules = pytest.importorskip("keras").optimizers.schedules

import tempomat as tm  # noqa: E402 - the backend is chosen before Keras is imported
from tempomat.convert import from_keras  # noqa: E402

COUNTS = 260

LIVE: dict[str, Any] = {
    "exponential": lambda: schedules.ExponentialDecay(0.1, 20, 0.9),
    "exponential in stairs": lambda: schedules.ExponentialDecay(0.1, 20, 0.5, staircase=True),
    "inverse time": lambda: schedules.InverseTimeDecay(0.1, 10, 0.5),
    "inverse time in stairs": lambda: schedules.InverseTimeDecay(0.1, 10, 0.5, staircase=True),
    "inverse time that does not decay": lambda: schedules.InverseTimeDecay(0.1, 10, 0.0),
    "polynomial": lambda: schedules.PolynomialDecay(0.1, 100, 0.01, power=2.0),
    "polynomial by default": lambda: schedules.PolynomialDecay(0.1, 100),
    "piecewise": lambda: schedules.PiecewiseConstantDecay([50, 120], [1.0, 0.5, 0.1]),
    "piecewise from 0": lambda: schedules.PiecewiseConstantDecay([0, 7.0], [1.0, 0.5, 0.1]),
    "cosine": lambda: schedules.CosineDecay(0.1, 100, alpha=0.1),
    "cosine with warmup": lambda: schedules.CosineDecay(0.01, 100, alpha=0.1, warmup_target=0.1, warmup_steps=20),
    "cosine with a target and no warmup": lambda: schedules.CosineDecay(0.01, 100, alpha=0.1, warmup_target=0.1),
    "restarts": lambda: schedules.CosineDecayRestarts(0.1, 20, alpha=0.01),
    "restarts of one length": lambda: schedules.CosineDecayRestarts(0.1, 25, t_mul=1.0, m_mul=0.8, alpha=0.2),
    "restarts of a fraction": lambda: schedules.CosineDecayRestarts(0.1, 33, t_mul=1.5, m_mul=0.5, alpha=0.1),
}


@pytest.mark.parametrize("name", LIVE)
def test_a_schedule_has_keras_value_at_every_step(name: str) -> None:
    theirs = LIVE[name]()
    expected = [float(theirs(step)) for step in range(COUNTS)]
    # Keras computes in float32: its rounding, and near the end of a cosine the cancellation of its bracket
    np.testing.assert_allclose(from_keras(theirs)(np.arange(COUNTS)), expected, rtol=2e-5, atol=0)


@pytest.mark.parametrize("name", LIVE)
def test_what_keras_saves_and_a_bare_config_read_as_the_object(name: str) -> None:
    theirs = LIVE[name]()
    ours = from_keras(theirs)
    assert from_keras(schedules.serialize(theirs)) == ours
    assert from_keras(theirs.get_config()) == ours
    assert from_keras({**theirs.get_config(), "name": "mine"}, kind=type(theirs).__name__) == ours


def test_a_restart_that_keras_logarithm_misses_has_its_peak() -> None:
    theirs = schedules.CosineDecayRestarts(0.1, 32, t_mul=1.5)
    assert float(theirs(80)) == pytest.approx(0.0, abs=1e-8)
    assert from_keras(theirs)(80) == 0.1


def test_in_float64_the_formulas_are_those_keras_documents() -> None:
    first, alpha, lower, length, longer = 0.1, 0.1, 0.5, 32, 2.0

    def restarts(step: int) -> float:
        cycle, behind = 0, float(step)
        while behind >= length * longer**cycle:
            behind -= length * longer**cycle
            cycle += 1
        wave = 0.5 * lower**cycle * (1 + math.cos(math.pi * behind / (length * longer**cycle)))
        return first * ((1 - alpha) * wave + alpha)

    config = {
        "initial_learning_rate": first,
        "first_decay_steps": length,
        "t_mul": longer,
        "m_mul": lower,
        "alpha": alpha,
    }
    ours = from_keras({"class_name": "CosineDecayRestarts", "config": config})
    np.testing.assert_allclose(ours(np.arange(500)), [restarts(step) for step in range(500)], rtol=1e-9, atol=0)

    config = {"initial_learning_rate": 0.0, "decay_steps": 90, "warmup_target": 0.1, "warmup_steps": 10, "alpha": 0.01}
    ours = from_keras({"class_name": "CosineDecay", "config": config})
    expected = [
        0.1 * step / 10 if step < 10 else 0.1 * (0.99 * 0.5 * (1 + math.cos(math.pi * (step - 10) / 90)) + 0.01)
        for step in range(101)
    ]
    np.testing.assert_allclose(ours(np.arange(101)), expected, rtol=1e-9, atol=0)


def test_a_number_is_a_constant() -> None:
    assert from_keras(1e-3) == tm.Constant(value=1e-3)


def test_a_schedule_of_the_users_own_is_refused() -> None:
    class Mine(schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return step

        def get_config(self) -> dict[str, Any]:
            return {}

    with pytest.raises(tm.ConversionError, match=r"Mine' is no schedule of Keras\. A schedule of your own cannot"):
        from_keras(Mine())


COSINE = {"class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 10}}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**COSINE, "class_name": "CosinDecay"}, "'CosinDecay' is no schedule of Keras. Did you mean CosineDecay"),
        ({"initial_learning_rate": 0.1}, "keras: the config does not say its class. Give kind="),
        ("CosineDecay", "keras: needs a LearningRateSchedule, its config or a number, got 'CosineDecay'"),
        (
            {"class_name": "PolynomialDecay", "config": {**COSINE["config"], "cycle": True}},
            "keras PolynomialDecay: cycle: begins ever longer cycles",
        ),
        ({**COSINE, "config": {"alpha": 0.1}}, r"(?s)2 faults.*learning_rate: is missing.*decay_steps: is missing"),
        ({**COSINE, "config": {**COSINE["config"], "alfa": 1}}, "alfa: no argument of that name. Did you mean alpha"),
        ({**COSINE, "config": {**COSINE["config"], "decay_steps": 2.5}}, "decay_steps: must be an integer count"),
        (
            {"class_name": "CosineDecayRestarts",
             "config": {"initial_learning_rate": 0.1, "first_decay_steps": 9, "t_mul": 0.5}},
            "keras CosineDecayRestarts: t_mul: must be at least 1",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(source: Any, message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_keras(source)
