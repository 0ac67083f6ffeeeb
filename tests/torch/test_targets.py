"""Where values go: any key of any param group, by name, tensors in place, and right whatever becomes of the groups."""

import copy
import io

import pytest
import torch
from runtime.toys import FALL, group, held, number, sgd, snapshot, train, weights
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.utils._python_dispatch import TorchDispatchMode

import tempomat as tm
from tempomat.torch import Scheduler

HALF = FALL * 0.5


def started(optimizer, schedules, **options):
    """A scheduler whose first values are written."""
    scheduler = Scheduler(optimizer, tm.Plan(schedules), **options)
    scheduler.start()
    return scheduler


# keys


@pytest.mark.parametrize(
    ("build", "name", "key"),
    [
        (Adam, "lr", "lr"),
        (AdamW, "weight_decay", "weight_decay"),
        (Adam, "eps", "eps"),
        (SGD, "momentum", "momentum"),
        (SGD, "dampening", "dampening"),
        (RMSprop, "alpha", "alpha"),
    ],
)
def test_any_number_in_a_param_group_can_be_scheduled(build, name, key):
    optimizer = build([number()], lr=0.3)
    scheduler = started(optimizer, {name: HALF})
    for count in range(3):
        assert held(optimizer, key) == [HALF(count)]
        assert scheduler.values == {name: HALF(count)}
        optimizer.step()
        scheduler.step()


def test_an_element_of_a_tuple_can_be_scheduled_alone_or_with_its_neighbour():
    optimizer = Adam([number()], lr=0.3, betas=(0.8, 0.9))
    scheduler = started(optimizer, {"betas[0]": HALF})
    assert held(optimizer, "betas") == [(0.5, 0.9)]
    scheduler.advance(optimizer_steps=2)
    assert held(optimizer, "betas") == [(HALF(2), 0.9)]
    both = Adam([number()], lr=0.3)
    scheduler = started(both, {"betas[0]": HALF, "betas[1]": 0.5})
    scheduler.advance(optimizer_steps=2)
    assert held(both, "betas") == [(HALF(2), 0.5)]
    assert scheduler.values == {"betas[0]": HALF(2), "betas[1]": 0.5}


def test_the_update_uses_what_was_written_under_every_key():
    """SGD by hand: weight decay and momentum of each count enter the arithmetic of that count."""
    optimizer = sgd(momentum=0.5)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": 0.5, "weight_decay": FALL, "momentum": HALF}))
    train(optimizer, scheduler, 3)
    weight, velocity = 0.0, None
    for count in range(3):
        gradient = 1.0 + FALL(count) * weight
        velocity = gradient if velocity is None else HALF(count) * velocity + gradient
        weight -= 0.5 * velocity
    assert weights(optimizer) == [weight]


def test_a_value_that_belongs_to_no_group_is_for_the_loop_to_read_or_for_a_function():
    optimizer, clips = sgd(), []
    scheduler = started(
        optimizer,
        {"lr": FALL, "batch_size": 32, "grad_clip": FALL + 1, "temperatur": HALF},
        targets={"grad_clip": clips.append, "temperatur": None},
    )
    train(optimizer, scheduler, 2)
    assert scheduler.values == {"lr": FALL(2), "batch_size": 32.0, "grad_clip": FALL(2) + 1, "temperatur": HALF(2)}
    assert clips == [FALL(count) + 1 for count in range(3)]


def test_a_given_function_takes_a_key_away_from_the_groups():
    optimizer, seen = sgd(lr=0.3), []
    train(optimizer, started(optimizer, {"lr": FALL}, targets={"lr": seen.append}), 1)
    assert (held(optimizer), seen) == ([0.3], [1.0, FALL(1)])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("beta1", r"no param group has a 'beta1'\. For Adam's first beta write betas\[0\]\. Keys here: .*betas"),
        ("momentum", r"no param group has a 'momentum'\. For Adam's first beta write betas\[0\]"),
        ("weigth_decay", r"no param group has a 'weigth_decay'\. Did you mean weight_decay\?"),
        ("batchsize", r"no param group has a 'batchsize'\. Did you mean batch_size\?.*targets={'batchsize': function}"),
        ("betas", r"holds 2 values; say which: betas\[0\]"),
        ("betas[2]", r"holds 2 values, so \[2\] is beyond its end"),
        ("lr[0]", r"holds one value, not a list; write lr without \[0\]"),
        ("amsgrad", r"holds False, which is no number"),
        ("foreach", r"holds None, which is no number"),
        ("enocder.lr", r"no param group is named 'enocder'\. Did you mean encoder\? Groups: encoder, head\..*later="),
        ("l1.loss_weight", r"that the loop reads from scheduler\.values: targets=\{'l1\.loss_weight': None\}"),
        ("encoder.momentum", r"no param group has a 'momentum'"),
        ("encoder.batch_size", r"no param group has a 'batch_size'"),
    ],
)
def test_an_entry_that_fits_nothing_is_refused_with_what_would(name, said):
    optimizer = Adam([group("encoder"), group("head")])
    with pytest.raises(tm.BindingError, match=said):
        Scheduler(optimizer, tm.Plan({"eps": 1e-8, name: 0.5}))


