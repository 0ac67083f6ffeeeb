"""The pure core: schedules, controllers, durations. NumPy and the standard library; no I/O, no globals, no mutation.

Everything that a plan may name is exported here, and nothing else has to be told of a new schedule.
"""

from tempomat.core.clock import RATES, Duration, Horizon, Unit
from tempomat.core.compose import (
    Clip,
    Composite,
    Maximum,
    Minimum,
    On,
    Product,
    Repeat,
    Sequence,
    Shift,
    Stretch,
    Sum,
    on,
)
from tempomat.core.controllers import Controller, Plateau, SuccessGates
from tempomat.core.errors import (
    BindingError,
    Fault,
    MeasurementError,
    MissingExtra,
    PlanError,
    RecordError,
    ScheduleError,
    StateError,
    TempomatError,
)
from tempomat.core.intervals import IntervalTable
from tempomat.core.reactive import Reactive
from tempomat.core.recipes import (
    one_cycle,
    step_decay,
    warmup_constant,
    warmup_cosine,
    warmup_linear,
    warmup_stable_decay,
    wsd,
)
from tempomat.core.schedule import Node, Schedule
from tempomat.core.shapes import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    Linear,
    MultiStep,
    PiecewiseConstant,
    PiecewiseLinear,
    Polynomial,
    StepDecay,
)

__all__ = [
    "RATES",
    "BindingError",
    "Clip",
    "Composite",
    "Constant",
    "Controller",
    "Cosine",
    "Duration",
    "Exponential",
    "Fault",
    "Horizon",
    "IntervalTable",
    "InverseSqrt",
    "Linear",
    "Maximum",
    "MeasurementError",
    "Minimum",
    "MissingExtra",
    "MultiStep",
    "Node",
    "On",
    "PiecewiseConstant",
    "PiecewiseLinear",
    "PlanError",
    "Plateau",
    "Polynomial",
    "Product",
    "Reactive",
    "RecordError",
    "Repeat",
    "Schedule",
    "ScheduleError",
    "Sequence",
    "Shift",
    "StateError",
    "StepDecay",
    "Stretch",
    "SuccessGates",
    "Sum",
    "TempomatError",
    "Unit",
    "on",
    "one_cycle",
    "step_decay",
    "warmup_constant",
    "warmup_cosine",
    "warmup_linear",
    "warmup_stable_decay",
    "wsd",
]
