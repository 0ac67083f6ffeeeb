"""The examples of measurement, run shorter: guard, batch size by noise, learning rate by divergence."""

import numpy as np
import pytest
from loading import example

pytestmark = pytest.mark.slow


def test_going_back_saves_a_run_that_falls_apart_without():
    found = {name: one for name, (one,) in example("measurement/guard.py").main((0,)).items()}
    assert found["no guard"]["accuracy"] < 0.2
    assert found["cuts"]["accuracy"] < 0.2
    assert found["cuts and goes back"]["accuracy"] > 0.8
    assert found["cuts and goes back"]["went_back"] == found["cuts and goes back"]["cuts"] > 0
    assert found["no guard"]["updates"] == 400 < found["cuts and goes back"]["updates"]


def test_the_batch_grows_with_the_noise_and_saves_updates():
    module = example("measurement/noise_scale.py")
    found = {name: one for name, (one,) in module.main((0,), epochs=10).items()}
    sizes = found["by the noise"]["batch_size"]
    assert sizes[0] == module.SMALL < sizes[-1] <= module.LARGE
    assert (
        found["always 512"]["updates"] == 30 < found["by the noise"]["updates"] < found["always 32"]["updates"] == 440
    )
    # fewer than half of the updates, and a loss between the two fixed ones or near the better
    assert found["by the noise"]["updates"] < 220
    losses = {name: one["val_loss"].values[-1] for name, one in found.items()}
    assert losses["always 32"] * 0.8 < losses["by the noise"] < losses["always 512"]


def test_the_rate_comes_to_the_same_from_far_below_and_far_above():
    module = example("measurement/kl_adaptive.py")
    found = {name: one for name, (one,) in module.main((0,), iterations=25).items()}
    low, high = (found[f"from {name}, by the divergence"] for name in ("1e-5", "1e-2"))
    late = [np.exp(np.log(one["lr"][200:]).mean()) for one in (low, high)]
    assert late[0] == pytest.approx(late[1], rel=0.5, abs=0)
    assert 5e-4 < late[0] < 5e-3
    assert found["always 1e-5"]["reward"][-16:].mean() < 0.2 < 0.8 < low["reward"][-16:].mean()
    assert found["always 1e-2"]["kl"][200:].mean() > 3 * low["kl"][200:].mean()
