"""Schedules of other libraries: `from_*` reads them, `to_*` writes ours, `take_over` goes on from a live one.

Nothing here imports a framework until the function that needs it is called.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tempomat.convert.composer import from_composer
    from tempomat.convert.deepspeed import from_deepspeed
    from tempomat.convert.drqv2 import from_drqv2
    from tempomat.convert.export import to_csv, to_keras, to_optax, to_rllib, to_sb3, to_torch, to_transformers
    from tempomat.convert.fvcore import from_fvcore
    from tempomat.convert.ignite import from_ignite
    from tempomat.convert.keras import from_keras
    from tempomat.convert.megatron import from_megatron
    from tempomat.convert.optax import from_optax
    from tempomat.convert.rllib import from_rllib
    from tempomat.convert.sb3 import from_sb3
    from tempomat.convert.timm import from_timm
    from tempomat.convert.torch import from_torch, from_torch_args, from_torch_state, take_over
    from tempomat.convert.transformers import from_transformers

_TORCH = ("from_torch", "from_torch_args", "from_torch_state", "take_over")
_TO = ("to_csv", "to_keras", "to_optax", "to_rllib", "to_sb3", "to_torch", "to_transformers")

_LATER = {
    **dict.fromkeys(_TORCH, "tempomat.convert.torch"),
    "from_composer": "tempomat.convert.composer",
    "from_deepspeed": "tempomat.convert.deepspeed",
    "from_drqv2": "tempomat.convert.drqv2",
    "from_fvcore": "tempomat.convert.fvcore",
    "from_ignite": "tempomat.convert.ignite",
    "from_keras": "tempomat.convert.keras",
    "from_megatron": "tempomat.convert.megatron",
    "from_optax": "tempomat.convert.optax",
    "from_rllib": "tempomat.convert.rllib",
    "from_sb3": "tempomat.convert.sb3",
    "from_timm": "tempomat.convert.timm",
    "from_transformers": "tempomat.convert.transformers",
    **dict.fromkeys(_TO, "tempomat.convert.export"),
}

__all__ = [
    "from_composer",
    "from_deepspeed",
    "from_drqv2",
    "from_fvcore",
    "from_ignite",
    "from_keras",
    "from_megatron",
    "from_optax",
    "from_rllib",
    "from_sb3",
    "from_timm",
    "from_torch",
    "from_torch_args",
    "from_torch_state",
    "from_transformers",
    "take_over",
    "to_csv",
    "to_keras",
    "to_optax",
    "to_rllib",
    "to_sb3",
    "to_torch",
    "to_transformers",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'tempomat.convert' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
