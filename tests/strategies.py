"""One strategy of every schedule and controller that there is. A new one joins by a row in `ROWS`.

Numbers stay where all arithmetic is finite: at most a thousand, and no rate above 1 without a ceiling, so that a law
fails for the law's reason alone. What overflows has tests of its own.
"""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import tempomat as tm

LONGEST = 1_000
"""The longest single length that is drawn."""

HORIZON = tm.Horizon(
    total=tm.Duration("8_000"),
    rates={"steps_per_epoch": 100, "batch_size": 32, "action_repeat": 2, "env_steps_per_optimizer_step": 4},
)
"""A run in which every duration that is drawn becomes a count."""

NUMBERS = st.just(0.0) | st.floats(1e-6, 1e3) | st.floats(-1e3, -1e-6)
POSITIVES = st.floats(1e-6, 1e3)
RATES = st.floats(0.5, 1.0, exclude_max=True)
FACTORS = st.just(0.0) | st.floats(0.01, 1.0)
POWERS = st.floats(0.25, 4.0)
CYCLES = st.sampled_from([0.5, 1.0, 1.5, 3.0]) | st.integers(1, 100).map(lambda n: n / 10) | st.floats(0.1, 2.0)
COUNTS = st.integers(1, LONGEST)
DURATIONS = st.sampled_from(["5%", "12.5%", "2 epochs", "9_600 samples", "1k optimizer_steps", "50% - 300"])
NOTHING: SearchStrategy[Any] = st.nothing()
# no simple multiples: a value that two backends round apart must not stand on an edge
EDGES = st.integers(1, 64).map(lambda whole: whole * 0.7390851332151607)
FALLS = st.sampled_from(["linear", "cosine", "one_minus_sqrt", "one_minus_square", "exponential"])
WORDS = st.sampled_from(["val_loss", "reward", "kl"]) | st.text("abckKMe013.-_~: \u00e4", min_size=1).filter(str.strip)


@st.composite
def _warmups(draw: st.DrawFn) -> dict[str, Any]:
    peak = draw(NUMBERS)
    rises = ["linear", "cosine", "logarithmic", "one_minus_sqrt", *(["exponential"] if peak else [])]
    shape = draw(st.sampled_from(rises))
    first = peak * draw(st.floats(1e-3, 2.0)) if shape == "exponential" else draw(NUMBERS)
    return {"peak_value": peak, "init_value": first, "warmup_shape": shape}


WARMUPS = _warmups()
"""The values and the shape of a warmup; an exponential one from where a ratio leads to the peak."""


@dataclass(frozen=True)
class Draws:
    """What a row may draw from: `tree` is what may stand below a composition, `pure` what of it has no controllers."""

    length: SearchStrategy[Any] = COUNTS
    durations: bool = False
    tree: SearchStrategy[Any] = NOTHING
    pure: SearchStrategy[Any] = NOTHING

    @property
    def boundaries(self) -> SearchStrategy[list[Any]]:
        """Positions above 0 in increasing order, with a duration at the end of some."""
        counts = st.lists(COUNTS, min_size=1, max_size=4, unique=True).map(sorted)
        return counts | counts.map(lambda found: [*found, "90%"]) if self.durations else counts

    @property
    def spans(self) -> SearchStrategy[dict[str, Any]]:
        """A `warmup` and the `total` that holds it."""
        counts = st.tuples(st.integers(0, 200), COUNTS).map(lambda two: {"warmup": two[0], "total": sum(two)})
        late = st.sampled_from([{"warmup": "5%"}, {"warmup": "2 epochs", "total": "90%"}, {"warmup": 300}])
        return counts | late if self.durations else counts


def exponentials(draws: Draws) -> SearchStrategy[Any]:
    """Falling to a floor or without one, and rising to a ceiling; of either sign."""

    def build(size: float, sign: float, rate: float, far: float | None, every: Any, staircase: bool) -> Any:
        end = None if far is None else sign * size * (1.0 - far if rate < 1.0 else 1.0 + far)
        return tm.Exponential(init_value=sign * size, decay_rate=rate, every=every, staircase=staircase, end_value=end)

    signs = st.sampled_from([1.0, -1.0])
    falling = st.builds(build, POSITIVES, signs, RATES, st.none() | RATES, draws.length, st.booleans())
    rising = st.builds(build, POSITIVES, signs, st.floats(1.001, 1.5), RATES, draws.length, st.booleans())
    return falling | rising


