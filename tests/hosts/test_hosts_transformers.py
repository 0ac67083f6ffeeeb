"""Transformers' Trainer, run for real: a plan of shares drives it, and its own cosine is matched at every step."""

import itertools
import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.amp.grad_scaler import GradScaler

import tempomat as tm
from tempomat.core import BindingError, MeasurementError, MissingExtra, StateError
from tempomat.torch import Scheduler

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("sklearn")

from tempomat.integrations.transformers import attach, log_name  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "hosts" / "transformers_trainer.py"
FALL = tm.Linear(init_value=0.1, end_value=0.0, duration="100%")


@pytest.fixture(scope="module")
def example():
    return SimpleNamespace(**runpy.run_path(str(EXAMPLE)))


@pytest.fixture
def trainer(example, tmp_path):
    """A Trainer of 15 updates in 3 epochs, two batches an update; options are TrainingArguments."""

    def build(plan: Any = None, *, callbacks=(), optimizers=None, rows=80, net=None, attached=None, **options):
        transformers.set_seed(0)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            **{
                "num_train_epochs": 3,
                "per_device_train_batch_size": 8,
                "gradient_accumulation_steps": 2,
                "logging_steps": 1,
                "save_strategy": "no",
                "report_to": [],
                "use_cpu": True,
                "disable_tqdm": True,
                **options,
            },
        )
        net = net or example.Net()
        one = transformers.Trainer(
            net,
            arguments,
            train_dataset=example.Digits(0, rows),
            eval_dataset=example.Digits(1700, 1797),
            callbacks=list(callbacks),
            optimizers=optimizers(net) if optimizers else (None, None),
        )
        if plan is not None:
            attach(one, plan, **(attached or {}))
        return one

    return build


def steps(log, name="learning_rate"):
    """What a Trainer logged at each update."""
    return [row[name] for row in log if name in row and "loss" in row]


def trained(trainer, name="learning_rate", **options):
    trainer.train(**options)
    return steps(trainer.state.log_history, name)


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr)


class Hook(transformers.TrainerCallback):
    """A function at one of the Trainer's events."""

    def __init__(self, event, function):
        setattr(self, event, lambda args, state, control, **given: function(state=state, **given))


# the example


@pytest.fixture(scope="module")
def shown(example, tmp_path_factory):
    return example.main(tmp_path_factory.mktemp("trainer"))


def test_the_example_learns_and_every_value_is_logged_as_planned(example, shown):
    assert shown["eval_loss"] < 0.7  # guessing gives 2.3
    at, plan = np.arange(88), example.PLAN.resolve(total=88, steps_per_epoch=22)
    for entry in ("weight_decay", "betas[0]", "grad_clip"):
        assert steps(shown["log"], log_name(entry)) == list(plan[entry](at))
    losses = [row["eval_loss"] for row in shown["log"] if "eval_loss" in row][:4]
    assert losses == sorted(losses, reverse=True)  # so that the plateau stays at 1
    assert steps(shown["log"]) == list(plan["lr"].given([1.0])(at))


def test_the_example_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(shown):
    assert len(steps(shown["resumed"])) == 88
    for name in ("loss", "learning_rate", "weight_decay", "betas_0", "grad_clip", "grad_norm"):
        assert steps(shown["resumed"], name) == steps(shown["log"], name)


# the Trainer's own cosine


@pytest.mark.parametrize("warmup", [0, 4, 0.2, 0.1])  # 0.1 of 15 steps is 1.5: the Trainer rounds up
def test_a_cosine_with_warmup_is_the_trainers_own_at_every_step(trainer, warmup):
    options = {"learning_rate": 5e-4, "warmup_steps": warmup}
    theirs = trainer(lr_scheduler_type="cosine", **options)
    ours = trainer(**options)
    attach(
        ours,
        lambda count: tm.Plan({"lr": tm.warmup_cosine(peak_value=5e-4, warmup=ours.args.get_warmup_steps(count))}),
    )
    expected = trained(theirs)
    assert len(expected) == 15
    # rounding of the Trainer's product of lr and factor
    np.testing.assert_allclose(trained(ours), expected, rtol=1e-12, atol=0)
    weights = zip(theirs.model.parameters(), ours.model.parameters(), strict=True)
    assert all(torch.allclose(one, other, rtol=1e-5, atol=0) for one, other in weights)


