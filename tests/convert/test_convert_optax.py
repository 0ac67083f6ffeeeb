"""optax's schedules become ours: by name and by what its own functions hold, in double precision over whole runs."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tempomat as tm
from tempomat.convert import from_optax

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

ROUNDING = 1e-9
"""optax writes the same curves in other words; the roundings grow where a curve nears its end."""
COUNTS = np.arange(300)
SCALES = {30: 0.5, 80: 0.1, 200: 4.0}
CYCLE = {"init_value": 0.1, "peak_value": 0.7, "warmup_steps": 9, "decay_steps": 60, "end_value": 0.05}

CASES = {
    "constant": ("constant_schedule", {"value": 0.3}),
    "linear": ("linear_schedule", {"init_value": 0.1, "end_value": 0.7, "transition_steps": 137}),
    "linear from later on": (
        "linear_schedule", {"init_value": 0.1, "end_value": 0.7, "transition_steps": 137, "transition_begin": 40},
    ),
    "polynomial": ("polynomial_schedule", {"init_value": 0.7, "end_value": 0.1, "power": 2.3, "transition_steps": 90}),
    "cosine": ("cosine_decay_schedule", {"init_value": 0.7, "decay_steps": 137}),
    "cosine of a power": (
        "cosine_decay_schedule", {"init_value": 0.7, "decay_steps": 99, "alpha": 0.01, "exponent": 1.4},
    ),
    "exponential": ("exponential_decay", {"init_value": 0.7, "transition_steps": 25, "decay_rate": 0.6}),
    "exponential in stairs": (
        "exponential_decay",
        {"init_value": 0.7, "transition_steps": 25, "decay_rate": 0.6, "staircase": True, "transition_begin": 11},
    ),
    "exponential to a floor": (
        "exponential_decay", {"init_value": 0.7, "transition_steps": 25, "decay_rate": 0.6, "end_value": 0.1},
    ),
    "exponential to a ceiling": (
        "exponential_decay", {"init_value": 0.1, "transition_steps": 25, "decay_rate": 1.6, "end_value": 0.9},
    ),
    "exponential below its floor": (
        "exponential_decay", {"init_value": 0.1, "transition_steps": 25, "decay_rate": 0.6, "end_value": 0.2},
    ),
    "exponential above its ceiling": (
        "exponential_decay", {"init_value": 0.9, "transition_steps": 25, "decay_rate": 1.6, "end_value": 0.2},
    ),
    "exponential of a negative value": (
        "exponential_decay", {"init_value": -0.7, "transition_steps": 25, "decay_rate": 0.6, "end_value": -0.3},
    ),
    "piecewise constant": ("piecewise_constant_schedule", {"init_value": 0.7, "boundaries_and_scales": SCALES}),
    "piecewise constant without pieces": ("piecewise_constant_schedule", {"init_value": 0.7}),
    "piecewise linear": (
        "piecewise_interpolate_schedule",
        {"interpolate_type": "linear", "init_value": 0.7, "boundaries_and_scales": SCALES},
    ),
    "piecewise cosine": (
        "piecewise_interpolate_schedule",
        {"interpolate_type": "cosine", "init_value": 0.7, "boundaries_and_scales": SCALES},
    ),
    "piecewise from the beginning": (
        "piecewise_constant_schedule", {"init_value": 0.7, "boundaries_and_scales": {0: 0.5, 10: 0.1}},
    ),
    "warmup constant": ("warmup_constant_schedule", {"init_value": 0.1, "peak_value": 0.7, "warmup_steps": 20}),
    "warmup cosine": ("warmup_cosine_decay_schedule", CYCLE),
    "warmup cosine of a power": ("warmup_cosine_decay_schedule", {**CYCLE, "exponent": 2.0}),
    "no warmup": ("warmup_cosine_decay_schedule", {**CYCLE, "warmup_steps": 0}),
    "warmup exponential": (
        "warmup_exponential_decay_schedule",
        {"init_value": 0.1, "peak_value": 0.7, "warmup_steps": 9, "transition_steps": 30, "decay_rate": 0.5,
         "transition_begin": 5, "end_value": 0.02},
    ),
    "one cycle": ("cosine_onecycle_schedule", {"transition_steps": 137, "peak_value": 0.7}),
    "one cycle without a rise": (
        "cosine_onecycle_schedule", {"transition_steps": 137, "peak_value": 0.7, "pct_start": 0.0},
    ),
    "one cycle in lines": ("linear_onecycle_schedule", {"transition_steps": 137, "peak_value": 0.7, "pct_final": 0.8}),
    "restarts": ("sgdr_schedule", {"cosine_kwargs": [CYCLE, {**CYCLE, "decay_steps": 120, "peak_value": 0.5}]}),
}  # fmt: skip


def theirs(schedule):
    with jax.enable_x64(True):
        values = jax.vmap(lambda count: jax.numpy.asarray(schedule(count), dtype=float))(COUNTS)
        return np.asarray(values).tolist()


@pytest.mark.parametrize("case", CASES)
def test_each_builder_gives_optaxs_values_by_name(case):
    name, arguments = CASES[case]
    values = theirs(getattr(optax, name)(**arguments))
    ours = from_optax(name, **arguments)
    assert ours(COUNTS).tolist() == pytest.approx(values, rel=ROUNDING, abs=0.0)


@pytest.mark.parametrize("case", CASES)
def test_a_live_schedule_of_optax_is_read(case):
    name, arguments = CASES[case]
    schedule = getattr(optax, name)(**arguments)
    values = theirs(schedule)
    assert from_optax(schedule)(COUNTS).tolist() == pytest.approx(values, rel=ROUNDING, abs=0.0)


@settings(max_examples=15, deadline=None)
@given(
    first=st.floats(1e-3, 1.0), peak=st.floats(0.1, 2.0), warmup=st.integers(0, 50), length=st.integers(1, 200),
    share=st.floats(0.05, 1.0),
)  # fmt: skip
def test_a_warmup_and_a_cosine_of_any_size_are_exact(first, peak, warmup, length, share):
    arguments = {"init_value": first, "peak_value": peak, "warmup_steps": warmup, "decay_steps": warmup + length}
    arguments["end_value"] = peak * share
    values = theirs(optax.warmup_cosine_decay_schedule(**arguments))
    ours = from_optax("warmup_cosine_decay", **arguments)(COUNTS)
    assert ours.tolist() == pytest.approx(values, rel=ROUNDING, abs=0.0)


def test_nested_schedules_are_joined_as_data_or_live():
    parts = [
        {"name": "linear_schedule", "init_value": 0.0, "end_value": 0.5, "transition_steps": 20},
        optax.cosine_decay_schedule(0.5, 100),
        tm.Constant(value=0.1),
    ]
    ours = from_optax("join_schedules", schedules=parts, boundaries=[20, 150])
    with_theirs = [optax.linear_schedule(0.0, 0.5, 20), parts[1], optax.constant_schedule(0.1)]
    joined = optax.join_schedules(with_theirs, [20, 150])
    values = theirs(joined)
    assert ours(COUNTS).tolist() == pytest.approx(values, rel=ROUNDING, abs=0.0)
    assert from_optax(joined)(COUNTS).tolist() == ours(COUNTS).tolist()


def test_a_name_may_be_said_in_several_ways():
    arguments = {"init_value": 0.7, "decay_steps": 10}
    short = from_optax("cosine_decay", **arguments)
    assert short == from_optax("optax.cosine_decay_schedule", **arguments)
    assert short == from_optax("optax.schedules.cosine_decay_schedule", **arguments)
    assert from_optax("piecewise_constant", init_value=1.0, boundaries_and_scales={"10": 0.5})(10) == 0.5


def test_a_missing_boundary_is_an_error_where_optax_drops_the_third_schedule():
    constants = [{"name": "constant", "value": value} for value in (1.0, 2.0, 3.0)]
    with pytest.raises(tm.ConversionError, match=r"boundaries: must be one less than the schedules \(3\), got 1"):
        from_optax("join_schedules", schedules=constants, boundaries=[5])
    dropped = optax.join_schedules([optax.constant_schedule(one) for one in (1.0, 2.0, 3.0)], [5])
    assert float(dropped(1_000)) == 2.0
    with pytest.raises(tm.ConversionError, match="optax would drop the last schedules"):
        from_optax(dropped)


LINE = {"init_value": 0.1, "end_value": 0.7, "transition_steps": 9}


@pytest.mark.parametrize(("name", "arguments", "said"), [
    ("cosine_decai", {}, r"optax has no schedule 'cosine_decai'. Did you mean cosine_decay_schedule"),
    ("linear", {**LINE, "transition_steps": 0}, "transition_steps: must be at least 1, got 0"),
    ("linear", {**LINE, "transition_begin": -1}, r"transition_begin: must be between 0 and 2\^53, got -1"),
    ("linear", {**LINE, "steps": 3}, "steps: no argument of that name"),
    ("linear", {}, "3 faults"),
    ("polynomial", {**LINE, "power": 0}, "power: must be above 0, got 0"),
    ("exponential_decay", {"init_value": 1, "transition_steps": 5, "decay_rate": 0}, "decay_rate: must be above 0"),
    ("warmup_constant", {"init_value": 0, "peak_value": 1, "warmup_steps": 0}, "warmup_steps: must be at least 1"),
    ("warmup_cosine_decay", {**CYCLE, "warmup_steps": 60}, r"warmup_steps: must be shorter than decay_steps \(60\)"),
    ("piecewise_interpolate", {"interpolate_type": "cubic", "init_value": 1}, "interpolate_type: must be one of"),
    (
        "piecewise_constant",
        {"init_value": 1, "boundaries_and_scales": {5: -1.0}},
        "boundaries_and_scales.5: must be at least 0, got -1",
    ),
    ("piecewise_constant", {"init_value": 1, "boundaries_and_scales": [5]}, "boundaries_and_scales: must be a mapping"),
    ("sgdr", {"cosine_kwargs": []}, "cosine_kwargs: must have at least one cycle"),
    ("sgdr", {"cosine_kwargs": [3]}, r"cosine_kwargs\[0\]: must be a mapping, got 3"),
    ("sgdr", {"cosine_kwargs": [{**CYCLE, "decay_steps": 0}]}, r"cosine_kwargs\[0\].decay_steps: must be at least 1"),
    ("join_schedules", {"schedules": [{"name": "line"}], "boundaries": []}, r"schedules\[0\]: .* no schedule 'line'"),
    (
        "join_schedules",
        {"schedules": [{"name": "linear", **LINE, "power": 2}, {"name": "constant"}], "boundaries": [5]},
        r"schedules\[0\].power: no argument",
    ),
    (
        "join_schedules",
        {"schedules": [tm.Constant(value=1.0)] * 3, "boundaries": [9, 5]},
        r"boundaries\[1\]: must come after",
    ),
])  # fmt: skip
def test_what_optax_would_ignore_or_misread_is_refused(name, arguments, said):
    with pytest.raises(tm.ConversionError, match=said):
        from_optax(name, **arguments)


def test_functions_of_ones_own_are_refused():
    with pytest.raises(tm.ConversionError, match="not a function that optax made"):
        from_optax(lambda count: 0.1 / (count + 1))
    with pytest.raises(tm.ConversionError, match="not a function that optax made"):
        from_optax(3)
    with pytest.raises(tm.ConversionError, match="a live schedule holds its arguments"):
        from_optax(optax.constant_schedule(1.0), value=2.0)
    mine = tm.Constant(value=0.1)
    assert from_optax(mine) is mine


def test_a_function_of_optax_that_holds_something_unknown_is_refused():
    def polynomial_schedule(extra):
        def schedule(count):
            return count * extra

        schedule.__qualname__ = "polynomial_schedule.<locals>.schedule"
        schedule.__module__ = "optax.schedules._schedule"
        return schedule

    with pytest.raises(tm.ConversionError, match="holds extra, which this version of Tempomat does not know"):
        from_optax(polynomial_schedule(2))
