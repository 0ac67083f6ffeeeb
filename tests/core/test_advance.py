"""A curve entered behind its beginning."""

from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.convert import from_timm

LINE = tm.Linear(init_value=0.0, end_value=1.0, duration=10)


def test_every_value_comes_so_many_counts_earlier() -> None:
    late = tm.Advance(schedule=LINE, by=4)
    assert late(np.arange(20)).tolist() == LINE(np.arange(4, 24)).tolist()


def test_it_undoes_a_shift() -> None:
    curve = tm.Cosine(init_value=1.0, end_value=0.0, duration=50)
    assert tm.Advance(schedule=curve.shift(7), by=7)(np.arange(60)).tolist() == curve(np.arange(60)).tolist()


def test_a_length_in_another_unit_is_resolved_with_the_run() -> None:
    plan = tm.Plan({"lr": tm.Advance(schedule=LINE, by="2 epochs")}).resolve(steps_per_epoch=3)
    assert plan["lr"](0) == LINE(6)


def test_a_controller_cannot_be_advanced() -> None:
    build: Any = tm.Advance
    with pytest.raises(tm.ScheduleError, match="Advance: a controller cannot be advanced"):
        build(schedule=tm.Plateau(), by=4)


def test_by_is_at_least_1() -> None:
    with pytest.raises(tm.ScheduleError, match="Advance: `by` must be at least 1, got 0"):
        tm.Advance(schedule=LINE, by=0)


def test_the_linter_knows_that_an_advanced_curve_ends_so_much_sooner() -> None:
    lr = from_timm({"sched": "cosine", "num_epochs": 100, "warmup_epochs": 40, "min_lr": 1e-5}, lr=0.1)
    for total, codes in ((100, []), (60, ["TM105"]), (200, ["TM106"])):
        plan = tm.Plan({"lr": lr.schedule}, clock="epochs", total=total)
        assert [one.code for one in tm.lint(plan) if one.code in ("TM105", "TM106")] == codes, total
