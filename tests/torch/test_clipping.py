"""Clipping by the plan: PyTorch's arithmetic at the plan's threshold, controllers that hear the norm, the meter."""

import json
import math
from typing import Any

import pytest
import torch
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

import tempomat as tm
from tempomat.core import BindingError, MeasurementError, StateError
from tempomat.runs import Recorder, read_run
from tempomat.torch import ClipMeter, Scheduler, clip_gradients

FALL = tm.Linear(init_value=3.0, end_value=1.0, duration=4)
AUTO = tm.AutoClip(percentile=50, window=3, init_value=1.0)


def weights(*gradients) -> list[Any]:
    """Parameters with these gradients."""
    made: list[Any] = [Parameter(torch.zeros(len(one))) for one in gradients]
    for weight, gradient in zip(made, gradients, strict=True):
        weight.grad = torch.tensor(gradient)
    return made


def scheduled(parameters, **entries):
    return Scheduler(SGD(parameters, lr=0.1), tm.Plan({"lr": 0.1, **entries}))


def gradients(parameters):
    return [one.grad.tolist() for one in parameters]


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("threshold", [0.5, 6.0, 1e6])
def test_it_clips_as_pytorch_does_bit_for_bit_and_returns_the_norm_from_before(norm_type, threshold):
    ours, theirs = weights([3.0, 4.0], [12.0]), weights([3.0, 4.0], [12.0])
    norm = clip_gradients(ours, scheduled(ours, grad_clip=threshold), norm_type=norm_type)
    assert norm.item() == clip_grad_norm_(theirs, threshold, norm_type).item()
    assert gradients(ours) == gradients(theirs)


def test_the_threshold_is_that_of_the_count():
    (weight,) = parameters = weights([0.0])
    scheduler = scheduled(parameters, grad_clip=FALL)
    left = []
    for _ in range(6):
        weight.grad = torch.tensor([8.0])
        clip_gradients(iter(parameters), scheduler)
        left.append(weight.grad.item())
        scheduler.optimizer.step()
        scheduler.step()
    assert left == pytest.approx([3.0, 2.5, 2.0, 1.5, 1.0, 1.0], rel=1e-6, abs=0)  # torch adds 1e-6 to the norm


def test_one_tensor_will_do_and_parameters_without_a_gradient_are_passed_over():
    with_gradient, without = weights([5.0], [1.0])
    without.grad = None
    assert clip_gradients([with_gradient, without], scheduled([with_gradient], grad_clip=1.0)).item() == 5.0
    assert without.grad is None
    (alone,) = weights([3.0, 4.0])
    assert clip_gradients(alone, scheduled([alone], grad_clip=1.0)).item() == 5.0
    assert alone.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-6, abs=0)


def test_a_controller_hears_each_norm_before_the_gradients_are_clipped_by_what_it_then_says():
    (weight,) = parameters = weights([0.0])
    scheduler, left = scheduled(parameters, grad_clip=AUTO), []
    for norm in (4.0, 2.0, 3.0, 8.0):
        weight.grad = torch.tensor([norm])
        clip_gradients(parameters, scheduler)
        left.append(weight.grad.item())
        scheduler.optimizer.step()
        scheduler.step()
    # the medians of the last three norms: 4, 3, 3, 3
    assert left == pytest.approx([4.0, 2.0, 3.0, 3.0], rel=1e-6, abs=0)
    assert [one["observation"] for one in scheduler.events] == [4.0, 2.0]


def test_two_thresholds_with_a_metric_each_do_not_hear_one_another():
    first, second = weights([4.0], [9.0])
    plan = tm.Plan({"grad_clip": AUTO, "actor.grad_clip": tm.AutoClip(metric="actor_norm")})
    scheduler = Scheduler(SGD([first, second]), plan, targets={"actor.grad_clip": None})
    clip_gradients(first, scheduler)
    clip_gradients(second, scheduler, entry="actor.grad_clip", metric="actor_norm")
    assert scheduler.asked == {"grad_clip": 4.0, "actor.grad_clip": 9.0}


def test_a_run_that_was_broken_off_clips_as_one_that_was_not():
    def train(scheduler, weight, norms):
        left = []
        for norm in norms:
            weight.grad = torch.tensor([norm])
            clip_gradients(weight, scheduler)
            left.append(weight.grad.item())
            scheduler.optimizer.step()
            scheduler.step()
        return left

    norms = [4.0, 2.0, 3.0, 8.0, 1.0, 7.0, 5.0]
    (weight,) = weights([0.0])
    unbroken = train(scheduled([weight], grad_clip=AUTO), weight, norms)
    first = scheduled([weight], grad_clip=AUTO)
    before = train(first, weight, norms[:3])
    second = scheduled([weight], grad_clip=AUTO)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + train(second, weight, norms[3:]) == unbroken


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_an_error_and_nothing_has_changed(bad):
    parameters = weights([1.0, bad], [2.0])
    scheduler = scheduled(parameters, grad_clip=AUTO)
    before = scheduler.state_dict()
    with pytest.raises(MeasurementError, match=r"must be finite, got (nan|inf) at optimizer_steps 0"):
        clip_gradients(parameters, scheduler)
    assert repr(gradients(parameters)) == repr([[1.0, bad], [2.0]])
    assert scheduler.state_dict() == before


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_can_be_skipped_with_the_gradients_as_they_were(bad):
    parameters, meter = weights([1.0, bad], [2.0]), ClipMeter()
    scheduler = scheduled(parameters, grad_clip=tm.AutoClip(init_value=0.5, on_nan="skip"))
    clip_gradients(parameters, scheduler, on_nan="skip", meter=meter)
    assert repr(gradients(parameters)) == repr([[1.0, bad], [2.0]])
    assert scheduler.asked["grad_clip"] == 0.5
    measured = meter.read()
    assert math.isnan(measured["grad_norm"])
    assert (measured["clip_fraction"], measured["grad_norm_not_finite"]) == (0.0, 1.0)


