"""Targets inside a model: attributes by path, layers that train or are frozen to the last bit."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

import tempomat as tm
from tempomat.core import BindingError
from tempomat.torch import Scheduler, module_attribute, trainable_layers

ONE_MORE = tm.PiecewiseConstant(values=[1, 2, 3], boundaries=[3, 6])
"""One layer trains, from count 3 on two, from 6 on three."""


def net() -> Any:
    """A body with dropout and BatchNorm, and a head."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0)))
    return nn.ModuleDict({"stem": nn.Linear(3, 4), "body": body, "head": nn.Linear(4, 1)})


def forward(model, seed):
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
    return model["head"](model["body"](model["stem"](inputs)))


def update(model, scheduler, seed):
    model.train()
    scheduler.optimizer.zero_grad()
    forward(model, seed).square().mean().backward()
    scheduler.optimizer.step()
    scheduler.step()


def rates(model):
    return [one.p for one in model.modules() if isinstance(one, nn.Dropout)]


# attributes


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("body.2.p", ("body.2",)),
        ("body.*.p", ("body.2",)),
        ("body.**.p", ("body.2", "body.3.0")),
        ("**.p", ("body.2", "body.3.0")),
        ("**.0.p", ("body.3.0",)),
        ("**.body.2.p", ("body.2",)),
    ],
)
def test_a_path_names_modules_with_a_star_for_one_name_and_two_for_any_number(path, names):
    assert module_attribute(net(), path).names == names


def test_a_value_goes_into_every_module_of_the_path_at_every_count():
    model = net()
    plan = tm.Plan({"lr": 0.1, "dropout": tm.Linear(init_value=0.0, end_value=0.5, duration=4)})
    scheduler = Scheduler(SGD(model.parameters()), plan, targets={"dropout": module_attribute(model, "**.p")})
    assert rates(model) == [0.5, 0]
    scheduler.start()
    seen = []
    for seed in range(6):
        seen.append(rates(model))
        update(model, scheduler, seed)
    assert seen == [[rate, rate] for rate in (0.0, 0.125, 0.25, 0.375, 0.5, 0.5)]
    assert scheduler.values["dropout"] == 0.5


def test_a_resumed_model_has_its_values_at_once():
    plan = tm.Plan({"lr": 0.1, "dropout": tm.Linear(init_value=0.0, end_value=0.5, duration=4)})
    states = []
    for _ in range(2):
        model = net()
        target = module_attribute(model, "body.2.p")
        scheduler = Scheduler(SGD(model.parameters()), plan, targets={"dropout": target})
        for state in states:
            scheduler.load_state_dict(state)
            assert rates(model) == [0.25, 0]
        for seed in range(2):
            update(model, scheduler, seed)
        states.append(scheduler.state_dict())


def test_only_modules_of_the_kind_are_written():
    model = nn.Sequential(nn.Dropout(0.5), nn.AlphaDropout(0.5))
    module_attribute(model, "**.p", kind=nn.AlphaDropout)(0.25)
    assert [one.p for one in model] == [0.5, 0.25]


def test_the_models_own_attribute_a_buffer_and_a_parameter_can_be_written():
    model: Any = nn.Module()
    model.temperature, model.k = 1.0, 4
    model.register_buffer("scale", torch.ones(()))
    model.weight = nn.Parameter(torch.ones(1))
    for name in ("temperature", "scale", "weight"):
        held = getattr(model, name)
        module_attribute(model, name)(0.5)
        assert getattr(model, name) == 0.5
        assert getattr(model, name) is held or name == "temperature"
    module_attribute(model, "k", convert=round)(2.6)
    assert repr(model.k) == "3"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("bdy.2.p", r"bdy.2.p: the model has no such module. Did you mean body.2\? Modules: stem, body, "),
        (
            "body.1.eps_",
            "body.1.eps_: no 'eps_' in body.1. Did you mean eps. Numbers there: eps, momentum, num",
        ),
        ("body.1.track_running_stats", "body.1.track_running_stats: must be a number, got True"),
        ("stem.weight", r"stem.weight: must be a number, got Parameter"),
        ("body.1.forward", "body.1.forward: must be a number"),
        ("**.dropout", r"\*\*\.dropout: no 'dropout' in the model, "),
    ],
)
def test_a_path_that_leads_to_no_number_is_refused(path, words):
    with pytest.raises(BindingError, match=words):
        module_attribute(net(), path)


