"""Accelerate, on one process and on two: the schedule advances once per optimizer step, prepared or not."""

import json
import math
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.amp.grad_scaler import GradScaler

import tempomat as tm
from tempomat.torch import Scheduler

accelerate = pytest.importorskip("accelerate")
pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).parents[2] / "examples" / "hosts" / "accelerate_digits.py"
FALL = tm.Linear(init_value=1.0, end_value=0.0, duration=10)


@pytest.fixture(autouse=True)
def _every_test_has_an_accelerator_of_its_own():
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerate.state.GradientState._reset_state()


@pytest.fixture(scope="module")
def example():
    return SimpleNamespace(**runpy.run_path(str(EXAMPLE)))


def planned(example, updates, levels):
    """What each update uses, at 11 or 22 updates an epoch, under the plateau's level in each epoch."""
    plan = example.PLAN.resolve(steps_per_epoch=updates // 4)
    level = np.repeat(levels, updates // 4)
    lr = plan["lr"].given([1.0])(np.arange(updates)) * level
    return [{"lr": one, "weight_decay": plan["weight_decay"](count)} for count, one in enumerate(lr.tolist())]


# one process


def test_the_example_learns_and_every_update_uses_the_next_value(example, tmp_path):
    found = example.main(tmp_path)
    assert found["val_loss"] < 0.7  # guessing gives 2.3
    assert found["counts"] == {"optimizer_steps": 4 * 22}
    assert found["levels"] == []
    assert found["used"] == planned(example, 88, [1.0] * 4)


@pytest.mark.parametrize("prepared", [True, False])
def test_the_example_goes_on_from_its_checkpoint(example, tmp_path, prepared):
    whole = example.main(tmp_path / "whole", prepared=prepared)
    first = example.main(tmp_path / "parts", prepared=prepared, stop_after=2)
    second = example.main(tmp_path / "parts", prepared=prepared, resume=True)
    assert first["used"] + second["used"] == whole["used"]
    assert second["val_loss"] == whole["val_loss"]
    assert second["counts"] == whole["counts"]


# two processes, launched for real


def launch(folder, **options):
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, EXAMPLE, folder, json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"result-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launched")
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(launch, folder / str(prepared), prepared=prepared) for prepared in (True, False)]
        return {"prepared": jobs[0].result(), "plain": jobs[1].result()}


@pytest.mark.parametrize("way", ["prepared", "plain"])
def test_on_two_processes_the_schedule_advances_once_an_optimizer_step(example, launched, way):
    for found in launched[way]:
        assert found["counts"] == {"optimizer_steps": 4 * 11}  # each process sees half the batches
        assert found["levels"] == []
        assert found["used"] == planned(example, 44, [1.0] * 4)
        assert found["val_loss"] < 1.0


def test_prepared_or_not_the_run_is_the_same(launched):
    assert launched["prepared"] == launched["plain"]


# what counts, as Accelerate's wrappers call it


def pair(accelerator, plan=None, scaler=None):
    """One number with an optimizer and a scheduler, prepared."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = Scheduler(optimizer, plan or tm.Plan({"lr": FALL}))
    accelerator.scaler = scaler
    return weight, accelerator.prepare(optimizer), scheduler, accelerator.prepare(scheduler)


def test_a_wrapper_that_steps_once_per_process_counts_each_update_once(monkeypatch):
    accelerator = accelerate.Accelerator(cpu=True)
    weight, optimizer, scheduler, stepped = pair(accelerator)
    monkeypatch.setitem(accelerate.PartialState._shared_state, "num_processes", 4)
    another = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = accelerate.scheduler.AcceleratedScheduler(torch.optim.lr_scheduler.StepLR(another, step_size=1), optimizer)
    for count in range(3):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        another.step()
        assert scheduler.get_last_lr() == [FALL(count)]
        stepped.step()
        theirs.step()
    assert scheduler.counts == {"optimizer_steps": 3}
    assert theirs.scheduler.last_epoch == 12  # what PyTorch's own come to


@pytest.mark.filterwarnings("ignore:`scheduler.step\\(\\)` was called before:UserWarning")
@pytest.mark.parametrize("prepared", [True, False])
def test_with_accumulation_each_update_counts_once(prepared):
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=3)
    weight, optimizer, scheduler, stepped = pair(accelerator)
    for _ in range(9):
        with accelerator.accumulate():
            accelerator.backward(weight.sum())
            optimizer.step()
            (stepped if prepared else scheduler).step()
            optimizer.zero_grad()
    assert scheduler.counts == {"optimizer_steps": 3}
    assert weight.item() == pytest.approx(-(FALL(0) + FALL(1) + FALL(2)), rel=1e-6, abs=0)  # float32


@pytest.mark.parametrize("prepared", [True, False])
def test_an_update_that_the_gradient_scaler_skips_does_not_count(prepared):
    accelerator = accelerate.Accelerator(cpu=True)
    weight, optimizer, scheduler, stepped = pair(accelerator, scaler=GradScaler("cpu", init_scale=2.0))
    for count in range(4):
        accelerator.backward(weight.sum() * (math.inf if count == 1 else 1.0))
        optimizer.step()
        assert accelerator.optimizer_step_was_skipped == (count == 1)
        (stepped if prepared else scheduler).step()
        optimizer.zero_grad()
    assert scheduler.counts == {"optimizer_steps": 3}
    assert weight.item() == pytest.approx(-(FALL(0) + FALL(1) + FALL(2)), rel=1e-6, abs=0)  # float32


def test_a_measurement_through_the_wrapper_is_heard_once(monkeypatch):
    plan = tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5)})
    accelerator = accelerate.Accelerator(cpu=True)
    weight, optimizer, scheduler, stepped = pair(accelerator, plan)
    monkeypatch.setitem(accelerate.PartialState._shared_state, "num_processes", 2)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    stepped.step(1.0)
    assert scheduler.get_last_lr() == [FALL(1)]


# the optimizer inside


def test_a_prepared_optimizer_is_taken_as_the_one_inside_it():
    accelerator = accelerate.Accelerator(cpu=True)
    inner = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    prepared = accelerator.prepare(inner)
    scheduler = Scheduler(prepared, tm.Plan({"lr": FALL}))
    assert scheduler.optimizer is inner
    assert scheduler.get_last_lr() == [FALL(0)]
    prepared.step()
    scheduler.step()
    assert [group["lr"] for group in prepared.param_groups] == [FALL(1)]


def test_an_optimizer_of_its_own_right_is_not_a_wrapper():
    """Such as Lookahead, which keeps another optimizer and has hooks and groups of its own."""
    outer, inner = (torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1) for _ in range(2))
    outer.__dict__["optimizer"] = inner
    assert Scheduler(outer, tm.Plan({"lr": FALL})).optimizer is outer


def test_an_optimizer_that_was_prepared_after_its_scheduler_shows_the_planned_lr_before_the_start():
    """Preparing reloads the optimizer's state, and with it replaces every param group."""
    accelerator = accelerate.Accelerator(cpu=True)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.7)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    accelerator.prepare(optimizer)
    assert scheduler.get_last_lr() == scheduler.get_lr() == [FALL(0)]
