"""The settings of a run of PPO: plain data as Hydra composes it, read into frozen values with every fault at once.

What is null in `cfgs/ppo/config.yaml` is as the preset says, a file of `cfgs/ppo/presets/`; by default the published
settings of the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import tempomat as tm
from tempomat.core.errors import Fault, did_you_mean, list_faults, shown
from tempomat.plan.text import parse_yaml
from tempomat.runtime import Every
from tempomat_rl.numbers import plain_numbers, whole_number
from tempomat_rl.ppo.entries import ENTRIES, NONE, SHAPED, make_plan
from tempomat_rl.ppo.options import LearnerError, NetworkSettings
from tempomat_rl.program import reading
from tempomat_rl.program.settings import ConfigError, RunConfig, differences

CFGS = Path(__file__).resolve().parents[3] / "cfgs" / "ppo"
"""The configuration files of a source checkout."""
PRESETS = "presets"
FALLBACK = "default"
"""The preset of an environment without one of its own."""
HOW = (
    "checkpoint_dir", "on_change", "log_every", "save_every", "eval_every", "num_eval_episodes", "num_final_episodes",
    "worker_timeout", "ray_address",
)  # fmt: skip
"""Settings of how a run is carried out, which may differ on resume: no number of the training follows from them."""
NESTED = ("policy", "value", "network")
_SHAPES = tuple(f"{name}_schedule" for name in SHAPED)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig(RunConfig):
    """The settings of a run; those that every program has are of `RunConfig`.

    Args:
        env: Gymnasium's name.
        env_options: what the environment takes besides.
        vectorize: whether environments are computed as arrays where they can be.
        rollout: where environments are stepped: `local`, in this process; `process` or `ray`, by workers elsewhere.
        num_workers: how many those are.
        overlap: whether they make the next rollout while the one before is learned from.
        when_too_old: what becomes of a batch whose policy is older than the plan's `max_policy_age`: `correct` it, or
            `refuse` to learn from it.
        worker_timeout: seconds after which a worker that is waited for and says nothing counts as lost.
        ray_address: of the cluster; None for one that is found, or else started.
        total_env_steps: the length of the run.
        normalize_observation, normalize_reward, normalize_advantage: see `normalize.Normalizer`, `UpdateSettings`.
        network: what policy and critic are made of.
        eval_every, log_every, save_every: env steps, or a share of the run such as `10%`.
        num_eval_episodes, num_final_episodes: of an evaluation on the way, and at the end.
    """

    env: str
    env_options: Mapping[str, Any]
    vectorize: bool
    rollout: Literal["local", "process", "ray"]
    num_workers: int
    overlap: bool
    when_too_old: Literal["correct", "refuse"]
    worker_timeout: float
    ray_address: str | None
    total_env_steps: int
    normalize_observation: bool
    normalize_reward: bool
    normalize_advantage: bool
    network: NetworkSettings
    eval_every: int | str
    log_every: int | str
    save_every: int | str
    num_eval_episodes: int
    num_final_episodes: int


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a name, got {shown(value)}")
    return value


def _options(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping of what the environment takes, got {shown(value)}")
    return dict(value)


def _often(value: object) -> int | str:
    """Env steps, or a length such as `10%`."""
    if isinstance(value, str) and not value.replace("_", "").isdecimal():
        Every(value, plan=tm.Plan({"lr": 0.0}, total=1_000_000, clock="env_steps").resolve())
        return value
    return whole_number(value, 1)


_READERS: dict[str, reading.Reader] = {
    "env": _text,
    "env_options": _options,
    "vectorize": reading.flag,
    "rollout": reading.word("local", "process", "ray"),
    "num_workers": reading.whole(1),
    "overlap": reading.flag,
    "when_too_old": reading.word("correct", "refuse"),
    "worker_timeout": reading.number(above=0, at_most=1e7),
    "ray_address": lambda value: None if value is None else _text(value),
    "seed": reading.whole(0),
    "total_env_steps": reading.whole(1),
    "normalize_observation": reading.flag,
    "normalize_reward": reading.flag,
    "normalize_advantage": reading.flag,
    "eval_every": _often,
    "log_every": _often,
    "save_every": _often,
    "num_eval_episodes": reading.whole(1),
    "num_final_episodes": reading.whole(1),
    "checkpoint_dir": reading.folder,
    "on_change": reading.on_change,
}
SETTINGS = (*_READERS, "preset", *NESTED, *(name for name in ENTRIES if "." not in name), *_SHAPES)
"""Every setting there is."""
_WHERE = ("rollout", "num_workers", "overlap", "when_too_old")
_FROM_PRESET = tuple(name for name in SETTINGS if name not in ("env", "seed", "preset", *_WHERE, *HOW))


def read(
    data: Mapping[str, Any],
    *,
    overrides: tuple[str, ...] = (),
    folder: Path | None = None,
    cfgs: Path | None = None,
) -> PPOConfig:
    """A configuration from plain data.

    Args:
        data: the settings by name, as `cfgs/ppo/config.yaml` writes them.
        overrides: what the command line said, to be kept.
        folder: where the run goes, if nobody names a `checkpoint_dir`.
        cfgs: the folder with `presets/`.

    Raises:
        ConfigError: every fault at once, each with its path.
    """
    faults = reading.unknown(data, SETTINGS)
    notes: list[str] = []
    preset = _preset_name(data, cfgs or CFGS, notes)
    given = _filled(data, _preset(preset, cfgs or CFGS))
    values = reading.each(_READERS, given, faults)
    faults += [
        Fault(f"{group}.{key}", "no entry of that name; a network has lr")
        for group in ("policy", "value")
        for key in given.get(group) or {}
        if key != "lr"
    ]
    if values.get("overlap") and values.get("rollout") == "local":
        faults.append(Fault("overlap", "needs workers that act meanwhile. Give rollout=process or rollout=ray"))
    network = _network(given.get("network"), faults)
    plan = None
    if "total_env_steps" in values:
        shapes = {name: given.get(f"{name}_schedule") for name in SHAPED}
        plan = make_plan(_flat(given), shapes, values["total_env_steps"], faults)
    if faults or plan is None or network is None:
        raise ConfigError(list_faults("the configuration", faults), faults)
    refuses = values["overlap"] and values["when_too_old"] == "refuse"
    if refuses and plan.schedules.get("max_policy_age") == tm.Constant(value=0):
        notes.append("with overlap a batch's policy is one batch old: max_policy_age=0 refuses every other one")
    return PPOConfig(
        **values,
        plan=plan,
        network=network,
        preset=preset,
        overrides=overrides,
        data={**given, "preset": preset},
        notes=tuple(notes),
        folder=values["checkpoint_dir"] or folder,
    )


def presets(cfgs: Path | None = None) -> list[str]:
    """The names of all presets."""
    return sorted(path.stem for path in ((cfgs or CFGS) / PRESETS).glob("*.yaml"))


def _preset_name(data: Mapping[str, Any], cfgs: Path, notes: list[str]) -> str:
    wanted, env = data.get("preset"), str(data.get("env"))
    if wanted not in (None, "auto"):
        return str(wanted)
    own = env.rpartition(":")[2].replace("/", "-")
    if own in presets(cfgs):
        return own
    notes.append(f"{env} has no published settings here: preset={FALLBACK}. Presets: {', '.join(presets(cfgs))}")
    return FALLBACK


def _preset(name: str, cfgs: Path) -> dict[str, Any]:
    """A preset's settings."""
    path = cfgs / PRESETS / f"{name}.yaml"
    if name not in presets(cfgs):
        known = presets(cfgs)
        raise ConfigError(f"preset={name}: no such preset.{did_you_mean(name, known)} Presets: {', '.join(known)}")
    data, _ = parse_yaml(path.read_text(), source=str(path))
    faults = [
        Fault(str(key), f"no setting that a preset can have.{did_you_mean(str(key), _FROM_PRESET)}")
        for key in data
        if key not in _FROM_PRESET
    ]
    if faults:
        raise ConfigError(list_faults(str(path), faults), faults)
    return data