@st.composite
def warm_restarts(draw: st.DrawFn, draws: Draws) -> Any:
    """Cycles of one length or growing, of one height or falling, with and without warmups and an end."""
    warmup = draw(st.just(0) | st.integers(1, 20))
    return tm.WarmRestarts(
        init_value=draw(NUMBERS),
        end_value=draw(NUMBERS),
        cycle=draw(st.integers(warmup + 1, 200) | (draws.length if warmup == 0 else NOTHING)),
        cycle_factor=draw(st.sampled_from([1.0, 1.5, 2.0, 3.0]) | st.floats(1.25, 4.0)),
        peak_factor=draw(st.just(1.0) | FACTORS),
        warmup=warmup,
        warmup_init_value=draw(st.none() | NUMBERS),
        cycles=draw(st.none() | st.integers(1, 5)),
    )


@st.composite
def cyclics(draw: st.DrawFn, draws: Draws) -> Any:
    """Triangles of each mode, as steep up as down or not."""
    mode = draw(st.sampled_from(["triangular", "triangular2", "exp_range"]))
    return tm.Cyclic(
        init_value=draw(NUMBERS),
        peak_value=draw(NUMBERS),
        up=draw(draws.length),
        down=draw(st.none() | draws.length),
        mode=mode,
        gamma=draw(st.floats(0.9, 1.0)) if mode == "exp_range" else 1.0,
    )


@st.composite
def noises(draw: st.DrawFn) -> Any:
    """Normal noise with and without a limit, and uniform noise."""
    kind = draw(st.sampled_from(["normal", "uniform"]))
    limit = draw(st.none() | st.floats(0.01, 2.0)) if kind == "normal" else None
    return tm.Noise(seed=draw(st.integers(0, 2**31 - 1)), kind=kind, scale=draw(st.floats(0.01, 2.0)), limit=limit)


@st.composite
def piecewise(draw: st.DrawFn, kind: Any, boundaries: SearchStrategy[list[Any]], more: int) -> Any:
    """A piecewise schedule with `more` values than boundaries."""
    places = draw(boundaries)
    values = draw(st.lists(NUMBERS, min_size=len(places) + more, max_size=len(places) + more))
    return kind(values=values, boundaries=places)


@st.composite
def tables(draw: st.DrawFn) -> Any:
    """Interval tables of each rule, with and without gaps, in any order, the last end open or not."""
    rule = draw(st.sampled_from(["step_decay", "exponential_decay", "linear_decay"]))
    ends = draw(st.lists(st.integers(0, LONGEST), min_size=2, max_size=5, unique=True).map(sorted))
    intervals: list[dict[str, Any]] = [{"start": a, "end": b} for a, b in itertools.pairwise(ends)]
    if len(intervals) > 2 and draw(st.booleans()):
        del intervals[1]
    if rule != "linear_decay" and draw(st.booleans()):
        del intervals[-1]["end"]
    for interval in intervals:
        if rule == "step_decay":
            interval["lr"] = draw(NUMBERS)
        elif rule == "linear_decay":
            interval |= {"init_lr": draw(NUMBERS), "final_lr": draw(NUMBERS)}
        else:
            interval |= {"init_lr": draw(NUMBERS), "decay_rate": draw(RATES), "decay_interval": draw(COUNTS)}
    return tm.IntervalTable(rule=rule, intervals=draw(st.permutations(intervals)))