def test_every_entry_that_fits_nothing_is_named_at_once():
    with pytest.raises(tm.BindingError, match=r"2 faults") as refused:
        Scheduler(sgd("encoder"), tm.Plan({"lr": FALL, "beta1": HALF, "head.lr": FALL}))
    assert {fault.path for fault in refused.value.faults} == {"beta1", "head.lr"}


def test_groups_without_names_are_told_how_to_get_one():
    with pytest.raises(tm.BindingError, match=r'No group has a name; give one: {"params": ..., "name": "encoder"}'):
        Scheduler(sgd(), tm.Plan({"encoder.lr": FALL}))


# groups by name


def test_a_named_group_follows_its_own_entry_and_the_others_the_general_one():
    """A floor per group is a TypeError in PyTorch, and wrong in Transformers' `cosine_with_min_lr`."""
    optimizer = sgd("encoder", "head", "tail")
    scheduler = started(optimizer, {"lr": FALL, "head.lr": HALF})
    train(optimizer, scheduler, 2)
    assert held(optimizer) == [FALL(2), HALF(2), FALL(2)]
    assert scheduler.values == {"lr": FALL(2), "head.lr": HALF(2)}
    assert scheduler.get_last_lr() == held(optimizer)


def test_the_order_of_entries_in_the_plan_does_not_matter():
    optimizer = sgd("encoder", "head")
    started(optimizer, {"head.lr": HALF, "lr": FALL})
    assert held(optimizer) == [1.0, 0.5]


def test_a_group_that_no_entry_reaches_keeps_its_own():
    optimizer = sgd("encoder", "head")
    train(optimizer, started(optimizer, {"head.lr": HALF}), 2)
    assert held(optimizer) == [0.1, HALF(2)]


def test_a_general_entry_that_every_group_has_its_own_instead_of_is_for_groups_that_come_later():
    optimizer = sgd("head")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "head.lr": HALF}))
    assert scheduler.values == {"lr": 1.0, "head.lr": 0.5}
    train(optimizer, scheduler, 1)
    optimizer.add_param_group(group())
    train(optimizer, scheduler, 1)
    assert held(optimizer) == [HALF(2), FALL(2)]


def test_groups_that_share_a_name_share_an_entry():
    optimizer = sgd("encoder", "encoder", "head")
    started(optimizer, {"lr": FALL, "encoder.lr": HALF})
    assert held(optimizer) == [0.5, 0.5, 1.0]


def test_a_key_and_its_element_follow_the_same_rules_by_group():
    optimizer = Adam([group("encoder"), group("head")])
    started(optimizer, {"betas[0]": 0.5, "head.betas[0]": 0.25, "encoder.betas[1]": 0.75})
    assert held(optimizer, "betas") == [(0.5, 0.75), (0.25, 0.999)]


# several optimizers


def test_several_optimizers_follow_one_plan():
    actor, critic = sgd(), sgd(weight_decay=0.0)
    scheduler = Scheduler(
        {"actor": actor, "critic": critic}, tm.Plan({"actor.lr": FALL, "critic.lr": HALF, "weight_decay": 0.5})
    )
    for _ in range(2):
        actor.step()
        critic.step()
        scheduler.step()
    assert (held(actor), held(critic)) == ([FALL(2)], [HALF(2)])
    assert held(actor, "weight_decay") == held(critic, "weight_decay") == [0.5]
    assert scheduler.counts == {"optimizer_steps": 2}


def test_a_group_of_one_of_several_optimizers_is_named_by_both():
    actor, critic = sgd("encoder", "head"), sgd("encoder", "head")
    schedules = {"lr": 1.0, "actor.lr": 0.5, "actor.encoder.lr": 0.25, "critic.head.lr": 0.125}
    scheduler = Scheduler({"actor": actor, "critic": critic}, tm.Plan(schedules))
    scheduler.start()
    assert (held(actor), held(critic)) == ([0.25, 0.5], [1.0, 0.125])


