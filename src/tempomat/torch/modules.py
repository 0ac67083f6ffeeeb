"""Targets inside a model: attributes of its modules by path, such as dropout, and which of its layers train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from tempomat.core import BindingError, Fault
from tempomat.core.errors import did_you_mean, list_faults


@final
@dataclass(frozen=True, slots=True)
class ModuleAttribute:
    """Writes a value into one attribute of several modules; made by `module_attribute`."""

    modules: tuple[Module, ...]
    names: tuple[str, ...]
    attribute: str
    convert: Callable[[float], Any]

    def __call__(self, value: float) -> None:
        converted = self.convert(value)
        for module in self.modules:
            held = getattr(module, self.attribute)
            if isinstance(held, Tensor):
                with torch.no_grad():
                    held.fill_(converted)
            else:
                setattr(module, self.attribute, converted)


def module_attribute(
    model: Module,
    path: str,
    *,
    kind: type[Module] | tuple[type[Module], ...] = Module,
    convert: Callable[[float], Any] = float,
) -> ModuleAttribute:
    """A target that writes a value into an attribute of a model's modules, by path:
    `targets={"dropout": module_attribute(model, "encoder.*.p")}`.

    In a path `*` stands for anything within one name, and `**` for any number of names, none as well: `**.p` is every
    module's `p`, the model's own too. A tensor, such as a buffer, is filled in place.

    The scheduler writes its first values right before the first `optimizer.step()`. For the first forward pass to have
    them too, call `scheduler.start()` before it.

    Under `torch.compile` a number in a module is part of the compiled code, which is compiled anew for each other
    value, and after eight of them no more: hold it in a buffer, or let it move in a few steps (`Staircase`).

    Args:
        model: whose modules, as they are now.
        path: the modules' names and the attribute's, with dots between.
        kind: only modules of this class.
        convert: what makes the attribute's value of the entry's, such as `round`.

    Raises:
        BindingError: no module there has the attribute, or it holds no number.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
        >>> dropout = module_attribute(model, "**.p", kind=nn.Dropout)
        >>> dropout.names
        ('1', '2.0')
        >>> dropout(0.25)
        >>> model[1].p, model[2][0].p
        (0.25, 0.25)
    """
    pattern, _, attribute = path.rpartition(".")
    named = {name: one for name, one in _matching(model, pattern) if isinstance(one, kind)}
    holders = {name: one for name, one in named.items() if hasattr(one, attribute)}
    if not holders:
        if named:
            held = {key for one in named.values() for key, value in vars(one).items() if _is_number(value)}
            known = ", ".join(sorted(held)[:12]) or "none"
            places = ", ".join([name or "the model" for name in named][:8])
            raise BindingError(
                f"{path}: no {attribute!r} in {places}.{did_you_mean(attribute, held)} Numbers there: {known}"
            )
        raise BindingError(_no_module(model, path, pattern))
    faults = [
        Fault(f"{name}.{attribute}".lstrip("."), f"must be a number, got {value!r:.60}")
        for name, one in holders.items()
        if not _is_number(value := getattr(one, attribute))
    ]
    if faults:
        raise BindingError(list_faults(path, faults), faults)
    return ModuleAttribute(tuple(holders.values()), tuple(holders), attribute, convert)


def _is_number(value: object) -> bool:
    tensor = isinstance(value, Tensor) and value.numel() == 1 and value.dtype != torch.bool
    return tensor or (isinstance(value, (int, float)) and not isinstance(value, bool))


@final
@dataclass(frozen=True, slots=True, eq=False)
class TrainableLayers:
    """Freezes and unfreezes layers; made by `trainable_layers`."""

    model: Module
    parameters: tuple[tuple[Parameter, ...], ...]
    keepers: tuple[tuple[Module, ...], ...]
    """By layer the modules with buffers of their own, which training would move without a gradient."""

    def __call__(self, value: float) -> None:
        if not 0 <= value <= len(self.parameters):
            raise BindingError(
                f"trainable_layers: the number of layers that train must be from 0 to {len(self.parameters)}, "
                f"got {value:g}. Clip the schedule, or name more layers"
            )
        trained = int(value)
        moving = {id(one) for layer in self.parameters[:trained] for one in layer}
        for one in (one for layer in self.parameters for one in layer):
            one.requires_grad_(id(one) in moving)
            if id(one) not in moving:
                one.grad = None  # or the optimizer would go on with momentum and weight decay
        free = {id(one) for layer in self.keepers[:trained] for one in layer}
        for module in (one for layer in self.keepers for one in layer):
            if id(module) in free:
                self._let_go(module)
            elif not _hooks(module):
                module.register_forward_pre_hook(_evaluate)

    def _let_go(self, module: Module) -> None:
        for key in _hooks(module):
            del module._forward_pre_hooks[key]
            module.training = module is self.model or self.model.training


def _hooks(module: Module) -> list[int]:
    """Found on the module itself, since hooks are copied and pickled with it while their handles are not."""
    return [key for key, hook in module._forward_pre_hooks.items() if hook is _evaluate]


def trainable_layers(model: Module, layers: Sequence[str]) -> TrainableLayers:
    """A target that lets the first n of these layers train and freezes the others:
    `targets={"trainable_layers": trainable_layers(model, ["head", "encoder.1", "encoder.0"])}`.

    The value is n, rounded down: 0 freezes them all, and with a single layer 1 trains it. Layers that are not named
    always train.

    A frozen layer does not move. Its parameters ask for no gradient and have none, so that optimizers pass them over,
    momentum and weight decay included; their state in the optimizer is kept for when they train again. Modules in it
    with buffers of their own, such as BatchNorm with its statistics, are in evaluation mode whatever `model.train()`
    says, and go back to training mode with the layer. For that to hold from the first forward pass on, call
    `scheduler.start()` before it; otherwise the first values are written right before the first `optimizer.step()`.

    Which layers train follows from the plan and the counts alone, so that nothing is to be saved. Parameters that
    asked for no gradient before stay as they are. `DistributedDataParallel` needs `find_unused_parameters=True`.

    Args:
        model: as it is now.
        layers: paths of modules or parameters, the one that trains first before the others; `*` and `**` as in
            `module_attribute`. Weights that two layers share train with either.

    Raises:
        BindingError: a path fits nothing, or nothing that can be trained; all of them at once. When called: the value
            is negative, or more than there are layers.

    Source:
        Howard and Ruder 2018, gradual unfreezing, in ULMFiT (arXiv:1801.06146).

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
        >>> layers = trainable_layers(model, ["1", "0"])
        >>> layers(1)
        >>> [weight.requires_grad for weight in model.parameters()]
        [False, False, True, True]
    """
    faults: list[Fault] = []
    parameters: list[tuple[Parameter, ...]] = []
    keepers: list[tuple[Module, ...]] = []
    if isinstance(layers, str):
        raise BindingError(f"trainable_layers: takes a list of paths, got {layers!r}. Write [{layers!r}]")
    if not layers:
        raise BindingError("trainable_layers: needs at least one layer, got none")
    for place, path in enumerate(layers):
        found = [one for _, one in _matching(model, path)]
        weights = [one for module in found for one in module.parameters()]
        weights += [one for name, one in model.named_parameters() if _fits(name, path)]
        able = [one for one in weights if one.requires_grad]
        if not weights:
            what = f"{path}: has no parameters" if found else _no_module(model, path, path)
            faults.append(Fault(f"layers[{place}]", what))
        elif not able:
            faults.append(Fault(f"layers[{place}]", f"{path}: its parameters ask for no gradient already"))
        parameters.append(tuple({id(one): one for one in able}.values()))
        below = {id(one): one for module in found for one in module.modules()}.values()
        keepers.append(tuple(one for one in below if any(True for _ in one.buffers(recurse=False))))
    if faults:
        raise BindingError(list_faults("trainable_layers", faults), faults)
    return TrainableLayers(model, tuple(parameters), tuple(keepers))


def _evaluate(module: Module, _inputs: Any) -> None:
    """Before the forward pass of a frozen module: `model.train()` has put it into training mode at every epoch."""
    module.training = False


def _matching(model: Module, pattern: str) -> Iterator[tuple[str, Module]]:
    return ((name, one) for name, one in model.named_modules() if _fits(name, pattern))


def _fits(name: str, pattern: str) -> bool:
    return _fit(name.split(".") if name else [], pattern.split(".") if pattern else [])


def _fit(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_fit(names[skipped:], patterns[1:]) for skipped in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], patterns[0]) and _fit(names[1:], patterns[1:])


def _no_module(model: Module, path: str, pattern: str) -> str:
    names = [name for name, _ in model.named_modules() if name]
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") or "none"
    return f"{path}: the model has no such module.{did_you_mean(pattern, names)} Modules: {listed}"
