"""Lightning: the example for real; intervals, accumulation, several optimizers, log names and resumes."""

import csv
import importlib
import importlib.util
import sys
from typing import Any

import pytest
from loading import example

pytest.importorskip("lightning.pytorch")

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

import tempomat as tm
from tempomat.core import BindingError, MissingExtra, StateError
from tempomat.integrations.lightning import TempomatCallback, lightning_config
from tempomat.torch import Scheduler

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:The '.*' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
    pytest.mark.filterwarnings("ignore:.*Be aware that when using `ckpt_path`"),
]

LINE = tm.Linear(init_value=1.0, end_value=0.0, duration="100%")


@pytest.fixture(scope="module")
def digits():
    return example("hosts/lightning_digits.py")


class Seen(Callback):
    """Every value at each optimizer step, as the optimizer has it then."""

    def __init__(self, key="lr"):
        self.key, self.values, self.clips = key, [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.values.append(optimizer.param_groups[0][self.key])
        self.clips.append(trainer.gradient_clip_val)


class Net(LightningModule):
    """One weight; `configure` makes what `configure_optimizers` returns."""

    def __init__(self, configure=None, measured=()):
        super().__init__()
        self.net = torch.nn.Linear(1, 1)
        self.configure = configure or (lambda parameters: torch.optim.AdamW(parameters, lr=0.5))
        self.measured = iter(measured)

    def training_step(self, batch, _index):
        return self.net(batch[0]).square().mean()

    def validation_step(self, batch, _index):
        self.log("val_loss", next(self.measured, 1.0))

    def configure_optimizers(self):
        return self.configure(list(self.parameters()))


def loader(batches=8):
    return DataLoader(TensorDataset(torch.ones(2 * batches, 1)), batch_size=2)


def fit(module, *callbacks, batches=8, validate=False, resume=None, trainer=None, **options):
    sizes = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(one, ModelCheckpoint) for one in callbacks),
        "num_sanity_val_steps": 1,
    }
    trainer = trainer or Trainer(**(sizes | options), callbacks=list(callbacks))
    trainer.fit(module, loader(batches), loader(1) if validate else None, ckpt_path=resume)
    return trainer


def test_every_update_of_the_example_has_the_values_of_the_plan_and_of_the_trainers_own_length(digits, tmp_path):
    lr, decay = Seen(), Seen("weight_decay")
    done = digits.main(tmp_path, callbacks=(lr, decay), epochs=3)
    plan = digits.PLAN.resolve(total=66, steps_per_epoch=22)
    assert done["callback"].scheduler.plan == plan
    assert lr.values == [plan["lr"].given([1.0])(t) for t in range(66)]
    assert decay.values == [plan["weight_decay"](t) for t in range(66)]
    assert lr.clips == [plan["grad_clip"](t) for t in range(66)]
    assert done["trainer"].callback_metrics["val_accuracy"] > 0.85  # guessing gets 0.1


def test_logs_have_lightnings_own_names_and_the_values_of_their_step(digits, tmp_path):
    digits.main(tmp_path, epochs=2)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    plan = digits.PLAN.resolve(total=44, steps_per_epoch=22)
    series = {
        "lr-AdamW": plan["lr"].given([1.0]),
        "lr-AdamW-weight_decay": plan["weight_decay"],
        "grad_clip": plan["grad_clip"],
    }
    for name, schedule in series.items():
        found = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        assert found == [(t, schedule(t)) for t in range(44)]


def test_groups_and_other_keys_are_logged_as_by_lightnings_monitor(tmp_path):
    def configure(parameters):
        return torch.optim.AdamW([{"params": parameters[:1]}, {"params": parameters[1:], "name": "bias"}], lr=0.5)

    plan = tm.Plan({"lr": LINE, "bias.lr": 0.25, "betas[0]": 0.5, "betas[1]": LINE * 0.5, "mixup": LINE})
    logger = CSVLogger(tmp_path, name="", version="")
    fit(Net(configure), TempomatCallback(plan), logger=logger, log_every_n_steps=1, batches=2)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {"lr-AdamW/pg1", "lr-AdamW/bias", "lr-AdamW/pg1-momentum", "lr-AdamW/bias-momentum", "betas[1]", "mixup"}
    assert set(rows[0]) == names | {"step"}
    assert [float(row["lr-AdamW/pg1"]) for row in rows if row["lr-AdamW/pg1"]] == [1.0, 0.5]
    assert [float(row["mixup"]) for row in rows if row["mixup"]] == [1.0, 0.5]


def test_accumulation_counts_updates_and_the_total_is_theirs():
    seen, callback = Seen(), TempomatCallback(tm.Plan({"lr": LINE}))
    fit(Net(), callback, seen, accumulate_grad_batches=2)
    assert seen.values == [1.0, 0.75, 0.5, 0.25]
    assert callback.scheduler.counts == {"optimizer_steps": 4}
    assert callback.scheduler.skipped == 0


