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
COUNTS = st.integers(1, LONGEST)
DURATIONS = st.sampled_from(["5%", "12.5%", "2 epochs", "9_600 samples", "1k optimizer_steps", "50% - 300"])
NOTHING: SearchStrategy[Any] = st.nothing()
WORDS = st.sampled_from(["val_loss", "reward", "kl"]) | st.text("abckKMe013.-_~: \u00e4", min_size=1).filter(str.strip)


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
    shape = draw(st.sampled_from(["linear", "cosine"]))
    values = {"peak_value": draw(NUMBERS), "end_value": draw(NUMBERS), "init_value": draw(NUMBERS)}
    return tm.warmup_stable_decay(**values, **spans, shape=shape)


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


def recipe(function: Any, spans: bool = True, **values: SearchStrategy[Any]) -> Callable[[Draws], SearchStrategy[Any]]:
    """The row of a recipe that takes `spans` beside its values."""

    def row(draws: Draws) -> SearchStrategy[Any]:
        lengths = draws.spans if spans else st.just({})
        return st.builds(lambda span, kept: function(**span, **kept), lengths, st.fixed_dictionaries(values))

    return row


def parts_of(kind: Any) -> Callable[[Draws], SearchStrategy[Any]]:
    """The row of a composition that is nothing but its parts."""
    return lambda d: st.builds(kind, parts=st.lists(d.tree, min_size=2, max_size=3))


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
        tm.Polynomial, init_value=NUMBERS, end_value=NUMBERS, duration=d.length, power=st.floats(0.25, 4.0)
    ),
    tm.Cosine: lambda d: st.builds(tm.Cosine, init_value=NUMBERS, end_value=NUMBERS, duration=d.length),
    tm.Exponential: exponentials,
    tm.InverseSqrt: lambda d: st.builds(tm.InverseSqrt, init_value=NUMBERS, timescale=d.length),
    tm.StepDecay: lambda d: st.builds(tm.StepDecay, init_value=NUMBERS, factor=FACTORS, every=d.length),
    tm.MultiStep: lambda d: st.builds(tm.MultiStep, init_value=NUMBERS, factor=FACTORS, milestones=d.boundaries),
    tm.PiecewiseConstant: lambda d: piecewise(tm.PiecewiseConstant, d.boundaries, 1),
    tm.PiecewiseLinear: lambda d: piecewise(tm.PiecewiseLinear, d.boundaries, 0),
    tm.IntervalTable: lambda d: tables(),
    tm.warmup_constant: recipe(
        lambda total=None, **given: tm.warmup_constant(**given), peak_value=NUMBERS, init_value=NUMBERS
    ),
    tm.warmup_cosine: recipe(tm.warmup_cosine, peak_value=NUMBERS, end_value=NUMBERS, init_value=NUMBERS),
    tm.warmup_linear: recipe(tm.warmup_linear, peak_value=NUMBERS, end_value=NUMBERS, init_value=NUMBERS),
    tm.step_decay: lambda d: st.builds(tm.step_decay, init_value=NUMBERS, milestones=d.boundaries, factor=FACTORS),
    tm.warmup_stable_decay: stable,
    tm.one_cycle: recipe(
        tm.one_cycle,
        peak_value=NUMBERS,
        init_value=st.none() | NUMBERS,
        end_value=st.none() | NUMBERS,
        shape=st.sampled_from(["linear", "cosine"]),
    ),
    tm.Sequence: sequences,
    tm.Sum: parts_of(tm.Sum),
    tm.Product: parts_of(tm.Product),
    tm.Minimum: parts_of(tm.Minimum),
    tm.Maximum: parts_of(tm.Maximum),
    tm.Clip: clips,
    tm.Shift: lambda d: st.builds(tm.Shift, schedule=d.tree, by=d.length),
    tm.Stretch: lambda d: st.builds(tm.Stretch, schedule=d.pure, factor=d.length | st.floats(0.25, 8.0)),
    tm.Repeat: lambda d: st.builds(tm.Repeat, schedule=d.pure, every=d.length, times=st.none() | st.integers(1, 3)),
    tm.On: lambda d: st.builds(
        tm.On, unit=st.sampled_from([tm.Unit.SAMPLES, tm.Unit.FRAMES, "env_steps"]), schedule=d.tree
    ),
    tm.Plateau: lambda d: plateaus(),
    tm.SuccessGates: lambda d: success_gates(d.length),
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
