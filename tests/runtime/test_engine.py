"""The engine: counts in, values out, and whatever cannot be is refused before anything has moved."""

import math

import numpy as np
import pytest
import torch
from runtime.toys import FALL
from strategies import bits

import tempomat as tm
from tempomat.runtime import Engine
from tempomat.runtime.engine import BLOCK

LARGEST = 2**62


def running(schedules, **options):
    """A started engine, and what it has written to each entry."""
    engine = Engine(tm.Plan(schedules, **options))
    written = {name: [] for name in engine.tracks}
    for name, track in engine.tracks.items():
        track.write = written[name].append
    engine.start()
    return engine, written


def everything(engine):
    """All that a refusal must leave alone."""
    states = {name: [dict(one) for one in track.states] for name, track in engine.tracks.items()}
    return dict(engine.counts), states, list(engine.events)


# values


def test_nothing_is_written_before_the_start_and_every_value_at_it():
    engine = Engine(tm.Plan({"lr": FALL, "momentum": 0.9}))
    written = []
    for track in engine.tracks.values():
        track.write = written.append
    engine.tick()
    engine.advance({"optimizer_steps": 1})
    assert engine.asked == {"lr": FALL(2), "momentum": 0.9}
    assert (written, engine.started) == ([], False)
    engine.start()
    assert (written, engine.started) == ([FALL(2), 0.9], True)


@pytest.mark.parametrize(
    "schedule",
    [
        tm.warmup_cosine(peak_value=3e-4, end_value=3e-6, warmup=BLOCK + 1, total=2 * BLOCK + 100),
        tm.Exponential(init_value=0.1, decay_rate=0.997),
        tm.Polynomial(init_value=1.0, end_value=0.1, duration=3 * BLOCK, power=0.7),
        tm.InverseSqrt(init_value=1.0, timescale=10) * tm.Linear(init_value=1.0, end_value=0.5, duration=BLOCK),
    ],
    ids=repr,
)
def test_values_taken_from_the_blocks_computed_ahead_equal_single_calls_to_the_last_bit(schedule):
    engine, written = running({"lr": schedule})
    for _ in range(2 * BLOCK + 3):
        engine.tick()
    assert bits(written["lr"]) == bits([schedule(count) for count in range(2 * BLOCK + 4)])


def test_a_value_is_written_when_it_changes_and_only_then():
    decay = tm.StepDecay(init_value=1.0, factor=0.5, every=10)
    engine, written = running({"lr": decay, "momentum": 0.9})
    for _ in range(25):
        engine.tick()
    assert written == {"lr": [1.0, 0.5, 0.25], "momentum": [0.9]}


def test_a_jump_far_ahead_gives_the_values_that_single_steps_would_have_reached():
    far, _ = running({"lr": FALL.shift(BLOCK)})
    near, _ = running({"lr": FALL.shift(BLOCK)})
    far.advance({"optimizer_steps": BLOCK + 3})
    for _ in range(BLOCK + 3):
        near.tick()
    assert far.asked == near.asked == {"lr": FALL(3)}
    for engine in (far, near):
        engine.tick()
    assert far.asked == near.asked == {"lr": FALL(4)}


def test_an_entry_tied_to_another_clock_moves_with_that_clock_alone():
    engine, written = running({"lr": FALL, "noise": tm.on("env_steps", FALL)})
    engine.tick()
    assert engine.asked == {"lr": FALL(1), "noise": 1.0}
    engine.advance({"env_steps": 8})
    assert engine.asked == {"lr": FALL(1), "noise": FALL(8)}
    assert written == {"lr": [1.0, FALL(1)], "noise": [1.0, FALL(8)]}


def test_an_entry_of_two_clocks_follows_both():
    engine, written = running({"lr": FALL * tm.on("env_steps", FALL)})
    engine.tick()
    engine.advance({"env_steps": 5})
    engine.tick()
    assert written["lr"] == [1.0, FALL(1), FALL(1) * 0.5, FALL(2) * 0.5]


def test_a_count_for_a_unit_that_nothing_follows_is_kept_for_the_record():
    engine, _ = running({"lr": FALL})
    engine.advance({"samples": 32})
    engine.advance({"samples": 32})
    assert engine.counts == {"optimizer_steps": 0, "samples": 64}


# counts


@pytest.mark.parametrize("amount", [3, np.int64(3), np.uint8(3), torch.tensor(3)], ids=repr)
def test_integers_of_any_library_are_counts(amount):
    engine, _ = running({"lr": FALL})
    engine.advance({"optimizer_steps": amount})
    assert engine.counts == {"optimizer_steps": 3}
    assert type(engine.counts["optimizer_steps"]) is int


