"""What an agent is made of: frozen values, checked where they are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args

from tempomat.core.errors import Fault, TempomatError, did_you_mean, list_faults, shown

Norm = Literal["layer", "rms", "none"]
Precision = Literal["fp32", "bf16"]
T = TypeVar("T")


class AgentError(TempomatError, ValueError):
    """An agent cannot be built as configured, or was handed what it was not built for."""


def is_size(value: object) -> bool:
    """A whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_number(value: object) -> bool:
    """A finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


SIZE = "must be a whole number of at least 1", is_size
SIZES = "must be whole numbers of at least 1, one per layer", lambda v: isinstance(v, tuple) and all(map(is_size, v))
Rule = tuple[str, Callable[[Any], bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The convolutions of DrQ-v2 on pixels / 255 - `offset`, flattened and joined with the state.

    Args:
        channels: of each convolution.
        kernels, strides: of each convolution.
        offset: 0 here; DrQ-v2 itself subtracts .5.

    Source:
        Yarats et al. 2021 (arXiv:2107.09645), appendix.
    """

    channels: tuple[int, ...] = (32, 32, 32, 32)
    kernels: tuple[int, ...] = (3, 3, 3, 3)
    strides: tuple[int, ...] = (2, 1, 1, 1)
    offset: float = 0.0

    name: ClassVar[str] = "original"
    rules: ClassVar[dict[str, Rule]] = {
        "channels": ("must be whole numbers of at least 1, one per layer", lambda v: len(v) > 0 and SIZES[1](v)),
        "kernels": SIZES,
        "strides": SIZES,
        "offset": ("must be a finite number", is_number),
    }

    def __post_init__(self) -> None:
        _freeze(self, "channels", "kernels", "strides")
        _refuse(self, _faults(self) or _layers_faults(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class EncA:
    """One image token and one token per group of state numbers for each frame; attention across, then over time.

    Across there is a single token to attend to, so every attention weight is 1 and the queries do not matter.

    Args:
        width: of a token.
        heads: of each attention; `width` is a multiple of it.
        groups: how many state numbers each token gets: velocity, drone quaternion, gimbal quaternion.
        channels, kernels, strides: of the convolutions before the global mean.
    """

    width: int = 256
    heads: int = 4
    groups: tuple[int, ...] = (3, 4, 4)
    channels: tuple[int, ...] = (32, 64, 128)
    kernels: tuple[int, ...] = (8, 3, 3)
    strides: tuple[int, ...] = (4, 2, 2)

    name: ClassVar[str] = "enc_A"
    rules: ClassVar[dict[str, Rule]] = {
        "width": SIZE,
        "heads": SIZE,
        "groups": ("must be at least one whole number of at least 1", lambda v: len(v) > 0 and SIZES[1](v)),
        "channels": Original.rules["channels"],
        "kernels": SIZES,
        "strides": SIZES,
    }

    def __post_init__(self) -> None:
        _freeze(self, "groups", "channels", "kernels", "strides")
        _refuse(self, _faults(self) or [*_layers_faults(self), *_heads_fault(self)])


@dataclass(frozen=True, slots=True, kw_only=True)
class EncB:
    """Blocks per frame over its state tokens and patches, then over time over state tokens and one mean per frame.

    Args:
        width: of a token.
        heads: of each attention; `width` is a multiple of it.
        patch: side of a patch in pixels; the image's sides are multiples of it.
        local_blocks: over the tokens of one frame.
        temporal_blocks: over the tokens of all frames.
        groups: how many state numbers each token gets: velocity, drone quaternion, gimbal quaternion. Empty without a
            state.
    """

    width: int = 256
    heads: int = 4
    patch: int = 12
    local_blocks: int = 2
    temporal_blocks: int = 1
    groups: tuple[int, ...] = (3, 4, 4)

    name: ClassVar[str] = "enc_B"
    rules: ClassVar[dict[str, Rule]] = {
        "width": SIZE,
        "heads": SIZE,
        "patch": SIZE,
        "local_blocks": SIZE,
        "temporal_blocks": SIZE,
        "groups": SIZES,
    }

    def __post_init__(self) -> None:
        _freeze(self, "groups")
        _refuse(self, _faults(self) or _heads_fault(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypoint:
    """Layers on the state alone: where the pad is in the picture is already measured.

    Args:
        widths: of each linear layer; a ReLU follows each.
    """

    widths: tuple[int, ...] = (128,)

    name: ClassVar[str] = "keypoint"
    rules: ClassVar[dict[str, Rule]] = {
        # The encoder has an optimizer of its own, and an optimizer needs parameters.
        "widths": ("must be at least one whole number of at least 1", lambda v: len(v) > 0 and SIZES[1](v)),
    }

    def __post_init__(self) -> None:
        _freeze(self, "widths")
        _refuse(self, _faults(self))


EncoderConfig = Original | EncA | EncB | Keypoint
ENCODERS: dict[str, type[EncoderConfig]] = {one.name: one for one in (Original, EncA, EncB, Keypoint)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Sizes and constants of an agent. What changes over time is not in here: learning rates, noise.

    Args:
        encoder: one of `Original`, `EncA`, `EncB`, `Keypoint`, or `{"name": "original", ...}` with its sizes.
        feature_dim: numbers that actor and critic each take out of the encoder's.
        hidden_dim: width of their two hidden layers.
        norm: of the features, before their tanh: `layer`, `rms` or `none`.
        tau: how far the target critic goes to the critic at each update.
        reward_scale: rewards are multiplied by it inside the learner only.
        noise_clip: bound of the noise on actions in both losses. Noise in `act` has none.
        shift: pixels of the random shift; 0 for none.
        brightness: least and most factor on the pixels; None for none.
        lr: of all three optimizers, until a schedule writes another.
        lr_tensors: keep learning rates as tensors, so that a compiled update is not compiled anew when they change.
        compile: compile the update with `torch.compile`; learning rates are tensors then.
        precision: `bf16` for autocast to bfloat16; parameters, targets and losses stay in float32.

    Example:
        >>> AgentConfig(encoder=Keypoint(widths=(64, 64)), hidden_dim=128).encoder.widths
        (64, 64)
    """

    encoder: EncoderConfig = field(default_factory=EncB)
    feature_dim: int = 128
    hidden_dim: int = 512
    norm: Norm = "layer"
    tau: float = 0.05
    reward_scale: float = 1.0
    noise_clip: float = 0.32
    shift: int = 4
    brightness: tuple[float, float] | None = (0.5, 1.5)
    lr: float = 1e-4
    lr_tensors: bool = False
    compile: bool = False
    precision: Precision = "fp32"

    name: ClassVar[str] = "agent"
    rules: ClassVar[dict[str, Rule]] = {
        "encoder": ("must be one of Original, EncA, EncB, Keypoint", lambda v: isinstance(v, EncoderConfig)),
        "feature_dim": SIZE,
        "hidden_dim": SIZE,
        "norm": (f"must be {' or '.join(get_args(Norm))}", lambda v: v in get_args(Norm)),
        "tau": ("must be above 0 and at most 1", lambda v: is_number(v) and 0 < v <= 1),
        "reward_scale": ("must be above 0", lambda v: is_number(v) and v > 0),
        "noise_clip": ("must be at least 0", lambda v: is_number(v) and v >= 0),
        "shift": (
            "must be a whole number of at least 0",
            lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
        ),
        "brightness": (
            "must be two numbers, 0 <= least <= most, or None",
            lambda v: (
                v is None or (isinstance(v, tuple) and len(v) == 2 and all(map(is_number, v)) and 0 <= v[0] <= v[1])
            ),
        ),
        "lr": ("must be at least 0", lambda v: is_number(v) and v >= 0),
        "lr_tensors": ("must be true or false", lambda v: isinstance(v, bool)),
        "compile": ("must be true or false", lambda v: isinstance(v, bool)),
        "precision": (f"must be {' or '.join(get_args(Precision))}", lambda v: v in get_args(Precision)),
    }

    def __post_init__(self) -> None:
        _freeze(self, "brightness")
        _refuse(self, _faults(self))

    @classmethod
    def read(cls, mapping: Mapping[str, Any]) -> AgentConfig:
        """A config from a plain mapping, as it comes from a file; `encoder` is one as well, with its `name`.

        Raises:
            AgentError: every fault at once, each with its path.

        Example:
            >>> AgentConfig.read({"tau": 0.01, "encoder": {"name": "keypoint", "widths": [64]}}).encoder
            Keypoint(widths=(64,))
        """
        faults: list[Fault] = []
        given = dict(mapping)
        if isinstance(inner := given.get("encoder"), Mapping):
            encoder = dict(inner)
            kind = encoder.pop("name", None)
            if isinstance(kind, str) and kind in ENCODERS:
                given["encoder"] = _read(ENCODERS[kind], encoder, "encoder", faults)
            else:
                near = did_you_mean(str(kind), ENCODERS)
                faults.append(Fault("encoder.name", f"must be {', '.join(ENCODERS)}, got {shown(kind)}.{near}"))
            if not isinstance(given["encoder"], EncoderConfig):
                del given["encoder"]
        config = _read(cls, given, "", faults)
        if faults or config is None:
            raise AgentError(list_faults(cls.name, faults), faults)
        return config


def _read(kind: type[T], given: Mapping[str, Any], path: str, faults: list[Fault]) -> T | None:
    """An instance, or None and its faults."""
    valid = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in given if name not in valid]
    found = [Fault(name, f"no such setting; {', '.join(valid)}.{did_you_mean(name, valid)}") for name in unknown]
    made = None
    try:
        made = kind(**{name: value for name, value in given.items() if name in valid})
    except AgentError as error:
        found.extend(error.faults)
    faults.extend(one.under(path) for one in found)
    return None if found else made


def _freeze(config: Any, *names: str) -> None:
    """Lists, as files give them, as tuples; anything else is left for the rules."""
    for name in names:
        if isinstance(value := getattr(config, name), list):
            object.__setattr__(config, name, tuple(value))


def _faults(config: Any) -> list[Fault]:
    """What breaks its rule."""
    found = []
    for name, (rule, holds) in config.rules.items():
        value = getattr(config, name)
        try:
            fine = holds(value)
        except TypeError:
            fine = False
        if not fine:
            found.append(Fault(name, f"{rule}, got {shown(value)}"))
    return found


def _heads_fault(config: EncA | EncB) -> list[Fault]:
    if config.width % config.heads == 0:
        return []
    return [Fault("heads", f"must divide width, {config.width}, got {config.heads}. Take one that does")]


def _layers_faults(config: Original | EncA) -> list[Fault]:
    count = len(config.channels)
    return [
        Fault(name, f"needs one number per layer, {count} as in channels, got {len(given)}")
        for name, given in (("kernels", config.kernels), ("strides", config.strides))
        if len(given) != count
    ]


def _refuse(config: Any, faults: list[Fault]) -> None:
    if faults:
        raise AgentError(list_faults(config.name, faults), faults)
