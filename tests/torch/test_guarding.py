"""A run that diverges goes back to its last good state; the cut stays, and the record tells of it."""

# A tensor of rows is a data set, though no annotation says so.
# pyright: reportArgumentType=false

import math
import warnings
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import tempomat as tm
from tempomat.runs import Recorder, read_run
from tempomat.torch import Batches, BatchSampler, Rollback, Scheduler

NAN = math.nan


class Loop:
    """A small training whose losses are given: what matters is what goes back."""

    def __init__(self, *, guard=None, extra=None, lr=None, **options):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        self.optimizer = torch.optim.Adam(self.model.parameters())
        guard = guard or tm.DivergenceGuard(factor=0.5, spike=2.0, min_measurements=2, window=5)
        plan = tm.Plan({"lr": (lr or tm.Linear(init_value=0.1, end_value=0.0, duration=1000)) * guard, **(extra or {})})
        self.scheduler = Scheduler(self.optimizer, plan)
        self.rollback = Rollback(self.scheduler, self.model, **{"every": 4, "margin": 2, **options})

    @property
    def count(self):
        return self.scheduler.counts["optimizer_steps"]

    def step(self, loss):
        self.optimizer.zero_grad()
        generator = torch.Generator().manual_seed(self.count)
        self.model(torch.randn(6, 3, generator=generator)).square().sum().backward()
        if self.rollback.observe(loss=loss):
            return True
        self.optimizer.step()
        self.scheduler.step()
        self.rollback.step()
        return False

    def run(self, *losses):
        return [self.step(loss) for loss in losses]

    def weights(self):
        state = self.optimizer.state_dict()["state"]
        moments = [one for place in sorted(state) for one in state[place].values()]
        return [one.clone() for one in (*self.model.state_dict().values(), *moments)]


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_weights_moments_and_buffers_go_back_and_the_cut_lr_goes_on():
    loop, twin = Loop(), Loop()
    twin.run(*[1.0] * 4)
    loop.run(*[1.0] * 6)
    assert loop.count == 6
    assert loop.step(NAN)
    assert loop.count == 4
    assert same(loop.weights(), twin.weights())
    assert loop.scheduler.values == {"lr": 0.5 * twin.scheduler.values["lr"]}
    assert all(one.grad is None for one in loop.model.parameters())
    assert loop.rollback.times == 1
    assert loop.run(1.0, 1.0) == [False, False]
    assert loop.scheduler.values["lr"] == 0.5 * 0.1 * (1 - 6 / 1000)


@pytest.mark.parametrize(("steps", "goes_to"), [(3, 0), (5, 0), (6, 4), (9, 4), (10, 8)])
def test_a_copy_is_trusted_once_it_is_old_enough(steps, goes_to):
    loop = Loop()
    loop.run(*[1.0] * steps)
    assert loop.step(NAN)
    assert loop.count == goes_to
    assert len(loop.rollback._kept) <= 2


def test_a_copy_is_not_changed_by_going_on_from_it():
    loop = Loop(margin=0)
    loop.run(*[1.0] * 4)
    good = loop.weights()
    for _ in range(3):
        loop.run(1.0)
        assert not same(loop.weights(), good)
        assert loop.step(NAN)
        assert same(loop.weights(), good)
    assert loop.scheduler.values["lr"] == 0.1 * 0.996 * 0.5**3


def test_a_spike_goes_back_and_a_loss_within_the_band_does_not():
    loop = Loop()
    assert loop.run(1.0, 1.0, 1.0, 1.9, 2.1) == [False] * 4 + [True]


def test_a_nan_goes_back_in_the_cooldown_and_at_the_floor_too():
    guard = tm.DivergenceGuard(factor=0.5, min_value=0.4, cooldown=3)
    loop = Loop(guard=guard)
    assert loop.run(1.0, NAN, NAN, NAN, 1.0, 1.0, 1.0, NAN, NAN) == [
        False, True, True, True, False, False, False, True, True,
    ]  # fmt: skip
    assert loop.scheduler.values["lr"] == 0.1 * 0.4


def test_a_guard_that_skips_a_nan_lets_it_pass():
    loop = Loop(guard=tm.DivergenceGuard(on_nan="skip"))
    assert loop.run(1.0, NAN, 1.0) == [False] * 3


def test_a_loss_that_still_has_its_graph_is_heard_without_a_warning():
    loop = Loop()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not loop.step(torch.ones(1, requires_grad=True).sum())


def test_other_controllers_go_back_and_guards_do_not():
    noise = tm.Plateau(metric="val", factor=0.5, patience=0, init_value=1.0)
    loop = Loop(extra={"noise": noise})
    loop.run(*[1.0] * 4)
    loop.scheduler.observe(val=1.0)
    loop.scheduler.observe(val=2.0)
    assert loop.scheduler.values["noise"] == 0.5
    loop.run(1.0, 1.0)
    before = loop.scheduler.state_dict()["controllers"]["lr"][0]["window"]
    assert loop.step(NAN)
    assert loop.scheduler.values["noise"] == 1.0
    assert loop.scheduler.state_dict()["controllers"]["lr"][0]["window"] == before


def test_it_is_recorded_as_a_decision_and_a_rewind_and_the_record_goes_on(tmp_path):
    loop = Loop()
    losses = iter([1.0] * 6 + [NAN] + [1.0] * 4)
    with Recorder(tmp_path / "run", loop.scheduler.plan) as recorder:
        for loss in losses:
            recorder.write(loop.scheduler, loss=loss)
            loop.step(loss)
        recorder.write(loop.scheduler, loss=1.0)
    run = read_run(tmp_path / "run")
    decision, rewind = run.events
    assert (decision["event"], decision["level"], decision["counts"]) == ("decision", 0.5, {"optimizer_steps": 6})
    expected = {"event": "rewind", "cause": "divergence", "metric": "loss"}
    assert expected.items() <= rewind.items()
    assert (rewind["before"], rewind["counts"]) == ({"optimizer_steps": 6}, {"optimizer_steps": 4})
    assert run.series("lr").counts.tolist() == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("stored", [False, True])
