"""In the places where hosts expect PyTorch's own scheduler: each test does what that host's code does with one."""

import copy
import inspect
import io
import pickle

import pytest
import torch
from runtime.toys import FALL, group, held, sgd, through_a_file, train
from torch.optim import SGD
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, LRScheduler, ReduceLROnPlateau, SequentialLR, StepLR

import tempomat as tm
from tempomat.torch import Scheduler

HALF = FALL * 0.5


def pair(**schedules):
    """An optimizer and its scheduler."""
    optimizer = sgd()
    return optimizer, Scheduler(optimizer, tm.Plan({"lr": FALL, **schedules}))


def test_it_is_an_lr_scheduler_of_pytorchs():
    _, scheduler = pair()
    assert isinstance(scheduler, LRScheduler)
    assert not isinstance(scheduler, ReduceLROnPlateau)


@pytest.mark.parametrize("name", [name for name in vars(LRScheduler) if not name.startswith("_")])
def test_every_public_method_of_pytorchs_takes_the_same_arguments(name):
    theirs, ours = getattr(LRScheduler, name), getattr(Scheduler, name)
    if callable(theirs):
        wanted = [one for one in inspect.signature(theirs).parameters if one != "epoch"]
        taken = list(inspect.signature(ours).parameters)
        assert taken[: len(wanted)] == wanted


@pytest.mark.parametrize("name", ["optimizer", "base_lrs", "last_epoch", "_step_count", "_last_lr"])
def test_what_hosts_read_from_pytorchs_is_there(name):
    """Accelerate adds to `_step_count` while gradients accumulate."""
    _, ours = pair()
    assert isinstance(getattr(ours, name), type(getattr(StepLR(sgd(), 1), name)))
    ours._step_count += 1


def test_pytorchs_step_with_a_positional_measurement_and_by_name():
    for give in (lambda one, loss: one.step(loss), lambda one, loss: one.step(metrics=loss)):
        optimizer = sgd()
        scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5)}))
        for loss in (1.0, 1.0):
            optimizer.step()
            give(scheduler, loss)
        assert held(optimizer) == [FALL(2) * 0.5]


# hosts


def test_as_lightning_uses_it():
    """It looks for the optimizer by `in`, keeps `state_dict()` in a checkpoint and steps per epoch or with a metric."""
    optimizer, scheduler = pair()
    assert scheduler.optimizer in [optimizer]
    train(optimizer, scheduler, 3)
    checkpoint = through_a_file(
        {"lr_schedulers": [scheduler.state_dict()], "optimizer_states": [optimizer.state_dict()]}
    )
    optimizer, scheduler = pair()
    optimizer.load_state_dict(checkpoint["optimizer_states"][0])
    scheduler.load_state_dict(checkpoint["lr_schedulers"][0])
    assert train(optimizer, scheduler, 2) == [FALL(3), FALL(4)]


def test_as_the_hugging_face_trainer_uses_it():
    """It logs `get_last_lr()[0]` before it steps, and loads with `weights_only=True`."""
    optimizer, scheduler = pair()
    assert scheduler.get_last_lr()[0] == FALL(0)
    logged, used = [], []
    for _ in range(4):
        optimizer.step()
        used.append(held(optimizer)[0])
        logged.append(scheduler.get_last_lr()[0])
        scheduler.step()
    assert logged == used == [FALL(count) for count in range(4)]
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    again = pair()[1]
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.get_last_lr()[0] == FALL(4)


def test_as_accelerate_uses_it():
    """One process of several steps the scheduler once for each of them, and not at all where the scaler skipped."""
    optimizer, scheduler = pair()
    for _ in range(3):
        optimizer.step()
        for _ in range(4):
            scheduler.step()
    assert (scheduler.counts, scheduler.skipped) == ({"optimizer_steps": 3}, 9)


def test_last_lrs_are_there_for_every_group_and_of_the_groups_own_kind():
    optimizer = SGD([group("encoder", lr=torch.tensor(0.25)), group("head"), group("tail")], lr=0.125)
    scheduler = Scheduler(optimizer, tm.Plan({"encoder.lr": FALL, "head.lr": HALF}))
    assert scheduler.get_last_lr() == scheduler.get_lr() == [1.0, 0.5, 0.125]
    train(optimizer, scheduler, 5)
    assert [float(one) for one in scheduler.get_last_lr()] == [0.5, 0.25, 0.125]
    assert scheduler._last_lr == scheduler.get_last_lr()
    assert isinstance(scheduler.get_last_lr()[0], torch.Tensor)
    assert scheduler.get_last_lr()[0] is not optimizer.param_groups[0]["lr"]