@st.composite
def stable(draw: st.DrawFn, draws: Draws) -> Any:
    """Warmup, plateau and fall, any of the first two possibly of no length."""
    warmup, middle, decay = draw(st.integers(0, 200)), draw(st.integers(0, 200)), draw(COUNTS)
    spans: dict[str, Any] = {"warmup": warmup, "decay": decay, "total": warmup + middle + decay}
    if draws.durations and draw(st.booleans()):
        spans = {"warmup": "2%", "decay": "20%"}
    shape = {"shape": draw(FALLS), "decay_ratio": draw(st.floats(0.05, 0.95))}
    return tm.warmup_stable_decay(end_value=draw(NUMBERS), **draw(WARMUPS), **spans, **shape)


@st.composite
def tailed(draw: st.DrawFn, draws: Draws) -> Any:
    """A cosine of any length, none possible, between a warmup and a tail."""
    warmup, middle, decay = draw(st.integers(0, 200)), draw(st.integers(0, 200)), draw(COUNTS)
    spans: dict[str, Any] = {"warmup": warmup, "decay": decay, "total": warmup + middle + decay}
    if draws.durations and draw(st.booleans()):
        spans = {"warmup": "2%", "decay": "20%"}
    values = {"cosine_end_value": draw(NUMBERS), "end_value": draw(NUMBERS)}
    return tm.cosine_linear_tail(**values, **draw(WARMUPS), **spans)


@st.composite
def annealed(draw: st.DrawFn, draws: Draws) -> Any:
    """One anneal or several, at their closest and farther apart."""
    warmup, decay = draw(st.integers(0, 200)), draw(st.integers(1, 300))
    gaps = draw(st.lists(st.integers(1, 100), min_size=1, max_size=4))
    ends = list(itertools.accumulate((decay + gap for gap in gaps), initial=warmup - 1))[1:]
    spans: dict[str, Any] = {"warmup": warmup, "decay": decay, "anneals": ends}
    if draws.durations and draw(st.booleans()):
        spans = {"warmup": "2%", "decay": "20%", "anneals": ["30%", "60%", "100%"]}
    return tm.wsd_s(end_value=draw(NUMBERS), **draw(WARMUPS), **spans, shape=draw(FALLS))


@st.composite
def one_cycles(draw: st.DrawFn, draws: Draws) -> Any:
    """Two phases, or three where the warmup leaves room for them."""
    spans = draw(draws.spans)
    warmup, total = spans["warmup"], spans.get("total")
    fits = not isinstance(warmup, int) or not isinstance(total, int) or 0 < 2 * warmup < total
    return tm.one_cycle(
        peak_value=draw(NUMBERS),
        init_value=draw(st.none() | NUMBERS),
        end_value=draw(st.none() | NUMBERS),
        shape=draw(st.sampled_from(["linear", "cosine"])),
        three_phase=fits and draw(st.booleans()),
        **spans,
    )


@st.composite
def endless(draw: st.DrawFn, draws: Draws) -> Any:
    """An inverse square root after a warmup, or without one."""
    warmup = draw(st.just(0) | draws.length)
    timescale = draw(draws.length if warmup == 0 else st.none() | draws.length)
    return tm.warmup_inverse_sqrt(warmup=warmup, timescale=timescale, **draw(WARMUPS))


@st.composite
def hyperbolas(draw: st.DrawFn, draws: Draws) -> Any:
    """A hyperbola of a run as long as its bound, or shorter."""
    length = draw(draws.length)
    bound = length + draw(st.integers(0, LONGEST)) if isinstance(length, int) else "100%"
    return tm.Hyperbolic(init_value=draw(NUMBERS), infimum=draw(NUMBERS), duration=length, upper_bound=bound)


@st.composite
def stairs(draw: st.DrawFn, draws: Draws) -> Any:
    """Stairs up and down, and of no step."""
    first, last, every = draw(NUMBERS), draw(NUMBERS), draw(draws.length)
    increment = draw(POSITIVES) * (1.0 if last >= first else -1.0)
    return tm.Staircase(init_value=first, end_value=last, increment=increment, every=every)


@st.composite
def batches(draw: st.DrawFn, draws: Draws) -> Any:
    """Batch sizes in up to 40 steps."""
    first, increment, steps = draw(st.integers(1, 512)), draw(st.integers(1, 64)), draw(st.integers(0, 40))
    length = draw(st.integers(40, LONGEST) | (draws.length.filter(lambda one: not isinstance(one, int) or one >= 40)))
    end = first + increment * steps
    return tm.batch_ramp(init_value=first, end_value=end, increment=increment, duration=length)