@pytest.mark.parametrize(
    "amount", [3.0, True, -1, math.nan, "3", None, np.float32(3), torch.tensor(True), [3], LARGEST + 1], ids=repr
)
def test_anything_else_is_no_count_and_is_refused(amount):
    engine, _ = running({"lr": FALL})
    with pytest.raises(tm.BindingError, match=r"optimizer_steps must be .* got"):
        engine.advance({"optimizer_steps": amount})
    assert engine.counts == {"optimizer_steps": 0}


def test_of_several_amounts_all_or_none_are_taken():
    engine, _ = running({"lr": FALL})
    with pytest.raises(tm.BindingError, match="frames must be between 0 and"):
        engine.advance({"optimizer_steps": 1, "frames": -1})
    assert engine.counts == {"optimizer_steps": 0}


def test_an_unknown_unit_is_refused_with_a_suggestion():
    engine, _ = running({"lr": FALL})
    with pytest.raises(tm.BindingError, match=r"no unit of the name 'env_step'\. Did you mean env_steps\? Units: "):
        engine.advance({"env_step": 1})
    with pytest.raises(tm.BindingError, match=r"no unit of the name 'epoch'\. Did you mean epochs\?"):
        engine.rewind({"epoch": 1})


def test_a_clock_runs_to_its_largest_count_and_no_further():
    engine, _ = running({"lr": tm.Exponential(init_value=1.0, decay_rate=0.5)})
    engine.advance({"optimizer_steps": LARGEST - 1})
    engine.tick()
    assert engine.counts == {"optimizer_steps": LARGEST}
    with pytest.raises(tm.TempomatError, match=r"between 0 and 2\^62"):
        engine.tick()
    with pytest.raises(tm.BindingError, match=r"between 0 and 2\^62"):
        engine.advance({"optimizer_steps": 1})
    assert engine.counts == {"optimizer_steps": LARGEST}


def test_a_clock_that_nothing_follows_has_the_same_largest_count():
    engine, _ = running({"lr": FALL})
    engine.advance({"env_steps": LARGEST})
    with pytest.raises(tm.BindingError, match=r"env_steps .*between 0 and 2\^62"):
        engine.advance({"env_steps": 1})
    assert engine.counts["env_steps"] == LARGEST


@pytest.mark.parametrize("unit", [tm.Unit.ENV_STEPS, "env_steps"], ids=repr)
def test_clocks_are_kept_under_plain_names(unit):
    engine, _ = running({"lr": FALL})
    engine.advance({unit: 1})
    assert [type(name) for name in engine.counts] == [str, str]


def test_a_clock_goes_back_only_by_a_rewind_which_is_an_event():
    engine, written = running({"lr": FALL, "noise": tm.on("env_steps", FALL)})
    engine.advance({"optimizer_steps": 7, "env_steps": 5})
    engine.rewind({"optimizer_steps": 2})
    assert engine.counts == {"optimizer_steps": 2, "env_steps": 5}
    assert written["lr"][-1] == FALL(2)
    before, after = {"optimizer_steps": 7, "env_steps": 5}, {"optimizer_steps": 2, "env_steps": 5}
    assert engine.events == [{"event": "rewind", "before": before, "counts": after}]
    engine.tick()
    assert engine.asked["lr"] == FALL(3)


def test_a_rewind_forwards_is_refused():
    engine, _ = running({"lr": FALL})
    engine.advance({"optimizer_steps": 3})
    before = everything(engine)
    with pytest.raises(tm.BindingError, match=r"optimizer_steps .*4"):
        engine.rewind({"optimizer_steps": 4})
    assert everything(engine) == before


# what is refused before anything moves

SINKS = tm.Linear(init_value=1.0, end_value=-1.0, duration=4)
INFINITE = tm.Exponential(init_value=1e300, decay_rate=1e100)


@pytest.mark.parametrize(
    ("schedule", "good", "got"),
    [
        (SINKS, 2, "comes to -0.5 at optimizer_steps 3.* must be at least 0"),
        (SINKS.shift(BLOCK - 1), BLOCK + 1, "comes to -0.5"),
        (INFINITE, 0, "comes to inf at optimizer_steps 1"),
        (INFINITE * tm.PiecewiseConstant(values=(1.0, 0.0), boundaries=(1,)), 0, "comes to nan at optimizer_steps 1"),
    ],
    ids=["negative", "negative beyond the block ahead", "infinite", "not a number"],
)
def test_an_impossible_value_is_refused_before_anything_moves_and_again_when_tried_again(schedule, good, got):
    engine, written = running({"momentum": 0.9, "lr": schedule, "weight_decay": FALL})
    for _ in range(good):
        engine.tick()
    before, lines = everything(engine), {name: list(values) for name, values in written.items()}
    for _ in range(2):
        with pytest.raises(tm.BindingError, match=f"lr {got}"):
            engine.tick()
        with pytest.raises(tm.BindingError, match=f"lr {got}"):
            engine.advance({"optimizer_steps": 1, "env_steps": 1})
    assert everything(engine) == before
    assert written == lines


