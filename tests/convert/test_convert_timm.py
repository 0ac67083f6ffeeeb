"""timm's arguments, held to its own factory over whole runs and beyond."""

import argparse
import warnings
from typing import Any

import libraries
import numpy as np
import pytest

import tempomat as tm
from tempomat.convert import from_timm
from tempomat.convert.timm import run_length

torch = pytest.importorskip("torch")

LR = 0.1
UPDATES = 7


def theirs(counts: int, **arguments: Any) -> list[float]:
    """The learning rate that timm itself sets at each of its counts."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler, _ = libraries.timm_schedulers().create_scheduler_v2(optimizer, **arguments)
    values = [optimizer.param_groups[0]["lr"]]
    for count in range(1, counts):
        scheduler.step(count) if arguments.get("step_on_epochs", True) else scheduler.step_update(count)
        values.append(optimizer.param_groups[0]["lr"])
    return values


RUNS: dict[str, dict[str, Any]] = {
    "cosine": {"sched": "cosine", "num_epochs": 100, "min_lr": 1e-4},
    "cosine with the warmup in place of its beginning": {"sched": "cosine", "num_epochs": 100, "warmup_epochs": 5},
    "cosine behind its warmup": {"sched": "cosine", "num_epochs": 90, "warmup_epochs": 10, "warmup_prefix": True},
    "cosine of three cycles": {"sched": "cosine", "num_epochs": 20, "cycle_limit": 3, "cycle_decay": 0.5},
    # cycles three times as long, whose restarts timm finds by a logarithm that is right at these
    "cosine of longer cycles": {"sched": "cosine", "num_epochs": 11, "cycle_limit": 3, "cycle_mul": 3.0},
    "cosine with k-decay": {"sched": "cosine", "num_epochs": 60, "k_decay": 1.7, "min_lr": 1e-5, "warmup_epochs": 3},
    "cosine with k-decay and cycles": {"sched": "cosine", "num_epochs": 30, "k_decay": 0.8, "cycle_limit": 2},
    "cosine on updates": {"sched": "cosine", "num_epochs": 10, "warmup_epochs": 2, "step_on_epochs": False,
                          "updates_per_epoch": UPDATES},
    "no cycle at all": {"sched": "cosine", "num_epochs": 10, "cycle_limit": 0, "min_lr": 1e-3},
    "poly": {"sched": "poly", "num_epochs": 80, "decay_rate": 0.9, "warmup_epochs": 4, "min_lr": 1e-5},
    "poly with cycles and k-decay": {"sched": "poly", "num_epochs": 20, "decay_rate": 2.0, "cycle_limit": 3,
                                     "k_decay": 0.5, "cycle_decay": 0.3},
    "tanh": {"sched": "tanh", "num_epochs": 50, "min_lr": 1e-5},
    "tanh with its warmup's own aim": {"sched": "tanh", "num_epochs": 50, "warmup_epochs": 20},
    "tanh behind its warmup": {"sched": "tanh", "num_epochs": 50, "warmup_epochs": 6, "warmup_prefix": True},
    "step": {"sched": "step", "num_epochs": 100, "decay_epochs": 30, "warmup_epochs": 5},
    "step of a fraction": {"sched": "step", "num_epochs": 100, "decay_epochs": 2.4, "decay_rate": 0.97,
                           "warmup_epochs": 3, "warmup_prefix": True},
    "step of a fraction in place": {"sched": "step", "num_epochs": 90, "decay_epochs": 2.4, "decay_rate": 0.97,
                                    "warmup_epochs": 3},
    "step by default": {"sched": "step", "num_epochs": 200},
    "multistep": {"sched": "multistep", "num_epochs": 100, "decay_milestones": [30, 60, 60, 80]},
    "multistep that begins with one": {"sched": "multistep", "num_epochs": 20, "decay_milestones": [1, 5]},
    "multistep passed in the warmup": {"sched": "multistep", "num_epochs": 50, "decay_milestones": [4, 20, 30],
                                       "warmup_epochs": 10, "decay_rate": 0.3},
    "multistep behind its warmup": {"sched": "multistep", "num_epochs": 50, "decay_milestones": [4, 20],
                                    "warmup_epochs": 10, "warmup_prefix": True},
    "constant": {"sched": "constant", "num_epochs": 30, "warmup_epochs": 4, "warmup_lr": 1e-3},
    "wsd": {"sched": "wsd", "num_epochs": 100, "warmup_epochs": 5, "min_lr": 1e-4},
    "wsd behind its warmup": {"sched": "wsd", "num_epochs": 100, "warmup_epochs": 5, "warmup_prefix": True,
                              "decay_epochs": 30},
    **{f"wsd with {shape}": {"sched": "wsd", "num_epochs": 60, "decay_fn": shape, "min_lr": 1e-3, "decay_epochs": 0.3}
       for shape in ("linear", "1-sqrt", "cosine", "power", "exp")},
    "wsd that only falls": {"sched": "wsd", "num_epochs": 40, "decay_epochs": 40, "decay_fn": "exp"},
    "rsqrt": {"sched": "rsqrt", "num_epochs": 200, "warmup_epochs": 10},
    "rsqrt above a floor": {"sched": "rsqrt", "num_epochs": 300, "warmup_epochs": 3, "min_lr": 0.03},
    "rsqrt with a timescale": {"sched": "rsqrt", "num_epochs": 100, "stable_timescale": 7, "decay_fn": "cosine"},
    "rsqrt on updates": {"sched": "rsqrt", "num_epochs": 30, "warmup_epochs": 2, "step_on_epochs": False,
                         "updates_per_epoch": UPDATES},
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_timms_learning_rate_at_every_count_and_after_its_end(name: str) -> None:
    arguments = RUNS[name]
    counts = 2 * arguments["num_epochs"] * arguments.get("updates_per_epoch", 1) + 30
    ours = from_timm(arguments, lr=LR)
    # timm raises sums of rounded powers; where it comes to 0 a floor of some ulp remains
    np.testing.assert_allclose(ours(np.arange(counts)), theirs(counts, **arguments), rtol=1e-9, atol=0)


@pytest.mark.parametrize("more", [{}, {"cooldown_epochs": 3}], ids=["", "cooldown"])
@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_as_long_as_timm_trains(name: str, more: dict[str, Any]) -> None:
    arguments = {**RUNS[name], **more}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    _, epochs = libraries.timm_schedulers().create_scheduler_v2(optimizer, **arguments)
    unit, length = run_length(arguments, lr=LR)
    on_epochs = arguments.get("step_on_epochs", True)
    assert (unit, length) == (("epochs", epochs) if on_epochs else ("optimizer_steps", epochs * UPDATES))


def script(**changes: Any) -> argparse.Namespace:
    """The training script's namespace, as far as timm looks, beside much else."""
    given = {
        "sched": "cosine", "epochs": 50, "lr": LR, "model": "resnet50", "batch_size": 128, "lr_base": 0.1,
        "warmup_epochs": 5, "lr_cycle_limit": 1, "sched_on_updates": False, "eval_metric": "top1", "min_lr": 0.0,
    }  # fmt: skip
    return argparse.Namespace(**{**given, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sched_on_updates": True},
        {"sched": "step", "decay_epochs": 2.4, "decay_rate": 0.97},
        {"lr_cycle_limit": 2, "lr_cycle_decay": 0.7, "lr_k_decay": 1.3},
        {"sched": "wsd", "lr_decay_fn": "cosine", "decay_epochs": 0.4},
        {"sched": "rsqrt", "lr_stable_timescale": 4.0},
        {"sched": "multistep", "decay_milestones": [10, 40]},
    ],
)
def test_the_training_scripts_namespace_is_read_with_its_own_names_and_defaults(changes: dict[str, Any]) -> None:
    args = script(**changes)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler, _ = libraries.timm_schedulers().create_scheduler(args, optimizer, updates_per_epoch=UPDATES)
    expected = [optimizer.param_groups[0]["lr"]]
    for count in range(1, 400):
        scheduler.step_update(count) if args.sched_on_updates else scheduler.step(count)
        expected.append(optimizer.param_groups[0]["lr"])
    ours = from_timm(args, updates_per_epoch=UPDATES)
    np.testing.assert_allclose(ours(np.arange(400)), expected, rtol=1e-9, atol=0)
    assert ours == from_timm(vars(args), updates_per_epoch=UPDATES)


