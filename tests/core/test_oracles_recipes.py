"""The recipes beside the libraries that have them: live where they install, and else beside the formula as the
library's source has it, with the commit that was read. Over whole runs and past their ends.
"""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import itertools
import math

import numpy as np
import pytest
from libraries import timm_schedulers

import tempomat as tm

ROUNDING = 1e-10
"""The same curve in other words; where it nears 0 as the difference of two numbers near 1, their roundings stay."""

PEAK, LOW = 0.3, 0.003
TOTAL, WARMUP, DECAY = 300, 40, 90
PAST = 20
COUNTS = np.arange(TOTAL + PAST)


def assert_equal_over_a_run(ours, theirs, tolerance=ROUNDING):
    np.testing.assert_allclose(ours(np.arange(len(theirs))), np.array(theirs), rtol=tolerance, atol=0)


def optimizer_at(lr):
    torch = pytest.importorskip("torch")
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(scheduler, optimizer, steps=TOTAL + PAST):
    """The learning rates before each step of one of torch's schedulers, or of one made of them."""
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def of_transformers(name, **given):
    transformers = pytest.importorskip("transformers.optimization")
    optimizer = optimizer_at(PEAK)
    return rates(getattr(transformers, name)(optimizer, **given), optimizer)


SHAPES = {"linear": "linear", "cosine": "cosine", "1-sqrt": "one_minus_sqrt"}


@pytest.mark.parametrize(("rise", "fall"), list(itertools.product(SHAPES, SHAPES)))
@pytest.mark.parametrize("low", [0.0, 0.01])
def test_warmup_stable_decay_equals_transformers(rise, fall, low):
    theirs = of_transformers(
        "get_wsd_schedule",
        num_warmup_steps=WARMUP,
        num_decay_steps=DECAY,
        num_training_steps=TOTAL,
        warmup_type=rise,
        decay_type=fall,
        min_lr_ratio=low,
    )
    ours = tm.warmup_stable_decay(
        peak_value=PEAK,
        end_value=PEAK * low,
        init_value=PEAK * low,
        warmup=WARMUP,
        decay=DECAY,
        total=TOTAL,
        shape=SHAPES[fall],
        warmup_shape=SHAPES[rise],
    )
    assert_equal_over_a_run(ours, theirs)


@pytest.mark.parametrize("timescale", [None, 10, 40, 1000])
def test_an_inverse_square_root_equals_transformers(timescale):
    theirs = of_transformers("get_inverse_sqrt_schedule", num_warmup_steps=WARMUP, timescale=timescale)
    assert_equal_over_a_run(tm.warmup_inverse_sqrt(peak_value=PEAK, warmup=WARMUP, timescale=timescale), theirs)


def test_an_inverse_square_root_without_a_warmup_asks_for_the_timescale_that_transformers_makes_up():
    theirs = of_transformers("get_inverse_sqrt_schedule", num_warmup_steps=0)
    assert_equal_over_a_run(tm.warmup_inverse_sqrt(peak_value=PEAK, warmup=0, timescale=10_000), theirs)
    with pytest.raises(tm.ScheduleError, match=r"timescale.* must be given where there is no warmup .* such as 10_000"):
        tm.warmup_inverse_sqrt(peak_value=PEAK, warmup=0)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.3])
def test_a_polynomial_after_a_warmup_equals_transformers(power):
    theirs = of_transformers(
        "get_polynomial_decay_schedule_with_warmup",
        num_warmup_steps=WARMUP,
        num_training_steps=TOTAL,
        lr_end=LOW,
        power=power,
    )
    ours = tm.warmup_polynomial(peak_value=PEAK, end_value=LOW, warmup=WARMUP, total=TOTAL, power=power)
    assert_equal_over_a_run(ours, theirs)


@pytest.mark.parametrize(
    ("name", "given", "ours"),
    [
        (
            "get_constant_schedule_with_warmup",
            {},
            tm.warmup_constant(peak_value=PEAK, warmup=WARMUP),
        ),
        (
            "get_linear_schedule_with_warmup",
            {"num_training_steps": TOTAL},
            tm.warmup_linear(peak_value=PEAK, warmup=WARMUP, total=TOTAL),
        ),
        (
            "get_cosine_with_min_lr_schedule_with_warmup",
            {"num_training_steps": TOTAL, "min_lr_rate": 0.01},
            tm.warmup_cosine(peak_value=PEAK, end_value=PEAK * 0.01, warmup=WARMUP, total=TOTAL),
        ),
    ],
)
def test_a_warmup_recipe_equals_transformers(name, given, ours):
    theirs = of_transformers(name, num_warmup_steps=WARMUP, **given)
    assert_equal_over_a_run(ours, theirs[: TOTAL + 1])