def test_a_share_that_is_a_whole_number_of_steps_needs_no_function(trainer):
    expected = trained(trainer(learning_rate=5e-4, lr_scheduler_type="cosine", warmup_steps=0.2))
    plan = tm.Plan({"lr": tm.warmup_cosine(peak_value=5e-4, warmup="20%")})
    np.testing.assert_allclose(trained(trainer(plan)), expected, rtol=1e-12, atol=0)  # the same rounding


# steps, epochs and other units


@pytest.mark.parametrize(
    ("options", "updates"),
    [({}, 15), ({"gradient_accumulation_steps": 4}, 9), ({"max_steps": 7}, 7), ({"num_train_epochs": 0.5}, 3)],
)
def test_the_plan_ends_where_the_training_ends_however_its_length_is_said(trainer, options, updates):
    assert trained(trainer(tm.Plan({"lr": FALL}), **options)) == [
        FALL.resolve(tm.Plan({"lr": FALL}, total=updates).horizon)(count) for count in range(updates)
    ]


def test_epochs_in_a_plan_are_the_trainers_epochs_and_asking_for_them_changes_nothing(trainer):
    plain = trainer(tm.Plan({"lr": tm.Linear(init_value=0.1, end_value=0.0, duration=10)}))
    asked = trainer(tm.Plan({"lr": tm.Linear(init_value=0.1, end_value=0.0, duration="2 epochs")}, total="3 epochs"))
    assert trained(plain, "loss") == trained(asked, "loss")
    assert steps(plain.state.log_history) == steps(asked.state.log_history)


def test_samples_in_a_plan_are_batches_with_accumulation(trainer):
    plan = tm.Plan({"lr": tm.Linear(init_value=0.1, end_value=0.0, duration="80 samples")})
    assert trained(trainer(plan)) == [tm.Linear(init_value=0.1, end_value=0.0, duration=5)(t) for t in range(15)]


def test_a_rate_that_the_plan_gives_itself_is_the_plans(trainer):
    lr = tm.Linear(init_value=0.1, end_value=0.0, duration="1 epoch")
    other = tm.Linear(init_value=0.1, end_value=0.0, duration="80 samples")  # which only the Trainer can convert
    plan = tm.Plan({"lr": lr, "weight_decay": other}, rates={"steps_per_epoch": 3})
    assert trained(trainer(plan))[2:4] == [pytest.approx(0.1 / 3, rel=1e-12, abs=0), 0.0]