def test_epochs_and_samples_are_counted_too():
    plan = tm.Plan(
        {
            "lr": tm.Linear(init_value=1.0, end_value=0.0, duration="2 epochs"),
            "weight_decay": tm.on("epochs", tm.Linear(init_value=0.0, end_value=0.2, duration=2)),
            "eps": tm.on("samples", tm.Linear(init_value=1.0, end_value=0.0, duration=8)),
        }
    )
    lr, decay, eps = Seen(), Seen("weight_decay"), Seen("eps")
    fit(Net(), TempomatCallback(plan), lr, decay, eps, batches=2, max_epochs=3)
    assert lr.values == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert decay.values == [0.0, 0.0, 0.1, 0.1, 0.2, 0.2]
    assert eps.values == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


@pytest.mark.parametrize(("clock", "expected"), [("epochs", [1.0, 1.0, 0.5, 0.5]), ("samples", [1.0, 0.75, 0.5, 0.25])])
def test_the_plans_clock_may_be_epochs_or_samples(clock, expected):
    seen = Seen()
    total = 8 if clock == "samples" else None
    fit(Net(), TempomatCallback(tm.Plan({"lr": LINE}, clock=clock, total=total)), seen, batches=2, max_epochs=2)
    assert seen.values == expected


def with_scheduler(plan, shape):
    def configure(parameters):
        optimizer = torch.optim.AdamW(parameters, lr=0.5)
        scheduler = Scheduler(optimizer, plan)
        if shape == "lists":
            return [optimizer], [scheduler]
        entry = lightning_config(scheduler) if shape == "config" else scheduler
        return {"optimizer": optimizer, "lr_scheduler": entry}

    return configure


def test_a_scheduler_in_configure_optimizers_is_stepped_as_its_plan_counts():
    for clock, expected in (("optimizer_steps", [1.0, 0.75, 0.5, 0.25]), ("epochs", [1.0, 1.0, 0.5, 0.5])):
        plan, seen = tm.Plan({"lr": LINE}, clock=clock, total=4 if clock == "optimizer_steps" else 2), Seen()
        fit(Net(with_scheduler(plan, "config")), seen, TempomatCallback(), batches=2, max_epochs=2)
        assert seen.values == expected


@pytest.mark.parametrize("shape", ["lists", "bare"])
def test_a_per_epoch_default_cannot_starve_a_per_step_plan(shape):
    """Lightning#5631: a horizon in steps that is stepped once an epoch never leaves its warmup."""
    module = Net(with_scheduler(tm.Plan({"lr": LINE}, total=8), shape))
    with pytest.raises(
        BindingError, match=r"once every 1 epoch\(s\), and its plan counts optimizer_steps\. Return it by"
    ):
        fit(module, TempomatCallback())
    with pytest.warns(UserWarning, match="the optimizer has stepped 8 times since the last"):
        fit(Net(with_scheduler(tm.Plan({"lr": LINE}, total=8), shape)))  # without the callback it is told of


def test_an_interval_longer_than_an_epoch_is_refused():
    """Lightning#17544: a step frequency longer than an epoch never fires."""

    def configure(parameters):
        optimizer = torch.optim.AdamW(parameters)
        config = lightning_config(Scheduler(optimizer, tm.Plan({"lr": LINE}, total=8))) | {"frequency": 100}
        return {"optimizer": optimizer, "lr_scheduler": config}

    with pytest.raises(BindingError, match=r"once every 100 step\(s\)"):
        fit(Net(configure), TempomatCallback())


def test_a_clock_that_lightning_does_not_step_by_is_refused_with_the_way_out():
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    with pytest.raises(BindingError, match=r"the plan's clock is samples\. Use TempomatCallback\(plan\)"):
        lightning_config(Scheduler(optimizer, tm.Plan({"lr": 0.1}, clock="samples")))
    with pytest.raises(BindingError, match=r"the plan's clock is tokens\. Take one of them"):
        TempomatCallback(tm.Plan({"lr": 0.1}, clock="tokens"))
    with pytest.raises(BindingError, match=r"needs a tempomat\.torch\.Scheduler, got LinearLR"):
        lightning_config(torch.optim.lr_scheduler.LinearLR(optimizer))  # pyright: ignore[reportArgumentType]


def test_a_second_scheduler_of_the_same_lr_is_refused():
    def configure(parameters):
        optimizer = torch.optim.AdamW(parameters)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]

    with pytest.raises(
        BindingError, match=r"also returns ExponentialLR, which writes lr as the plan does\. One writer"
    ):
        fit(Net(configure), TempomatCallback(tm.Plan({"lr": LINE})))
    fit(Net(configure), TempomatCallback(tm.Plan({"weight_decay": LINE})))
    with pytest.raises(BindingError, match="has no plan, and configure_optimizers returns no tempomat Scheduler"):
        fit(Net(), TempomatCallback())