@st.composite
def followers(draw: st.DrawFn, draws: Draws) -> Any:
    """A value that follows a cosine through its whole range."""
    low, width, length = draw(st.floats(0.0, 1.0)), draw(st.floats(1.0, 1e3)), draw(draws.length)
    ends = {"from_low": low, "from_high": low + width, "to_low": draw(NUMBERS), "to_high": draw(NUMBERS)}
    leader = tm.Cosine(init_value=low + width, end_value=low, duration=length)
    return tm.proportional(schedule=leader, **ends)


@st.composite
def sequences(draw: st.DrawFn, draws: Draws) -> Any:
    """Two parts or three."""
    places = draw(draws.boundaries.map(lambda found: found[:2]))
    parts = draw(st.lists(draws.tree, min_size=len(places) + 1, max_size=len(places) + 1))
    return tm.Sequence(parts=parts, boundaries=places)


@st.composite
def plateaus(draw: st.DrawFn) -> Any:
    """Every option of a plateau."""
    floor = draw(st.just(0.0) | st.floats(1e-9, 0.5))
    return tm.Plateau(
        metric=draw(WORDS),
        factor=draw(st.floats(0.0, 0.99)),
        patience=draw(st.integers(0, 3)),
        threshold=draw(st.just(0.0) | st.floats(1e-6, 0.1)),
        threshold_mode=draw(st.sampled_from(["rel", "abs"])),
        mode=draw(st.sampled_from(["min", "max"])),
        cooldown=draw(st.integers(0, 2)),
        min_value=floor,
        eps=draw(st.sampled_from([0.0, 1e-8, 1e-3])),
        init_value=draw(st.none() | st.floats(0.5, 2.0)),
        on_nan=draw(st.sampled_from(["error", "skip", "bad"])),
    )


@st.composite
def success_gates(draw: st.DrawFn, after: SearchStrategy[Any] = COUNTS) -> Any:
    """Every option of success gates, with windows that a few episodes fill."""
    window, last = draw(st.integers(1, 12)), draw(st.integers(0, 4))
    return tm.SuccessGates(
        metric=draw(WORDS),
        window=window,
        min_episodes=draw(st.integers(1, window)),
        success_rate=draw(st.sampled_from([0.25, 0.5, 0.85, 1.0])),
        max_stage=last,
        initial_stage=draw(st.integers(0, last)),
        min_stage_episodes=draw(st.none() | st.integers(0, 15)),
        require_consecutive_windows=draw(st.integers(1, 4)),
        cooldown_episodes=draw(st.integers(0, 15)),
        bootstrap_failures=draw(st.integers(0, window)),
        after=draw(st.just(0) | after),
    )


@st.composite
def greedy(draw: st.DrawFn) -> Any:
    """Every option of a greedy controller, with bounds that a few steps reach."""
    return tm.Greedy(
        metric=draw(WORDS),
        factor=draw(st.floats(0.3, 0.99)),
        patience=draw(st.integers(0, 3)),
        threshold=draw(st.just(0.0) | st.floats(1e-6, 0.1)),
        threshold_mode=draw(st.sampled_from(["rel", "abs"])),
        mode=draw(st.sampled_from(["min", "max"])),
        cooldown=draw(st.integers(0, 2)),
        warmup=draw(st.integers(0, 2)),
        min_value=draw(st.floats(1e-3, 0.5)),
        max_value=draw(st.floats(2.0, 8.0)),
        eps=draw(st.sampled_from([0.0, 1e-8, 1e-3])),
        smooth=draw(st.booleans()),
        window=draw(st.integers(1, 4)),
        reset_after=draw(st.integers(1, 3)),
        init_value=draw(st.none() | st.floats(0.5, 2.0)),
        on_nan=draw(st.sampled_from(["error", "skip", "bad"])),
    )