def test_a_model_whose_attributes_are_scheduled_can_be_copied_with_its_scheduler():
    model = net()
    plan = tm.Plan({"lr": 0.1, "dropout": 0.25})
    scheduler = Scheduler(SGD(model.parameters()), plan, targets={"dropout": module_attribute(model, "**.p")})
    other, copied = copy.deepcopy((model, scheduler))
    copied.start()
    assert (rates(model), rates(other)) == ([0.5, 0], [0.25, 0.25])


# layers that train


LAYERS = ["head", "body", "stem"]


def unfreezing(optimizer: Any = AdamW, schedule: Any = ONE_MORE, layers: Any = LAYERS, **options: Any) -> Any:
    model = net()
    made = optimizer(model.parameters(), lr=0.1, **options)
    target = trainable_layers(model, layers)
    return model, Scheduler(made, tm.Plan({"lr": 0.1, "layers": schedule}), targets={"layers": target})


def numbers(module):
    return {name: tensor.tolist() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (AdamW, {"weight_decay": 0.5}),
        (SGD, {"momentum": 0.9, "weight_decay": 0.5}),
        (Adam, {"weight_decay": 0.5, "foreach": False}),
    ],
)
def test_a_frozen_layer_does_not_move_by_a_bit_and_an_unfrozen_one_does(optimizer, options):
    model, scheduler = unfreezing(optimizer, **options)
    scheduler.start()
    for seed in range(8):
        before = {name: numbers(model[name]) for name in LAYERS}
        trained = LAYERS[: int(ONE_MORE(seed))]
        update(model, scheduler, seed)
        assert [name for name in LAYERS if numbers(model[name]) != before[name]] == trained


def test_a_layer_that_is_frozen_in_the_midst_of_training_stops_with_momentum_and_weight_decay():
    off_and_on = tm.PiecewiseConstant(values=[1, 0, 1], boundaries=[2, 4])
    model, scheduler = unfreezing(SGD, off_and_on, ["stem"], momentum=0.9, weight_decay=0.5)
    moved, momenta = [], []
    for seed in range(6):
        before = numbers(model["stem"])
        update(model, scheduler, seed)
        moved.append(numbers(model["stem"]) != before)
        momenta.append(scheduler.optimizer.state[model["stem"].weight]["momentum_buffer"].clone())
    assert moved == [True, True, False, False, True, True]
    assert torch.equal(momenta[1], momenta[3])  # what the optimizer knows is kept
    assert not torch.equal(momenta[3], momenta[4])


def test_gradients_that_were_there_before_the_first_value_are_dropped():
    model, scheduler = unfreezing(SGD, tm.Constant(value=1), weight_decay=0.5)
    before = numbers(model["stem"])
    forward(model, 0).sum().backward()
    assert model["stem"].weight.grad is not None
    scheduler.optimizer.step()
    assert model["stem"].weight.grad is None
    assert numbers(model["stem"]) == before


def test_gradients_still_flow_through_a_frozen_layer_to_one_that_trains():
    model, scheduler = unfreezing(SGD, tm.Constant(value=1), ["stem", "body", "head"])
    scheduler.start()
    before = numbers(model["stem"])
    update(model, scheduler, 0)
    assert numbers(model["stem"]) != before


def test_batch_norm_is_in_evaluation_mode_while_frozen_and_follows_the_model_afterwards():
    model, scheduler = unfreezing()
    norm, dropout = model["body"][1], model["body"][2]
    scheduler.start()
    modes = []
    for seed in range(5):
        model.train()
        forward(model, seed)
        modes.append((norm.training, dropout.training))
        update(model, scheduler, seed)
    assert modes == [(False, True)] * 3 + [(True, True)] * 2
    model.eval()
    assert not norm.training
    model.train()
    assert norm.training


