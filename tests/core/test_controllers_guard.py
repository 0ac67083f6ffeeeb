"""The guard against divergence: spikes and NaNs cut, quiet takes cuts back."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import math
import statistics

import numpy as np
import pytest
from core.stepping import levels, resumed, run
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bits, guards

import tempomat as tm

BAD = [math.nan, math.inf, -math.inf]
QUIET = tm.DivergenceGuard(factor=0.5, spike=2.0, window=4, min_measurements=2)


def naive(rule, losses):
    """The rule as it is told in words, with a list of everything heard."""
    level_of = [max((1.0 if rule.init_value is None else rule.init_value) * rule.factor**k, rule.min_value)
                for k in range(len(losses) + 2)]  # fmt: skip
    finite, cuts, calm, wait, told = [], 0, 0, 0, [level_of[0]]
    for loss in losses:
        if not math.isfinite(loss) and rule.on_nan == "skip":
            told.append(level_of[cuts])
            continue
        past = finite[-rule.window :]
        known = len(past) >= rule.min_measurements
        middle = statistics.median(past) if known else 0.0
        wrong = not math.isfinite(loss) or (known and loss > middle + (rule.spike - 1) * abs(middle))
        finite += [loss] if math.isfinite(loss) else []
        calm = 0 if wrong else calm + 1
        if wait:
            wait -= 1
        elif wrong and level_of[cuts + 1] < level_of[cuts]:
            cuts, wait = cuts + 1, rule.cooldown
        if rule.recovery and calm == rule.recovery:
            cuts, calm = max(cuts - 1, 0), 0
        told.append(level_of[cuts])
    return told


@settings(max_examples=80)
@given(rule=guards(), seed=st.integers(0, 2**32 - 1), offset=st.sampled_from([0.0, 3.0, -3.0]))
def test_levels_are_those_of_an_independent_implementation_with_lists(rule, seed, offset):
    rng = np.random.default_rng(seed)
    losses = rng.normal(size=60) + offset + np.where(rng.random(60) < 0.1, 20.0, 0.0)
    if rule.on_nan != "error":
        losses[rng.random(60) < 0.1] = rng.choice(BAD)
    np.testing.assert_allclose(levels(rule, losses.tolist()), naive(rule, losses.tolist()), rtol=1e-12, atol=0)


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_finite_number_cuts_and_never_enters_the_median(bad):
    assert levels(QUIET, [bad, bad]) == [1.0, 0.5, 0.25]
    assert run(QUIET, [1.0, bad])[-1]["window"] == (1.0,)


@pytest.mark.parametrize("bad", BAD)
def test_it_can_be_told_to_skip_or_to_refuse_it(bad):
    skip = tm.DivergenceGuard(on_nan="skip")
    assert run(skip, [1.0, bad])[-1] == {**run(skip, [1.0])[-1], "skipped": 1}
    with pytest.raises(tm.MeasurementError, match=r"DivergenceGuard: loss must be a finite number, got .* at count 1"):
        run(tm.DivergenceGuard(on_nan="error"), [1.0, bad])


def test_a_loss_above_so_many_times_the_median_before_it_cuts():
    assert levels(QUIET, [1.0, 1.0, 2.0])[-1] == 1.0
    assert levels(QUIET, [1.0, 1.0, 2.01])[-1] == 0.5
    assert levels(QUIET, [1.0, 3.0, 4.0])[-1] == 1.0, "the median of 1 and 3 is 2"
    assert levels(QUIET, [1.0, 9.0])[-1] == 1.0, "one loss is no history"


def test_below_zero_a_spike_is_as_far_above_the_median_as_the_median_is_large():
    assert levels(QUIET, [-1.0, -1.0, 0.0])[-1] == 1.0
    assert levels(QUIET, [-1.0, -1.0, 0.01])[-1] == 0.5


def test_a_level_that_lasts_stops_being_a_spike_once_it_fills_half_of_the_window():
    assert levels(QUIET, [1.0] * 4 + [5.0] * 4) == [1.0] * 5 + [0.5, 0.25, 0.25, 0.25]


def test_after_a_cut_nothing_is_cut_while_it_cools_down():
    rule = tm.DivergenceGuard(factor=0.5, cooldown=2)
    assert levels(rule, [math.nan] * 5) == [1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_cuts_are_taken_back_one_by_one_and_exactly():
    rule = tm.DivergenceGuard(factor=0.3, recovery=2, init_value=0.7)
    found = levels(rule, [math.nan, math.nan, 1, 1, 1, 1, 1, 1, 1, 1])
    assert bits(found[-8:]) == bits([0.7 * 0.3**2, 0.7 * 0.3, 0.7 * 0.3, 0.7, 0.7, 0.7, 0.7, 0.7])
    assert levels(rule, [math.nan, 1, math.nan, 1, 1])[-2:] == [0.7 * 0.3**2, 0.7 * 0.3]


def test_it_never_falls_below_its_floor_and_cuts_there_need_no_taking_back():
    rule = tm.DivergenceGuard(factor=0.5, min_value=0.3, recovery=1)
    assert levels(rule, [math.nan] * 9 + [1.0, 1.0])[-3:] == [0.3, 0.5, 1.0]


def test_a_plan_of_it_is_simulated_and_its_cuts_are_decisions():
    tree = tm.Constant(value=0.1) * tm.DivergenceGuard(spike=2.0, min_measurements=2, recovery=3)
    run = tm.simulate(tree, {"loss": [1.0, 1.0, 5.0, 1.0, 1.0, 1.0]}, every=1, total=8)
    assert [(one.count, one.after) for one in run.decisions] == [(3, 0.5), (6, 1.0)]
    assert run.values.tolist() == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.1, 0.1]


def test_in_a_scheduler_a_nan_is_recorded_as_a_decision_without_a_number():
    torch = pytest.importorskip("torch")
    from tempomat.torch import Scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = Scheduler(optimizer, tm.Plan({"lr": tm.Constant(value=0.1) * tm.DivergenceGuard()}))
    optimizer.step()
    (decision,) = scheduler.observe(loss=math.nan)
    assert (decision["observation"], decision["level"]) == (None, 0.5)
    assert optimizer.param_groups[0]["lr"] == 0.05


@settings(max_examples=60)
@given(rule=guards(), measurements=st.lists(st.floats(-10, 10) | st.just(50.0), max_size=20), cut=st.integers(0, 20))
def test_it_is_pure_and_goes_on_from_saved_states_that_are_its_own(rule, measurements, cut):
    resumed(rule, measurements, cut)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"factor": 1.0}, "DivergenceGuard: `factor` must be below 1"),
        ({"factor": 0.0}, "`factor` must be above 0"),
        ({"spike": 1.0}, "`spike` must be above 1, got 1"),
        ({"window": 10_001}, "`window` must be at most 10_000 measurements"),
        ({"window": 5, "min_measurements": 6}, "`min_measurements` must fit into the window of 5, got 6"),
        ({"recovery": 0}, "`recovery` must be at least 1"),
        ({"cooldown": "2 epochs"}, "`cooldown` must be a count of measurements, got 2 epochs"),
        ({"min_value": 2.0}, "`min_value` must not be above 1, where a factor starts"),
        ({"min_value": 0.2, "init_value": 0.1}, r"`init_value` must not be below `min_value` \(0.2\), got 0.1"),
        ({"on_nan": "bad"}, "`on_nan` must be one of cut, skip, error"),
    ],
)
def test_what_cannot_be_is_refused(given, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.DivergenceGuard(**given)