@st.composite
def kl_controllers(draw: st.DrawFn, kind: Any) -> Any:
    """Every option of a controller that listens to a divergence."""
    own: dict[str, SearchStrategy[Any]] = {
        tm.KLAdaptive: {
            "factor": st.floats(1.0, 3.0), "climb_at_zero": st.booleans(), "max_value": st.floats(2.0, 8.0)
        },
        tm.KLPenalty: {
            "increase": st.floats(1.01, 3.0), "decrease": st.floats(0.3, 0.99), "max_value": st.none() | st.floats(2, 8)
        },
    }[kind]  # fmt: skip
    return kind(
        metric=draw(WORDS),
        target=draw(st.floats(1e-3, 1.0)),
        band=draw(st.floats(1.0, 3.0)),
        min_value=draw(st.just(0.0) | st.floats(1e-3, 0.5)),
        init_value=draw(st.none() | st.floats(0.5, 2.0)),
        on_nan=draw(st.sampled_from(["error", "skip", "bad"])),
        **draw(st.fixed_dictionaries(own)),
    )


@st.composite
def noise_scales(draw: st.DrawFn) -> Any:
    """Every option of a batch size that follows the noise scale."""
    multiple, least, more = draw(st.integers(1, 8)), draw(st.integers(1, 4)), draw(st.integers(0, 9))
    return tm.NoiseScale(
        metric=draw(WORDS),
        min_value=multiple * least,
        max_value=multiple * (least + more),
        multiple=multiple,
        decay=draw(st.just(0.0) | st.floats(0.1, 0.99)),
        min_measurements=draw(st.integers(1, 4)),
        tolerance=draw(st.just(0.0) | st.floats(0.01, 0.5)),
        init_value=draw(st.none() | st.integers(least, least + more).map(lambda size: size * multiple)),
        on_nan=draw(st.sampled_from(["error", "skip", "bad"])),
    )


@st.composite
def auto_clips(draw: st.DrawFn) -> Any:
    """Every option of a clipping threshold by percentile."""
    window = draw(st.integers(1, 8))
    return tm.AutoClip(
        metric=draw(WORDS),
        percentile=draw(st.sampled_from([0.0, 10.0, 50.0, 100.0]) | st.floats(0.0, 100.0)),
        window=window,
        min_measurements=draw(st.integers(1, window)),
        min_value=draw(st.just(0.0) | st.floats(0.01, 0.5)),
        init_value=draw(st.floats(0.5, 10.0)),
        tolerance=draw(st.just(0.0) | st.floats(0.01, 2.0)),
        on_nan=draw(st.sampled_from(["error", "skip"])),
    )


@st.composite
def guards(draw: st.DrawFn) -> Any:
    """Every option of a guard against divergence."""
    window = draw(st.integers(1, 8))
    return tm.DivergenceGuard(
        metric=draw(WORDS),
        factor=draw(st.floats(0.1, 0.99)),
        spike=draw(st.floats(1.01, 4.0)),
        window=window,
        min_measurements=draw(st.integers(1, window)),
        cooldown=draw(st.integers(0, 3)),
        recovery=draw(st.none() | st.integers(1, 4)),
        min_value=draw(st.just(0.0) | st.floats(0.01, 0.5)),
        init_value=draw(st.none() | st.floats(0.5, 2.0)),
        on_nan=draw(st.sampled_from(["cut", "skip", "error"])),
    )


def warmed(function: Any, **values: SearchStrategy[Any]) -> Callable[[Draws], SearchStrategy[Any]]:
    """The row of a recipe that begins with a warmup."""

    def row(draws: Draws) -> SearchStrategy[Any]:
        kept = st.fixed_dictionaries(values)
        return st.builds(lambda span, rise, more: function(**span, **rise, **more), draws.spans, WARMUPS, kept)

    return row


def falling(kind: Any, **values: SearchStrategy[Any]) -> Callable[[Draws], SearchStrategy[Any]]:
    """The row of a shape from one value to another."""
    return lambda d: st.builds(kind, init_value=NUMBERS, end_value=NUMBERS, duration=d.length, **values)


