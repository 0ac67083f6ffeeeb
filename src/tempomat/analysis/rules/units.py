"""Rules on what counts: units that the run does not advance, and one unit taken for another."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from tempomat.analysis import words
from tempomat.analysis.rules.case import Case
from tempomat.analysis.rules.registry import Hit, rule
from tempomat.analysis.study import Entry, lengths, nodes
from tempomat.core import Duration, On, ScheduleError, Unit

_FEW_STEPS = 10
"""Optimizer steps per epoch below which counts of the two cannot be told apart."""
_A_LENGTH = 2
"""The smallest count that says something: a period of 1 is a default."""
_MOST_STAGES = 16
"""The most levels that anybody would match to stages by hand."""
_MANY_EPOCHS = 20
"""How many times the run's epochs a length has to be to look like optimizer steps."""


@rule(
    "TM109",
    "unit-never-advanced",
    "error",
    wrong="""
        total: 10_000
        schedules:
          noise:
            type: 'on'
            unit: env_steps
            schedule: {type: linear, init_value: 1.0, end_value: 0.1, duration: 8_000}
    """,
    right="""
        total: 10_000
        schedules:
          noise:
            type: 'on'
            unit: optimizer_steps
            schedule: {type: linear, init_value: 1.0, end_value: 0.1, duration: 8_000}
    """,
    options="--advances optimizer_steps",
)
def unit_never_advanced(case: Case) -> Iterator[Hit]:
    """A schedule follows a unit that the run does not count.

    Its clock stays at 0, and the value stays where it began: rl_games' linear schedule on frames never decays that
    way. The linter takes as counted what `--advances` names. Without it: the plan's clock and the units of its
    total. A rate converts lengths and counts nothing. Anything else is then a warning and no error, since the loop
    may count it all the same.

    Count the unit in the loop (`scheduler.advance(env_steps=8)`) and name it with `--advances`, or tie the schedule
    to another unit.
    """
    for entry in case.entries:
        for path, node, _ in nodes(entry.written, case.study.clock, entry.path):
            unit = str(node.parameters().get("unit", ""))
            if node.builder() is On and unit not in case.advances:
                counted = words.listed(sorted(case.advances))
                message = f"follows {unit}, which this run is not known to count: it counts {counted}"
                fix = f"Advance {unit} in the loop and say so with --advances, or follow one that is counted"
                yield Hit(f"{path}.unit", message, fix, None if case.advances_given else "warning")


@rule(
    "TM110",
    "epochs-or-steps",
    "warning",
    wrong="""
        total: 90 epochs
        rates: {steps_per_epoch: 500}
        schedules:
          lr: {type: multi_step, init_value: 0.1, factor: 0.1, milestones: [30, 60, 80]}
    """,
    right="""
        total: 90 epochs
        rates: {steps_per_epoch: 500}
        schedules:
          lr: {type: multi_step, init_value: 0.1, factor: 0.1, milestones: [30 epochs, 60 epochs, 80 epochs]}
    """,
)
def epochs_or_steps(case: Case) -> Iterator[Hit]:
    """Bare counts look like epochs in a plan that counts optimizer steps, or the other way round.

    A bare count is in the plan's clock. Milestones of 30, 60 and 80 that were meant as epochs have all passed
    within the first epoch, and the run trains at a thousandth of its lr; a warmup of 1 000 that was meant as steps
    outlasts a run of 90 epochs. It is found where all bare counts of an entry fit into the run's number of epochs
    (each epoch has at least 10 steps), or where one is over 20 times the run's epochs.

    Write the unit: `30 epochs`, or `30 optimizer_steps` if that is what is meant; lengths with a unit are never
    doubted.
    """
    epochs = _epochs(case)
    if epochs is None:
        return
    for entry in case.entries:
        path, longest = _longest_bare(case, entry)
        if longest < _A_LENGTH:
            continue
        if case.study.clock == Unit.EPOCHS and longest > _MANY_EPOCHS * epochs:
            message = f"{words.count(longest)} counts epochs, and the run has {words.count(epochs)}"
            yield Hit(path, f"{message}: are these optimizer steps?", f"Write the unit: {longest:_} optimizer_steps")
        elif case.study.clock == Unit.OPTIMIZER_STEPS and longest <= epochs and _long_epochs(case, epochs):
            message = f"{words.count(longest)} counts optimizer steps, and the run has {words.count(epochs)} epochs"
            yield Hit(path, f"{message}: are these epochs?", f"Write the unit: {longest} epochs")


def _longest_bare(case: Case, entry: Entry) -> tuple[str, int]:
    """The path and the size of the longest count that is written without a unit and counts the plan's clock."""
    found = lengths(entry.written, case.study.clock, entry.path)
    bare = [(path, size) for path, size, unit in found if isinstance(size, int) and unit == case.study.clock]
    return max(bare, key=lambda one: one[1], default=("", 0))


def _epochs(case: Case) -> Fraction | None:
    """How many epochs the run has: as its total says, or by the rates."""
    total, clock = case.study.plan.total, case.study.clock
    written = total.terms if isinstance(total, Duration) else (("", Fraction(total or 0)),)
    found = Fraction(0)
    for term, amount in written:
        try:
            found += amount * case.study.horizon.ratio(Unit(term) if term else clock, Unit.EPOCHS)
        except ScheduleError:
            return None
    return found if found > 0 else None


def _long_epochs(case: Case, epochs: Fraction) -> bool:
    """Whether an epoch has many optimizer steps, or an unknown number of them."""
    steps = case.length(str(Unit.OPTIMIZER_STEPS))
    return steps is None or steps >= _FEW_STEPS * epochs


@rule(
    "TM111",
    "stage-not-followed",
    "warning",
    wrong="""
        total: 6_000_000
        clock: env_steps
        schedules:
          lr: {type: step_decay, intervals: [{end: 500_000, lr: 1.2e-4}, {start: 500_000, lr: 1.0e-4}]}
    """,
    right="""
        total: 6_000_000
        clock: env_steps
        schedules:
          lr: {type: 'on', unit: stage, schedule: {type: piecewise_constant, values: [1.2e-4, 1.0e-4], boundaries: [1]}}
    """,
    options="--advances env_steps,stage",
)
def stage_not_followed(case: Case) -> Iterator[Hit]:
    """The run advances through stages (`--advances ...,stage`), and an lr moves in steps at fixed counts.

    A curriculum advances on success, not on time: a table made to match its stages is right in the one run that its
    counts were read from. A slow agent is given the small lr of a stage that it has not reached.

    Tie the steps to the stage, or leave it if they were never meant to follow it.
    """
    if not case.advances_given or str(Unit.STAGE) not in case.advances:
        return
    for entry in case.resolved:
        traced = case.traced(entry)
        if entry.target.key != "lr" or traced is None or traced[0].clock == Unit.STAGE:
            continue
        curve, counts, values = traced
        levels = len(set(values.tolist()))
        if 1 < levels <= _MOST_STAGES and curve.stepwise(counts):
            message = f"its {levels} levels are at fixed counts of {curve.clock}, whatever stage the run is in"
            yield Hit(entry.path, message, "Tie it to the stage: type 'on' with unit: stage")