def test_an_entry_on_the_clock_of_epochs_follows_it_and_resumes(trainer):
    plan = tm.Plan({"lr": tm.on("epochs", tm.Linear(init_value=0.3, end_value=0.0, duration=3))})
    expected = list(
        itertools.chain.from_iterable([plan["lr"].at_counts({"epochs": e}, "") + 0.0] * 5 for e in range(3))
    )
    whole = trainer(plan, save_strategy="steps", save_steps=5)
    assert trained(whole) == expected
    again = trainer(plan)
    assert trained(again, resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-5") == expected


def test_a_plan_of_another_length_than_the_training_is_warned_of(trainer):
    with pytest.warns(UserWarning, match=r"the plan is 20 optimizer steps long, and this training 15. Leave out"):
        assert trained(trainer(tm.Plan({"lr": FALL}, total=20)))[-1] > 0.02


def test_another_training_with_the_same_trainer_begins_anew(trainer):
    one = trainer(tm.Plan({"lr": FALL}))
    assert trained(one) == trained(one)
    assert one.lr_scheduler.counts == {"optimizer_steps": 15}


def test_a_model_that_the_trainer_makes_anew_is_trained_by_the_plan(example, trainer):
    one = trainer(tm.Plan({"lr": FALL}))
    one.model_init = example.Net
    assert trained(one) == [FALL.resolve(one.lr_scheduler.plan.horizon)(count) for count in range(15)]
    assert one.lr_scheduler.optimizer.param_groups[0]["params"][0] is next(one.model.parameters())


# where values go


def test_reporters_get_the_values_under_the_trainers_names(trainer, tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer(tm.Plan({"lr": FALL, "betas[0]": FALL}), report_to=["tensorboard"]).train()
    reader = accumulator.EventAccumulator(str(tmp_path / "board"))
    reader.Reload()
    expected = [np.float32(0.1 * (1 - count / 15)) for count in range(15)]
    for name in ("train/learning_rate", "train/betas_0"):
        found = [event.value for event in reader.Scalars(name)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)  # float32


def test_weight_decay_leaves_biases_alone_as_the_trainer_does(trainer):
    one = trainer(tm.Plan({"weight_decay": tm.Constant(value=0.2), "decay.lr": FALL, "no_decay.lr": FALL * 2.0}))
    assert trained(one, "weight_decay") == [0.2] * 15
    assert {group["name"]: group["weight_decay"] for group in one.optimizer.param_groups} == {
        "decay": 0.2,
        "no_decay": 0.0,
    }
    rows = one.state.log_history
    assert steps(rows, "learning_rate_no_decay") == [2 * lr for lr in steps(rows, "learning_rate_decay")]
    assert steps(rows) == steps(rows, "learning_rate_decay")
    assert not steps(rows, "weight_decay_no_decay")


def test_weight_decay_of_biases_can_be_asked_for(trainer):
    one = trainer(tm.Plan({"weight_decay": tm.Constant(value=0.2), "no_decay.weight_decay": tm.Constant(value=0.1)}))
    assert trained(one, "weight_decay_no_decay") == [0.1] * 15


def test_the_groups_of_an_optimizer_of_ones_own_stay_as_they_are(trainer):
    def own(model):
        first, second = model.body[0], model.body[2]
        groups = [{"params": [first.weight, second.weight]}, {"params": [first.bias, second.bias]}]
        return torch.optim.SGD(groups, lr=0.1), None

    one = trainer(tm.Plan({"weight_decay": tm.Constant(value=0.2), "lr": FALL}), optimizers=own)
    one.train()
    assert [(group["weight_decay"], "name" in group) for group in one.optimizer.param_groups] == [(0.2, False)] * 2


@pytest.mark.parametrize("name", ["grad_clip", "max_grad_norm"])
def test_gradients_are_clipped_to_the_plans_value_from_the_first_update_on(trainer, name):
    norms = []

    def measure(model, **_):
        norms.append(math.hypot(*(weight.grad.norm().item() for weight in model.parameters())))

    clip = tm.Linear(init_value=1e-2, end_value=1e-3, duration="100%")
    one = trainer(tm.Plan({"lr": FALL, name: clip}), callbacks=[Hook("on_pre_optimizer_step", measure)])
    asked = trained(one, name)
    assert asked[0] == 1e-2
    np.testing.assert_allclose(norms, asked, rtol=1e-3, atol=0)  # float32, and the clip's own 1e-6 below the line


def test_a_target_of_ones_own_is_written(trainer):
    seen = []
    one = trainer(tm.Plan({"lr": FALL, "dropout": FALL}), attached={"targets": {"dropout": seen.append}})
    assert trained(one, "dropout") == seen[:15]


def test_another_callback_that_writes_the_learning_rate_is_noticed(trainer):
    def meddle(optimizer, **_):
        optimizer.param_groups[0]["lr"] = 0.7

    with pytest.raises(BindingError, match=r"lr: somebody else wrote 0.7 into the param group; the plan had written"):
        trainer(tm.Plan({"lr": FALL}), callbacks=[Hook("on_pre_optimizer_step", meddle)]).train()


# what counts


class Overflowing(torch.nn.Module):
    """A net whose gradients overflow in one batch."""

    def __init__(self, net, batch):
        super().__init__()
        self.net, self.batch, self.seen = net, batch, 0

    def forward(self, pixels, labels):
        out = self.net(pixels, labels)
        self.seen += self.training
        return {**out, "loss": out["loss"] * (math.inf if self.training and self.seen == self.batch else 1.0)}


def test_an_update_that_the_gradient_scaler_skips_does_not_count(example, trainer):
    one = trainer(tm.Plan({"lr": FALL}), net=Overflowing(example.Net(), batch=7), max_grad_norm=0)
    one.accelerator.scaler = GradScaler("cpu", init_scale=2.0)
    expected = [tm.Linear(init_value=0.1, end_value=0.0, duration=15)(count) for count in range(14)]
    assert trained(one) == [*expected[:4], *expected[3:]]  # batches 7 and 8 are the fourth update
    assert one.lr_scheduler.counts == {"optimizer_steps": 14}


# measurements


def test_a_plateau_hears_evaluations_during_training_and_only_those(trainer):
    plan = tm.Plan({"lr": tm.Constant(value=1.0) * tm.Plateau(metric="eval_loss", factor=0.5, patience=0)})
    one = trainer(plan, eval_strategy="epoch", learning_rate=1.0, eval_on_start=True)
    values = trained(one)
    losses = [row["eval_loss"] for row in one.state.log_history if "eval_loss" in row]
    level, best, expected = 1.0, math.inf, []
    for loss in losses[1:]:
        expected += [level] * 5
        level, best = (level, loss) if loss < best * (1 - 1e-4) else (level / 2, best)
    assert values == expected
    before = one.lr_scheduler.state_dict()
    one.evaluate()
    assert one.lr_scheduler.state_dict() == before


def test_a_controller_hears_the_loss_that_is_logged(trainer):
    plan = tm.Plan({"lr": tm.Constant(value=1e-9) * tm.Plateau(metric="loss", factor=0.5, patience=100)})
    one = trainer(plan)
    losses = trained(one, "loss")
    assert one.lr_scheduler.state_dict()["controllers"]["lr"][0]["best"] == min(losses)


def test_a_metric_that_no_evaluation_gives_is_told(trainer):
    plan = tm.Plan({"lr": FALL * tm.Plateau(metric="val_loss")})
    with pytest.raises(MeasurementError, match=r"listens to val_loss, which the evaluation.*Did you mean eval_loss\?"):
        (one := trainer(plan, eval_strategy="epoch")).train()
    assert one.state.global_step == 5  # after the first evaluation, not at the end
    with pytest.raises(MeasurementError, match=r"listens to val_loss, which the evaluation"):
        trainer(plan, eval_strategy="epoch", num_train_epochs=1).train()


def test_a_metric_that_nobody_would_measure_is_told_before_training(trainer):
    plan = tm.Plan({"lr": FALL * tm.Plateau(metric="eval_loss")})
    with pytest.raises(BindingError, match=r"listens to eval_loss, and this Trainer never evaluates. Set"):
        trainer(plan).train()
    trainer(plan, attached={"observed": ["eval_loss"]}).train()


# resuming


def test_a_longer_training_is_refused_on_resume_unless_the_choice_is_said(trainer):
    first = trainer(tm.Plan({"lr": FALL}), save_strategy="epoch")
    first.train()
    resume = {"resume_from_checkpoint": f"{first.args.output_dir}/checkpoint-10"}
    with pytest.raises(StateError, match=r"the plan has changed since the state was saved.*\n.*total.*15.*30"):
        trainer(tm.Plan({"lr": FALL}), num_train_epochs=6).train(**resume)
    longer = tm.Linear(init_value=0.1, end_value=0.0, duration=30)
    for choice, expected in (("replace", longer(10)), ("stretch", longer(20))):
        one = trainer(tm.Plan({"lr": FALL}), num_train_epochs=6, attached={"on_change": choice})
        assert trained(one, **resume)[10] == expected


def test_a_checkpoint_without_the_schedulers_state_is_refused(trainer):
    first = trainer(tm.Plan({"lr": FALL}), save_strategy="epoch")
    first.train()
    folder = Path(first.args.output_dir, "checkpoint-10")
    (folder / "scheduler.pt").unlink()
    with pytest.raises(StateError, match=r"goes on from step 10, and the checkpoint has no state of the scheduler"):
        trainer(tm.Plan({"lr": FALL})).train(resume_from_checkpoint=str(folder))


# a scheduler of one's own


def test_a_scheduler_given_to_the_trainer_simply_works_and_resumes(trainer):
    plan = tm.Plan({"lr": tm.Cosine(init_value=0.1, end_value=0.0, duration=15), "momentum": tm.Constant(value=0.5)})

    def both(model):
        optimizer = sgd(model)
        return optimizer, Scheduler(optimizer, plan)

    whole = trainer(optimizers=both, save_strategy="epoch")
    assert trained(whole) == list(plan["lr"](np.arange(15)))
    again = trainer(optimizers=both)
    trained(again, resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-5")
    assert steps(again.state.log_history, "loss") == steps(whole.state.log_history, "loss")
    assert again.lr_scheduler.counts == {"optimizer_steps": 15}


def test_attached_to_it_the_rest_is_logged_and_heard(trainer):
    plan = tm.Plan(
        {
            "lr": tm.Constant(value=0.1) * tm.Plateau(metric="eval_loss", patience=9),
            "momentum": tm.Linear(init_value=0.9, end_value=0.5, duration=15),
        }
    )

    def both(model):
        optimizer = sgd(model)
        return optimizer, Scheduler(optimizer, plan)

    one = trainer(optimizers=both, eval_strategy="epoch")
    attachment = attach(one)
    assert trained(one, "momentum") == list(plan["momentum"](np.arange(15)))
    assert attachment.scheduler is one.lr_scheduler
    state = attachment.scheduler.state_dict()["controllers"]["lr"][0]
    assert state["best"] == min(row["eval_loss"] for row in one.state.log_history if "eval_loss" in row)


# refusals


def test_a_second_plan_and_a_second_scheduler_are_refused(trainer):
    one = trainer(tm.Plan({"lr": FALL}))
    with pytest.raises(BindingError, match=r"this Trainer already has a plan. One plan per Trainer"):
        attach(one, tm.Plan({"lr": FALL}))

    def foreign(model):
        optimizer = sgd(model)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1)

    with pytest.raises(BindingError, match=r"was given a StepLR, which writes the learning rate too. Build"):
        trainer(tm.Plan({"lr": FALL}), optimizers=foreign)
    with pytest.raises(BindingError, match=r"needs a plan, or a Trainer\(optimizers="):
        attach(trainer())


def test_without_transformers_the_message_says_what_to_install(trainer, monkeypatch):
    one = trainer()
    monkeypatch.setattr("tempomat.integrations.transformers.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs the package transformers: pip install 'transformers\[torch\]'"):
        attach(one, tm.Plan({"lr": FALL}))


def test_before_training_there_is_no_scheduler_yet(trainer):
    attachment = attach(trainer(), tm.Plan({"lr": FALL}))
    with pytest.raises(BindingError, match=r"there is no scheduler: trainer.train\(\) has not begun"):
        _ = attachment.scheduler


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (tm.Plan({"ema_decay": FALL}), r"ema_decay: the Trainer does not read it. Say what does: attach"),
        (tm.Plan({"lr": FALL}, clock="epochs", rates={"steps_per_epoch": 5}), r"steps its scheduler once an update"),
        (
            tm.Plan({"lr": tm.on("env_steps", tm.Linear(init_value=0.1, end_value=0.0, duration=9))}),
            r"the plan follows env_steps. Write lengths",
        ),
        (lambda count: {"lr": FALL}, r"needs a tempomat.Plan, got dict"),
    ],
)
def test_a_plan_that_the_trainer_could_not_follow_is_refused(trainer, plan, message):
    with pytest.raises(BindingError, match=message):
        trainer(plan).train()