# pytorch's own combinations


def test_pytorchs_chain_steps_it_beside_schedulers_of_other_keys():
    optimizer = sgd(lr=1.0, weight_decay=0.0)
    ours, theirs = Scheduler(optimizer, tm.Plan({"weight_decay": FALL})), StepLR(optimizer, step_size=1, gamma=0.5)
    chain = ChainedScheduler([theirs, ours], optimizer)
    for _ in range(3):
        optimizer.step()
        chain.step()
    assert (held(optimizer), held(optimizer, "weight_decay")) == ([0.125], [FALL(3)])
    state = through_a_file(chain.state_dict())
    fresh = sgd(lr=1.0, weight_decay=0.0)
    ours, theirs = Scheduler(fresh, tm.Plan({"weight_decay": FALL})), StepLR(fresh, step_size=1, gamma=0.5)
    ChainedScheduler([theirs, ours], fresh).load_state_dict(state)
    assert ours.values == {"weight_decay": FALL(3)}


def test_pytorchs_sequence_cannot_take_it_and_says_what_to_write_instead():
    """It resets every lr to the optimizer's own and takes a step back: a sequence belongs into the plan."""
    optimizer, scheduler = pair()
    later = ConstantLR(optimizer, factor=0.5)
    with pytest.raises(tm.BindingError, match=r"put the sequence into the plan: first\.then\(second, at=\.\.\.\)"):
        SequentialLR(optimizer, [scheduler, later], milestones=[2])


def test_its_count_cannot_be_set_behind_its_back():
    _, scheduler = pair()
    with pytest.raises(tm.BindingError, match="use load_state_dict, advance or rewind"):
        scheduler.last_epoch = 5
    assert scheduler.last_epoch == 0


# copies

PLAN = tm.Plan({"lr": FALL * tm.Plateau(patience=0, factor=0.5), "noise": tm.on("env_steps", FALL)}, total=10)


def copied(scheduler, way):
    """A copy of scheduler and optimizer by `deepcopy` or by pickle."""
    return copy.deepcopy(scheduler) if way == "deepcopy" else pickle.loads(pickle.dumps(scheduler))


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
@pytest.mark.parametrize("moment", ["before the start", "between two rounds", "between update and step"])
def test_a_copy_goes_on_as_the_original_would_and_apart_from_it(way, moment):
    optimizer = sgd("encoder", lr=torch.tensor(0.25, dtype=torch.float64))
    scheduler = Scheduler(optimizer, PLAN, foreign="adopt", later=["head"])
    scheduler.observe(val_loss=1.0)
    scheduler.observe(val_loss=1.0)
    scheduler.advance(env_steps=3)
    if moment != "before the start":
        train(optimizer, scheduler, 3)
    if moment == "between update and step":
        optimizer.step()
    twin = copied(scheduler, way)
    assert twin.optimizer is not optimizer
    assert twin.state_dict() == scheduler.state_dict()
    assert (twin.values, twin.events, twin.skipped) == (scheduler.values, scheduler.events, scheduler.skipped)
    assert held(twin.optimizer) == held(optimizer)
    trails = []
    for one in (scheduler, twin):
        if moment == "between update and step":
            one.step()
        trails.append((train(one.optimizer, one, 4), one.counts, one.values))
    assert trails[0] == trails[1]


def test_a_copy_of_both_keeps_them_together():
    optimizer, scheduler = pair()
    train(optimizer, scheduler, 2)
    other, twin = copy.deepcopy((optimizer, scheduler))
    assert twin.optimizer is other
    assert train(other, twin, 2) == train(optimizer, scheduler, 2) == [FALL(2), FALL(3)]


def test_a_copy_keeps_several_optimizers_and_the_functions_given():
    actor, critic, seen = sgd(), sgd(), []
    scheduler = Scheduler(
        {"actor": actor, "critic": critic},
        tm.Plan({"actor.lr": FALL, "critic.lr": HALF, "batch_size": FALL + 1}),
        targets={"batch_size": seen.append},
    )
    scheduler.start()
    twin = copy.deepcopy(scheduler)
    assert list(twin.optimizers) == ["actor", "critic"]
    twin.advance(optimizer_steps=1)
    assert (held(actor), held(twin.optimizers["critic"])) == ([1.0], [HALF(1)])
