"""PyTorch's own schedulers, run live beside ours.

PyTorch multiplies the value before by a factor, step after step, so its rounding errors add up: a few hundred steps are
good to 1e-13 relative. Ours is evaluated anew at each count.
"""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import itertools
import math
import random

import numpy as np
import pytest
from strategies import bits

import tempomat as tm

torch = pytest.importorskip("torch")
lr_scheduler = pytest.importorskip("torch.optim.lr_scheduler")

TORCHS_ROUNDING = 1e-12
BASE = 0.3
STEPS = 200


def optimizer_at(lr):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def torchs(build, steps=STEPS):
    """The learning rates of one of torch's schedulers before each of its steps."""
    optimizer = optimizer_at(BASE)
    scheduler, values = build(optimizer), []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def one_cycle(optimizer, **given):
    return lr_scheduler.OneCycleLR(optimizer, max_lr=2.0, total_steps=STEPS + 1, cycle_momentum=False, **given)


PAIRS = {
    "StepLR": (
        lambda o: lr_scheduler.StepLR(o, step_size=30, gamma=0.7),
        tm.StepDecay(init_value=BASE, factor=0.7, every=30),
    ),
    "MultiStepLR": (
        lambda o: lr_scheduler.MultiStepLR(o, milestones=[30, 80, 81], gamma=0.3),
        tm.MultiStep(init_value=BASE, factor=0.3, milestones=(30, 80, 81)),
    ),
    "MultiStepLR by the recipe": (
        lambda o: lr_scheduler.MultiStepLR(o, milestones=[30, 80]),
        tm.step_decay(init_value=BASE, milestones=(30, 80)),
    ),
    "ExponentialLR": (
        lambda o: lr_scheduler.ExponentialLR(o, gamma=0.97),
        tm.Exponential(init_value=BASE, decay_rate=0.97),
    ),
    "ConstantLR": (
        lambda o: lr_scheduler.ConstantLR(o, factor=0.25, total_iters=17),
        tm.PiecewiseConstant(values=(BASE * 0.25, BASE), boundaries=(17,)),
    ),
    "LinearLR": (
        lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, end_factor=0.9, total_iters=50),
        tm.Linear(init_value=BASE * 0.1, end_value=BASE * 0.9, duration=50),
    ),
    "PolynomialLR": (
        lambda o: lr_scheduler.PolynomialLR(o, total_iters=STEPS, power=1.7),
        tm.Polynomial(init_value=BASE, end_value=0.0, duration=STEPS, power=1.7),
    ),
    "CosineAnnealingLR": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS, eta_min=0.003),
        tm.Cosine(init_value=BASE, end_value=0.003, duration=STEPS),
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=30, eta_min=0.003),
        tm.Cosine(init_value=BASE, end_value=0.003, duration=30).repeat(30),
    ),
    "CosineAnnealingWarmRestarts without an end": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=30, eta_min=0.003),
        tm.WarmRestarts(init_value=BASE, end_value=0.003, cycle=30),
    ),
    "CosineAnnealingWarmRestarts of growing cycles": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=7, T_mult=3, eta_min=0.003),
        tm.WarmRestarts(init_value=BASE, end_value=0.003, cycle=7, cycle_factor=3),
    ),
    "CyclicLR": (
        lambda o: lr_scheduler.CyclicLR(o, BASE, 2.0, step_size_up=17, cycle_momentum=False),
        tm.Cyclic(init_value=BASE, peak_value=2.0, up=17),
    ),
    "CyclicLR that halves": (
        lambda o: lr_scheduler.CyclicLR(
            o, BASE, 2.0, step_size_up=7, step_size_down=22, mode="triangular2", cycle_momentum=False
        ),
        tm.Cyclic(init_value=BASE, peak_value=2.0, up=7, down=22, mode="triangular2"),
    ),
    "CyclicLR that falls at every count": (
        lambda o: lr_scheduler.CyclicLR(
            o, BASE, 2.0, step_size_up=20, step_size_down=5, mode="exp_range", gamma=0.99, cycle_momentum=False
        ),
        tm.Cyclic(init_value=BASE, peak_value=2.0, up=20, down=5, mode="exp_range", gamma=0.99),
    ),
    "LambdaLR": (
        lambda o: lr_scheduler.LambdaLR(o, lambda t: math.sqrt(50 / (t + 50))),
        tm.InverseSqrt(init_value=BASE, timescale=50),
    ),
    "OneCycleLR with cosines": (
        # the rise ends at pct_start * total_steps - 1, the fall at total_steps - 1
        lambda o: one_cycle(o, pct_start=51 / (STEPS + 1)),
        tm.one_cycle(peak_value=2.0, warmup=50, total=STEPS),
    ),
    "OneCycleLR with lines": (
        lambda o: one_cycle(
            o, pct_start=51 / (STEPS + 1), anneal_strategy="linear", div_factor=10, final_div_factor=100
        ),
        tm.one_cycle(peak_value=2.0, init_value=0.2, end_value=0.002, warmup=50, total=STEPS, shape="linear"),
    ),
    "ChainedScheduler": (
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.ExponentialLR(o, gamma=0.99), lr_scheduler.LinearLR(o, start_factor=0.5, total_iters=20)],
            optimizer=o,
        ),
        tm.Exponential(init_value=BASE, decay_rate=0.99) * tm.Linear(init_value=0.5, end_value=1.0, duration=20),
    ),
    "SequentialLR": (
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=20),
                lr_scheduler.CosineAnnealingLR(o, T_max=STEPS - 20, eta_min=0.003),
            ],
            milestones=[20],
        ),
        tm.warmup_cosine(init_value=BASE * 0.1, peak_value=BASE, end_value=0.003, warmup=20, total=STEPS),
    ),
}