def test_an_interrupted_run_goes_back_to_where_it_would_have(tmp_path, stored):
    losses = [1.0] * 6 + [NAN] + [1.0] * 5 + [9.0] + [1.0] * 3

    def options(name):
        return {"folder": tmp_path / name} if stored else {}

    whole = Loop(**options("whole"))
    went = whole.run(*losses)
    for cut in range(1, len(losses)):
        first, second = Loop(**options(f"a{cut}")), Loop(**options(f"b{cut}"))
        first.run(*losses[:cut])
        parts = ("model", "optimizer", "scheduler", "rollback")
        torch.save({name: getattr(first, name).state_dict() for name in parts}, tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        for name in parts:
            getattr(second, name).load_state_dict(state[name])
        assert second.run(*losses[cut:]) == went[cut:]
        assert same(second.weights(), whole.weights())
        assert (second.scheduler.values, second.rollback.times) == (whole.scheduler.values, 2)


def test_copies_lie_in_a_folder_and_only_those_still_needed(tmp_path):
    loop = Loop(folder=tmp_path / "good", margin=2)
    loop.run(*[1.0] * 9)
    assert sorted(path.name for path in (tmp_path / "good").iterdir()) == ["good_4.pt", "good_8.pt"]
    loop.run(1.0)
    (tmp_path / "good" / "good_8.pt").write_bytes(b"damaged")
    before = [one.detach().clone() for one in loop.model.parameters()]
    with pytest.raises(tm.StateError, match=r"good_8\.pt: was changed or damaged"):
        loop.step(NAN)
    assert same(list(loop.model.parameters()), before)
    (tmp_path / "good" / "good_8.pt").unlink()
    with pytest.raises(tm.StateError, match=r"good_8\.pt: cannot be read"):
        loop.step(NAN)


def test_a_run_that_diverges_at_one_place_again_and_again_stops_with_an_error():
    loop = Loop(most=2)
    loop.run(*[1.0] * 7)
    assert loop.run(NAN) == [True]
    assert loop.count == 4
    assert loop.run(NAN) == [True]  # at the copy itself: it is not old enough to be trusted
    assert loop.run(NAN) == [True]
    assert loop.count == 0
    with pytest.raises(tm.MeasurementError, match="loss diverged again at 0, after going back to 0 2 times"):
        loop.step(NAN)


def data_run(also):
    """A loop over batches whose clock of samples the plan follows."""
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters())
    lr = tm.on("samples", tm.Linear(init_value=0.1, end_value=0.0, duration=1000)) * tm.DivergenceGuard()
    scheduler = Scheduler(optimizer, tm.Plan({"lr": lr, "batch_size": 2.0}))
    batches = Batches(DataLoader(torch.arange(40.0), batch_sampler=BatchSampler(40, scheduler, seed=0)))
    given: dict[str, Any] = {"also": {"batches": batches}} if also else {"onward": ["samples"]}
    rollback = Rollback(scheduler, model, every=2, margin=0, **given)
    seen, bad = [], iter([False] * 5 + [True] + [False] * 100)
    while batches.epoch == 0:
        for info, batch in batches:
            seen.append(batch.tolist())
            if rollback.observe(loss=NAN if next(bad) else 1.0):
                if also:
                    break
                scheduler.advance(samples=info.samples)  # the samples of the update that was left out
                continue
            optimizer.step()
            scheduler.advance(samples=info.samples)
            scheduler.step()
            rollback.step()
    return seen, scheduler.counts


def test_data_goes_back_with_the_weights_or_goes_on():
    seen, counts = data_run(also=True)
    assert seen[6:8] == seen[4:6]
    assert counts == {"optimizer_steps": 20, "samples": 40}
    seen, counts = data_run(also=False)
    assert len({tuple(one) for one in seen}) == len(seen) == 20
    assert counts == {"optimizer_steps": 18, "samples": 40}


def test_what_does_not_fit_is_refused():
    loop = Loop()
    plain = Scheduler(torch.optim.SGD(loop.model.parameters()), tm.Plan({"weight_decay": 0.1}))
    with pytest.raises(tm.BindingError, match="the plan has no DivergenceGuard"):
        Rollback(plain, loop.model, every=1)
    with pytest.raises(tm.BindingError, match="needs a Scheduler, got Adam"):
        Rollback(loop.optimizer, loop.model, every=1)
    for change, message in [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"margin": -1}, "margin"),
        ({"most": 0}, "most must be at least 1"),
        ({"also": {"optimizer": loop.optimizer}}, "also names optimizer, which goes back anyway"),
        ({"also": {"x": 3}}, "x has no state_dict and load_state_dict, got int"),
        ({"onward": ["samples"]}, "onward names 'samples', which is no clock besides"),
        ({"onward": ["optimizer_steps"]}, "onward names 'optimizer_steps'"),
    ]:
        with pytest.raises(tm.BindingError, match=message):
            Loop(**change)
    with pytest.raises(tm.StateError, match="a state of Rollback has format, times"):
        loop.rollback.load_state_dict({})
    loop.run(1.0)
    other = Loop(also={"average": torch.nn.Linear(1, 1)})
    with pytest.raises(tm.StateError, match="Give the same parts"):
        other.rollback.load_state_dict(loop.rollback.state_dict())
