"""The pure core: schedules, controllers, durations. NumPy and the standard library; no I/O, no globals, no mutation.

Everything that a plan may name is exported here, and nothing else has to be told of a new schedule.
"""

from tempomat.core.advance import Advance
from tempomat.core.annealing import (
    cosine_linear_tail,
    flat_cosine,
    half_cosine,
    one_cycle,
    warmup_stable_decay,
    wsd,
    wsd_s,
)
from tempomat.core.clock import RATES, Duration, Horizon, Unit
from tempomat.core.compose import (
    Clip,
    Composite,
    FloorTo,
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
from tempomat.core.controllers import Controller, Plateau
from tempomat.core.coupling import Power, coupled
from tempomat.core.cycles import CosineCycles, CosineRestarts, Cyclic, WarmRestarts
from tempomat.core.decays import CosineTail, Geometric, Hyperbolic, InverseTime, PowerLaw, Rex, Tanh
from tempomat.core.endless import noam, warmup_inverse_sqrt, warmup_power
from tempomat.core.errors import (
    BindingError,
    ConversionError,
    Fault,
    MeasurementError,
    MissingExtra,
    PlanError,
    RecordError,
    ScheduleError,
    StateError,
    TempomatError,
)
from tempomat.core.functions import schedule
from tempomat.core.gates import SuccessGates
from tempomat.core.gradients import AutoClip, NoiseScale, noise_scale
from tempomat.core.greedy import Greedy
from tempomat.core.guard import DivergenceGuard
from tempomat.core.intervals import IntervalTable
from tempomat.core.kl import KLAdaptive, KLPenalty
from tempomat.core.noise import Noise
from tempomat.core.ramps import batch_ramp, difficulty, length_warmup, proportional
from tempomat.core.reactive import Reactive
from tempomat.core.recipes import step_decay, warmup_constant, warmup_cosine, warmup_linear, warmup_polynomial
from tempomat.core.rises import Logarithmic, PowerRamp, Staircase
from tempomat.core.schedule import Node, Schedule
from tempomat.core.shapes import Constant, Cosine, Exponential, InverseSqrt, Linear, Polynomial
from tempomat.core.steps import MultiStep, PiecewiseConstant, PiecewiseLinear, StepDecay

__all__ = [
    "RATES",
    "Advance",
    "AutoClip",
    "BindingError",
    "Clip",
    "Composite",
    "Constant",
    "Controller",
    "ConversionError",
    "Cosine",
    "CosineCycles",
    "CosineRestarts",
    "CosineTail",
    "Cyclic",
    "DivergenceGuard",
    "Duration",
    "Exponential",
    "Fault",
    "FloorTo",
    "Geometric",
    "Greedy",
    "Horizon",
    "Hyperbolic",
    "IntervalTable",
    "InverseSqrt",
    "InverseTime",
    "KLAdaptive",
    "KLPenalty",
    "Linear",
    "Logarithmic",
    "Maximum",
    "MeasurementError",
    "Minimum",
    "MissingExtra",
    "MultiStep",
    "Node",
    "Noise",
    "NoiseScale",
    "On",
    "PiecewiseConstant",
    "PiecewiseLinear",
    "PlanError",
    "Plateau",
    "Polynomial",
    "Power",
    "PowerLaw",
    "PowerRamp",
    "Product",
    "Reactive",
    "RecordError",
    "Repeat",
    "Rex",
    "Schedule",
    "ScheduleError",
    "Sequence",
    "Shift",
    "Staircase",
    "StateError",
    "StepDecay",
    "Stretch",
    "SuccessGates",
    "Sum",
    "Tanh",
    "TempomatError",
    "Unit",
    "WarmRestarts",
    "batch_ramp",
    "cosine_linear_tail",
    "coupled",
    "difficulty",
    "flat_cosine",
    "half_cosine",
    "length_warmup",
    "noam",
    "noise_scale",
    "on",
    "one_cycle",
    "proportional",
    "schedule",
    "step_decay",
    "warmup_constant",
    "warmup_cosine",
    "warmup_inverse_sqrt",
    "warmup_linear",
    "warmup_polynomial",
    "warmup_power",
    "warmup_stable_decay",
    "wsd",
    "wsd_s",
]
