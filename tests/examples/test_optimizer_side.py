"""The example of the optimizer's side, run for real with one seed: what it records is what it says it does."""

import re
import subprocess
import sys
from pathlib import Path

import loading
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example():
    return loading.example("optimizer_side.py")


@pytest.fixture(scope="module")
def runs(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimizer-side")
    runs = {name: one for name, (one,) in example.main(folder, seeds=(0,)).items()}
    assert (folder / "optimizer-side.png").read_bytes().startswith(b"\x89PNG")
    return runs


def last(run, name):
    return run.measured(name).values[-1]


def test_every_value_is_recorded_at_every_step_and_is_the_plans(example, runs):
    for name, run in runs.items():
        assert run.closed
        for entry in example.PLAIN:
            counts, asked, applied = run.series(entry)
            assert counts.tolist() == list(range(example.STEPS))
            assert asked.tolist() == applied.tolist()
            if name != "spoiled, clipped":  # there a controller decides
                assert asked.tolist() == run.plan[entry](counts).tolist()


def test_automatic_clipping_saves_the_run_whose_batches_are_spoiled(runs):
    assert last(runs["spoiled"], "test_accuracy") < 0.2
    assert last(runs["spoiled, clipped"], "test_accuracy") > 0.9


def test_the_norms_above_the_recorded_threshold_are_those_that_count_as_clipped(runs):
    run = runs["spoiled, clipped"]
    above = run.measured("grad_norm").values > run.series("grad_clip").applied
    assert above.tolist() == run.measured("clip_fraction").values.astype(bool).tolist()
    assert 0.02 < above.mean() < 0.3
    assert run.events


def test_the_average_is_steadier_than_the_weights_and_no_worse(runs):
    weights, mean = (runs["average"].measured(name).values[20:] for name in ("test_loss", "average_test_loss"))
    assert np.abs(np.diff(mean)).mean() < 0.5 * np.abs(np.diff(weights)).mean()
    assert mean.mean() < weights.mean()


def test_without_averaging_the_average_is_the_model(runs):
    plain = runs["plain"]
    assert plain.measured("test_loss").values.tolist() == plain.measured("average_test_loss").values.tolist()


def test_no_layer_moves_before_its_turn_and_each_moves_from_then_on(example, runs):
    run = runs["unfreezing"]
    trained = run.series("layers").applied
    for place, layer in enumerate(example.LAYERS):
        moved = run.measured(f"moved_{layer}").values
        assert not moved[trained <= place].any()
        assert moved[trained > place].all()


def test_the_second_loss_is_learnt_while_it_has_weight(runs):
    with_weight, without = (runs[name].measured("test_reconstruction").values for name in ("two losses", "plain"))
    assert with_weight.min() < 0.5 * without.min()
    assert with_weight[-1] > with_weight.min()


def test_dropout_keeps_the_net_from_fitting_its_training_images(runs):
    dropped, plain = (runs[name].measured("train_loss").values[-50:].mean() for name in ("dropout", "plain"))
    assert dropped > 5 * plain


def test_the_loop_in_the_guide_runs_as_printed():
    guide = (ROOT / "docs" / "optimizer-side.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["20", "40", "60", "80", "100"]
    assert all("'clip_fraction'" in line and "'layers': 2.0" in line for line in lines)
