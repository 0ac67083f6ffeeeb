"""The RL benchmark compares like with like, and reports what it measured. No test here depends on a time."""

import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _as_scripts_find_each_other(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def rl():
    return import_module("pipeline")


def losses(critic, actor):
    return {"critic_loss": critic, "actor_loss": actor}


def update_of(rl, *, ours=0.8, bf16=0.5, off=0.0):
    """What was measured of the update; `off` is how far the losses are apart, relatively."""
    seconds = {rl.FP32: ours, rl.BF16: bf16}
    rows = {row: {"seconds": seconds.get(row, 2.0), "gflops": 140.0} for row in rl.GROUPS["update"]}
    same = {rl.STRAIGHT: losses(2.0, 0.1), rl.FP32: losses(2.0, 0.1), rl.BF16: losses(2.0, 0.1 * (1 + off))}
    return {"rows": rows, "losses": {"0": same, "0.0001": same}}


def sampling_of(rl, ours):
    times = {"ours": ours, rl.COPYING: 1.5, rl.LOOP: 30.0}
    images = {row: {"fastest": ms, "median": ms} for row, ms in times.items()}
    return {"figures": {"images": images, "keypoints": {"ours": {"fastest": 0.2, "median": 0.2}}}, "gflops": 140.0}


def environment_of(rl, speed, **more):
    speeds = {rl.TOGETHER: speed, rl.PLAIN: 2_000, "camera": 40_000, **more}
    return {"figures": {row: {"fastest": one, "median": one} for row, one in speeds.items()}, "gflops": 70.0}


def told(table):
    return import_module("writing").as_markdown({"figure": [table]}, {}, "command")


def test_a_quick_run_of_one_figure_reports_its_target_and_keeps_the_last_result(tmp_path):
    results = BENCHMARKS / "results" / "pipeline.md"
    before = results.read_bytes() if results.exists() else None
    command = [
        sys.executable,
        BENCHMARKS / "pipeline.py",
        "--quick",
        "--only",
        "sampling",
        "--json",
        tmp_path / "out.json",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    out = json.loads((tmp_path / "out.json").read_text())
    assert {"processor", "torch", "numba", "load before"} <= out["machine"].keys()
    (table,) = out["figures"]["sampling"]
    assert all(seconds > 0 for cells in table["rows"].values() for seconds in cells.values())
    (check,) = table["checks"]
    assert (check["limit"], check["passed"]) == (4.0, check["got"] <= 4.0)
    assert f"**{'PASS' if check['passed'] else 'FAIL'}** ours: a batch drawn" in done.stdout
    assert "the times mean little" in done.stdout
    assert (results.read_bytes() if results.exists() else None) == before


def test_an_unknown_figure_is_refused_with_the_known_ones(tmp_path):
    command = [sys.executable, BENCHMARKS / "pipeline.py", "--only", "updates"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'updates' (choose from" in done.stderr


def test_a_script_that_breaks_is_named(rl, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(rl, "HERE", tmp_path)
    with pytest.raises(SystemExit, match=r"broken\.py ended with 3 and printed no result"):
        rl._script("broken.py", threads=1)


def test_a_contender_is_measured_in_a_process_of_its_own(monkeypatch):
    drqv2 = import_module("drqv2")
    monkeypatch.setitem(drqv2.GROUPS, "augmentation", {drqv2.SHIFT: drqv2.GROUPS["augmentation"][drqv2.SHIFT]})
    said = []
    found = drqv2.measure("augmentation", quick=True, say=said.append)
    assert said == ["augmentation, ours"]
    assert found["ours"]["seconds"] > 0
    assert found["ours"]["gflops"] > 0


def test_every_row_has_a_contender_that_works(monkeypatch):
    drqv2 = import_module("drqv2")
    monkeypatch.setattr(drqv2, "BATCH", 2)
    monkeypatch.setattr(drqv2, "FEATURES", 4)
    monkeypatch.setattr(drqv2, "HIDDEN", 8)
    used = {row.contender for rows in drqv2.GROUPS.values() for row in rows.values()}
    assert used == drqv2.CONTENDERS.keys()
    for make in drqv2.CONTENDERS.values():
        assert make()() is not None


def test_the_straightforward_update_has_our_losses(monkeypatch):
    drqv2 = import_module("drqv2")
    monkeypatch.setattr(drqv2, "FEATURES", 10)
    monkeypatch.setattr(drqv2, "HIDDEN", 16)
    same = drqv2.compare_losses(4)
    assert same[drqv2.FP32] == pytest.approx(same[drqv2.STRAIGHT], rel=1e-5, abs=0)
    assert same[drqv2.BF16] == pytest.approx(same[drqv2.FP32], rel=0.05, abs=0)
    stepped = drqv2.compare_losses(4, lr=1e-3)
    assert stepped[drqv2.FP32] == pytest.approx(stepped[drqv2.STRAIGHT], rel=1e-3, abs=0)
    assert stepped[drqv2.FP32]["actor_loss"] != pytest.approx(same[drqv2.FP32]["actor_loss"], rel=1e-2, abs=0)


def test_the_straightforward_shift_is_ours_in_whole_pixels():
    from tempomat_rl.drqv2.augment import shift

    image = torch.randint(0, 256, (8, 9, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = import_module("straightforward").shift_by_sampling(image.float())
    by = torch.randint(9, (8, 2), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(theirs, shift(image, by, 4).float(), rtol=0, atol=1e-2)


def test_the_environments_own_target_is_the_one_that_is_reported(rl):
    landing = import_module("landing")
    assert (landing.OURS, landing.MUJOCO, landing.LIMIT) == (rl.TOGETHER, rl.MUJOCO, rl.ENVIRONMENT_STEPS)
    expected = {rl.TOGETHER, rl.PLAIN, *([rl.MUJOCO] if find_spec("mujoco") else [])}
    assert landing.measure(size=42, turns=1)["figures"].keys() >= expected


def test_rays_hit_the_pad_in_the_middle_and_the_ground_around_it():
    pytest.importorskip("mujoco")
    drones = import_module("rays").Drones(1, 21)
    drones.step()
    ground, pad = drones.hits[0, 0], drones.hits[0, 21 * 21 // 2]
    assert (ground, pad) == (0, 1)
    assert drones.distances[0, 21 * 21 // 2] == pytest.approx(drones.all[0].qpos[2] - 0.262, rel=1e-6)


def test_an_update_is_held_to_its_limits_beside_the_peer(rl):
    text = told(rl.tell_update(update_of(rl, ours=0.9, bf16=0.56)))
    assert (
        "**PASS** ours, fp32: an update: 900.00 ms, at most 900; straightforward, as it comes: 2000 ms, ratio 0.45"
        in text
    )
    assert "**FAIL** ours, bf16: an update: 560.00 ms, at most 550;" in text
    assert "| **ours, bf16** | 560 (0.28) |" in text


@pytest.mark.parametrize(("off", "passed"), [(0.003, True), (-0.005, False)])
def test_losses_are_held_to_the_precision(rl, off, passed):
    checks = {check.text: check for check in rl.tell_update(update_of(rl, off=off)).checks}
    check = checks["ours, bf16: actor loss off ours, fp32's, relatively, from the same weights and draws"]
    assert check.got == pytest.approx(abs(off), rel=1e-9)
    assert check.passed is passed


def test_the_other_figures_hold_their_limits_too(rl):
    assert "**PASS** ours: a batch drawn: 4.00 ms, at most 4; a loop over" in told(rl.tell_sampling(sampling_of(rl, 4)))
    assert "**FAIL** ours: a batch drawn: 4.10 ms" in told(rl.tell_sampling(sampling_of(rl, 4.1)))
    rows = {row: {"seconds": 0.007, "gflops": 1.0} for row in rl.GROUPS["augmentation"]}
    assert "**PASS** ours: a batch shifted: 7.00 ms, at most 8;" in told(rl.tell_augmentation({"rows": rows}))


def test_speed_is_to_be_at_least_its_limit_beside_mujocos(rl):
    fast = told(rl.tell_environment(environment_of(rl, 6_000, **{rl.MUJOCO: 2_000})))
    assert f": 6000, at least 6000; {rl.MUJOCO}: 2000, ratio 3.00" in fast
    assert "**PASS** ours: physics and camera" in fast
    assert "**FAIL** ours: physics and camera" in told(rl.tell_environment(environment_of(rl, 5_999)))


def test_without_mujoco_its_row_is_left_out_and_named(rl):
    text = told(rl.tell_environment(environment_of(rl, 6_000)))
    assert "MuJoCo: skipped, not installed." in text
    assert "ratio" not in text


def test_a_table_without_a_base_shows_no_ratios(rl):
    rows = {row: {"seconds": 0.0021, "gflops": 70.0} for row in rl.GROUPS["laptop"]}
    text = told(rl.tell_laptop({"rows": rows}))
    assert "| ms | batch 128, hidden 128 |" in text
    assert "| **key points, 1 thread** | 2.1 |" in text
    assert "at 70 GFLOP/s on a thread at best" in text
    assert "at 70 GFLOP/s on 2 threads at best" in text


def test_the_fastest_and_the_median_turn_count_per_call_without_the_first(monkeypatch):
    measuring, clock = import_module("measuring"), [0.0]
    durations = iter([9.0, 5.0, 3.0, 4.0, 4.0, 6.0, 6.0])

    def work():
        clock[0] += next(durations)

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])
    assert measuring.take_turns({"one": work}, 3, calls=2) == {"one": {"fastest": 4.0, "median": 4.0}}
    durations = iter([9.0])
    assert measuring.take_turns({"one": work}, 1, warm_up=False)["one"]["fastest"] == 9.0