def test_each_optimizer_starts_with_its_own_first_value_whichever_steps_first():
    actor, critic = sgd(), sgd()
    scheduler = Scheduler({"actor": actor, "critic": critic}, tm.Plan({"actor.lr": FALL, "critic.lr": HALF}))
    critic.step()
    actor.step()
    assert (weights(actor), weights(critic)) == ([-1.0], [-0.5])
    assert scheduler.optimizer is actor


def test_an_unknown_optimizer_is_told_the_names():
    with pytest.raises(tm.BindingError, match=r"named 'critc'\. Did you mean critic\? Groups: actor, critic"):
        Scheduler({"actor": sgd(), "critic": sgd()}, tm.Plan({"critc.lr": FALL}))


# tensors


class Calls(TorchDispatchMode):
    """What reaches PyTorch's dispatcher."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def tensors():
    """AdamW whose every scheduled value is a tensor of its own, in each of two groups."""
    groups = [
        group(name, lr=torch.tensor(0.3), betas=(torch.tensor(0.8), torch.tensor(0.9))) for name in ("encoder", "head")
    ]
    return AdamW(groups, lr=torch.tensor(0.3), betas=(torch.tensor(0.8), torch.tensor(0.9)), foreach=False)


def test_a_tensor_is_filled_in_place():
    """A captured graph, and a compiled one, reads the tensor that it was captured with (pytorch#106802, #133898)."""
    optimizer = tensors()
    slots = [one for kept in optimizer.param_groups for one in (kept["lr"], kept["betas"][0], kept["betas"][1])]
    places = [one.data_ptr() for one in slots]
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "head.lr": HALF, "betas[0]": HALF, "betas[1]": 0.5}))
    train(optimizer, scheduler, 3)
    now = [one for kept in optimizer.param_groups for one in (kept["lr"], kept["betas"][0], kept["betas"][1])]
    assert all(one is other for one, other in zip(now, slots, strict=True))
    assert [one.data_ptr() for one in now] == places
    assert held(optimizer) == pytest.approx([FALL(3), HALF(3)], rel=1e-7)  # float32
    assert [one["betas"][0].item() for one in optimizer.param_groups] == pytest.approx([HALF(3)] * 2, rel=1e-7)


def test_a_step_fills_tensors_and_does_nothing_else_on_the_device():
    """Reading a value back would wait for the device, and breaks the capture of a graph (burn#5779)."""
    optimizer = tensors()
    schedules = {"lr": FALL * tm.Plateau(patience=0), "betas[0]": HALF, "betas[1]": 0.5, "weight_decay": FALL}
    scheduler = Scheduler(optimizer, tm.Plan(schedules))
    optimizer.step()
    with Calls() as calls:
        scheduler.step()
    assert calls.names == ["fill_"] * 4
    optimizer.step()
    with Calls() as calls:
        scheduler.step(0.5)
        scheduler.observe(val_loss=0.5)
        scheduler.advance(optimizer_steps=1)
    assert set(calls.names) == {"fill_"}


def test_the_value_asked_is_kept_in_double_precision_beside_the_one_applied():
    optimizer = sgd(lr=torch.tensor(0.3))
    scheduler = started(optimizer, {"lr": tm.Constant(value=0.1)})
    assert scheduler.asked == {"lr": 0.1}
    assert scheduler.values == {"lr": torch.tensor(0.1).item()}
    assert scheduler.values["lr"] != 0.1


def test_groups_that_share_a_tensor_get_their_own_values():
    """PyTorch puts the one tensor given as `lr` into every group, and into the defaults."""
    lr = torch.tensor(0.25)
    optimizer = Adam([group("encoder"), group("head"), group("tail")], lr=lr, foreach=False)
    assert all(one["lr"] is lr for one in optimizer.param_groups)
    scheduler = Scheduler(optimizer, tm.Plan({"encoder.lr": FALL, "head.lr": HALF}))
    assert all(one["lr"] is lr for one in optimizer.param_groups)
    train(optimizer, scheduler, 5)
    assert held(optimizer) == [0.5, 0.25, 0.25]
    assert optimizer.defaults["lr"].item() == 0.25


@pytest.mark.parametrize("counting", ["updates", "calls"])
def test_groups_that_share_a_tensor_get_their_own_values_when_the_scheduler_steps_first(counting):
    optimizer = Adam([group("encoder"), group("head")], lr=torch.tensor(0.25), foreach=False)
    plan = tm.Plan({"encoder.lr": FALL, "head.lr": HALF}, clock="epochs")
    scheduler = Scheduler(optimizer, plan, counting=counting)
    if counting == "calls":
        scheduler.step()
    else:
        with pytest.warns(UserWarning, match="before `optimizer.step"):
            scheduler.step()
    assert held(optimizer) == pytest.approx([FALL(1), HALF(1)], rel=1e-7)
    optimizer.step()
    assert held(optimizer) == pytest.approx([FALL(1), HALF(1)], rel=1e-7)