def test_validation_reaches_the_controllers_once_each_and_the_sanity_check_does_not():
    plan = tm.Plan({"lr": tm.Plateau(metric="val_loss", init_value=0.4, factor=0.5, patience=0)})
    measured = [0.0, 1.0, 0.9, 0.9, 0.8, 0.8]  # the first is the sanity check's
    for shape in ("callback", "module"):
        callback = TempomatCallback(plan if shape == "callback" else None)
        module = Net(None if shape == "callback" else with_scheduler(plan, "config"), measured)
        fit(module, callback, validate=True, batches=2, max_epochs=5)
        assert [(one["observation"], one["level"]) for one in callback.scheduler.events] == [
            (pytest.approx(0.9, rel=1e-6, abs=0), 0.2),
            (pytest.approx(0.8, rel=1e-6, abs=0), 0.1),
        ]


def test_a_metric_that_nobody_logs_is_told_of():
    plan = tm.Plan({"lr": tm.Plateau(metric="val_los", init_value=0.4, factor=0.5, patience=0)})
    with pytest.warns(UserWarning, match=r"listens to val_los, and nothing has logged it\. Logged: val_loss"):
        fit(Net(), TempomatCallback(plan), validate=True)


class Gan(LightningModule):
    """Two optimizers, stepped by hand; the critic only every other batch."""

    def __init__(self):
        super().__init__()
        self.one, self.two = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
        self.automatic_optimization = False
        self.seen = []

    def training_step(self, batch, index):
        pair: Any = self.optimizers()
        for optimizer, net in zip(pair, (self.one, self.two), strict=True):
            if net is self.one or index % 2:
                optimizer.zero_grad()
                self.manual_backward(net(batch[0]).square().mean())
                optimizer.step()
        self.seen.append([one.param_groups[0]["lr"] for one in pair])

    def configure_optimizers(self):
        return [torch.optim.AdamW(self.one.parameters()), torch.optim.SGD(self.two.parameters(), lr=0.5)]


def test_several_optimizers_by_hand_have_schedules_by_name_and_logs_by_kind(tmp_path):
    plan = tm.Plan({"generator.lr": LINE, "critic.lr": LINE * 0.5})
    module, logger = Gan(), CSVLogger(tmp_path, name="", version="")
    callback = TempomatCallback(plan, optimizers=("generator", "critic"))
    fit(module, callback, batches=4, logger=logger, log_every_n_steps=1)
    assert module.seen == [[1.0, 0.5], [0.75, 0.375], [0.5, 0.25], [0.25, 0.125]]
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["lr-AdamW"]), float(row["lr-SGD"])) for row in rows] == [tuple(pair) for pair in module.seen]
    with pytest.raises(BindingError, match=r"1 names \(generator\) for 2 optimizers"):
        fit(Gan(), TempomatCallback(plan, optimizers=("generator",)), batches=4)


@pytest.mark.parametrize("clock", ["optimizer_steps", "epochs"])
@pytest.mark.parametrize(
    "every", [{"every_n_train_steps": 3}, {"every_n_epochs": 1}, {"every_n_epochs": 1, "save_on_train_epoch_end": True}]
)
def test_a_resume_from_any_checkpoint_equals_the_unbroken_run(tmp_path, every, clock):
    plan = tm.Plan(
        {
            "lr": LINE * tm.Plateau(metric="val_loss", factor=0.5, patience=1),
            "weight_decay": tm.on("epochs", tm.Linear(init_value=0.0, end_value=0.3, duration=3)),
        },
        clock=clock,
    )
    measured = [1.0, 0.5, 0.6, 0.7, 0.8, 0.9]

    def run(folder, skip=0, resume=None):
        seen = Seen(), Seen("weight_decay")
        checkpoint = () if resume else (ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **every),)
        callback = TempomatCallback(plan)
        values = measured if resume is None else measured[1 + skip :]  # a resume has no sanity check
        fit(Net(measured=values), callback, *seen, *checkpoint, validate=True, batches=4, max_epochs=4, resume=resume)
        return [one.values for one in seen], callback.state_dict()

    (lr, decay), state = run(tmp_path / "a")
    assert len(lr) == 16
    saved = sorted((tmp_path / "a").iterdir(), key=lambda path: int(path.stem.split("=")[1]))
    assert len(saved) >= 4
    for path in saved[:3]:  # Lightning itself leaves out the validation that belonged right after step 12's checkpoint
        at = int(path.stem.split("=")[1])
        (lr_after, decay_after), state_after = run(tmp_path, at // 4, path)
        assert lr_after == lr[at:]
        assert decay_after == decay[at:]
        assert state_after == state


def test_a_scheduler_in_configure_optimizers_resumes_from_lightnings_own_state(tmp_path):
    configure = with_scheduler(tm.Plan({"lr": LINE}, total=8), "config")
    whole, rest = Seen(), Seen()
    fit(Net(configure), whole, ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=3, save_top_k=-1))
    fit(Net(configure), rest, TempomatCallback(), resume=tmp_path / "step=3.ckpt")
    assert rest.values == whole.values[3:]


