"""Products of numbers that somebody wrote as decimals come out as they would write them."""

import math
from typing import Any

import pytest

import tempomat as tm
from tempomat.convert import (
    from_composer,
    from_deepspeed,
    from_keras,
    from_optax,
    from_sb3,
    from_timm,
    from_torch_args,
    from_transformers,
)
from tempomat.convert.arguments import product, quotient
from tempomat.convert.pieces import drops


def test_products_and_quotients_are_those_of_the_decimals() -> None:
    assert 6e-4 * 0.1 == 5.9999999999999995e-05
    assert (product(6e-4, 0.1), product(0.1, 0.1, 0.1), product(3, 0.1)) == (6e-5, 1e-3, 0.3)
    assert 3e-4 / 3 == 9.999999999999999e-05
    assert (quotient(3e-4, 3), product()) == (1e-4, 1.0)


def test_what_is_no_finite_number_stays_as_floats_have_it() -> None:
    assert product(math.inf, 2.0) == math.inf
    assert math.isnan(product(math.nan, 2.0))
    assert product(1e300, 1e300) == math.inf
    assert quotient(1.0, math.inf) == 0.0


COSINE = tm.Cosine(init_value=6e-4, end_value=6e-5, duration=10)
CASES: dict[str, tuple[Any, Any]] = {
    "composer": (lambda: from_composer("CosineAnnealing", lr=6e-4, alpha_f=0.1, t_max="10ba"), COSINE),
    "keras": (
        lambda: from_keras(
            {"class_name": "CosineDecay", "config": {"initial_learning_rate": 6e-4, "decay_steps": 10, "alpha": 0.1}}
        ),
        COSINE,
    ),
    "optax": (lambda: from_optax("cosine_decay", init_value=6e-4, decay_steps=10, alpha=0.1), COSINE),
    "transformers": (
        lambda: from_transformers(
            "cosine_with_min_lr",
            learning_rate=6e-4,
            num_training_steps=10,
            scheduler_specific_kwargs={"min_lr_rate": 0.1},
        ),
        tm.warmup_cosine(peak_value=6e-4, end_value=6e-5, warmup=0, total=10),
    ),
    "timm": (
        lambda: from_timm({"sched": "poly", "num_epochs": 2, "cycle_limit": 3, "decay_rate": 1.0}, lr=6e-4),
        tm.on(
            "epochs",
            tm.Polynomial(init_value=6e-4, end_value=0.0, duration=2, power=1.0)
            .then(tm.Polynomial(init_value=6e-5, end_value=0.0, duration=2, power=1.0), at=2)
            .then(tm.Polynomial(init_value=6e-6, end_value=0.0, duration=2, power=1.0), at=4),
        ),
    ),
    "sb3": (
        lambda: from_sb3({"exploration_fraction": 0.07, "n_timesteps": 100})["epsilon"],
        tm.Linear(init_value=1.0, end_value=0.05, duration=7),
    ),
    "drops": (
        lambda: drops(6e-4, 0.1, [3, 3, 5]),
        tm.PiecewiseConstant(values=(6e-4, 6e-6, 6e-7), boundaries=(3, 5)),
    ),
    "deepspeed": (
        lambda: (
            from_deepspeed(
                {
                    "scheduler": {
                        "type": "WarmupCosineLR",
                        "params": {"warmup_num_steps": 2, "warmup_type": "linear", "cos_min_ratio": 0.1}
                        | {"total_num_steps": 12},
                    }
                },
                lr=6e-4,
            )["lr"]
            .parts[1]
            .parts[1]
        ),
        tm.Advance(schedule=COSINE, by=1),
    ),
}


@pytest.mark.parametrize("host", CASES)
def test_a_host_writes_the_product_that_its_user_means(host: str) -> None:
    read, expected = CASES[host]
    assert read() == expected


def test_torchs_factors_are_multiplied_so() -> None:
    pytest.importorskip("torch")
    line = from_torch_args("LinearLR", lr=6e-4, start_factor=0.1, end_factor=0.7, total_iters=9)["lr"]
    assert line == tm.Linear(init_value=6e-5, end_value=4.2e-4, duration=9)
    steps = from_torch_args("ConstantLR", lr=6e-4, factor=0.1, total_iters=9)["lr"]
    assert steps == tm.PiecewiseConstant(values=(6e-5, 6e-4), boundaries=(9,))
