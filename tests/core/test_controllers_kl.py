"""Controllers of the divergence against what rl_games, skrl, rsl_rl, RLlib and TorchRL do, written out here."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import math

import numpy as np
import pytest
from core.stepping import levels, resumed
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits, kl_controllers

import tempomat as tm

# Each library's rule as it stands in its source, over one number instead of param groups.


def rl_games(lr, kl, kl_threshold=0.008):
    """rl_games 1.6.1 to 1.6.5, `common/schedulers.py`, `AdaptiveScheduler.update`."""
    changed = lr
    if kl > 2.0 * kl_threshold:
        changed = max(lr / 1.5, 1e-6)
    if kl < 0.5 * kl_threshold:
        changed = min(lr * 1.5, 1e-2)
    return changed


def skrl(lr, kl, kl_threshold=0.008, min_lr=1e-6, max_lr=1e-2, kl_factor=2, lr_factor=1.5):
    """skrl 1.4, `resources/schedulers/torch/kl_adaptive.py`, `KLAdaptiveLR.step`."""
    if kl > kl_threshold * kl_factor:
        return max(lr / lr_factor, min_lr)
    if kl < kl_threshold / kl_factor:
        return min(lr * lr_factor, max_lr)
    return lr


def rsl_rl(lr, kl, desired_kl=0.01):
    """rsl_rl 2.x and 3.x, `algorithms/ppo.py`, `PPO.update` under `schedule="adaptive"`."""
    if kl > desired_kl * 2.0:
        return max(1e-5, lr / 1.5)
    if desired_kl / 2.0 > kl > 0.0:
        return min(1e-2, lr * 1.5)
    return lr


def rllib(coefficient, kl, kl_target=0.01):
    """Ray 2.x, `rllib/policy/torch_mixins.py`, `KLCoeffMixin.update_kl`; the new stack's learner has the same rule."""
    if kl > 2.0 * kl_target:
        return coefficient * 1.5
    if kl < 0.5 * kl_target:
        return coefficient * 0.5
    return coefficient


def torchrl(beta, kl, dtarg=0.01, increment=2, decrement=0.5):
    """TorchRL 0.6 to 0.10, `objectives/ppo.py`, `KLPENPPOLoss.forward`."""
    if kl > dtarg * 1.5:
        return beta * increment
    if kl < dtarg / 1.5:
        return beta * decrement
    return beta