def test_the_first_value_is_guarded_too():
    engine = Engine(tm.Plan({"lr": FALL, "momentum": tm.Constant(value=1.0)}))
    with pytest.raises(tm.BindingError, match=r"momentum comes to 1.0 .* and must be at least 0 and below 1\. Clip"):
        engine.start()
    assert not engine.started


def test_a_rewind_to_where_a_value_is_impossible_is_refused_before_anything_moves():
    engine, written = running({"lr": tm.PiecewiseConstant(values=(1.0, -1.0, 2.0), boundaries=(1, 2))})
    engine.advance({"optimizer_steps": 5})
    before = everything(engine)
    with pytest.raises(tm.BindingError, match=r"lr comes to -1.0 at optimizer_steps 1"):
        engine.rewind({"optimizer_steps": 1})
    assert everything(engine) == before
    assert written["lr"] == [1.0, 2.0]


# measurements

DROP = tm.Plateau(patience=0, factor=0.5)
"""Halves at every measurement that is no better than the best before it."""


def test_a_decision_holds_at_once_and_is_an_event():
    engine, written = running({"lr": FALL * DROP})
    engine.tick()
    assert engine.observe({"val_loss": 1.0}) == []
    (decision,) = engine.observe({"val_loss": 1.0})
    what = {"event": "decision", "entry": "lr", "controller": 0, "metric": "val_loss", "observation": 1.0}
    assert decision == {**what, "level": 0.5, "counts": {"optimizer_steps": 1}}
    assert engine.events == [decision]
    engine.tick()
    assert written["lr"] == [1.0, FALL(1), FALL(1) * 0.5, FALL(2) * 0.5]


def test_measuring_with_a_tick_is_a_tick_and_then_a_measurement():
    together, apart = running({"lr": FALL * DROP})[0], running({"lr": FALL * DROP})[0]
    for loss in (1.0, 2.0, 0.5, 0.5):
        together.observe({"val_loss": loss}, tick=True)
        apart.tick()
        apart.observe({"val_loss": loss})
        assert everything(together) == everything(apart)
        assert together.asked == apart.asked


def test_each_controller_hears_its_own_metric_and_keeps_its_own_state():
    up = tm.Plateau(metric="reward", mode="max", patience=0, factor=0.1)
    engine, _ = running({"lr": DROP * FALL * up, "weight_decay": tm.Constant(value=1.0) * DROP})
    engine.observe({"val_loss": 1.0, "reward": 1.0})
    engine.observe({"reward": 0.0})
    assert engine.asked == {"lr": 0.1, "weight_decay": 1.0}
    decisions = engine.observe({"val_loss": 1.0})
    assert [(one["entry"], one["controller"]) for one in decisions] == [("lr", 0), ("weight_decay", 0)]
    assert engine.asked == {"lr": 0.5 * 0.1, "weight_decay": 0.5}


def test_of_several_measurements_one_that_is_no_number_refuses_them_all():
    up = tm.Plateau(metric="reward", mode="max", patience=0)
    engine, written = running({"lr": DROP * FALL * up})
    engine.observe({"val_loss": 1.0, "reward": 1.0})
    before = everything(engine)
    with pytest.raises(tm.MeasurementError, match="reward must be a finite number, got nan"):
        engine.observe({"val_loss": 2.0, "reward": math.nan}, tick=True)
    assert everything(engine) == before
    assert written["lr"] == [1.0]


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5], requires_grad=True)])
def test_a_measurement_is_a_number_of_any_library(value):
    engine, _ = running({"lr": FALL * DROP})
    engine.observe({"val_loss": value})
    assert engine.tracks["lr"].states[0]["best"] == 0.5
    assert type(engine.tracks["lr"].states[0]["best"]) is float


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5, 0.6], torch.ones(2), 1j, 10**400], ids=repr)
def test_anything_else_is_no_measurement(value):
    engine, _ = running({"lr": FALL * DROP})
    before = everything(engine)
    with pytest.raises(tm.MeasurementError, match=r"val_loss must be a (finite )?number"):
        engine.observe({"val_loss": value})
    assert everything(engine) == before


def test_a_metric_that_nothing_listens_to_is_refused_with_a_suggestion():
    engine, _ = running({"lr": FALL * DROP})
    with pytest.raises(tm.MeasurementError, match=r"'val_los'\. Did you mean val_loss\? Metrics: val_loss"):
        engine.observe({"val_los": 1.0})
    with pytest.raises(tm.MeasurementError, match=r"'val_loss'\. The plan has no controller"):
        running({"lr": FALL})[0].observe({"val_loss": 1.0})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=repr)
