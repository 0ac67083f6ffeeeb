"""The benchmarks compare like with like, and report what they measured. No test here depends on a time."""

import json
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TOTAL = 64
COUNTS = (1, 3, 4, 5, 30, 63)  # before, at and after the end of the warmup, and to the last but one


@pytest.fixture(autouse=True)
def _as_scripts_find_each_other(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def lrs(work_of, run, *, tensor=False):
    """The lr of every group after a run."""
    optimizer = import_module("peers").Idle(run.groups, torch.tensor(1e-3) if tensor else 1e-3)
    work_of(optimizer, run)()
    return [float(group["lr"]) for group in optimizer.param_groups]


def under(make):
    return partial(import_module("apply").stepping, make)


def test_a_quick_run_of_one_figure_reports_every_contender_and_every_target(tmp_path):
    results = BENCHMARKS / "results" / "foundation.md"
    before = results.read_bytes() if results.exists() else None
    command = [sys.executable, BENCHMARKS / "run.py", "--quick", "--only", "curve", "--json", tmp_path / "out.json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)

    told = json.loads((tmp_path / "out.json").read_text())
    assert told["command"].startswith("python benchmarks/run.py --quick --only curve")
    assert {"processor", "cores", "python", "numpy", "load before"} <= told["machine"].keys()
    assert list(told["figures"]) == ["curve"]
    (table,) = told["figures"]["curve"]
    assert {"ours", "NumPy by hand"} <= table["rows"].keys()
    assert all(seconds > 0 for cells in table["rows"].values() for seconds in cells.values())
    for name in import_module("curve").PEERS:
        assert name in table["rows"] or f"{name}: skipped, not installed." in table["notes"]
    assert [(one["limit"], one["passed"]) for one in table["checks"]] == [
        (limit, one["got"] <= limit) for limit, one in zip((1.3, 3.0), table["checks"], strict=True)
    ]
    assert all(f"**{'PASS' if one['passed'] else 'FAIL'}** {one['text']}" in done.stdout for one in table["checks"])
    assert "| **ours** |" in done.stdout
    assert "the times mean little" in done.stdout
    assert (results.read_bytes() if results.exists() else None) == before


def test_an_unknown_figure_is_refused_with_the_known_ones(tmp_path):
    command = [sys.executable, BENCHMARKS / "run.py", "--only", "curves"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'curves' (choose from" in done.stderr


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("steps", [*COUNTS, TOTAL])
def test_ours_and_the_floor_write_the_same_lr_alone_and_in_the_loop(steps, groups):
    apply, peers = import_module("apply"), import_module("peers")
    value = peers.by_hand(TOTAL)(steps)
    for in_loop in (False, True):
        run = apply.Run(groups, steps, TOTAL, in_loop)
        assert lrs(apply.writing_by_hand, run) == [value] * groups
        assert lrs(under(peers.ours), run) == [value] * groups
    assert lrs(under(partial(peers.ours, counting="updates")), run) == [value] * groups


@pytest.mark.filterwarnings("ignore")  # other libraries' own, at import
@pytest.mark.parametrize("place", range(4))
def test_each_peer_writes_the_curve_that_ours_writes(place):
    apply, peers = import_module("apply"), import_module("peers")
    peer = peers.PEERS[place]
    pytest.importorskip(peer.package)
    for steps in COUNTS:
        expected = peers.by_hand(TOTAL)(steps)
        found = lrs(under(peer.make), apply.Run(2, steps + peer.late, TOTAL))
        # PyTorch's warmup cannot start at 0: it starts at 1e-8 of the peak
        assert found == pytest.approx([expected] * 2, rel=1e-7, abs=0.0)


@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize("steps", [4, 5, 9, 10, 11])
def test_the_unchanging_schedules_drop_together(steps, in_loop):
    unchanging, run = import_module("unchanging"), import_module("apply").Run(3, steps, 5, in_loop)
    expected = [1e-3 * 0.1 ** (steps // 5)] * 3
    assert lrs(unchanging.writing_by_hand, run) == expected
    assert lrs(under(partial(unchanging.ours, counting="updates" if in_loop else "calls")), run) == expected
    # it multiplies step by step
    assert lrs(under(unchanging.torchs), run) == pytest.approx(expected, rel=1e-14, abs=0.0)


def test_the_tensor_lrs_are_filled_with_the_same_value():
    access, peers = import_module("access"), import_module("peers")
    run = import_module("apply").Run(1, 20, TOTAL)
    assert lrs(access.filling, run, tensor=True) == lrs(under(peers.ours), run, tensor=True)


def test_ours_and_numpy_by_hand_are_the_same_array():
    curve = import_module("curve")
    found, by_hand = curve.ours(1_000)(), curve.by_hand(1_000)()
    assert found.dtype == by_hand.dtype == np.float64
    np.testing.assert_array_equal(found, by_hand)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["optax, jitted, float64", "fvcore", "timm", "PyTorch SequentialLR"])
def test_each_peer_computes_the_array_that_ours_computes(name):
    curve = import_module("curve")
    _, package, work = curve.PEERS[name]
    if not curve.find_spec(package):
        pytest.skip(f"{package} is not installed")
    # from 1 on: PyTorch's warmup starts at 1e-8 of the peak, and is 1e-7 off there
    np.testing.assert_allclose(work(1_000)()[1:], curve.ours(1_000)()[1:], rtol=1e-7, atol=0)


def test_a_peer_that_is_not_installed_is_left_out_and_named(monkeypatch):
    curve, measuring = import_module("curve"), import_module("measuring")
    monkeypatch.setattr(curve, "find_spec", lambda package: None)
    monkeypatch.setattr(curve, "COUNTS", 1_000)
    (table,) = curve.measure(measuring.Stopwatch(0.0, quick=True))
    assert list(table.rows) == ["ours", "NumPy by hand"]
    assert "optax, jitted, float64: skipped, not installed." in table.notes


def test_the_fastest_call_of_all_turns_counts_per_step(monkeypatch):
    measuring, clock = import_module("measuring"), [0.0]
    durations = iter([5.0, 3.0, 4.0])

    def work():
        clock[0] += next(durations)

    monkeypatch.setattr(measuring, "processor_time", lambda: clock[0])
    monkeypatch.setattr(measuring, "TURN", 0.0)  # one call is a turn
    table = measuring.Table("title", "us", "ours", ["column"])
    one = measuring.Contender("ours", "column", "ours", 2, lambda: work)
    measuring.Stopwatch(0.0).fill(table, [one], 0.0)
    assert table.rows == {"ours": {"column": 1.5}}


def test_a_target_is_reached_up_to_its_limit():
    check = import_module("measuring").Check
    assert check("", got=1.3, limit=1.3).passed
    assert not check("", got=1.31, limit=1.3).passed


def test_the_optimizers_own_step_is_taken_off_in_the_loop():
    apply, measuring = import_module("apply"), import_module("measuring")
    table = measuring.Table("", "us", "ours", ["1 group"], {"ours": {"1 group": 7.0}, apply.BARE: {"1 group": 5.0}})
    apply.subtract_the_optimizer(table)
    assert table.rows == {"ours": {"1 group": 2.0}}