# SequentialLR calls step(0) of its parts, which torch itself deprecates
@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")
@pytest.mark.parametrize("name", PAIRS)
def test_ours_equals_torchs_over_a_whole_run(name):
    build, ours = PAIRS[name]
    np.testing.assert_allclose(ours(np.arange(STEPS)), torchs(build), rtol=TORCHS_ROUNDING, atol=0)


def test_past_its_end_a_cosine_holds_where_torchs_climbs_again():
    """CosineAnnealingLR is periodic; a run longer than planned gets a rising rate from it."""
    theirs = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=50, eta_min=0.003))
    ours = tm.Cosine(init_value=BASE, end_value=0.003, duration=50)
    assert theirs[90] > theirs[60] > theirs[51] > ours(51) == ours(60) == ours(90) == 0.003


def test_past_its_end_one_cycle_holds_where_torchs_raises():
    ours = tm.one_cycle(peak_value=2.0, warmup=50, total=STEPS)
    with pytest.raises(ValueError, match="Tried to step"):
        torchs(one_cycle, STEPS + 2)
    assert ours(STEPS + 2) == ours(STEPS) == 2.0 / 25 / 10_000


def restarts(first, growth):
    """The counts at which cycles begin, up to a million."""
    count, length = 0, first
    while (count := count + length) <= 10**6:
        yield count
        length *= growth


def test_every_restart_is_at_the_peak_where_torchs_logarithm_misses_some():
    """`step(epoch)` takes its cycle from a rounded logarithm: at count 111 of T_0=1, T_mult=10 it gives the floor."""
    missed: list[tuple[int, int, int]] = []
    for first, growth in itertools.product(range(1, 11), range(2, 11)):
        optimizer = optimizer_at(1.0)
        theirs = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=first, T_mult=growth)
        ours = tm.WarmRestarts(init_value=1.0, end_value=0.0, cycle=first, cycle_factor=growth)
        for count in restarts(first, growth):
            theirs.step(count)
            missed += [(first, growth, count)] * (optimizer.param_groups[0]["lr"] < 0.1)
            assert ours(count) == 1.0
            assert ours(count + 1) < 1.0
    assert (1, 10, 111) in missed
    assert len(missed) >= 10  # 50 of 782 with the logarithm of glibc


OPTIONS = [
    {"mode": mode, "threshold_mode": threshold_mode, **more}
    for mode in ("min", "max")
    for threshold_mode in ("rel", "abs")
    for more in (
        {},
        {"factor": 0.5, "patience": 0},
        {"factor": 0.3, "patience": 2, "cooldown": 3},
        {"factor": 0.5, "patience": 1, "min_lr": 0.05, "threshold": 0.1},
        {"factor": 0.9, "patience": 0, "eps": 0.02, "threshold": 0.0},
        {"factor": 0.0, "patience": 3, "cooldown": 1},
    )
]


def plateau_like(min_lr=0.0, **options):
    """Ours under torch's names."""
    return tm.Plateau(init_value=BASE, min_value=min_lr, **options)


def streams(seed):
    """Measurements that fall, rise, stand still and jump."""
    draw = random.Random(seed)
    level = 1.0
    for _ in range(150):
        level = max(level * draw.choice([1.0, 1.0, 0.99, 1.01, 0.8, 1.2, 0.99995]), 1e-6)
        yield level


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
@pytest.mark.parametrize("seed", range(3))
def test_a_plateau_decides_as_torchs_does_to_the_last_bit(options, seed):
    optimizer = optimizer_at(BASE)
    theirs, rule = lr_scheduler.ReduceLROnPlateau(optimizer, **options), plateau_like(**options)
    state, dropped = rule.initial(), set()
    for count, measurement in enumerate(streams(seed)):
        optimizer.step()
        theirs.step(measurement)
        state = rule.update(state, measurement, count)
        assert bits(rule.level(state)) == bits(optimizer.param_groups[0]["lr"])
        assert state["best"] == theirs.best
        assert (state["bad"], state["cooldown"]) == (theirs.num_bad_epochs, theirs.cooldown_counter)
        dropped.add(rule.level(state))
    assert len(dropped) > 1 or "patience" not in options


def test_a_negative_best_is_where_torchs_relative_threshold_has_the_wrong_sign():
    """torch calls -0.99 an improvement on -1.0 when less is better; ours asks for less than -1.0."""
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer_at(BASE), threshold=0.1)
    rule = plateau_like(threshold=0.1)
    state = rule.initial()
    for count, measurement in enumerate([-1.0, -0.95]):
        theirs.step(measurement)
        state = rule.update(state, measurement, count)
    assert theirs.best == -0.95
    assert (state["best"], state["bad"]) == (-1.0, 1)


def test_a_plateau_after_a_warmup_and_times_a_cosine_is_what_torch_cannot_do():
    """A plateau can neither follow nor scale another schedule there (pytorch#68978, open since 2021)."""
    tree = tm.Linear(init_value=0.0, end_value=BASE, duration=10).then(tm.Plateau(factor=0.5, patience=0), at=10)
    (rule,) = tree.controllers
    state = rule.initial()
    for count in (10, 11, 12):
        state = rule.update(state, 1.0, count)
    assert tree.given([rule.level(state)])(13) == BASE * 0.25
    optimizer = optimizer_at(BASE)
    with pytest.raises(ValueError, match="ReduceLROnPlateau"):
        lr_scheduler.SequentialLR(
            optimizer,
            [lr_scheduler.LinearLR(optimizer), lr_scheduler.ReduceLROnPlateau(optimizer)],
            milestones=[10],
        )