def recipe(function: Any, spans: bool = True, **values: SearchStrategy[Any]) -> Callable[[Draws], SearchStrategy[Any]]:
    """The row of a recipe that takes `spans` beside its values."""

    def row(draws: Draws) -> SearchStrategy[Any]:
        lengths = draws.spans if spans else st.just({})
        return st.builds(lambda span, kept: function(**span, **kept), lengths, st.fixed_dictionaries(values))

    return row


def parts_of(kind: Any) -> Callable[[Draws], SearchStrategy[Any]]:
    """The row of a composition that is nothing but its parts."""
    return lambda d: st.builds(kind, parts=st.lists(d.tree, min_size=2, max_size=3))


def coupled(draws: Draws) -> SearchStrategy[Any]:
    """A value that follows a batch size, by either rule."""
    return st.builds(
        lambda tree, size, **given: tm.coupled(schedule=tree, to=size.clip(min=1.0, max=1e3), **given),
        draws.tree,
        draws.tree,
        reference=st.floats(1.0, 64.0),
        rule=st.sampled_from(["linear", "sqrt"]),
    )


def clips(draws: Draws) -> SearchStrategy[Any]:
    """A lower bound, an upper one, or both."""
    bounds = st.tuples(NUMBERS, NUMBERS).map(sorted)
    open_ends = st.sampled_from([(True, True), (True, False), (False, True)])
    return st.builds(
        lambda tree, ends, kept: tree.clip(
            **{k: v for k, v, keep in zip(("min", "max"), ends, kept, strict=True) if keep}
        ),
        draws.tree,
        bounds,
        open_ends,
    )


