"""DeepSpeed's configuration, held to its rules: an initial value, then a step of the scheduler after each update."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.convert import from_deepspeed

COUNTS = 1_300


def after_updates(initial: float, at: Callable[[int], float]) -> list[float]:
    """What each update gets: the initial value, then iteration 0, 1, ... set when an update is done."""
    return [initial, *(at(iteration) for iteration in range(COUNTS - 1))]


def rise(iteration: int, kind: str, length: int) -> float:
    return math.log(iteration + 1) / math.log(length) if kind == "log" else iteration / length


@pytest.mark.parametrize("kind", ["log", "linear"])
def test_warmup_lr_rises_and_holds(kind: str) -> None:
    low, high, length = 1e-5, 1e-3, 100
    params = {"warmup_min_lr": low, "warmup_max_lr": high, "warmup_num_steps": length, "warmup_type": kind}
    expected = after_updates(low, lambda i: low + (high - low) * (rise(i, kind, length) if i < length else 1.0))
    plan = from_deepspeed({"scheduler": {"type": "WarmupLR", "params": params}})
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", ["log", "linear"])
def test_warmup_decay_lr_rises_and_falls_back(kind: str) -> None:
    low, high, length, total = 1e-5, 1e-3, 100, 1_000

    def at(i: int) -> float:
        return low + (high - low) * (rise(i, kind, length) if i < length else max(0.0, (total - i) / (total - length)))

    params = {"warmup_min_lr": low, "warmup_max_lr": high, "warmup_num_steps": length, "warmup_type": kind,
              "total_num_steps": total}  # fmt: skip
    plan = from_deepspeed({"type": "WarmupDecayLR", "params": params})
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), after_updates(low, at), rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", ["log", "linear"])
def test_warmup_cosine_lr_is_a_share_of_the_optimizers_lr_and_first_0(kind: str) -> None:
    lr, least, floor, length, total = 3e-4, 0.01, 0.1, 100, 1_000

    def at(i: int) -> float:
        if i < length:
            return lr * (least + (1.0 - least) * rise(i, kind, length))
        share = min(1.0, (i - length + 1) / (total - length))
        return lr * (floor + (1.0 - floor) * (1.0 + math.cos(math.pi * share)) / 2.0)

    params = {"warmup_min_ratio": least, "warmup_num_steps": length, "cos_min_ratio": floor, "total_num_steps": total,
              "warmup_type": kind}  # fmt: skip
    config = {
        "optimizer": {"type": "AdamW", "params": {"lr": lr}},
        "scheduler": {"type": "WarmupCosineLR", "params": params},
    }
    plan = from_deepspeed(config)
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), after_updates(0.0, at), rtol=1e-9, atol=0)
    assert from_deepspeed(config["scheduler"], lr=lr) == plan


CYCLE = {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-2, "cycle_first_step_size": 300, "cycle_second_step_size": 210}


def height(t: int, up: int = 300, down: int = 210, stairs: tuple[int, int] = (0, 0)) -> float:
    """How far up its cycle the update of count t is."""
    part, length, number = (t, up, stairs[0]) if t <= up else (up + down - t, down, stairs[1])
    return math.floor(part * number / length) / number if number else part / length


@pytest.mark.parametrize(
    ("changes", "stairs"),
    [
        ({}, (0, 0)),
        ({"cycle_first_stair_count": 10}, (10, 10)),
        ({"cycle_first_stair_count": 7, "cycle_second_stair_count": 3}, (7, 3)),
        ({"cycle_second_stair_count": 11}, (0, 11)),
        ({"cycle_first_stair_count": 400, "cycle_second_stair_count": 0}, (400, 0)),
    ],
)
def test_one_cycle_moves_lr_and_momentum_against_each_other(changes: dict[str, Any], stairs: tuple[int, int]) -> None:
    plan = from_deepspeed({"scheduler": {"type": "OneCycle", "params": {**CYCLE, **changes}}})
    heights = [height(t, stairs=stairs) if t < 510 else 0.0 for t in range(COUNTS)]
    np.testing.assert_allclose(
        plan["lr"](np.arange(COUNTS)), [1e-4 + (1e-2 - 1e-4) * h for h in heights], rtol=1e-9, atol=0
    )
    np.testing.assert_allclose(plan["betas[0]"](np.arange(COUNTS)), [0.9 - 0.1 * h for h in heights], rtol=1e-9, atol=0)
    assert plan["betas[1]"] == tm.Constant(value=0.99)


@pytest.mark.parametrize("stairs", [(100, 105), (100, 13), (299, 211)])
def test_stairs_are_said_in_a_few_words_however_many(stairs: tuple[int, int]) -> None:
    first, second = stairs
    params = {**CYCLE, "cycle_first_stair_count": first, "cycle_second_stair_count": second}
    plan = from_deepspeed({"scheduler": {"type": "OneCycle", "params": params}})
    assert len(tm.dumps_plan(plan)) < 2_000
    expected = [1e-4 + (1e-2 - 1e-4) * (height(t, stairs=stairs) if t < 510 else 0.0) for t in range(COUNTS)]
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), expected, rtol=1e-9, atol=0)


def test_a_cycle_that_stays_where_it_is_may_have_stairs() -> None:
    params = {**CYCLE, "cycle_max_lr": 1e-4, "cycle_first_stair_count": 10}
    plan = from_deepspeed({"scheduler": {"type": "OneCycle", "params": params}})
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), 1e-4, rtol=1e-12, atol=0)


def test_the_run_is_as_long_as_its_total_num_steps() -> None:
    assert from_deepspeed(block("WarmupDecayLR", total_num_steps=2_000)).total == 2_000
    assert from_deepspeed(block("WarmupLR", warmup_max_lr=0.1)).total is None


def test_one_cycle_decays_behind_its_end() -> None:
    params = {**CYCLE, "decay_step_size": 50, "decay_lr_rate": 0.3, "cycle_momentum": False}
    plan = from_deepspeed({"scheduler": {"type": "OneCycle", "params": params}})
    expected = [
        1e-4 + (1e-2 - 1e-4) * height(t) if t < 510 else 1e-4 / (1.0 + 0.3 * (t - 510) / 50) for t in range(COUNTS)
    ]
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), expected, rtol=1e-9, atol=0)
    assert set(plan.schedules) == {"lr"}


def test_an_optimizer_without_betas_has_no_momentum_to_cycle() -> None:
    plan = from_deepspeed({"optimizer": {"type": "SGD"}, "scheduler": {"type": "OneCycle", "params": CYCLE}})
    assert set(plan.schedules) == {"lr"}


@pytest.mark.parametrize(("every", "rate"), [(200, 1.0), (200, 5.0), (100, 0.3)])
def test_a_range_test_climbs_for_ever(every: int, rate: float) -> None:
    params = {"lr_range_test_min_lr": 1e-4, "lr_range_test_step_size": every, "lr_range_test_step_rate": rate}
    plan = from_deepspeed({"scheduler": {"type": "LRRangeTest", "params": params}})
    expected = [1e-4 * (1.0 + rate * t / every) for t in range(COUNTS)]
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), expected, rtol=1e-9, atol=0)


def curriculum(kind: str, low: int = 8, high: int = 1024, **config: Any) -> dict[str, Any]:
    block = {
        "enabled": True,
        "curriculum_type": "seqlen",
        "min_difficulty": low,
        "max_difficulty": high,
        "schedule_type": kind,
        "schedule_config": config,
    }
    return {"curriculum_learning": block}


@pytest.mark.parametrize(
    ("kind", "root", "low", "step"),
    [("fixed_linear", 1, 8, 8), ("fixed_root", 2, 64, 16), ("fixed_root", 3, 8, 32), ("fixed_linear", 1, 20, 16)],
)
def test_a_curriculum_grows_in_steps_to_its_end(kind: str, root: int, low: int, step: int) -> None:
    total = 1_000
    config = {"total_curriculum_step": total, "difficulty_step": step}
    plan = from_deepspeed(curriculum(kind, low, **(config | ({"root_degree": root} if root > 1 else {}))))

    def difficulty(number: int) -> int:
        level = math.floor((number / total) ** (1.0 / root) * (1024 - low) + low)
        return min(max(level - level % step, -(-low // step) * step), 1024)

    # DeepSpeed numbers its steps from 1
    assert plan["difficulty"](np.arange(COUNTS)).tolist() == [difficulty(t + 1) for t in range(COUNTS)]


def test_a_discrete_curriculum_changes_behind_each_max_step() -> None:
    plan = from_deepspeed(curriculum("fixed_discrete", difficulty=[1, 2, 3], max_step=[5, 10]))
    levels = [1 if number <= 5 else 2 if number <= 10 else 3 for number in range(1, 30)]
    assert plan["difficulty"](np.arange(29)).tolist() == levels


def test_a_file_may_hold_both_and_much_else(tmp_path: Path) -> None:
    config = {
        "train_batch_size": 8,
        "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 1e-3}},
        **curriculum("fixed_linear", total_curriculum_step=100, difficulty_step=8),
    }
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    assert set(from_deepspeed(path).schedules) == {"lr", "difficulty"}
    assert from_deepspeed(str(path)) == from_deepspeed(config)


def test_a_curriculum_that_is_off_is_left_out() -> None:
    config = {
        "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 1e-3}},
        "curriculum_learning": {"enabled": False},
    }
    assert set(from_deepspeed(config).schedules) == {"lr"}


def block(kind: str, **params: Any) -> dict[str, Any]:
    return {"scheduler": {"type": kind, "params": params}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "deepspeed: the configuration has no scheduler and no curriculum_learning"),
        (block("WarmupCosinLR"), "scheduler.type: must be one of .*, got 'WarmupCosinLR'. Did you mean WarmupCosineLR"),
        (block("WarmupLR", warmup_max_lr="auto"), "warmup_max_lr: is auto, which the Transformers Trainer fills in"),
        (block("WarmupLR", warmup_max_lr=[1e-3, 1e-4]), "warmup_max_lr: has a value per param group"),
        (block("WarmupLR", warmup_max=1e-3, warmup_max_lr=1.0), "warmup_max: no argument of that name"),
        (block("WarmupLR", warmup_max_lr=1.0, last_batch_iteration=5), "last_batch_iteration: is where a run goes on"),
        (block("WarmupLR", warmup_max_lr=1.0, warmup_type="cos"), "warmup_type: must be one of log, linear"),
        (
            block("WarmupDecayLR", total_num_steps=10),
            "total_num_steps: must be more than warmup_num_steps .1000., got 10",
        ),
        (block("WarmupCosineLR", total_num_steps=9_999), "lr: is missing"),
        (
            block("OneCycle", **CYCLE, decay_step_size=5, decay_mom_rate=0.1),
            "decay_mom_rate: lets the momentum grow without an end",
        ),
        (block("LRRangeTest", lr_range_test_staircase=True), "lr_range_test_staircase: climbs without an end"),
        (curriculum("custom"), "schedule_type: custom is a function of your own"),
        (
            curriculum("fixed_linear", high=1000, total_curriculum_step=10, difficulty_step=16),
            r"max_difficulty: must be a multiple of difficulty_step \(16\)",
        ),
        (
            {**block("WarmupLR", warmup_max_lr="auto"), **curriculum("fixed_root", total_curriculum_step=9)},
            r"(?s)warmup_max_lr: is auto.*schedule_config.difficulty_step: is missing.*schedule_config.root_degree: is",
        ),
        (curriculum("fixed_discrete", difficulty=[1], max_step=[2]), "difficulty: must be one more than max_step"),
        (7, "deepspeed: needs the configuration or the path of its file, got 7"),
        ("missing.json", "missing.json: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_read_is_named(config: Any, message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_deepspeed(config)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(tm.ConversionError, match=r"ds.json: is no JSON"):
        from_deepspeed(path)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(tm.ConversionError, match=r"ds.json: must hold an object, got \[\]"):
        from_deepspeed(path)