def test_groups_of_one_entry_may_go_on_sharing_a_tensor():
    lr = torch.tensor(0.25)
    optimizer = Adam([group("encoder"), group("head")], lr=lr, foreach=False)
    train(optimizer, Scheduler(optimizer, tm.Plan({"lr": FALL})), 5)
    assert held(optimizer) == [0.5, 0.5]


def test_several_optimizers_that_share_a_tensor_get_their_own_values():
    lr = torch.tensor(0.25)
    actor, critic, other = sgd(lr=lr), sgd(lr=lr), sgd(lr=lr)
    scheduler = Scheduler({"actor": actor, "critic": critic}, tm.Plan({"actor.lr": FALL, "critic.lr": HALF}))
    scheduler.start()
    scheduler.advance(optimizer_steps=5)
    assert (held(actor), held(critic)) == ([0.5], [0.25])
    assert other.defaults["lr"] is lr


def test_what_was_read_does_not_change_under_its_holder():
    """`get_last_lr` of a tensor is a copy; a snapshot stays what it was."""
    optimizer = tensors()
    scheduler = started(optimizer, {"lr": FALL, "betas[0]": HALF})
    kept = scheduler.values, scheduler.get_last_lr(), scheduler.counts, scheduler.asked, scheduler.base_lrs
    before = copy.deepcopy(kept)
    train(optimizer, scheduler, 3)
    assert kept == before
    assert scheduler.get_last_lr() != kept[1]


# groups that come, go and move


@pytest.mark.parametrize("updates", [0, 3], ids=["before the start", "later"])
def test_a_group_added_later_follows_the_general_entry_from_its_first_update(updates):
    """`add_param_group` after LambdaLR breaks a zip, after others it works in silence."""
    optimizer = sgd("encoder", lr=0.3)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, updates)
    optimizer.add_param_group(group())
    train(optimizer, scheduler, 1)
    assert weights(optimizer)[1] == -FALL(updates)
    assert held(optimizer) == [FALL(updates + 1)] * 2
    assert scheduler.get_last_lr() == [FALL(updates + 1)] * 2


@pytest.mark.parametrize("updates", [0, 3], ids=["before the start", "later"])
def test_a_group_added_later_follows_its_own_entry_if_that_was_announced(updates):
    optimizer = sgd("encoder", lr=0.3)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "head.lr": HALF, "head.momentum": 0.5}), later=["head"])
    train(optimizer, scheduler, updates)
    optimizer.add_param_group(group("head"))
    train(optimizer, scheduler, 1)
    assert weights(optimizer)[1] == -HALF(updates)
    assert held(optimizer) == [FALL(updates + 1), HALF(updates + 1)]
    assert held(optimizer, "momentum") == [0.0, 0.5]


def test_a_group_that_was_announced_may_stay_away():
    optimizer = sgd("encoder")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "head.lr": HALF}), later=["head"])
    train(optimizer, scheduler, 2)
    assert scheduler.values == {"lr": FALL(2), "head.lr": HALF(2)}


def test_a_group_that_no_entry_reaches_is_refused_by_name_before_the_update():
    optimizer = sgd("encoder")
    scheduler = Scheduler(optimizer, tm.Plan({"encoder.lr": FALL}))
    train(optimizer, scheduler, 2)
    before, moved = snapshot(optimizer)[0], weights(optimizer)
    optimizer.add_param_group(group("head"))
    for _ in range(2):
        with pytest.raises(
            tm.BindingError, match=r"param group 1 \(head\) was added, and no entry of the plan reaches"
        ):
            optimizer.step()
    assert (snapshot(optimizer)[0], weights(optimizer)) == (before, [*moved, 0.0])
    assert scheduler.counts == {"optimizer_steps": 2}


def test_a_group_that_no_entry_reaches_is_refused_in_the_place_of_another_one_too():
    optimizer = sgd("encoder", "head")
    scheduler = Scheduler(optimizer, tm.Plan({"encoder.lr": FALL}))
    train(optimizer, scheduler, 2)
    optimizer.param_groups.pop(1)
    optimizer.add_param_group(group("tail"))
    with pytest.raises(tm.BindingError, match=r"param group 1 \(tail\) was added, and no entry of the plan reaches"):
        optimizer.step()


