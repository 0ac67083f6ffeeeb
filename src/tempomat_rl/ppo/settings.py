"""The settings of a run of PPO: plain data as Hydra composes it, read into frozen values with every fault at once.

What is null in `cfgs/ppo/config.yaml` is as the preset says, a file of `cfgs/ppo/presets/`; by default the published
settings of the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import tempomat as tm
from tempomat.core.errors import Fault, did_you_mean, list_faults, shown
from tempomat.plan import diff_data
from tempomat.plan.text import parse_yaml
from tempomat.runtime import Every
from tempomat_rl.numbers import plain_numbers, whole_number
from tempomat_rl.ppo.entries import ENTRIES, NONE, SHAPED, make_plan
from tempomat_rl.ppo.learner import LearnerError, NetworkSettings
from tempomat_rl.settings import ConfigError, OnChange

CFGS = Path(__file__).resolve().parents[3] / "cfgs" / "ppo"
"""The configuration files of a source checkout."""
PRESETS = "presets"
FALLBACK = "default"
"""The preset of an environment without one of its own."""
HOW = (
    "checkpoint_dir", "on_change", "log_every", "save_every", "eval_every", "num_eval_episodes", "num_final_episodes",
)  # fmt: skip
"""Settings of how a run is carried out, which may differ on resume: no number of the training follows from them."""
NESTED = ("policy", "value", "network")
_SHAPES = tuple(f"{name}_schedule" for name in SHAPED)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PPOConfig:
    """The settings of a run.

    Args:
        env: Gymnasium's name.
        env_options: what the environment takes besides.
        vectorize: whether environments are computed as arrays where they can be.
        rollout: where environments are stepped: `local`, in this process.
        seed: of everything random in the run.
        plan: of every value that may change, resolved, on the clock `env_steps`.
        total_env_steps: the length of the run.
        normalize_observation, normalize_reward, normalize_advantage: see `normalize.Normalizer`, `UpdateSettings`.
        network: what policy and critic are made of.
        eval_every, log_every, save_every: env steps, or a share of the run such as `10%`.
        num_eval_episodes, num_final_episodes: of an evaluation on the way, and at the end.
        checkpoint_dir: the run's folder, if the user named one.
        on_change: what settings that changed since the folder's run do.
        preset: the name of the one taken.
        overrides: as given on the command line.
        data: all settings as plain data, with the preset's in them.
        notes: what is no fault and still should be known.
        folder: where the run goes.
    """

    env: str
    env_options: Mapping[str, Any]
    vectorize: bool
    rollout: Literal["local"]
    seed: int
    plan: tm.Plan
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
    checkpoint_dir: Path | None
    on_change: OnChange
    preset: str
    overrides: tuple[str, ...]
    data: Mapping[str, Any]
    notes: tuple[str, ...]
    folder: Path | None


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, got {shown(value)}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a name, got {shown(value)}")
    return value


def _word(*words: str) -> Callable[[object], Any]:
    def read(value: object) -> str:
        if value not in words:
            raise ValueError(f"must be {', '.join(words)}, got {shown(value)}.{did_you_mean(str(value), words)}")
        return str(value)

    return read


def _folder(value: object) -> Path | None:
    return None if value is None else Path(_text(str(value)))


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


_READERS: dict[str, Callable[[object], Any]] = {
    "env": _text,
    "env_options": _options,
    "vectorize": _flag,
    "rollout": _word("local"),
    "seed": lambda value: whole_number(value, 0),
    "total_env_steps": lambda value: whole_number(value, 1),
    "normalize_observation": _flag,
    "normalize_reward": _flag,
    "normalize_advantage": _flag,
    "eval_every": _often,
    "log_every": _often,
    "save_every": _often,
    "num_eval_episodes": lambda value: whole_number(value, 1),
    "num_final_episodes": lambda value: whole_number(value, 1),
    "checkpoint_dir": _folder,
    "on_change": _word("refuse", "keep", "replace", "stretch"),
}
SETTINGS = (*_READERS, "preset", *NESTED, *(name for name in ENTRIES if "." not in name), *_SHAPES)
"""Every setting there is."""
_FROM_PRESET = tuple(name for name in SETTINGS if name not in ("env", "seed", "rollout", "preset", *HOW))


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
    faults = [
        Fault(str(name), f"no setting of that name.{did_you_mean(str(name), SETTINGS)} Settings: {', '.join(SETTINGS)}")
        for name in data
        if name not in SETTINGS
    ]
    notes: list[str] = []
    preset = _preset_name(data, cfgs or CFGS, notes)
    given = _filled(data, _preset(preset, cfgs or CFGS))
    values = _simple(given, faults)
    network = _network(given.get("network"), faults)
    plan = None
    if "total_env_steps" in values:
        shapes = {name: given.get(f"{name}_schedule") for name in SHAPED}
        plan = make_plan(_flat(given), shapes, values["total_env_steps"], faults)
    if faults or plan is None or network is None:
        raise ConfigError(list_faults("the configuration", faults), faults)
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


def _simple(given: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, reader in _READERS.items():
        if name not in given:
            faults.append(Fault(name, "is missing"))
            continue
        try:
            values[name] = reader(given[name])
        except (ValueError, OverflowError) as error:
            faults.append(Fault(name, str(error)))
    for group in ("policy", "value"):
        faults += [
            Fault(f"{group}.{key}", "no entry of that name; a network has lr")
            for key in given.get(group) or {}
            if key != "lr"
        ]
    return values


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
    kept = [{name: value for name, value in data.items() if name not in (*HOW, "preset")} for data in (old, new)]
    return [str(change) for change in diff_data(*kept)]
