"""PyTorch's schedulers as data: live ones, and those that were saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from tempomat.convert.faults import Faults
from tempomat.convert.torch_parts import CLASSES, Part, no_class
from tempomat.core.errors import join_path, shown

_HOMES = ("torch.optim.lr_scheduler", "torch.optim.swa_utils")
_EXPORTED = ("tempomat.convert.lambdas", "ExportedLR")
"""What `to_torch` gives; by name, so that reading a saved state needs no PyTorch."""

# What tells the class of a saved state; PyTorch does not save the classes of a sequence's parts.
_MARKS: tuple[tuple[str, frozenset[str]], ...] = (
    ("SequentialLR", frozenset({"_schedulers", "_milestones"})),
    ("ChainedScheduler", frozenset({"_schedulers"})),
    ("OneCycleLR", frozenset({"_schedule_phases"})),
    ("CyclicLR", frozenset({"total_size", "step_ratio"})),
    ("CosineAnnealingWarmRestarts", frozenset({"T_0", "T_mult"})),
    ("CosineAnnealingLR", frozenset({"T_max", "eta_min"})),
    ("SWALR", frozenset({"anneal_epochs"})),
    ("ReduceLROnPlateau", frozenset({"num_bad_epochs", "patience"})),
    ("LinearLR", frozenset({"start_factor", "total_iters"})),
    ("PolynomialLR", frozenset({"power", "total_iters"})),
    ("ConstantLR", frozenset({"factor", "total_iters"})),
    ("StepLR", frozenset({"step_size", "gamma"})),
    ("MultiStepLR", frozenset({"milestones", "gamma"})),
    ("LambdaLR", frozenset({"lr_lambdas"})),
    ("ExponentialLR", frozenset({"gamma"})),
)


def read_live(scheduler: Any, faults: Faults, path: str = "") -> Part:
    """A scheduler and those inside it."""
    cls = type(scheduler)
    kind = "LambdaLR" if (cls.__module__, cls.__name__) == _EXPORTED else cls.__name__
    if cls.__module__ not in (*_HOMES, _EXPORTED[0]) or kind not in CLASSES:
        faults.add(path, _not_pytorchs(scheduler))
        return Part("", {})
    inner = getattr(scheduler, "_schedulers", ())
    return Part(kind, vars(scheduler), _each(inner, path, lambda one, where: read_live(one, faults, where)))


def read_state(name: str | None, state: object, faults: Faults, path: str = "") -> Part:
    """A saved state and those inside it; with no name, of the class that its keys are of."""
    if not isinstance(state, Mapping):
        faults.add(path, f"must be a scheduler's state_dict, got {type(state).__name__}")
        return Part("", {})
    given = cast("Mapping[str, Any]", state)
    kind = name or next((kind for kind, marks in _MARKS if marks <= set(given)), "")
    if kind not in CLASSES:
        faults.add(path, no_class(kind) if kind else f"no scheduler of PyTorch saves {', '.join(map(str, given))}")
        return Part("", {})
    marks = dict(_MARKS).get(kind, frozenset({"lr_lambdas"}))
    missing = sorted(marks - set(given))
    if missing:
        faults.add(path, f"is no state of a {kind}: it lacks {', '.join(missing)}")
        return Part("", {})
    inner = given.get("_schedulers", ())
    return Part(kind, given, _each(inner, path, lambda one, where: read_state(None, one, faults, where)))


def _each(inner: Iterable[Any], path: str, read: Callable[[Any, str], Part]) -> tuple[Part, ...]:
    return tuple(read(one, join_path(path, f"schedulers[{place}]")) for place, one in enumerate(inner))


def _not_pytorchs(scheduler: Any) -> str:
    cls = type(scheduler)
    known = any(base.__module__ in _HOMES for base in cls.__mro__[1:])
    if known:
        return (
            f"is a {cls.__name__} of {cls.__module__}, not one of PyTorch's own classes, and may compute anything. "
            "Write its formula as a schedule"
        )
    return f"must be a scheduler of torch.optim.lr_scheduler, got {shown(scheduler)}"