ROWS: Mapping[Any, Callable[[Draws], SearchStrategy[Any]]] = {
    tm.Constant: lambda d: st.builds(tm.Constant, value=NUMBERS),
    tm.Linear: lambda d: st.builds(tm.Linear, init_value=NUMBERS, end_value=NUMBERS, duration=d.length),
    tm.Polynomial: lambda d: st.builds(
        tm.Polynomial,
        init_value=NUMBERS,
        end_value=NUMBERS,
        duration=d.length,
        power=POWERS,
        k_decay=st.just(1.0) | POWERS,
    ),
    tm.Cosine: lambda d: st.builds(
        tm.Cosine,
        init_value=NUMBERS,
        end_value=NUMBERS,
        duration=d.length,
        power=st.just(1.0) | POWERS,
        k_decay=st.just(1.0) | POWERS,
    ),
    tm.CosineCycles: lambda d: st.builds(
        tm.CosineCycles, init_value=NUMBERS, end_value=NUMBERS, duration=d.length, cycles=CYCLES
    ),
    tm.CosineRestarts: lambda d: st.builds(
        tm.CosineRestarts, init_value=NUMBERS, end_value=NUMBERS, duration=d.length, cycles=CYCLES
    ),
    tm.WarmRestarts: warm_restarts,
    tm.Cyclic: cyclics,
    tm.Noise: lambda d: noises(),
    tm.Exponential: exponentials,
    tm.InverseSqrt: lambda d: st.builds(tm.InverseSqrt, init_value=NUMBERS, timescale=d.length),
    tm.StepDecay: lambda d: st.builds(tm.StepDecay, init_value=NUMBERS, factor=FACTORS, every=d.length),
    tm.MultiStep: lambda d: st.builds(tm.MultiStep, init_value=NUMBERS, factor=FACTORS, milestones=d.boundaries),
    tm.PiecewiseConstant: lambda d: piecewise(tm.PiecewiseConstant, d.boundaries, 1),
    tm.PiecewiseLinear: lambda d: piecewise(tm.PiecewiseLinear, d.boundaries, 0),
    tm.IntervalTable: lambda d: tables(),
    tm.warmup_constant: warmed(lambda total=None, **given: tm.warmup_constant(**given)),
    tm.warmup_cosine: warmed(tm.warmup_cosine, end_value=NUMBERS),
    tm.warmup_linear: warmed(tm.warmup_linear, end_value=NUMBERS),
    tm.warmup_polynomial: warmed(tm.warmup_polynomial, end_value=NUMBERS, power=st.floats(0.25, 4.0)),
    tm.half_cosine: warmed(tm.half_cosine, end_value=NUMBERS),
    tm.warmup_inverse_sqrt: endless,
    tm.warmup_power: lambda d: st.builds(
        lambda rise, **given: tm.warmup_power(**rise, **given),
        WARMUPS,
        warmup=d.length,
        exponent=st.floats(-2.0, 1.0),
    ),
    tm.noam: lambda d: st.builds(tm.noam, model_size=st.floats(1.0, 1e3), warmup=d.length, factor=POSITIVES),
    tm.step_decay: lambda d: st.builds(tm.step_decay, init_value=NUMBERS, milestones=d.boundaries, factor=FACTORS),
    tm.warmup_stable_decay: stable,
    tm.wsd_s: annealed,
    tm.one_cycle: one_cycles,
    tm.flat_cosine: recipe(
        lambda warmup, **given: tm.flat_cosine(flat=warmup, **given), init_value=NUMBERS, end_value=NUMBERS
    ),
    tm.cosine_linear_tail: tailed,
    tm.batch_ramp: batches,
    tm.length_warmup: lambda d: st.builds(
        lambda ends, **given: tm.length_warmup(init_value=ends[0], end_value=ends[1], **given),
        st.tuples(NUMBERS, NUMBERS).map(sorted),
        increment=POSITIVES,
        every=d.length,
    ),
    tm.difficulty: lambda d: st.builds(
        lambda ends, **given: tm.difficulty(init_value=ends[0], end_value=ends[1], **given),
        st.tuples(NUMBERS, NUMBERS).map(sorted),
        duration=d.length,
        root=st.floats(0.5, 4.0),
        step=EDGES,
    ),
    tm.proportional: followers,
    tm.Geometric: lambda d: st.builds(
        lambda sign, first, last, length: tm.Geometric(init_value=sign * first, end_value=sign * last, duration=length),
        st.sampled_from([1.0, -1.0]),
        POSITIVES,
        POSITIVES,
        d.length,
    ),
    tm.InverseTime: lambda d: st.builds(
        tm.InverseTime, init_value=NUMBERS, decay_rate=POSITIVES, every=d.length, staircase=st.booleans()
    ),
    tm.PowerLaw: lambda d: st.builds(
        tm.PowerLaw, init_value=NUMBERS, timescale=d.length, exponent=st.floats(-2.0, 1.0)
    ),
    tm.Tanh: falling(tm.Tanh, lower=st.floats(-8.0, -1.0), upper=st.floats(0.0, 4.0)),
    tm.Rex: falling(tm.Rex),
    tm.Hyperbolic: hyperbolas,
    tm.CosineTail: falling(tm.CosineTail),
    tm.PowerRamp: falling(tm.PowerRamp, power=st.floats(0.25, 4.0)),
    tm.Logarithmic: falling(tm.Logarithmic),
    tm.Staircase: stairs,
    tm.FloorTo: lambda d: st.builds(tm.FloorTo, schedule=d.tree, step=EDGES),
    # a base above 0 has every real power; small ones, so that no power of a power overflows
    tm.Power: lambda d: st.builds(
        lambda tree, low, **given: tm.Power(schedule=tree.clip(min=low, max=2.0 + low), **given),
        d.tree,
        st.floats(0.25, 1.0),
        exponent=st.floats(-2.0, 2.0),
        reference=st.floats(0.5, 4.0),
    ),
    tm.coupled: coupled,
    tm.Sequence: sequences,
    tm.Sum: parts_of(tm.Sum),
    tm.Product: parts_of(tm.Product),
    tm.Minimum: parts_of(tm.Minimum),
    tm.Maximum: parts_of(tm.Maximum),
    tm.Clip: clips,
    tm.Shift: lambda d: st.builds(tm.Shift, schedule=d.tree, by=d.length),
    tm.Advance: lambda d: st.builds(tm.Advance, schedule=d.pure, by=d.length),
    tm.Stretch: lambda d: st.builds(tm.Stretch, schedule=d.pure, factor=d.length | st.floats(0.25, 8.0)),
    tm.Repeat: lambda d: st.builds(tm.Repeat, schedule=d.pure, every=d.length, times=st.none() | st.integers(1, 3)),
    tm.On: lambda d: st.builds(
        tm.On, unit=st.sampled_from([tm.Unit.SAMPLES, tm.Unit.FRAMES, "env_steps"]), schedule=d.tree
    ),
    tm.Plateau: lambda d: plateaus(),
    tm.SuccessGates: lambda d: success_gates(d.length),
    tm.Greedy: lambda d: greedy(),
    tm.KLAdaptive: lambda d: kl_controllers(tm.KLAdaptive),
    tm.KLPenalty: lambda d: kl_controllers(tm.KLPenalty),
    tm.NoiseScale: lambda d: noise_scales(),
    tm.AutoClip: lambda d: auto_clips(),
    tm.DivergenceGuard: lambda d: guards(),
}

