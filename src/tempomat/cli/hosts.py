"""What `tempomat convert` takes from each host: how its words are read, and how long a run of it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, cast

from tempomat.core import ConversionError, Fault, PlanError, Unit
from tempomat.core.errors import did_you_mean, list_faults
from tempomat.plan.text import MAX_BYTES, parse_yaml

Given = dict[str, Any]
"""A host's arguments by name."""
Length = tuple[Unit, Any]
"""A run's length as its source gives it, and the unit."""

EXAMPLES = """\
examples:
  tempomat convert torch CosineAnnealingLR lr=0.1 T_max=100 -o plan.yaml
  tempomat convert torch checkpoint.pt class=StepLR key=scheduler
  tempomat convert transformers cosine lr=3e-4 num_training_steps=1000 num_warmup_steps=100
  tempomat convert optax warmup_cosine_decay init_value=0 peak_value=1e-3 warmup_steps=100 decay_steps=1000
  tempomat convert timm '--sched cosine --epochs 300 --warmup-epochs 5 --min-lr 1e-5 --lr 5e-4'
  tempomat convert timm args.yaml lr=0.1
  tempomat convert keras CosineDecay initial_learning_rate=1e-3 decay_steps=1000
  tempomat convert composer LinearWithWarmupScheduler lr=1e-3 t_warmup=100ba max_duration=1000ba
  tempomat convert rllib '[[0, 1.0e-3], [1000000, 1.0e-5]]'
  tempomat convert sb3 lin_3e-4 total=1000000
  tempomat convert drqv2 'linear(1.0,0.1,500000)' --name stddev
  tempomat convert deepspeed ds_config.json
  tempomat convert megatron '--lr 3e-4 --lr-decay-style cosine --train-iters 1000'
  tempomat convert plan.yaml --to rllib --total 1M
"""
"""What may be typed, at least a line for each host."""