def test_what_is_frozen_again_and_again_is_let_go_at_once():
    model = net()
    layers = trainable_layers(model, ["body"])
    for value in (0, 0, 1):
        layers(value)
        assert len(model["body"][1]._forward_pre_hooks) == 1 - value


def test_a_layer_that_is_unfrozen_while_the_model_is_evaluated_stays_in_evaluation_mode():
    model = net()
    layers = trainable_layers(model, ["body"])
    layers(0)
    model.eval()
    layers(1)
    assert not model["body"][1].training


def test_what_asked_for_no_gradient_before_is_left_alone():
    model = net()
    model["stem"].bias.requires_grad_(False)
    layers = trainable_layers(model, ["stem"])
    for value in (0, 1):
        layers(value)
        assert [model["stem"].weight.requires_grad, model["stem"].bias.requires_grad] == [value == 1, False]


def test_a_path_may_name_a_parameter_and_a_value_is_rounded_down():
    model = net()
    layers = trainable_layers(model, ["*.bias", "body.**"])
    layers(1.99)
    asking = {name for name, one in model.named_parameters() if one.requires_grad}
    assert asking == {"stem.weight", "stem.bias", "head.weight", "head.bias"}
    layers(2)
    assert all(one.requires_grad for one in model.parameters())


def test_weights_that_two_layers_share_train_with_either():
    model = net()
    model["twin"] = nn.Linear(3, 4)
    model["twin"].weight = model["stem"].weight
    layers = trainable_layers(model, ["twin", "stem"])
    layers(1)
    assert (model["stem"].weight.requires_grad, model["stem"].bias.requires_grad) == (True, False)
    layers(0)
    assert not model["stem"].weight.requires_grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_frozen_model_can_be_copied_with_its_target_and_unfrozen_there(copied):
    model = net()
    layers = trainable_layers(model, LAYERS)
    layers(0)
    other, theirs = copied((model, layers))
    theirs(3)
    other.train()
    forward(other, 0)
    assert other["body"][1].training
    assert all(one.requires_grad for one in other.parameters())
    assert not any(one.requires_grad for one in model.parameters())


def test_a_run_that_was_broken_off_unfreezes_as_one_that_was_not():
    def fresh():
        model, scheduler = unfreezing(schedule=tm.PiecewiseConstant(values=[2, 1, 3], boundaries=[2, 5]))
        scheduler.start()
        model["body"][2].p = 0.0  # no draws: only the layers are under test
        return model, scheduler

    def train(model, scheduler, seeds):
        for seed in seeds:
            update(model, scheduler, seed)

    model, scheduler = fresh()
    train(model, scheduler, range(8))
    first = fresh()
    train(*first, range(4))
    file = io.BytesIO()
    torch.save([one.state_dict() for one in (*first, first[1].optimizer)], file)
    file.seek(0)
    second = fresh()
    for one, state in zip((*second, second[1].optimizer), torch.load(file, weights_only=True), strict=True):
        one.load_state_dict(state)
    train(*second, range(4, 8))
    assert numbers(second[0]) == numbers(model)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["hed"], r"layers\[0\]: hed: the model has no such module. Did you mean head"),
        (["head", "body.2"], r"layers\[1\]: body.2: has no parameters"),
        ("head", r"takes a list of paths, got 'head'. Write \['head'\]"),
        ([], "needs at least one layer, got none"),
    ],
)
def test_layers_that_cannot_be_trained_are_refused(layers, words):
    with pytest.raises(BindingError, match=words):
        trainable_layers(net(), layers)


def test_all_layers_that_cannot_be_trained_are_told_at_once():
    model = net()
    model["stem"].requires_grad_(False)
    with pytest.raises(BindingError, match="ask for no gradient already") as caught:
        trainable_layers(model, ["stem", "head", "tail"])
    assert [fault.path for fault in caught.value.faults] == ["layers[0]", "layers[2]"]


@pytest.mark.parametrize("value", [-1, 4, float("nan")])
def test_a_number_of_layers_that_there_are_not_is_refused_with_nothing_changed(value):
    model = net()
    with pytest.raises(BindingError, match=f"must be from 0 to 3, got {value:g}"):
        trainable_layers(model, LAYERS)(value)
    assert all(one.requires_grad for one in model.parameters())