def _filled(data: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """The settings given, and the preset's where they are null. What is null in both is left out."""
    filled: dict[str, Any] = {}
    for name in (*data, *(one for one in preset if one not in data)):
        given, usual = data.get(name), preset.get(name)
        if name in NESTED:
            parts = {**(usual or {}), **{key: one for key, one in (given or {}).items() if one is not None}}
            filled[name] = dict(sorted(parts.items()))
        else:
            filled[name] = usual if given is None else given
    for name in _SHAPES:
        entry = name.removesuffix("_schedule")
        if data.get(entry) is not None and data.get(name) is None:
            filled[name] = None  # a value of one's own does not take the preset's shape
    optional = [name for name in ENTRIES if "." not in name]
    return {name: NONE if one is None and name in optional else one for name, one in filled.items()}


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Entries by name, those of networks with a point."""
    nested = {f"{group}.{key}": one for group in ("policy", "value") for key, one in (given.get(group) or {}).items()}
    return {**{name: given.get(name) for name in ENTRIES if "." not in name}, **nested}


def _network(given: Any, faults: list[Fault]) -> NetworkSettings | None:
    settings: dict[str, Any] = {
        key: tuple(one) if isinstance(one, (list, tuple)) else None if one == NONE else one
        for key, one in plain_numbers(given or {}).items()
    }
    known = tuple(NetworkSettings.__dataclass_fields__)
    unknown = [key for key in settings if key not in known]
    faults += [Fault(f"network.{key}", f"no setting of that name.{did_you_mean(key, known)}") for key in unknown]
    if unknown:
        return None
    try:
        return NetworkSettings(**settings)
    except LearnerError as error:
        faults += [fault.under("network") for fault in error.faults]
        return None


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the settings of two runs, as `path: old -> new`; how a run is carried out may differ.

    >>> changes({"seed": 1, "log_every": 100}, {"seed": 2, "log_every": "1%"})
    ['seed: 1 -> 2']
    """
    return differences(old, new, apart_from=(*HOW, "preset"))