def _call(function: Callable[..., Any], what: Any, given: Given) -> Any:
    """Call an importer with arguments that somebody typed: those it has not, and those it lacks, are named."""
    known = [one for one in signature(function).parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    open_ended = len(known) < len(signature(function).parameters)
    names = [one.name for one in known[1:]]
    faults = [
        Fault(key, f"no argument of that name.{did_you_mean(key, names)} Arguments: {', '.join(names) or 'none'}")
        for key in given
        if key not in names and not open_ended
    ]
    faults += [
        Fault(one.name, f"is missing: {one.name}=...")
        for one in known[1:]
        if one.default is Parameter.empty and one.name not in given
    ]
    host = function.__name__.removeprefix("from_").removesuffix("_args")
    if what is None:
        such = next(line.strip() for line in EXAMPLES.splitlines() if line.startswith(f"  tempomat convert {host} "))
        faults.append(Fault("", f"nothing to convert is named. Such as: {such}"))
    if faults:
        raise ConversionError(list_faults(host, faults), faults)
    return function(what, **given)


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConversionError(f"{path}: is too large; at most {MAX_BYTES:_} bytes are read")
        return raw.decode()
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConversionError(f"{path}: is not UTF-8 text (byte {error.start})") from None


def _data(what: str | None, given: Given) -> Any:
    """The data of a JSON or YAML file, or of the `key` in it; the word itself where it names no such file."""
    if what is None or not what.lower().endswith((".json", ".yaml", ".yml")):
        return what
    try:
        data = parse_yaml(_text(what), what, foreign=True)[0]
    except PlanError as error:
        raise ConversionError(str(error)) from None
    return _inside(data, given.pop("key", None), what)


def _inside(data: Any, key: Any, source: str) -> Any:
    """What a key leads to: a name, or names and places with dots between them."""
    if key is None:
        return data
    names = [str(key)] if isinstance(data, Mapping) and str(key) in data else str(key).split(".")
    for name in names:
        if isinstance(data, Mapping) and name in data:
            data = cast("Mapping[str, Any]", data)[name]
        elif isinstance(data, list) and name.isdecimal() and int(name) < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[int(name)]
        else:
            has = (
                ", ".join(map(str, cast("Mapping[Any, Any]", data)))
                if isinstance(data, Mapping)
                else type(data).__name__
            )
            raise ConversionError(f"{source}: key={key}: nothing of the name {name!r}; there is {has}")
    return data


def _torch(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_torch_args, from_torch_state

    if what is None or not (what.endswith((".pt", ".pth", ".bin", ".ckpt")) or os.path.isfile(what)):
        return _call(from_torch_args, what, given)
    checkpoint = _saved(what)
    groups, name = given.pop("groups", None), given.pop("class", None)
    state = _inside(checkpoint, given.pop("key", None), what)
    if not isinstance(state, Mapping) or "last_epoch" not in state:
        keys = (
            ", ".join(map(str, cast("Mapping[Any, Any]", state)))
            if isinstance(state, Mapping)
            else type(state).__name__
        )
        raise ConversionError(f"{what}: holds no scheduler's state here, but {keys}. Say where it is: key=NAME")
    if groups is not None:
        given["param_groups"] = _inside(checkpoint, groups, what)
    return _call(lambda name, **more: from_torch_state(name, state, **more), name or "", given) if name else (
        from_torch_state(None, cast("Mapping[str, Any]", state), **given))  # fmt: skip


def _saved(path: str) -> Any:
    try:
        import torch
    except ImportError:
        from tempomat.core import MissingExtra

        raise MissingExtra("convert torch: to read a saved state needs torch: pip install torch") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # whatever its unpickler makes of what is no checkpoint
        first = str(error).strip().splitlines()[:1]
        raise ConversionError(
            f"{path}: cannot be read as plain data: {first[0] if first else type(error).__name__}"
        ) from None


def _transformers(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_transformers

    if "lr" in given:
        given["learning_rate"] = given.pop("lr")
    known = signature(from_transformers).parameters
    if "lr_scheduler_kwargs" in given:
        given["scheduler_specific_kwargs"] = given.pop("lr_scheduler_kwargs")
    extra = {key: given.pop(key) for key in list(given) if key not in known}
    options = given.get("scheduler_specific_kwargs") or {}
    if extra and isinstance(options, Mapping):
        given["scheduler_specific_kwargs"] = {**options, **extra}
    return _call(from_transformers, _data(what, given), given)


def _optax(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_optax

    return _call(from_optax, what, given)


def _timm(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_timm

    args, more = _timm_words(what, given)
    return from_timm(args, **more)


def _timm_words(what: str | None, given: Given) -> tuple[Any, Given]:
    """A command line and what is said beside it, or all of it as a mapping."""
    if what is not None and what.startswith("--"):
        return what, given
    data = _data(what, given)
    return ({**data, **given} if isinstance(data, Mapping) else {**given, **({"sched": data} if data else {})}), {}


def _keras(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_keras

    data = _data(what, given)
    if isinstance(data, str) and not data[:1].isdigit():
        return from_keras({"class_name": data, "config": given})
    return _call(from_keras, float(data) if isinstance(data, str) else data, given)


def _composer(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_composer

    return _call(from_composer, what, given)


def _rllib(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_rllib

    return _call(from_rllib, _data(what, given), given)


def _sb3(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_sb3

    data = _data(what, given)
    if isinstance(data, Mapping) and data and all(isinstance(one, Mapping) for one in data.values()):
        raise ConversionError(f"{what}: holds several. Say which: key=NAME; there is {', '.join(map(str, data))}")
    return _call(from_sb3, data, given)


def _drqv2(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_drqv2

    return _call(from_drqv2, what, given)


def _deepspeed(what: str | None, given: Given) -> Any:
    from tempomat.convert import from_deepspeed

    return _call(from_deepspeed, what, given)


def megatron(words: Sequence[str]) -> Any:
    """Megatron's schedules, by its whole command line or a file of arguments."""
    from tempomat.convert import from_megatron

    data = _data(words[0] if words else "", {})
    return from_megatron(data if isinstance(data, Mapping) else " ".join(words))


HOSTS: dict[str, Callable[[str | None, Given], Any]] = {
    "torch": _torch,
    "transformers": _transformers,
    "optax": _optax,
    "timm": _timm,
    "keras": _keras,
    "composer": _composer,
    "rllib": _rllib,
    "sb3": _sb3,
    "drqv2": _drqv2,
    "deepspeed": _deepspeed,
    "megatron": lambda what, _: megatron([what] if what else []),
}
"""How each host's words are read."""


def unknown(what: str | None, given: Given) -> None:
    """The host does not say how long a run is, or says it in the plan."""


def _transformers_length(what: str | None, given: Given) -> Length | None:
    data, steps = _data(what, given), given.get("num_training_steps")
    if steps is None and isinstance(data, Mapping) and int(data.get("max_steps") or -1) > 0:
        steps = data["max_steps"]
    return None if steps is None else (Unit.OPTIMIZER_STEPS, steps)


def _timm_length(what: str | None, given: Given) -> Length:
    from tempomat.convert.timm import run_length

    args, more = _timm_words(what, given)
    return run_length(args, **more)


def _composer_length(_: str | None, given: Given) -> Length | None:
    from tempomat.convert.composer import run_length

    whole = given.get("max_duration")
    return None if whole is None else run_length(whole, given.get("steps_per_epoch"))


def _sb3_length(_: str | None, given: Given) -> Length | None:
    return None if given.get("total") is None else (Unit.ENV_STEPS, given["total"])


LENGTHS: dict[str, Callable[[str | None, Given], Length | None]] = {
    "transformers": _transformers_length,
    "timm": _timm_length,
    "composer": _composer_length,
    "sb3": _sb3_length,
}
"""Of the hosts that give one value: those that know how long their run is."""
