"""The laptop comparison counts what its runs left behind, and begins none twice."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CUT = 60_000


@pytest.fixture(autouse=True)
def _as_scripts_find_each_other(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def outcomes():
    return import_module("outcomes")


@pytest.fixture
def laptop(tmp_path, monkeypatch):
    module = import_module("laptop")
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    return module


def result(success=0.5, **gates):
    """S0=13_000 is the first gate, passed at that env step."""
    passed = {name[1:]: {"env_steps": steps, "seconds": steps / 100} for name, steps in gates.items()}
    return {"success_rate": success, "seconds": 150.0, "gates": passed}


def leave(run, found):
    run.folder.mkdir(parents=True)
    (run.folder / "result.json").write_text(json.dumps(found))


def trained(started, *, failing=()):
    """Stands in for `subprocess.run`: notes the seed and leaves a result, unless the run fails."""

    def run(command, **_):
        settings = dict(one.split("=", 1) for one in command if "=" in one)
        started.append(int(settings["seed"]))
        if started[-1] not in failing:
            (Path(settings["checkpoint_dir"]) / "result.json").write_text(json.dumps(result(0.9)))

    return run


def test_an_interval_is_students(outcomes):
    low, high = outcomes.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    reach = 2.7764451 * (2.5 / 5) ** 0.5  # t of 4 degrees of freedom from a table, and the standard error
    assert (low, high) == pytest.approx((3.0 - reach, 3.0 + reach), rel=1e-7)


def test_of_one_seed_an_interval_has_no_ends(outcomes):
    assert outcomes.interval([0.7]) == (-np.inf, np.inf)


def test_a_result_of_other_settings_is_refused(laptop):
    run = laptop.comparison()[0]
    run.folder.mkdir(parents=True)
    (run.folder / "result.json").write_text("{}")
    (run.folder / "settings.json").write_text('["scale=laptop"]')
    with pytest.raises(SystemExit, match=r"was made with scale=laptop\. Remove it first"):
        laptop.carry_out(laptop.comparison(), workers=1)


def test_a_gate_that_was_not_reached_before_the_cut_is_none(outcomes):
    results = {1: result(S0=13_000, S1=20_000), 2: result(S0=CUT, S1=CUT + 1), 3: result()}
    assert outcomes.gate_steps(results, 0, CUT) == [13_000, CUT, None]
    assert outcomes.gate_steps(results, 1, CUT) == [20_000, None, None]
    assert outcomes.gate_seconds(results, 0) == [130.0, 600.0, None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 3, None], 3), ([1, None, None], None), ([1, 2], 1.5), ([1, None], None), ([None], None)],
)
def test_a_median_counts_what_was_not_reached_as_longer_than_anything(outcomes, values, expected):
    assert outcomes.median(values) == expected


def test_a_comparison_pairs_by_seed_and_counts_unreached_gates_as_the_cut(outcomes):
    by_name = {
        "constant": {1: result(0.5, S0=10_000), 2: result(0.6, S0=20_000)},
        "decay": {2: result(0.9, S0=30_000), 3: result(0.1)},
        "none yet": {},
    }
    table = outcomes.compare(by_name, "constant", stages=1, cut=CUT)
    assert list(table) == ["constant", "decay"]
    assert table["constant"]["against_constant"] == 0.0
    row = table["decay"]
    assert (row["seeds"], row["success"], row["mean"]) == ([2, 3], [0.9, 0.1], 0.5)
    assert row["against_constant"] == pytest.approx(0.3, rel=1e-12)  # seed 2 alone has both
    gate = row["gates"]["0"]
    assert (gate["env_steps"], gate["reached"], gate["mean"]) == ([30_000, None], 1, 45_000)
    assert gate["interval"] == pytest.approx((45_000 - 12.7062047 * 15_000, 45_000 + 12.7062047 * 15_000), rel=1e-7)


def test_before_the_base_has_ended_nothing_is_held_against_it(outcomes):
    table = outcomes.compare({"constant": {}, "decay": {1: result()}}, "constant", stages=1, cut=CUT)
    assert table["decay"]["against_constant"] is None
    assert table["decay"]["against_constant_interval"] is None


def test_a_run_that_has_ended_is_not_begun_again(laptop, monkeypatch, capsys):
    runs, started = [laptop.Run("constant", seed, ()) for seed in (1, 2, 3)], []
    leave(runs[1], result(0.7))
    monkeypatch.setattr(laptop.subprocess, "run", trained(started))
    assert laptop.carry_out(runs, workers=1) is True
    assert started == [1, 3]
    assert laptop.results_of(runs)["constant"][2]["success_rate"] == 0.7
    assert "1 of 3 runs are there" in capsys.readouterr().err


def test_a_run_without_a_result_is_named_and_begun_again_by_the_next_call(laptop, monkeypatch, capsys):
    runs, started = [laptop.Run("constant", seed, ()) for seed in (1, 2)], []
    monkeypatch.setattr(laptop.subprocess, "run", trained(started, failing=[1]))
    assert laptop.carry_out(runs, workers=1) is False
    assert f"constant-seed1: not finished, see {runs[0].folder / 'output.txt'}" in capsys.readouterr().err
    monkeypatch.setattr(laptop.subprocess, "run", trained(started))
    assert laptop.carry_out(runs, workers=1) is True
    assert started == [1, 2, 1]


def test_an_interrupt_begins_no_further_run(laptop, monkeypatch):
    runs, started = [laptop.Run("constant", seed, ()) for seed in (1, 2, 3, 4)], []

    def interrupted(futures):
        raise KeyboardInterrupt("by hand")

    def slow(command, **_):
        started.append(command)
        waiting.wait(timeout=30)

    waiting = import_module("threading").Event()
    shutdown = laptop.ThreadPoolExecutor.shutdown

    def release(pool, **how):
        shutdown(pool, wait=False, **how)
        waiting.set()
        shutdown(pool)

    monkeypatch.setattr(laptop.subprocess, "run", slow)
    monkeypatch.setattr(laptop, "as_completed", interrupted)
    monkeypatch.setattr(laptop.ThreadPoolExecutor, "shutdown", release)
    with pytest.raises(KeyboardInterrupt, match="by hand"):
        laptop.carry_out(runs, workers=1)
    assert len(started) <= 1


def test_the_report_shows_what_was_reached(laptop, outcomes):
    by_name = {
        "constant": {1: result(0.5, S0=10_000), 2: result(0.5, S0=10_000)},
        "decay": {1: result(0.8), 2: result(0.8)},
    }
    table = outcomes.compare(by_name, "constant", laptop.STAGES, laptop.FRAMES)
    told = laptop.as_markdown(table, outcomes.times(by_name, 1), {"cores": 2, "timm": None})
    assert "\ncores 2\n" in told
    assert "| constant | 0.500 [0.500, 0.500] | - | 10.0k [10.0, 10.0] (2/2), 60.0k" in told
    assert "| decay | 0.800 [0.800, 0.800] | +0.300 [+0.300, +0.300] | 60.0k [60.0, 60.0] (0/2)" in told
    assert "| constant | 2 | 100 s |" in told
    assert "| decay | 2 | - |" in told