_COMPOSITIONS = [one for one in ROWS if isinstance(one, type) and issubclass(one, tm.Composite)]
_CONTROLLERS = [one for one in ROWS if isinstance(one, type) and issubclass(one, tm.Controller)]
_LEAVES = [one for one in ROWS if one not in _COMPOSITIONS and one not in _CONTROLLERS]


def _trees(draws: Draws, leaves: list[Any], compositions: list[Any]) -> SearchStrategy[Any]:
    def extend(below: SearchStrategy[Any]) -> SearchStrategy[Any]:
        pure = below if draws.pure.is_empty else draws.pure
        return st.one_of([ROWS[one](replace(draws, tree=below, pure=pure)) for one in compositions])

    return st.recursive(st.one_of([ROWS[one](draws) for one in leaves]), extend, max_leaves=5)


_BARE = [one for one in _COMPOSITIONS if one is not tm.On]
_WRITTEN = Draws(length=COUNTS | DURATIONS, durations=True)


def schedules() -> SearchStrategy[Any]:
    """Every schedule that one count drives, nested, all its lengths known: it can be called."""
    return _trees(Draws(), _LEAVES, _BARE)


def written() -> SearchStrategy[Any]:
    """Every schedule as it may be written, with durations and other clocks in it."""
    return _trees(_WRITTEN, _LEAVES, _COMPOSITIONS)


def trees() -> SearchStrategy[Any]:
    """Every schedule and every tree with controllers, as it may be written."""
    pure = written()
    return pure | _trees(replace(_WRITTEN, pure=pure), [*_LEAVES, *_CONTROLLERS], _COMPOSITIONS)


def one_of_kind(kind: Any) -> SearchStrategy[Any]:
    """Schedules of one row, over leaves where it is a composition."""
    leaves = st.one_of([ROWS[one](Draws()) for one in _LEAVES])
    return ROWS[kind](Draws(tree=leaves, pure=leaves))


SCHEDULES = [one for one in ROWS if one not in _CONTROLLERS]
"""The classes and recipes of all schedules, for tests that take them one by one."""


def name_of(kind: Any) -> str:
    """What a test calls a row."""
    return str(kind.__name__)


def bits(values: Any) -> Any:
    """Values as bit patterns: for these -0.0 is not 0.0, and nothing is merely close."""
    return np.array(values, dtype=np.float64, order="C").view(np.int64).tolist()


_ENTRIES = ["lr", "encoder.lr", "betas[0]", "weight_decay", "grad_clip", "target_kl", "net.head_0-1.lr", "my_own"]


def plans() -> SearchStrategy[tm.Plan]:
    """Plans of up to three entries, with and without a total, on any clock."""
    rates = st.fixed_dictionaries({}, optional={"steps_per_epoch": COUNTS, "action_repeat": st.integers(1, 4)})
    return st.builds(
        tm.Plan,
        st.dictionaries(st.sampled_from(_ENTRIES), trees(), min_size=1, max_size=3),
        total=st.none() | COUNTS | st.sampled_from(["20 epochs", "3M frames", "90 min", "10 epochs - 5k"]),
        clock=st.sampled_from(list(tm.Unit)),
        rates=st.none() | rates,
    )
