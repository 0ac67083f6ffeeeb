"""The example of a batch size over time, run shorter."""

import pytest
from loading import EXAMPLES, example

from tempomat.runs import read_run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES / "batch_size")
        return example("batch_size/train.py").main(tmp_path_factory.mktemp("runs"), seeds=(0,), epochs=13)


def test_a_larger_batch_takes_fewer_updates_over_the_same_samples(found):
    updates = {name: runs[0]["updates"] for name, runs in found["runs"].items()}
    ramped = 10 * 90 + 3 * 23
    assert updates == {
        "lr decay": 13 * 90, "batch ramp": ramped, "batch ramp, lr coupled": ramped, "nothing changes": 13 * 90
    }  # fmt: skip


def test_it_learns_as_well_and_follows_the_curve_of_the_falling_rate(found):
    assert all(runs[0]["accuracy"] > 0.95 for runs in found["runs"].values())
    late = {}
    for name, (folder,) in found["folders"].items():
        counts, losses = read_run(folder).measured("train_loss")
        late[name] = losses[counts >= 10 * 1437].mean()
    assert late["batch ramp"] == pytest.approx(late["lr decay"], rel=0.25, abs=0)


def test_the_record_has_the_size_and_the_rate_of_each_update(found):
    ((ramp,), (coupled,)) = (found["folders"][name] for name in ("batch ramp", "batch ramp, lr coupled"))
    _, _, sizes = read_run(ramp).series("batch_size")
    assert sizes.tolist() == [16] * 900 + [64] * 69
    counts, _, rates = read_run(coupled).series("lr")
    assert rates.tolist() == [0.1 * size / 16 for size in sizes]
    assert counts[900] == 10 * 1437


def test_a_run_that_is_broken_off_in_mid_epoch_ends_the_same(found):
    assert found["identical"] is True


def test_it_draws_its_picture(found):
    assert found["picture"].read_bytes().startswith(b"\x89PNG")