RULES = {
    "rl_games": (rl_games, tm.KLAdaptive(target=0.008, init_value=3e-4)),
    "skrl": (skrl, tm.KLAdaptive(target=0.008, init_value=3e-4)),
    "rsl_rl": (rsl_rl, tm.KLAdaptive(target=0.01, min_value=1e-5, climb_at_zero=False, init_value=3e-4)),
    "rllib": (rllib, tm.KLPenalty(target=0.01, init_value=0.2)),
    "torchrl": (torchrl, tm.KLPenalty(target=0.01, band=1.5, increase=2.0, init_value=1.0)),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("drift", [-2.0, 0.0, 2.0])
def test_whole_runs_equal_the_library_at_its_defaults_bit_for_bit(name, drift):
    theirs, rule = RULES[name]
    rng = np.random.default_rng(2)
    measured = 0.009 * np.exp(rng.normal(size=400) + drift * rng.normal(size=400).cumsum() / 20)
    measured[rng.random(400) < 0.05] = 0.0
    edges = [0.016, 0.004, 0.02, 0.005, 0.01 * 1.5, 0.01 / 1.5]
    expected = [rule.level(rule.initial())]
    for kl in (*measured.tolist(), *edges):
        expected.append(theirs(expected[-1], kl))
    assert bits(levels(rule, [*measured.tolist(), *edges])) == bits(expected)
    assert len(set(expected)) > 4


def test_the_options_of_skrl_are_options_here():
    rule = tm.KLAdaptive(target=0.02, factor=1.2, band=3.0, min_value=1e-5, max_value=1e-3, init_value=1e-4)
    measured = (0.02 * np.exp(np.random.default_rng(3).normal(size=300) * 1.5)).tolist()
    expected = [1e-4]
    for kl in measured:
        expected.append(skrl(expected[-1], kl, 0.02, 1e-5, 1e-3, 3.0, 1.2))
    assert bits(levels(rule, measured)) == bits(expected)


def test_at_the_edges_of_the_band_nothing_moves():
    rule = tm.KLAdaptive(target=0.5, band=2.0, factor=2.0, max_value=1.0, init_value=0.5)
    assert levels(rule, [1.0, 0.25]) == [0.5] * 3
    assert levels(rule, [math.nextafter(1.0, 2.0)])[-1] == 0.25
    assert levels(rule, [math.nextafter(0.25, 0.0)])[-1] == 1.0
    beta = tm.KLPenalty(target=0.5, init_value=1.0)
    assert levels(beta, [1.0, 0.25]) == [1.0] * 3
    assert levels(beta, [math.nextafter(1.0, 2.0), math.nextafter(0.25, 0.0)]) == [1.0, 1.5, 0.75]


@pytest.mark.parametrize("kl", [0.0, -1e-4])
def test_a_divergence_of_zero_makes_it_climb_only_where_it_may(kl):
    assert levels(tm.KLAdaptive(target=0.01, init_value=1e-3), [kl])[-1] == 1.5e-3
    assert levels(tm.KLAdaptive(target=0.01, init_value=1e-3, climb_at_zero=False), [kl])[-1] == 1e-3


def test_it_stays_between_its_bounds():
    lr = tm.KLAdaptive(target=0.01, init_value=1e-3)
    assert levels(lr, [0.0] * 20)[-1] == 1e-2
    assert levels(lr, [1.0] * 50)[-1] == 1e-6
    beta = tm.KLPenalty(min_value=0.1, max_value=0.4)
    assert levels(beta, [1.0] * 9)[-1] == 0.4
    assert levels(beta, [0.0] * 9)[-1] == 0.1


def test_a_coefficient_that_grows_for_ever_stays_a_number():
    beta = tm.KLPenalty(increase=1e300)
    assert levels(beta, [1.0, 1.0, 1.0])[-1] == np.finfo(np.float64).max
    state = beta.update(beta.update(beta.initial(), 1.0, 0), 1.0, 1)
    beta.check(state)
    assert beta.accepts(state)


@pytest.mark.parametrize("kind", [tm.KLAdaptive, tm.KLPenalty])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_an_error_or_skipped_or_too_far(kind, bad):
    rule = {on_nan: kind(target=0.01, init_value=0.01, on_nan=on_nan) for on_nan in ("error", "skip", "bad")}
    with pytest.raises(tm.MeasurementError, match=r"KL\w+: kl must be a finite number, got .* at count 0. .*on_nan"):
        levels(rule["error"], [bad])
    assert rule["skip"].update(rule["skip"].initial(), bad, 0) == {"level": 0.01, "skipped": 1}
    assert levels(rule["bad"], [bad]) == levels(rule["bad"], [1.0])


def test_a_factor_scales_a_schedule_within_bounds_of_its_own():
    tree = tm.Cosine(init_value=1.0, end_value=0.0, duration=10) * tm.KLAdaptive(
        target=0.01, min_value=0.1, max_value=10.0
    )
    run = tm.simulate(tree, {"kl": [1.0, 0.01, 0.0]}, every=2, total=8)
    assert run.values[1] == tree.given([1.0])(1)
    assert run.values[2] == tree.given([1 / 1.5])(2)
    assert [one.after for one in run.decisions] == [1 / 1.5, 1.0]


@settings(max_examples=40)
@given(data=st.data(), kind=st.sampled_from([tm.KLAdaptive, tm.KLPenalty]), cut=st.integers(0, 20))
def test_they_are_pure_and_go_on_from_saved_states_that_are_their_own(data, kind, cut):
    rule = data.draw(kl_controllers(kind))
    measurements = data.draw(st.lists(st.floats(0.0, 3.0), max_size=20))
    resumed(rule, measurements, cut)


def test_a_state_outside_the_bounds_of_another_is_not_accepted_by_it():
    state = {"level": 0.005, "skipped": 0}
    assert not tm.KLAdaptive(target=1.0, min_value=0.006, init_value=0.01).accepts(state)
    assert not tm.KLAdaptive(target=1.0, max_value=0.004, init_value=0.001).accepts(state)
    assert not tm.KLPenalty(min_value=0.006).accepts(state)
    assert not tm.KLPenalty(max_value=0.004, init_value=0.001).accepts(state)
    assert tm.KLPenalty().accepts(state)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: tm.KLAdaptive(target=0), "KLAdaptive: `target` must be above 0, got 0"),
        (lambda: tm.KLAdaptive(target=0.01), "`max_value` must not be below 1, where a factor starts, got 0.01. For a"),
        (lambda: tm.KLAdaptive(target=0.01, init_value=1.0), r"`init_value` must not be above `max_value` \(0.01\)"),
        (lambda: tm.KLAdaptive(target=0.01, factor=0.5, init_value=1e-3), "`factor` must be at least 1, got 0.5"),
        (lambda: tm.KLAdaptive(target=0.01, band=0.5, init_value=1e-3), "`band` must be at least 1, got 0.5"),
        (lambda: tm.KLPenalty(increase=1.0), "KLPenalty: `increase` must be above 1, got 1"),
        (lambda: tm.KLPenalty(decrease=1.0), "`decrease` must be below 1, got 1"),
        (lambda: tm.KLPenalty(min_value=0.3), r"`init_value` must not be below `min_value` \(0.3\), got 0.2"),
        (lambda: tm.KLPenalty(max_value=0.1), r"`init_value` must not be above `max_value` \(0.1\), got 0.2"),
    ],
)
def test_what_cannot_be_is_refused(build, match):
    with pytest.raises(tm.ScheduleError, match=match):
        build()