def test_a_measurement_that_is_not_finite_is_an_error_unless_told_otherwise(bad):
    engine, _ = running({"lr": FALL * DROP})
    engine.observe({"val_loss": 1.0})
    before = everything(engine)
    with pytest.raises(tm.MeasurementError, match=r"val_loss must be a finite number.*To go on past it set on_nan"):
        engine.observe({"val_loss": bad})
    assert everything(engine) == before


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=repr)
def test_a_measurement_that_is_not_finite_is_skipped_and_counted_if_asked(bad):
    engine, _ = running({"lr": FALL * tm.Plateau(patience=0, factor=0.5, on_nan="skip")})
    engine.observe({"val_loss": 1.0})
    assert engine.observe({"val_loss": bad}) == []
    assert engine.tracks["lr"].states[0] == {"level": 1.0, "best": 1.0, "bad": 0, "cooldown": 0, "skipped": 1}


def test_one_infinite_measurement_never_locks_the_best():
    """Of minus infinity, which nothing could ever improve on."""
    engine, _ = running({"lr": FALL * tm.Plateau(patience=5, on_nan="bad")})
    engine.observe({"val_loss": -math.inf})
    engine.observe({"val_loss": 1.0})
    assert engine.tracks["lr"].states[0]["best"] == 1.0


@pytest.mark.parametrize(
    ("tree", "clock", "hears"),
    [
        (FALL.then(DROP, at=5), "optimizer_steps", range(5, 12)),
        (DROP.then(FALL, at=5), "optimizer_steps", range(5)),
        (FALL.then(DROP, at=3).then(FALL, at=6), "optimizer_steps", range(3, 6)),
        ((FALL * DROP).shift(4), "optimizer_steps", range(4, 12)),
        (FALL.then(DROP, at=2).shift(4), "optimizer_steps", range(6, 12)),
        (tm.on("env_steps", FALL.then(DROP, at=5)), "env_steps", range(5, 12)),
        (FALL * DROP, "optimizer_steps", range(12)),
    ],
    ids=repr,
)
def test_a_plateau_hears_measurements_only_while_it_is_in_force(tree, clock, hears):
    """A plateau after a schedule, or as a factor on one: pytorch#68978, #82859, transformers#29417."""
    engine, _ = running({"lr": tree})
    heard = []
    for count in range(12):
        before = engine.tracks["lr"].states
        engine.observe({"val_loss": float(100 - count)})
        if engine.tracks["lr"].states != before:
            heard.append(count)
        engine.advance({clock: 1})
    assert heard == list(hears)


def test_a_plateau_after_a_warmup_goes_on_from_the_value_reached():
    """The composition asked for in pytorch#68978."""
    warmup = tm.Linear(init_value=0.0, end_value=1.0, duration=5)
    engine, written = running({"lr": warmup.then(DROP, at=5)})
    for _ in range(8):
        engine.observe({"val_loss": 1.0}, tick=True)
    assert written["lr"] == [0.0, 0.2, 0.4, warmup(3), 0.8, 1.0, 0.5, 0.25, 0.125]


def test_a_level_that_its_target_cannot_take_is_refused_before_anything_moves():
    engine, written = running({"lr": FALL, "grad_clip": tm.Constant(value=1.0) * tm.Plateau(patience=0, factor=0.0)})
    engine.observe({"val_loss": 1.0}, tick=True)
    before, lines = everything(engine), {name: list(values) for name, values in written.items()}
    for tick in (True, False):
        with pytest.raises(tm.BindingError, match=r"grad_clip comes to 0.0 .* must be above 0"):
            engine.observe({"val_loss": 1.0}, tick=tick)
        assert everything(engine) == before
        assert written == lines
    engine.tick()
    assert written == {"lr": [1.0, FALL(1), FALL(2)], "grad_clip": [1.0]}


def test_a_target_that_fails_leaves_counts_and_states_as_they_were():
    engine, _ = running({"lr": FALL * DROP})

    def fail(value):
        raise RuntimeError("the target is gone")

    engine.observe({"val_loss": 1.0})
    before = everything(engine)
    engine.tracks["lr"].write = fail
    for move in (
        engine.tick,
        lambda: engine.advance({"optimizer_steps": 1}),
        lambda: engine.observe({"val_loss": 1.0}),
        lambda: engine.observe({"val_loss": 1.0}, tick=True),
    ):
        with pytest.raises(RuntimeError, match="the target is gone"):
            move()
        assert everything(engine) == before
    written = []
    engine.tracks["lr"].write = written.append
    engine.tick()
    assert (written, engine.counts) == ([FALL(1)], {"optimizer_steps": 1})
