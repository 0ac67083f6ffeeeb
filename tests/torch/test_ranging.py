"""The range test: what it finds, and above all that it leaves no trace, however it ends."""

import math
import random
import signal

import numpy as np
import pytest
import torch
from processes import on_two_ranks
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import tempomat as tm
from tempomat.core import BindingError, MeasurementError
from tempomat.torch import Batches, BatchSampler, RangeTest, Scheduler, range_test
from tempomat.torch.keeping import Kept
from tempomat.torch.ranges import core_of_fall, smooth


class Net(torch.nn.Module):
    """Batch normalisation, dropout, an attribute that a schedule may set, and a generator of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop = torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3)
        self.last, self.noise, self.calls = torch.nn.Linear(8, 1), 0.0, []
        self.generator = torch.Generator().manual_seed(5)

    def forward(self, inputs):
        self.calls.append(len(inputs))
        self.seen = len(self.calls)
        inputs = inputs + self.noise * torch.randn(inputs.shape, generator=self.generator)
        return self.last(self.drop(torch.relu(self.norm(self.first(inputs)))))


class Training:
    """A training in its middle, with everything that a test could leave a trace in."""

    def __init__(self, optimizer=torch.optim.AdamW, begun=3, **settings):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        inputs = torch.randn(96, 4)
        self.data = TensorDataset(inputs, inputs.sum(1, keepdim=True) + 1)
        self.generator = torch.Generator().manual_seed(7)
        sampler = WeightedRandomSampler(torch.ones(96).tolist(), 96, generator=self.generator)
        self.loader = DataLoader(self.data, 16, sampler=sampler)
        self.model = Net()
        self.optimizer = optimizer(self.model.parameters(), **settings)
        lr = tm.Linear(init_value=0.01, end_value=0.001, duration=50)
        plan = tm.Plan({"lr": lr, "weight_decay": 0.1, "noise": 0.2, "grad_clip": 1.0}, total=50)
        self.scheduler = Scheduler(self.optimizer, plan, targets={"noise": self.set_noise})
        self.seen = []
        for _ in range(begun):
            self.step(next(iter(self.loader)))

    def set_noise(self, value):
        self.model.noise = value

    def step(self, batch):
        inputs, wanted = batch
        random.random()
        np.random.random()  # noqa: NPY002
        loss = (self.model(inputs) - wanted).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.scheduler.values["grad_clip"])
        self.optimizer.step()
        group = self.optimizer.param_groups[0]
        self.seen.append((group["lr"], group["weight_decay"], self.model.noise, self.scheduler.values["grad_clip"]))
        self.scheduler.step()
        return loss

    def range_test(self, step=None, entry="lr", **given):
        given = {"data": self.loader, "low": 1e-5, "high": 1.0, "counts": 12} | given
        return range_test(step or self.step, self.scheduler, self.model, entry, **given)

    def traces(self):
        """Everything that the test promises to put back, as plain data, and the identities of what is held."""
        states = {str(place): state for place, state in enumerate(self.optimizer.state.values())}
        groups = [{key: value for key, value in one.items() if key != "params"} for one in self.optimizer.param_groups]
        return {
            "model": {name: value.tolist() for name, value in self.model.state_dict().items()},
            "grads": [None if one.grad is None else one.grad.tolist() for one in self.model.parameters()],
            "attributes": (self.model.noise, list(self.model.calls), self.model.training, "seen" in vars(self.model)),
            "optimizer": (
                {k: {n: torch.as_tensor(v).tolist() for n, v in s.items()} for k, s in states.items()},
                groups,
            ),
            "hooks": [len(hooks) for name, hooks in vars(self.optimizer).items() if name.endswith("hooks")],
            "places": [id(one) for one in (*self.model.parameters(), *self.model.buffers(), *self.optimizer.state)],
            "scheduler": (self.scheduler.state_dict(), self.scheduler.values, self.scheduler.events),
            "random": (random.getstate(), repr(np.random.get_state())),  # noqa: NPY002
            "torch": [
                one.get_state().tolist() for one in (torch.default_generator, self.generator, self.model.generator)
            ],
        }

    def goes_on(self):
        """What the next updates come to."""
        return [self.step(batch).item() for batch in self.loader]


def untouched(begun=3):
    """What a training that was never tested comes to."""
    return Training(begun=begun).goes_on()


@pytest.mark.parametrize("begun", [0, 3])
@pytest.mark.parametrize("entry", ["lr", "weight_decay", "noise", "grad_clip", "betas[0]"])
def test_a_test_leaves_no_trace_whatever_it_tries(entry, begun):
    training = Training(begun=begun)
    before = training.traces()
    high = 0.9 if entry == "betas[0]" else 1.0
    training.range_test(entry=entry, high=high)
    assert training.traces() == before
    assert training.goes_on() == untouched(begun)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("at", [1, 7])
def test_a_test_leaves_no_trace_after_an_error_or_an_interrupt(error, at):
    training = Training()
    before = training.traces()

    def step(batch):
        loss = training.step(batch)
        if len(training.seen) == 3 + at:
            raise error("the step broke")
        return loss

    with pytest.raises(error, match="the step broke"):
        training.range_test(step)
    assert training.traces() == before
    assert training.goes_on() == untouched()


def test_an_interrupt_while_all_is_put_back_comes_after_it(monkeypatch):
    training, restore = Training(), Kept.restore
    before, handler = training.traces(), signal.getsignal(signal.SIGINT)

    def interrupted(kept):
        signal.raise_signal(signal.SIGINT)
        restore(kept)

    monkeypatch.setattr(Kept, "restore", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        training.range_test()
    assert training.traces() == before
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_values_go_from_low_to_high_exactly_while_the_others_stay():
    training = Training()
    found = training.range_test(low=1e-4, high=0.5, counts=9, stop=math.inf)
    seen = np.array(training.seen[3:])
    np.testing.assert_allclose(seen[:, 0], 1e-4 * 5000 ** (np.arange(9) / 8), rtol=1e-12, atol=0)
    assert (seen[0, 0], seen[-1, 0]) == (1e-4, 0.5)
    assert seen[:, 1:].tolist() == [[0.1, 0.2, 1.0]] * 9
    assert found.values.tolist() == seen[:, 0].tolist()
    training.range_test(entry="noise", low=0.0, high=1.0, counts=9, spacing="linear", stop=math.inf)
    assert [row[2] for row in training.seen[12:]] == np.linspace(0, 1, 9).tolist()
    assert training.seen[12][0] == training.scheduler.values["lr"]


def test_a_bare_optimizer_is_tested_and_put_back():
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.25))
    held, inputs, seen = optimizer.param_groups[0]["lr"], torch.randn(32, 4), []

    def step():
        loss = model(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(optimizer.param_groups[0]["lr"]))
        return loss.item()

    before = model.weight.tolist()
    range_test(step, optimizer, model, low=0.5, high=0.125, counts=8)
    assert (seen[0], seen[-1]) == (0.5, 0.125)
    assert optimizer.param_groups[0]["lr"] is held
    assert held.item() == 0.25
    assert model.weight.tolist() == before
    assert not optimizer.state
    assert all(one.grad is None for one in model.parameters())
    dropout = torch.nn.Dropout(0.5)
    tried = []
    range_test(
        lambda: tried.append(dropout.p) or step(),
        optimizer,
        [model, dropout],
        "dropout",
        low=0.1,
        high=0.8,
        counts=8,
        target=lambda value: setattr(dropout, "p", value),
    )
    assert (tried[0], tried[-1], dropout.p) == (0.1, 0.8, 0.5)


def test_each_value_tried_afresh_begins_at_the_same_point_with_the_same_batches():
    training = Training()
    before, starts, batches = training.traces(), [], []

    def step(batch):
        starts.append(training.model.first.weight.sum().item())
        batches.append(batch[0].sum().item())
        return training.step(batch)

    found = training.range_test(step, "weight_decay", afresh=7, counts=8, low=0.1, high=1e-9, stop=math.inf)
    assert starts[::7] == starts[:1] * 8
    assert batches == batches[:7] * 8
    assert len(set(batches[:6])) == 6
    assert np.ptp(found.losses) > 0
    assert np.ptp(found.losses) < 0.2 * found.losses.min()
    assert training.traces() == before


def test_an_iteration_that_was_going_on_goes_on_where_it_was():
    training, other = Training(), Training()
    batches, expected = iter(training.loader), list(other.loader)
    seen = [next(batches), next(batches)]
    training.range_test(counts=30)
    seen += batches
    assert [one[0].tolist() for one in seen] == [one[0].tolist() for one in expected]


@pytest.mark.parametrize("workers", [0, 2])
def test_planned_batches_go_on_in_mid_epoch(workers):
    def build():
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters())
        plan = tm.Plan({"lr": 0.01, "batch_size": tm.PiecewiseConstant(values=(8, 12), boundaries=(3,))})
        scheduler = Scheduler(optimizer, plan)
        sampler = BatchSampler(96, scheduler, seed=3, micro=5)
        loader = DataLoader(
            TensorDataset(torch.arange(384.0).view(96, 4) / 384),
            batch_sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        return model, optimizer, scheduler, Batches(loader)

    model, optimizer, scheduler, batches = build()
    sizes, losses = [], []

    def step(given):
        info, (inputs,) = given
        loss = model(inputs).square().mean()
        (loss * info.weight).backward()
        if info.last:
            sizes.append((optimizer.param_groups[0]["lr"], info.batch_size))
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        return loss

    def run(batches, test_at):
        for place, given in enumerate(batches):
            losses.append((given[0].update, given[0].micro, given[1][0].sum().item()))
            step(given)
            if place == test_at:
                state = batches.state_dict(), scheduler.state_dict()
                sizes.clear()
                found = range_test(step, scheduler, model, data=batches, low=1e-4, high=1e-2, counts=20)
                assert [lr for lr, _ in sizes] == found.values.tolist()  # micro-batches are one count together
                # what workers were given before the test keeps its size; what is planned in it has the present one
                assert {size for _, size in sizes} <= ({8, 12} if workers else {8})
                assert (batches.state_dict(), scheduler.state_dict()) == state

    run(batches, test_at=3)
    tested = list(losses)
    losses.clear()
    model, optimizer, scheduler, batches = build()
    run(batches, test_at=None)
    assert tested == losses


def test_a_scaler_and_other_things_to_keep_are_put_back():
    class Position:
        def __init__(self):
            self.state = {"place": [1, 2]}

        def state_dict(self):
            return self.state

        def load_state_dict(self, state):
            self.state = state

    training, position, own = Training(), Position(), random.Random(3)
    average = torch.optim.swa_utils.AveragedModel(training.model)
    weight = next(average.parameters())
    before = own.getstate(), weight.tolist()

    def step(batch):
        own.random()
        position.state["place"].append(3)
        loss = training.step(batch)
        average.update_parameters(training.model)
        return loss

    training.range_test(step, keep=[position, own, average], afresh=2)
    assert position.state == {"place": [1, 2]}
    assert (own.getstate(), weight.tolist()) == before
    assert int(average.n_averaged) == 0


def curve(losses, low=1e-5, high=10.0, **given):
    values = np.geomspace(low, high, len(losses))
    return RangeTest(**{"entry": "lr", "values": values, "losses": np.array(losses), "spacing": "log",
                        "afresh": None, "stopped": ""} | given)  # fmt: skip


def valley(low=1e-5, high=10.0, counts=121, noise=0.0):
    """A loss that falls from 2 to 1 around 1e-2, halfway between 1e-3 and 1e-1, and explodes from 1 on."""
    power = np.log10(np.geomspace(low, high, counts))
    losses = 2 - np.clip((power + 3) / 2, 0, 1) + 10 * np.clip(power - 0.0, 0, None)
    return losses + noise * np.random.default_rng(0).standard_normal(counts)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_rules_find_the_middle_the_steepest_point_and_a_tenth_of_the_lowest(noise):
    found = curve(valley(noise=noise))
    by_rule = {one.rule: one.value for one in found.suggestions}
    assert list(by_rule) == ["valley", "steepest", "tenth"]
    assert 0.007 < by_rule["valley"] < 0.015
    assert 0.001 < by_rule["steepest"] < 0.1
    assert 0.01 <= by_rule["tenth"] < 0.1
    assert found.suggestion == by_rule["valley"]
    assert "the loss fell fastest, by 0." in str(found.suggestions[1])


def test_where_the_sweep_begins_hardly_moves_the_first_suggestion():
    near, far = curve(valley(1e-4, counts=101), low=1e-4), curve(valley(1e-8, counts=181), low=1e-8)
    assert 0.8 < near.suggestion / far.suggestion < 1.25


def test_a_loss_that_never_clearly_fell_gets_no_suggestion_and_a_reason():
    rng = np.random.default_rng(0)
    flat = curve(2 + 0.1 * rng.standard_normal(100))
    assert flat.suggestions == ()
    assert any("Nothing is suggested: the loss fell by" in one for one in flat.remarks)
    with pytest.raises(BindingError, match="no lr can be suggested: the loss fell by"):
        flat.suggestion  # noqa: B018
    with pytest.raises(BindingError, match="it takes 8 finite losses, and there are 7"):
        curve([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, math.nan]).suggestion  # noqa: B018


def test_remarks_say_where_the_range_ends_too_early_and_what_age_does():
    assert "lowest at the last value tried, 10: go on" in curve(np.linspace(2, 1, 50)).remarks[0]
    rising = curve(np.linspace(1, 2, 50), afresh=5)
    assert "lowest at the first value tried, 1e-05: begin" in rising.remarks[0]
    assert "in part its age" in curve(np.linspace(2, 1, 50), entry="encoder.weight_decay").remarks[-1]
    assert not any("age" in one for one in curve(np.linspace(2, 1, 50), entry="encoder.lr").remarks)


def test_values_tried_afresh_are_judged_by_their_lowest_loss():
    losses = (np.log10(np.geomspace(1e-5, 10, 50)) + 1) ** 2 + 1
    (only,) = curve(losses, afresh=20).suggestions
    assert only.rule == "lowest"
    np.testing.assert_allclose(only.value, 0.1, rtol=0.2, atol=0)


@pytest.mark.parametrize(
    ("losses", "stops_at", "why"),
    [
        ([1.0] * 10 + [50.0] + [1.0] * 9, None, ""),  # one bad batch alone
        ([1.0] * 10 + [50.0] * 10, 13, "the loss had come to 50 from 1"),
        ([1.0] * 10 + [math.nan] * 10, 11, "the loss was nan"),
        ([1.0] * 10 + [math.inf] * 10, 11, "the loss was inf"),
        ([-1.0] * 10 + [1.5] * 10, 13, "the loss had come to 1.5 from -1"),
        ([-1.0] * 10 + [0.9] * 10, None, ""),
        ([10.0] * 5 + [0.0] * 5 + [19.0] * 10, None, ""),
    ],
)
def test_the_test_ends_where_the_loss_has_diverged(losses, stops_at, why):
    training, left, again = Training(), iter(losses), iter(losses)
    found = training.range_test(lambda _: next(left), counts=20)
    assert len(found.losses) == len(found.values) == (stops_at or 20)
    assert why in found.stopped
    assert bool(found.stopped) == bool(stops_at)
    assert len(training.range_test(lambda _: next(again), counts=20, stop=math.inf).losses) == 20


def test_it_is_drawn_on_the_terminal_and_as_a_file(tmp_path):
    found = curve([*valley(), math.nan], stopped="Stopped at 10.")
    text = str(found)
    assert "Range test of lr" in text
    assert f"valley {found.suggestion:.2g} at" in text
    assert "Stopped at 10." in text
    found.png(tmp_path / "test.png")
    assert (tmp_path / "test.png").read_bytes().startswith(b"\x89PNG")
    below = curve([*(valley() - 3), 1e9, 1e9, 1e9])
    assert "Losses above 1 are not drawn" in str(below)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low": 0.0}, "`low` must be above 0, got 0.0. Or give spacing='linear'"),
        ({"high": -1.0}, "`high` must be at least 0 for lr, got -1.0"),
        ({"high": math.inf}, "`high` must be at least 0 for lr, got inf"),
        ({"high": True}, "`high` must be at least 0 for lr, got True"),
        ({"entry": "betas[0]", "high": 1.0}, r"`high` must be at least 0 and below 1 for betas\[0\], got 1.0"),
        ({"low": 0.1, "high": 0.1}, "`low` and `high` are both 0.1"),
        ({"counts": 7}, "`counts` must be a whole number from 8 to 10000, got 7"),
        ({"counts": 8.0}, "`counts` must be a whole number from 8 to 10000, got 8.0"),
        ({"spacing": "logarithmic"}, "`spacing` must be log or linear, got 'logarithmic'"),
        ({"afresh": 0}, "`afresh` must be a number of updates from 1, or None, got 0"),
        ({"stop": 0}, "`stop` must be above 0, got 0"),
        ({"data": iter([1])}, "`data` is an iterator .list_iterator., whose place could not be put back"),
        ({"data": 5}, "`data` must give batches when iterated, got int"),
        ({"data": []}, "`data` gives no batch"),
        ({"step": 5}, "`step` must be a function that makes one update, got int"),
        ({"keep": [5]}, "`keep` holds a int, which has no state_dict"),
        ({"entry": "lrs"}, "Did you mean lr"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(given, message):
    training = Training()
    before = training.traces()
    with pytest.raises(BindingError, match=message):
        training.range_test(**given)
    assert training.traces() == before


def test_other_wrong_uses_are_refused():
    training = Training()
    with pytest.raises(BindingError, match="a Scheduler writes into this optimizer"):
        range_test(training.step, training.optimizer, training.model)
    with pytest.raises(BindingError, match="needs a tempomat Scheduler or a torch Optimizer, got Net"):
        range_test(training.step, training.model, training.model)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BindingError, match=r"`model` must be a torch.nn.Module or several, got int"):
        range_test(training.step, training.scheduler, [5])  # pyright: ignore[reportArgumentType]
    with pytest.raises(MeasurementError, match="`step` has to return the loss as a number, got NoneType"):
        training.range_test(lambda _: None)
    model = torch.nn.Linear(1, 1)
    with pytest.raises(BindingError, match=r"no param group of the optimizer has grad_clip. Give a `target=`"):
        range_test(print, torch.optim.SGD(model.parameters()), model, "grad_clip", low=0.1, high=1)
    with pytest.raises(BindingError, match="a lazy module has parameters without a shape"):
        Kept(torch.nn.LazyLinear(3))


def test_tensors_come_back_in_place_whatever_became_of_them():
    weight, shared = torch.nn.Parameter(torch.arange(4.0)), torch.arange(3.0)
    wide, frozen = torch.ones(2, 1).expand(2, 5), torch.nn.Parameter(torch.ones(2), requires_grad=False)
    weight.grad = torch.ones(4)
    grad, holder = weight.grad, {"tensor": shared, "list": [shared, 1], "wide": wide}
    kept = Kept(weight, holder, frozen)
    for _ in range(2):  # as often as wanted
        weight.data = torch.zeros(7)
        weight.grad = None
        grad.zero_()
        shared.add_(1)
        wide[:, 0] += 1
        frozen.requires_grad_(True)
        holder["list"].append(2)
        del holder["tensor"]
        holder["new"] = 1
        kept.restore()
        assert weight.tolist() == [0.0, 1.0, 2.0, 3.0]
        assert weight.grad is grad
        assert grad.tolist() == [1.0] * 4
        assert list(holder) == ["tensor", "list", "wide"]
        assert holder["tensor"] is shared is holder["list"][0]
        assert (shared.tolist(), len(holder["list"]), wide.sum().item()) == ([0.0, 1.0, 2.0], 2, 10.0)
        assert not frozen.requires_grad


def test_the_first_error_on_the_way_back_is_raised_and_the_rest_put_back_all_the_same():
    weight, kept = torch.ones(2), Kept()
    kept.on_restore(lambda: 1 / 0)
    kept.add(weight)
    weight.zero_()
    with pytest.raises(ZeroDivisionError, match="division"):
        kept.restore()
    assert weight.tolist() == [1.0, 1.0]


def test_smoothing_has_no_delay_and_the_core_of_a_fall_has_no_creeping_ends():
    pulse = np.zeros(21)
    pulse[10] = 1.0
    smoothed = smooth(pulse, 2.0)
    assert int(np.argmax(smoothed)) == 10
    np.testing.assert_allclose(smoothed[:10], smoothed[:10:-1], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(smoothed[8] / smoothed[10], math.exp(-0.5), rtol=1e-9, atol=0)
    assert core_of_fall(np.array([3.0, 2.999, 2.998, 1.0, 0.001, 0.0])) == (2, 4)


def on_one_rank(rank):
    model = torch.nn.Linear(1, 1)
    losses = iter([1.0] * 10 + [50.0 if rank else 1.0] * 10)
    found = range_test(lambda: next(losses), torch.optim.SGD(model.parameters()), model, counts=20)
    return found.losses.tolist(), found.stopped


def test_every_rank_stops_at_the_same_value_by_the_mean_of_their_losses(tmp_path):
    (losses, stopped), other = on_two_ranks(on_one_rank, tmp_path)
    assert (losses, stopped) == other
    assert losses == [1.0] * 10 + [25.5] * 3
    assert "the loss had come to 25.5 from 1" in stopped


def test_the_loss_of_an_update_is_the_weighted_sum_of_its_micro_batches():
    model = torch.nn.Linear(1, 1)
    sampler = BatchSampler(12, tm.Plan({"batch_size": 6}), seed=0, micro=4)
    batches = Batches(DataLoader(TensorDataset(torch.arange(12.0)), batch_sampler=sampler))
    found = range_test(lambda given: 3.0, torch.optim.SGD(model.parameters()), model, data=batches, counts=8)
    np.testing.assert_allclose(found.losses, 3.0, rtol=1e-12, atol=0)


@pytest.mark.parametrize("begun", [False, True])
def test_what_a_target_holds_outside_the_model_is_written_again_once_training_has_begun(begun):
    model, held = torch.nn.Linear(1, 1), {"noise": 0.0}
    plan = tm.Plan({"lr": 0.1, "noise": 0.3})
    optimizer = torch.optim.SGD(model.parameters())
    scheduler = Scheduler(optimizer, plan, targets={"noise": lambda value: held.update(noise=value)})
    if begun:
        scheduler.start()
    tried = []
    range_test(lambda: tried.append(held["noise"]) or 1.0, scheduler, model, "noise", low=0.1, high=0.9, counts=8)
    assert (tried[0], tried[-1]) == (0.1, 0.9)
    assert held["noise"] == (0.3 if begun else 0.9)