def torchs_one_cycle(**given):
    optimizer = optimizer_at(PEAK)
    build = pytest.importorskip("torch.optim.lr_scheduler").OneCycleLR
    scheduler = build(optimizer, max_lr=2.0, total_steps=TOTAL + 1, cycle_momentum=False, **given)
    return [*rates(scheduler, optimizer, TOTAL), optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize(("strategy", "shape"), [("cos", "cosine"), ("linear", "linear")])
@pytest.mark.parametrize("three", [True, False])
@pytest.mark.parametrize("warmup", [1, 40, 149])
def test_one_cycle_equals_torchs_in_two_phases_and_in_three(strategy, shape, three, warmup):
    theirs = torchs_one_cycle(
        pct_start=(warmup + 1) / (TOTAL + 1), three_phase=three, anneal_strategy=strategy, final_div_factor=50
    )
    ours = tm.one_cycle(
        peak_value=2.0, warmup=warmup, total=TOTAL, end_value=2.0 / 25 / 50, shape=shape, three_phase=three
    )
    assert_equal_over_a_run(ours, theirs)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_one_cycle_equals_optaxs(shape):
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    if shape == "linear":
        theirs = optax.linear_onecycle_schedule(TOTAL, PEAK, 0.25, 0.5, div_factor=10, final_div_factor=100)
        end = PEAK / 10 / 100
    else:
        theirs = optax.cosine_onecycle_schedule(TOTAL, PEAK, 0.25, div_factor=10, final_div_factor=100)
        end = PEAK / 10 / 1000
    with jax.enable_x64(True):
        values = np.asarray(jax.vmap(theirs)(COUNTS))
    ours = tm.one_cycle(
        peak_value=PEAK,
        init_value=PEAK / 10,
        end_value=end if shape == "linear" else values[-1],
        warmup=75,
        total=TOTAL,
        shape=shape,
        three_phase=shape == "linear",
    )
    assert_equal_over_a_run(ours, values)


@pytest.mark.parametrize(
    ("name", "given", "ours"),
    [
        ("linear", {}, {"shape": "linear"}),
        ("cosine", {}, {"shape": "cosine"}),
        ("1-sqrt", {}, {"shape": "one_minus_sqrt"}),
        ("power", {"decay_power": 2.0}, {"shape": "one_minus_square"}),
        ("exp", {"decay_ratio": 0.1}, {"shape": "exponential", "decay_ratio": 0.1}),
        ("exp", {"decay_ratio": 0.5}, {"shape": "exponential"}),
    ],
)
def test_warmup_stable_decay_equals_timms(name, given, ours):
    scheduler = timm_schedulers().scheduler_factory.WSDLRScheduler(
        optimizer_at(PEAK),
        t_initial=TOTAL - WARMUP,
        decay_t=DECAY,
        warmup_t=WARMUP,
        warmup_lr_init=1e-3,
        lr_min=LOW,
        decay_fn=name,
        **given,
    )
    schedule = tm.wsd(peak_value=PEAK, end_value=LOW, init_value=1e-3, warmup=WARMUP, decay=DECAY, total=TOTAL, **ours)
    assert_equal_over_a_run(schedule, [scheduler._get_lr(count)[0] for count in COUNTS.tolist()])


def test_what_falls_before_the_anneal_equals_timms():
    """timm multiplies a falling plateau and the anneal; here that is a sum and a product of two schedules."""
    for name, exponent in (("rsqrt", -0.5), ("power", -0.51)):
        scheduler = timm_schedulers().scheduler_factory.WSDLRScheduler(
            optimizer_at(PEAK),
            t_initial=TOTAL - WARMUP,
            decay_t=DECAY,
            warmup_t=WARMUP,
            lr_min=LOW,
            stable_fn=name,
            stable_power=-exponent,
            decay_fn="linear",
        )
        anneal = tm.Linear(init_value=1.0, end_value=0.0, duration=DECAY).shift(TOTAL - DECAY)
        plateau = tm.warmup_power(peak_value=PEAK, warmup=WARMUP, exponent=exponent)
        assert_equal_over_a_run((plateau - LOW) * anneal + LOW, [scheduler._get_lr(t)[0] for t in COUNTS.tolist()])


def megatron(count, style, low=LOW, init=0.0):
    """Megatron-LM at 00caa53, `OptimizerParamScheduler.get_lr`."""
    if count <= WARMUP:
        return init + (PEAK - init) * count / WARMUP
    if count > TOTAL:
        return low
    if style == "inverse-square-root":
        return max(low, PEAK * WARMUP**0.5 / count**0.5)
    share = (count - WARMUP) / (TOTAL - WARMUP)
    if style.startswith("WSD"):
        share = (count - (TOTAL - DECAY)) / DECAY
    if share <= 0.0:
        return PEAK
    factors = {
        "linear": 1.0 - share,
        "cosine": 0.5 * (math.cos(math.pi * share) + 1.0),
        "exponential": 2.0 * math.pow(0.5, share) - 1.0,
        "minus_sqrt": 1.0 - math.sqrt(share),
    }
    return low + factors[style.rpartition(" ")[2]] * (PEAK - low)


ENDS = {"peak_value": PEAK, "end_value": LOW, "init_value": 1e-4, "warmup": WARMUP, "total": TOTAL}


@pytest.mark.parametrize(
    ("style", "ours"),
    [
        ("linear", tm.warmup_linear(**ENDS)),
        ("cosine", tm.warmup_cosine(**ENDS)),
        ("WSD linear", tm.wsd(**ENDS, decay=DECAY)),
        ("WSD cosine", tm.wsd(**ENDS, decay=DECAY, shape="cosine")),
        ("WSD exponential", tm.wsd(**ENDS, decay=DECAY, shape="exponential")),
        ("WSD minus_sqrt", tm.wsd(**ENDS, decay=DECAY, shape="one_minus_sqrt")),
        (
            "inverse-square-root",
            tm.warmup_inverse_sqrt(peak_value=PEAK, warmup=WARMUP, init_value=1e-4).then(LOW, at=TOTAL + 1),
        ),
    ],
)
def test_a_recipe_equals_megatrons(style, ours):
    assert_equal_over_a_run(ours, [megatron(count, style, init=1e-4) for count in COUNTS.tolist()])


def test_the_floor_of_megatrons_inverse_square_root_is_a_maximum():
    ours = tm.warmup_inverse_sqrt(peak_value=PEAK, warmup=WARMUP).maximum(
        tm.Constant(value=-1.0).then(PEAK / 2, at=WARMUP)
    )
    theirs = [megatron(count, "inverse-square-root", low=PEAK / 2) for count in COUNTS.tolist()]
    assert min(theirs[WARMUP:]) == PEAK / 2
    assert_equal_over_a_run(ours, theirs)


def megatrons_batch(count, first, increment, last, samples):
    """Megatron-LM at 00caa53, `RampupBatchsizeNumMicroBatchesCalculator.update`."""
    each = samples / ((last - first) // increment)
    return last if count > samples else first + int(count / each) * increment


@pytest.mark.parametrize(
    ("first", "increment", "last", "samples"),
    [(16, 8, 64, 1000), (32, 32, 1600, 4900), (256, 256, 1536, 500), (1, 1, 50, 49), (8, 8, 8 * 63, 3001)],
)
def test_a_batch_ramp_equals_megatrons(first, increment, last, samples):
    ours = tm.batch_ramp(init_value=first, end_value=last, increment=increment, duration=samples)
    theirs = [megatrons_batch(count, first, increment, last, samples) for count in range(samples + 50)]
    assert ours(np.arange(samples + 50)).tolist() == theirs


def test_a_batch_ramp_ends_at_its_end_where_megatrons_rounding_is_a_step_short():
    """3 000 samples in 31 steps: 3 000 / (3 000 / 31) is a little less than 31 in float64."""
    ours = tm.batch_ramp(init_value=16, end_value=512, increment=16, duration=3_000)
    theirs = [megatrons_batch(count, 16, 16, 512, 3_000) for count in range(3_050)]
    assert [count for count in range(3_050) if ours(count) != theirs[count]] == [3_000]
    assert (theirs[3_000], ours(3_000)) == (496, 512.0)


def olmo_cosine(count, warmup=WARMUP, low=LOW):
    """OLMo-core, `CosWithWarmup.get_lr`."""
    if count < warmup:
        return PEAK * min(count, warmup) / warmup
    if count >= TOTAL:
        return low
    return low + (PEAK - low) * (1 + math.cos(math.pi * (count - warmup) / (TOTAL - warmup))) / 2


@pytest.mark.parametrize("decay", [1, 90, 259, 260])
def test_a_cosine_with_a_linear_tail_equals_olmos(decay):
    """OLMo-core, `CosWithWarmupAndLinearDecay.get_lr`."""
    tail, start = olmo_cosine(TOTAL - decay), TOTAL - decay
    theirs = [
        olmo_cosine(count) if count < start else 1e-5 + (tail - 1e-5) * min(TOTAL - count, decay) / decay
        for count in range(TOTAL + 1)
    ]
    ours = tm.cosine_linear_tail(
        peak_value=PEAK, cosine_end_value=LOW, end_value=1e-5, warmup=WARMUP, decay=decay, total=TOTAL
    )
    assert_equal_over_a_run(ours, theirs)


@pytest.mark.parametrize("low", [0.0, LOW])
def test_half_a_cosine_equals_olmos(low):
    """OLMo-core, `HalfCosWithWarmup.get_lr`, whose lr is the whole wave's peak."""
    half = low + (PEAK - low) / 2

    def theirs(count):
        if count < WARMUP:
            return half * count / WARMUP
        if count >= TOTAL:
            return low
        passed, length = count - WARMUP + TOTAL - WARMUP, 2 * (TOTAL - WARMUP)
        return low + (PEAK - low) * (1 + math.cos(math.pi * passed / length)) / 2

    ours = tm.half_cosine(peak_value=half, end_value=low, warmup=WARMUP, total=TOTAL)
    assert_equal_over_a_run(ours, [theirs(count) for count in COUNTS.tolist()])


@pytest.mark.parametrize("lengths", [[150], [100, 80, 120], [101, 61, 60]])
def test_wsd_s_equals_olmos(lengths):
    """OLMo-core, `WSDS.get_lr`; a period longer than its anneal by one has no plateau left."""
    decay, ends = 59, list(itertools.accumulate(lengths))

    def theirs(count):
        if count < WARMUP:
            return 1e-4 + (PEAK - 1e-4) * count / WARMUP
        if count >= ends[-1]:
            return LOW
        end = next(one for one in ends if count <= one)
        return PEAK if count < end - decay else LOW + (PEAK - LOW) * (end - count) / decay

    ours = tm.wsd_s(peak_value=PEAK, end_value=LOW, init_value=1e-4, warmup=WARMUP, decay=decay, anneals=ends)
    assert_equal_over_a_run(ours, [theirs(count) for count in COUNTS.tolist()])


def test_a_power_after_a_warmup_equals_olmos():
    """OLMo-core, `PowerLR`, and arXiv:2408.13359: a line up to W, then the peak times (t / W)^b."""
    theirs = [PEAK * count / WARMUP if count < WARMUP else PEAK * (count / WARMUP) ** -0.51 for count in range(TOTAL)]
    assert_equal_over_a_run(tm.warmup_power(peak_value=PEAK, warmup=WARMUP), theirs)


@pytest.mark.parametrize(("size", "warmup", "factor"), [(512, 40, 1.0), (1024, 1, 2.0), (64, 2, 0.5)])
def test_noam_equals_the_transformer_paper_whose_steps_begin_at_1(size, warmup, factor):
    """arXiv:1706.03762, section 5.3."""
    theirs = [factor * size**-0.5 * min(step**-0.5, step * warmup**-1.5) for step in range(1, TOTAL + 1)]
    ours = tm.noam(model_size=size, warmup=warmup, factor=factor)
    assert_equal_over_a_run(ours, theirs)
    assert np.argmax(ours(np.arange(TOTAL))) == warmup - 1


@pytest.mark.parametrize(("low", "high", "step"), [(8, 1024, 8), (64, 2048, 64), (16, 160, 48), (1, 10, 1)])
@pytest.mark.parametrize("root", [1, 2, 3])
def test_a_difficulty_equals_deepspeeds(low, high, step, root):
    """DeepSpeed at 5674e63, `CurriculumScheduler`: `fixed_linear` and `fixed_root`."""

    def theirs(count):
        found = math.floor((count / TOTAL) ** (1.0 / root) * (high - low) + low)
        return min(max(found - found % step, -(-low // step) * step), high)

    ours = tm.difficulty(init_value=low, end_value=high, duration=TOTAL, root=root, step=step)
    until = TOTAL if high % step else TOTAL + PAST
    assert ours(np.arange(until)).tolist() == [theirs(count) for count in range(until)]
    assert ours(TOTAL) == high


@pytest.mark.parametrize("warmup", [1, 2, 40])
def test_a_logarithmic_warmup_equals_deepspeeds(warmup):
    """DeepSpeed at 22779f2, `WarmupLR`, whose warmup is at least 2 counts long."""
    length = max(2, warmup)
    theirs = [
        LOW + (PEAK - LOW) * (math.log(count + 1) / math.log(length) if count < length else 1.0)
        for count in COUNTS.tolist()
    ]
    ours = tm.warmup_constant(peak_value=PEAK, init_value=LOW, warmup=warmup, warmup_shape="logarithmic")
    assert_equal_over_a_run(ours, theirs)


def test_an_exponential_warmup_has_the_same_ratio_at_every_count():
    """OLMo-core, `ExponentialScheduler.get_lr`."""
    theirs = [1e-6 * (PEAK / 1e-6) ** (min(count, WARMUP) / WARMUP) for count in COUNTS.tolist()]
    ours = tm.warmup_constant(peak_value=PEAK, init_value=1e-6, warmup=WARMUP, warmup_shape="exponential")
    assert_equal_over_a_run(ours, theirs)


def fastais_cosine(start, end, share):
    """fastai 2.8, `sched_cos`. `combine_scheds` hands it shares that went through float32; these did not."""
    return start + (1 + math.cos(math.pi * (1 - share))) * (end - start) / 2


def test_flat_then_cosine_equals_fastais():
    """fastai 2.8, `fit_flat_cos`: `combined_cos(0.75, lr, lr, lr / 1e5)`."""
    start = TOTAL * 3 // 4
    fall = [fastais_cosine(PEAK, PEAK / 1e5, place / (TOTAL - start)) for place in range(TOTAL - start + 1)]
    ours = tm.flat_cosine(init_value=PEAK, end_value=PEAK / 1e5, flat=start, total=TOTAL)
    assert_equal_over_a_run(ours, [PEAK] * start + fall + [PEAK / 1e5])
    assert tm.flat_cosine(init_value=PEAK, end_value=PEAK / 1e5).resolve(
        tm.Horizon(total=tm.Duration(str(TOTAL)))
    ) == tm.flat_cosine(init_value=PEAK, end_value=PEAK / 1e5, flat=start, total=TOTAL)


def test_one_cycle_equals_fastais():
    """fastai 2.8, `fit_one_cycle`: `combined_cos(0.25, lr / 25, lr, lr / 1e5)`."""
    start = TOTAL // 4
    rise = [fastais_cosine(PEAK / 25, PEAK, place / start) for place in range(start)]
    fall = [fastais_cosine(PEAK, PEAK / 1e5, place / (TOTAL - start)) for place in range(TOTAL - start + 1)]
    assert_equal_over_a_run(tm.one_cycle(peak_value=PEAK, end_value=PEAK / 1e5, warmup=start, total=TOTAL), rise + fall)


def test_what_is_proportional_to_another_value_equals_pytorch_optimizers():
    """pytorch_optimizer at 00b0af5, `ProportionScheduler`, as GSAM's authors use it."""
    lr = tm.warmup_cosine(peak_value=PEAK, end_value=LOW, init_value=LOW, warmup=WARMUP, total=TOTAL)
    theirs = [0.02 + (0.6 - 0.02) * (lr(count) - LOW) / (PEAK - LOW) for count in COUNTS.tolist()]
    ours = tm.proportional(schedule=lr, from_low=LOW, from_high=PEAK, to_low=0.02, to_high=0.6)
    assert_equal_over_a_run(ours, theirs)