def test_a_controller_that_takes_no_such_norm_has_the_last_word():
    parameters = weights([math.inf])
    with pytest.raises(MeasurementError, match="AutoClip: grad_norm must be a finite number"):
        clip_gradients(parameters, scheduled(parameters, grad_clip=AUTO), on_nan="skip")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"entry": "grad_clp"}, "grad_clp: the plan has no entry of that name. Did you mean grad_clip"),
        ({"on_nan": "pass"}, "`on_nan` must be error or skip, got 'pass'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_nothing_changed(options, words):
    parameters = weights([9.0])
    scheduler = scheduled(parameters, grad_clip=AUTO)
    before = scheduler.state_dict()
    with pytest.raises(BindingError, match=words):
        clip_gradients(parameters, scheduler, **options)
    assert gradients(parameters) == [[9.0]]
    assert scheduler.state_dict() == before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.nn.Linear(2, 1), r"takes parameters, got Linear\. Write clip_gradients\(model\.parameters"),
        (torch.nn.Sequential(torch.nn.ReLU()), "takes parameters, got Sequential"),
        ([torch.nn.Linear(2, 1)], "takes parameters, got Linear"),
        (3, "takes parameters, got int"),
        (iter(()), "there are no parameters. model.parameters.. can be gone through only once"),
    ],
    ids=["module", "iterable module", "modules", "number", "nothing"],
)
def test_what_are_no_parameters_is_refused(given, words):
    with pytest.raises(BindingError, match=words):
        clip_gradients(given, scheduled(weights([1.0]), grad_clip=1.0))


def test_a_schedule_that_skips_bad_norms_never_waits_for_the_device():
    parameter = Parameter(torch.zeros(3, device="meta"))  # where a number can be computed with, and not be read
    parameter.grad = torch.ones(3, device="meta")
    scheduler, meter = scheduled([parameter], grad_clip=1.0), ClipMeter()
    assert clip_gradients(parameter, scheduler, on_nan="skip", meter=meter).is_meta
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        clip_gradients(parameter, scheduler)


# the meter


def count(meter, *norms):
    for norm in norms:
        meter.count(torch.tensor(norm), 2.0)


def test_a_meter_tells_what_happened_since_it_was_last_read():
    meter = ClipMeter("critic_")
    assert meter.read() == {}
    count(meter, 1.0, 2.0, 6.0, math.inf)
    measured = {"grad_norm": 3.0, "grad_norm_max": 6.0, "clip_fraction": 0.25, "grad_norm_not_finite": 1.0}
    assert meter.read() == {f"critic_{name}": value for name, value in measured.items()}
    assert meter.read() == {}
    count(meter, 5.0)
    assert meter.read()["critic_clip_fraction"] == 1.0


def test_a_meter_goes_on_from_its_state_which_is_plain_data():
    unbroken, first, second = ClipMeter(), ClipMeter(), ClipMeter()
    count(unbroken, 1.5, 2.5, 0.3)
    count(first, 1.5, 2.5)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    count(second, 0.3)
    assert second.read() == unbroken.read()
    second.load_state_dict(ClipMeter().state_dict())
    assert second.read() == {}


@pytest.mark.parametrize("change", [{"max": -1.0}, {"max": math.nan}, {"max": "1"}, {"updates": True}, {"more": 1}])
def test_a_meter_refuses_what_is_no_state_of_it(change):
    with pytest.raises(StateError, match="ClipMeter: a state has updates, clipped, finite, sum, max"):
        ClipMeter().load_state_dict(ClipMeter().state_dict() | change)


def test_norm_and_clip_fraction_stand_in_the_record_beside_the_threshold(tmp_path):
    (weight,) = parameters = weights([0.0])
    scheduler, meter = scheduled(parameters, grad_clip=2.0), ClipMeter()
    with Recorder(tmp_path / "run") as recorder:
        for norm in (1.0, 4.0, 3.0, 2.0):
            weight.grad = torch.tensor([norm])
            clip_gradients(parameters, scheduler, meter=meter)
            scheduler.optimizer.step()
            recorder.write(scheduler, **meter.read())
            scheduler.step()
    run = read_run(tmp_path / "run")
    assert run.measured("grad_norm").values.tolist() == [1.0, 4.0, 3.0, 2.0]
    assert run.measured("clip_fraction").values.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert run.series("grad_clip").applied.tolist() == [2.0] * 4