def test_epochs_are_counted_on_their_own_clock_and_updates_on_the_plans() -> None:
    arguments = {"sched": "cosine", "num_epochs": 10}
    assert from_timm(arguments, lr=LR).clocks == {"epochs"}
    assert from_timm({**arguments, "step_on_epochs": False}, lr=LR, updates_per_epoch=3).clocks == {""}


def test_a_restart_that_timms_logarithm_misses_has_its_peak() -> None:
    arguments = {"sched": "cosine", "num_epochs": 1, "cycle_mul": 10.0, "cycle_limit": 4, "cycle_decay": 1.0}
    # cycles of 1, 10 and 100 end at 111, where timm's rounded logarithm stays in the cycle before
    assert theirs(112, **arguments)[111] == pytest.approx(0.0, abs=1e-12)
    assert from_timm(arguments, lr=LR)(111) == LR


def test_a_drop_that_timms_division_brings_a_count_late_is_on_time() -> None:
    arguments = {"sched": "step", "decay_epochs": 2.2, "decay_rate": 0.5}
    assert theirs(12, **arguments)[11] == LR * 0.5**4
    assert from_timm(arguments, lr=LR)(11) == LR * 0.5**5


def test_a_plateau_warms_up_and_then_listens_like_timms() -> None:
    arguments = {"sched": "plateau", "warmup_epochs": 3, "patience_epochs": 1, "decay_rate": 0.5, "plateau_mode": "min",
                 "min_lr": 0.02}  # fmt: skip
    losses = [1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # timm means to remove it
        scheduler, _ = libraries.timm_schedulers().create_scheduler_v2(optimizer, **arguments)
    tree = from_timm(arguments, lr=LR)
    (rule,) = tree.controllers
    state, ours, expected = rule.initial(), [], []
    for epoch, loss in enumerate(losses):
        scheduler.step(epoch + 1, loss)
        state = rule.update(state, loss, epoch) if epoch + 1 > 3 else state
        ours.append(tree.given([rule.level(state)]).at_counts({"epochs": epoch + 1}))
        expected.append(optimizer.param_groups[0]["lr"])
    assert ours == pytest.approx(expected, rel=1e-9, abs=0)
    assert min(ours[3:]) == pytest.approx(0.02, rel=1e-9, abs=0)


def test_the_scripts_metric_says_which_way_is_better() -> None:
    args = script(sched="plateau", eval_metric="loss", seed=1)
    (rule,) = from_timm(args).controllers
    assert (rule.metric, rule.mode) == ("loss", "min")
    (rule,) = from_timm(script(sched="plateau")).controllers
    assert (rule.metric, rule.mode) == ("top1", "max")


def test_no_scheduler_is_a_constant() -> None:
    assert from_timm({"sched": "none"}, lr=LR) == tm.Constant(value=LR)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": [0.4, 0.9]}, r"timm: noise: is drawn from torch's random generator .* multiply by tm.Noise"),
        ({"sched": "cosin"}, "sched: must be one of .*, got 'cosin'. Did you mean cosine"),
        ({"warmup_epoch": 5}, "warmup_epoch: no argument of that name. Did you mean warmup_epochs"),
        ({"num_epochs": 10.5}, "num_epochs: comes to 10.5 epochs, which is no whole number. Round it"),
        ({"sched": "tanh", "cycle_mul": 1.5, "cycle_limit": 3, "num_epochs": 9}, "cycle_mul: makes cycles of no whole"),
        ({"cycle_mul": 0.5, "cycle_limit": 3}, "cycle_mul: must be at least 1"),
        ({"sched": "multistep", "decay_milestones": [5, 3]}, "decay_milestones: must be sorted"),
        ({"sched": "wsd", "decay_epochs": 400}, "decay_epochs: comes to 400 of the 100 epochs"),
        ({"sched": "rsqrt"}, "stable_timescale: is missing"),
        ({"sched": "step", "decay_epochs": 0.5}, "decay_epochs: comes to 0.5 epochs; it must be at least 1"),
        ({"step_on_epochs": False}, "updates_per_epoch: must be at least 1, got 0"),
        ({"sched": "plateau", "step_on_epochs": False, "updates_per_epoch": 5}, "step_on_epochs: must be true"),
        ({"min_lr": -1.0, "decay_rate": "fast", "sched": "step"}, r"(?s)2 faults.*min_lr: .*decay_rate: "),
    ],
)
def test_what_timm_can_and_a_schedule_cannot_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_timm({"sched": "cosine", "num_epochs": 100, **changes}, lr=LR)