def test_more_epochs_on_resume_are_refused_unless_it_is_said_how_to_go_on(tmp_path):
    plan = tm.Plan({"lr": LINE})
    fit(Net(), TempomatCallback(plan), ModelCheckpoint(tmp_path, filename="a"), batches=4, max_epochs=1)
    with pytest.raises(StateError, match=r"total: 4 -> 8"):
        fit(Net(), TempomatCallback(plan), batches=4, max_epochs=2, resume=tmp_path / "a.ckpt")
    seen = Seen()
    callback = TempomatCallback(plan, on_change="replace")
    fit(Net(), callback, seen, batches=4, max_epochs=2, resume=tmp_path / "a.ckpt")
    assert seen.values == [0.5, 0.375, 0.25, 0.125]


def test_a_checkpoint_without_the_callbacks_state_is_refused_or_gone_on_from_at_its_step(tmp_path):
    plan = tm.Plan({"lr": LINE})
    fit(Net(), ModelCheckpoint(tmp_path, filename="a"), batches=4)
    with pytest.raises(StateError, match="goes on at step 4, and the checkpoint has no state of this callback"):
        fit(Net(), TempomatCallback(plan), batches=4, max_epochs=2, resume=tmp_path / "a.ckpt")
    seen = Seen()
    fit(Net(), TempomatCallback(plan, on_change="replace"), seen, batches=4, max_epochs=2, resume=tmp_path / "a.ckpt")
    assert seen.values == [0.5, 0.375, 0.25, 0.125]


def test_one_callback_serves_one_fit_after_another():
    callback, seen = TempomatCallback(tm.Plan({"lr": LINE})), Seen()
    fit(Net(), callback, seen, batches=2)
    fit(Net(), callback, seen, batches=2)
    assert seen.values == [1.0, 0.5, 1.0, 0.5]


def test_a_second_fit_of_the_same_trainer_goes_on():
    seen = Seen()
    with pytest.warns(UserWarning, match="total is 16 optimizer_steps, and the Trainer will make 8"):
        trainer = fit(Net(), TempomatCallback(tm.Plan({"lr": LINE}, total=16)), seen)
    trainer.fit_loop.max_epochs = 2
    fit(Net(), trainer=trainer)
    assert seen.values == [1 - t / 16 for t in range(16)]


def test_updates_are_counted_under_a_clock_of_samples_too():
    lr, plan = (
        Seen(),
        tm.Plan(
            {"lr": tm.on("optimizer_steps", tm.Linear(init_value=1.0, end_value=0.0, duration=4))}, clock="samples"
        ),
    )
    fit(Net(), TempomatCallback(plan), lr, accumulate_grad_batches=2)
    assert lr.values == [1.0, 0.75, 0.5, 0.25]


def test_a_total_that_the_trainer_will_not_reach_is_told_of():
    with pytest.warns(
        UserWarning, match=r"total is 800 optimizer_steps, and the Trainer will make 8\. Leave the total"
    ):
        fit(Net(), TempomatCallback(tm.Plan({"lr": LINE}, total=800)))


def test_values_that_the_module_reads_are_there_and_targets_are_written():
    got, read = [], []
    callback = TempomatCallback(tm.Plan({"mixup": LINE, "dropout": LINE}), targets={"dropout": got.append})

    class Reads(Net):
        def training_step(self, batch, index):
            read.append(callback.values["mixup"])
            return super().training_step(batch, index)

    with pytest.raises(BindingError, match="there is no scheduler before training starts"):
        callback.scheduler  # noqa: B018
    fit(Reads(), callback, batches=4)
    assert read == [1.0, 0.75, 0.5, 0.25]
    assert got == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_the_users_own_monitor_shows_the_same_values(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    monitor = LearningRateMonitor("step")
    fit(Net(), TempomatCallback(tm.Plan({"lr": LINE})), monitor, batches=4, logger=logger, log_every_n_steps=1)
    assert monitor.lrs["lr-AdamW"] == [1.0, 0.75, 0.5, 0.25]


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "tempomat.integrations.lightning")
    with pytest.raises(MissingExtra, match="pip install lightning"):
        importlib.import_module("tempomat.integrations.lightning")