def test_groups_that_no_entry_reaches_may_be_loaded_with_their_optimizer():
    optimizer = sgd("encoder", "head")
    scheduler = Scheduler(optimizer, tm.Plan({"encoder.lr": FALL}))
    train(optimizer, scheduler, 2)
    optimizer.load_state_dict(sgd("encoder", "head", lr=0.7).state_dict())
    assert held(optimizer) == [FALL(2), 0.7]
    train(optimizer, scheduler, 1)
    assert held(optimizer) == [FALL(3), 0.7]


def test_a_group_removed_leaves_the_others_right():
    optimizer = sgd("encoder", "head", "tail")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "tail.lr": HALF}))
    train(optimizer, scheduler, 2)
    gone = optimizer.param_groups.pop(1)
    train(optimizer, scheduler, 1)
    assert held(optimizer) == [FALL(3), HALF(3)]
    assert gone["lr"] == FALL(2)


def test_a_group_removed_under_an_entry_of_its_own_is_named():
    optimizer = sgd("encoder", "head")
    scheduler = Scheduler(optimizer, tm.Plan({"encoder.lr": FALL, "head.lr": HALF}))
    train(optimizer, scheduler, 2)
    optimizer.param_groups.pop(1)
    with pytest.raises(tm.BindingError, match=r"head\.lr: no param group is named 'head'"):
        optimizer.step()


def test_groups_in_another_order_keep_their_entries():
    optimizer = sgd("encoder", "head", "tail")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": 1.0, "encoder.lr": FALL, "head.lr": HALF}))
    train(optimizer, scheduler, 2)
    optimizer.param_groups.reverse()
    train(optimizer, scheduler, 2)
    assert held(optimizer) == [1.0, HALF(4), FALL(4)]
    assert scheduler.get_last_lr() == held(optimizer)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_group_put_in_another_ones_place_is_scheduled_and_the_one_gone_is_left_alone(place):
    optimizer = sgd("encoder", "head", "tail")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, 2)
    gone = optimizer.param_groups[place]
    optimizer.add_param_group(group("new"))
    optimizer.param_groups[place] = optimizer.param_groups.pop()
    train(optimizer, scheduler, 2)
    assert held(optimizer) == [FALL(4)] * 3
    assert gone["lr"] == FALL(2)


def test_one_group_removed_and_one_added_between_two_updates_are_noticed():
    optimizer = sgd("encoder", "head")
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    train(optimizer, scheduler, 2)
    gone = optimizer.param_groups.pop(1)
    optimizer.add_param_group(group("tail"))
    train(optimizer, scheduler, 1)
    assert held(optimizer) == [FALL(3)] * 2
    assert weights(optimizer)[1] == -FALL(2)
    assert gone["lr"] == FALL(2)


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_loading_the_optimizer_replaces_its_groups_and_every_value_is_written_into_the_new_ones(kind):
    optimizer = sgd("encoder", "head", lr=kind(0.3))
    state = copy.deepcopy(optimizer.state_dict())
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL, "head.lr": HALF}))
    train(optimizer, scheduler, 2)
    old = optimizer.param_groups[0]
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0] is not old
    assert held(optimizer) == pytest.approx([FALL(2), HALF(2)], rel=1e-7)
    train(optimizer, scheduler, 1)
    assert held(optimizer) == pytest.approx([FALL(3), HALF(3)], rel=1e-7)
    assert old["lr"] == pytest.approx(FALL(2), rel=1e-7)


def test_loading_the_optimizer_before_the_start_writes_nothing_yet():
    optimizer = sgd(lr=0.3)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": FALL}))
    optimizer.load_state_dict(sgd(lr=0.7).state_dict())
    assert held(optimizer) == [0.7]
    assert train(optimizer, scheduler, 2) == [1.0, FALL(1)]


def test_loading_an_optimizer_whose_groups_have_no_names_is_refused_where_names_are_needed():
    optimizer = sgd("encoder", "head")
    scheduler = Scheduler(optimizer, tm.Plan({"head.lr": HALF}))
    train(optimizer, scheduler, 1)
    nameless = SGD([group(), group()]).state_dict()
    with pytest.raises(tm.BindingError, match=r"head\.lr: no param group is named 'head'\. No group has a name"):
        optimizer.load_state_dict(nameless)


def test_an_optimizer_saved_under_a_scheduler_is_plain_pytorch():
    optimizer = sgd(lr=torch.tensor(0.3))
    train(optimizer, Scheduler(optimizer, tm.Plan({"lr": FALL})), 2)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    fresh = sgd(lr=torch.tensor(0.3))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert held(fresh) == pytest.approx([FALL(2)], rel=1e-7)
    assert set(fresh.param_groups[0]) == set(SGD([number()]).param_groups[0])