def test_a_missing_learning_rate_or_misspelt_script_argument_is_named() -> None:
    with pytest.raises(tm.ConversionError, match=r"lr: is missing: timm reads the peak from the optimizer. Give lr="):
        from_timm({"sched": "cosine"})
    with pytest.raises(tm.ConversionError, match=r"lr_cycle_mull: no argument of timm's training script"):
        from_timm(script(lr_cycle_mull=2.0))
    with pytest.raises(tm.ConversionError, match=r"timm: needs the arguments as a .* or a command line, got 'cosine'"):
        from_timm("cosine")


def test_the_training_scripts_command_line_has_the_scripts_own_defaults():
    line = "--sched cosine --epochs 300 --warmup-epochs 5 --warmup-lr 1e-6 --min-lr 1e-5 --cooldown-epochs 10 --lr 5e-4"
    words = {"sched": "cosine", "epochs": 300, "warmup_lr": 1e-6, "min_lr": 1e-5, "cooldown_epochs": 10, "lr": 5e-4}
    assert from_timm(f"train.py data {line} -b 128 --opt adamw") == from_timm({**words, "warmup_epochs": 5})
    steps = from_timm("--sched multistep --lr 1.0 -b 128 --warmup-epochs=0")
    assert [steps(count) for count in (88, 89, 179, 269)] == pytest.approx([1.0, 0.1, 0.01, 0.001], rel=1e-12, abs=0)
    one = from_timm("--sched multistep --lr 1.0 --decay-milestones 30 --warmup-epochs 0")
    assert (one(28), one(29), one(299)) == (1.0, 0.1, 0.1)
    with pytest.raises(tm.ConversionError, match=r"decay_milestone: no argument .* Did you mean decay_milestones\?"):
        from_timm("--sched multistep --lr 1.0 --decay-milestone 30")
