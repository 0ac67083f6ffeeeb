"""PyTorch's schedulers built from their names and arguments, to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, cast

from tempomat.convert.faults import Faults
from tempomat.convert.torch_parts import CLASSES, no_class
from tempomat.core.errors import did_you_mean, join_path, shown
from tempomat.core.fields import NumberKind

_BESIDE = ("lr", "optimizer", "total", "after_end", "clock", "metric")
"""What stands beside the arguments of the outermost class."""
_OF_FUNCTIONS = ("LambdaLR", "MultiplicativeLR")
_NO_FUNCTION = (
    "is a function, and none can be given on a command line or in a file. In Python multiply by "
    "tm.schedule(function), or give {}'s live scheduler to from_torch; in a plan write the curve with one of its own "
    "types (`tempomat list`), or a class of yours (`tempomat show schedule`)"
)


def _functions(given: object) -> bool:
    several = cast("list[object]", given) if isinstance(given, (list, tuple)) else [given]
    return all(map(callable, several))


def optimizer_of(kind: str, lr: float | Mapping[str, float] | None, faults: Faults) -> Any:
    """An optimizer to build schedulers on: a group of one parameter for each learning rate."""
    import torch

    cls = getattr(torch.optim, kind, None) if kind.isidentifier() else None
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        classes = (name for name, one in vars(torch.optim).items() if isinstance(one, type) and name != "Optimizer")
        faults.add("optimizer", f"torch.optim has no optimizer {shown(kind)}.{did_you_mean(kind, classes)}".rstrip("."))
        faults.check()
    one_rate = {"": 1.0 if lr is None else lr}
    rates = cast("Mapping[str, Any]", lr if isinstance(lr, Mapping) else one_rate)
    for name, rate in rates.items():
        faults.found += [fault.under(join_path("lr", name)) for fault in NumberKind().faults(rate)]
    faults.check()
    groups: list[dict[str, Any]] = []
    for name, rate in rates.items():
        one: dict[str, Any] = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate}
        groups.append({**one, "name": name} if name else one)
    try:
        return cast("Any", cls)(groups, lr=min(rates.values()))  # which it checks
    except (TypeError, ValueError) as error:
        faults.add("lr", str(error))
        faults.check()


def build(name: object, arguments: Mapping[str, Any], optimizer: Any, path: str, faults: Faults) -> Any:
    """One of PyTorch's schedulers; those inside it first, since building one changes the optimizer."""
    import torch

    if name not in CLASSES:
        faults.add(path, no_class(name))
        return None
    given = dict(arguments)
    if name in ("SequentialLR", "ChainedScheduler"):
        given["schedulers"] = _build_all(given.get("schedulers"), optimizer, path, faults)
    if name in _OF_FUNCTIONS and not _functions(given.get("lr_lambda")):
        faults.add(join_path(path, "lr_lambda"), _NO_FUNCTION.format(name))
    cls = getattr(torch.optim.swa_utils if name == "SWALR" else torch.optim.lr_scheduler, str(name))
    _check_arguments(cls, given, path, faults)
    if faults.found:
        return None
    try:
        return cls(**{**given, "optimizer": optimizer})
    except (TypeError, ValueError, ZeroDivisionError) as error:
        faults.add(path, f"PyTorch refuses it: {error}")
        return None


def _check_arguments(cls: type, given: Mapping[str, Any], path: str, faults: Faults) -> None:
    """Name the arguments that a class has not, those that it lacks, and those that PyTorch would stumble over."""
    known = {name: one for name, one in signature(cls).parameters.items() if name not in ("optimizer", "last_epoch")}
    for key in [str(key) for key in given if key not in known]:
        near = did_you_mean(key, (*known, *([] if path else _BESIDE)))
        message = f"no argument of that name.{near} {cls.__name__} has {', '.join(known)}"
        faults.add(join_path(path, key), "is for runs that go on; a plan is of a whole run. Leave it out"
                   if key == "last_epoch" else message)  # fmt: skip
    for key, one in known.items():
        message = _refusal(one, given.get(key, one.default)) if key not in ("lr_lambda", "schedulers") else ""
        if message:
            faults.add(join_path(path, key), message)


def _refusal(known: Parameter, value: object) -> str:
    if value is Parameter.empty:
        return "is missing"
    kind = str(known.annotation)
    if isinstance(value, str) and kind.startswith("float"):
        return f"{shown(value)} is not a number"
    if kind.startswith(("Iterable", "list")) and not isinstance(value, Iterable):
        return f"must be a list, got {shown(value)}"
    return ""


def _build_all(parts: object, optimizer: Any, path: str, faults: Faults) -> list[Any]:
    where = join_path(path, "schedulers")
    if not isinstance(parts, (list, tuple)) or not all(
        isinstance(one, Mapping) and "name" in one for one in cast("list[Any]", parts)
    ):
        faults.add(where, 'must be a list of mappings such as {"name": "LinearLR", "total_iters": 10}')
        return []
    built: list[Any] = []
    for place, one in enumerate(cast("list[Mapping[str, Any]]", parts)):
        arguments = {key: value for key, value in one.items() if key != "name"}
        built.append(build(one["name"], arguments, optimizer, f"{where}[{place}]", faults))
    return built
