"""fvcore's schedulers, live, over whole runs."""

from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.convert import from_fvcore

theirs = pytest.importorskip("fvcore.common.param_scheduler")

TOTAL = 120

LIVE: dict[str, Any] = {
    "constant": lambda: theirs.ConstantParamScheduler(0.3),
    "cosine": lambda: theirs.CosineParamScheduler(0.1, 0.001),
    "linear": lambda: theirs.LinearParamScheduler(0.001, 0.1),
    "exponential": lambda: theirs.ExponentialParamScheduler(2.0, 0.02),
    "polynomial": lambda: theirs.PolynomialDecayParamScheduler(0.1, 0.9),
    "step": lambda: theirs.StepParamScheduler(values=[0.1, 0.01, 0.001], num_updates=120),
    "step of a fraction": lambda: theirs.StepParamScheduler(values=[7, 6, 5, 4, 3, 2, 1], num_updates=120),
    "one step": lambda: theirs.StepParamScheduler(values=[0.1], num_updates=120),
    "multistep": lambda: theirs.MultiStepParamScheduler(values=[1, 0.5, 0.1], milestones=[30, 80], num_updates=90),
    "multistep in epochs": lambda: theirs.MultiStepParamScheduler(values=[1.0, 0.5, 0.1], milestones=[3, 6, 9]),
    "multistep in equal parts": lambda: theirs.MultiStepParamScheduler(values=[1.0, 0.5, 0.1, 0.01], num_updates=90),
    "fixed gamma": lambda: theirs.StepWithFixedGammaParamScheduler(0.1, num_decays=3, gamma=0.1, num_updates=120),
    "warmup": lambda: theirs.CompositeParamScheduler(
        [theirs.LinearParamScheduler(0.0001, 0.1), theirs.CosineParamScheduler(0.1, 0.001)], [0.1, 0.9],
        ["rescaled", "rescaled"]),
    "warmup in the place of a beginning": lambda: theirs.CompositeParamScheduler(
        [theirs.LinearParamScheduler(0.0001, 0.1), theirs.CosineParamScheduler(0.1, 0.001)], [0.1, 0.9],
        ["rescaled", "fixed"]),
    "three parts and steps": lambda: theirs.CompositeParamScheduler(
        [theirs.ConstantParamScheduler(0.2), theirs.StepParamScheduler(values=[5.0, 4.0, 3.0, 2.0], num_updates=1),
         theirs.ExponentialParamScheduler(1.0, 0.1)], [0.25, 0.25, 0.5], ["fixed", "rescaled", "fixed"]),
    "one within another": lambda: theirs.CompositeParamScheduler(
        [theirs.LinearParamScheduler(0.0, 1.0),
         theirs.CompositeParamScheduler(
             [theirs.ConstantParamScheduler(1.0), theirs.LinearParamScheduler(1.0, 0.0)], [0.5, 0.5],
             ["rescaled"] * 2)],
        [0.2, 0.8], ["rescaled"] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", LIVE)
def test_a_schedule_has_fvcores_value_at_every_count(name: str) -> None:
    expected = [LIVE[name]()(count / TOTAL) for count in range(TOTAL)]
    # fvcore divides a rounded difference of shares; at the end of a wave to its floor its own rounding shows
    np.testing.assert_allclose(from_fvcore(LIVE[name](), total=TOTAL)(np.arange(TOTAL)), expected, rtol=1e-9, atol=0)


def test_a_milestone_fires_where_it_is_written_and_not_six_steps_early() -> None:
    """A milestone at 3M of 6M fires early in fvcore, which adds a millionth of the run."""
    total = 6_000_000
    scheduler = theirs.MultiStepParamScheduler(values=[1.0, 0.1], milestones=[3_000_000], num_updates=total)
    assert scheduler((3_000_000 - 6) / total) == 0.1
    ours = from_fvcore(scheduler, total=total)
    assert (ours(2_999_999), ours(3_000_000)) == (1.0, 0.1)


def test_a_class_of_the_users_own_is_refused_also_within_a_composite() -> None:
    class Mine(theirs.ParamScheduler):
        def __call__(self, where: float) -> float:
            return where

    parts = [theirs.ConstantParamScheduler(1.0), Mine()]
    with pytest.raises(tm.ConversionError, match=r"schedulers\[1\]: .*Mine is no scheduler of fvcore whose formula"):
        from_fvcore(theirs.CompositeParamScheduler(parts, [0.5, 0.5], ["fixed", "fixed"]), total=10)
    with pytest.raises(tm.ConversionError, match=r"function is no scheduler of fvcore"):
        from_fvcore(lambda where: where, total=10)


def test_parts_of_no_whole_number_of_counts_are_refused_together() -> None:
    parts = [theirs.ConstantParamScheduler(1.0), theirs.LinearParamScheduler(1.0, 0.0)]
    scheduler = theirs.CompositeParamScheduler(parts, [0.33, 0.67], ["rescaled", "rescaled"])
    with pytest.raises(
        tm.ConversionError, match=r"(?s)2 faults.*lengths.0.: ends at 3.3 counts.*lasts 6.7 counts"
    ) as caught:
        from_fvcore(scheduler, total=10)
    assert {fault.path for fault in caught.value.faults} == {"lengths[0]", "schedulers[1]"}


def test_thirds_are_as_whole_as_sixteen_digits_can_say() -> None:
    parts = [theirs.ConstantParamScheduler(value) for value in (1.0, 2.0, 3.0)]
    scheduler = theirs.CompositeParamScheduler(parts, [1 / 3, 1 / 3, 1 / 3], ["rescaled"] * 3)
    ours = from_fvcore(scheduler, total=9)
    assert [ours(count) for count in (2, 3, 5, 6)] == [1.0, 2.0, 2.0, 3.0]


def test_a_run_has_a_length() -> None:
    with pytest.raises(tm.ConversionError, match=r"fvcore: total: must be at least 1, got 0"):
        from_fvcore(theirs.ConstantParamScheduler(1.0), total=0)


def test_what_a_schedule_refuses_is_said_with_its_path() -> None:
    with pytest.raises(tm.ConversionError, match=r"fvcore: power: must be above 0, got -1"):
        from_fvcore(theirs.PolynomialDecayParamScheduler(0.1, -1.0), total=10)
