"""From the command line to a `PPOConfig`: Hydra's composition, and words for the mistakes it explains badly.

`compose(["env=Acrobot-v1", "lr_schedule=cosine"])` gives the `PPOConfig` that such a command line has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tempomat.core import MissingExtra, TempomatError
from tempomat.core.errors import did_you_mean
from tempomat_rl.config import INTERRUPTED, run_folder, run_name
from tempomat_rl.ppo.entries import ENTRIES, SHAPED
from tempomat_rl.ppo.learner import NetworkSettings
from tempomat_rl.ppo.settings import CFGS, SETTINGS, PPOConfig, presets, read
from tempomat_rl.resuming import claim
from tempomat_rl.settings import ConfigError

__all__ = ["ConfigError", "PPOConfig", "compose", "main"]

NAME = "config"
_WRITTEN = re.compile(
    rf"^(\+{{0,2}}(?:{'|'.join(map(re.escape, (*ENTRIES, *(f'{one}_schedule' for one in SHAPED))))}))=(\w+\([^()']*\))$"
)

_MISSING = re.compile(r"is not in struct\s+full_key: (?P<path>[\w.-]+)")
_NESTED = {"network": tuple(one.name for one in fields(NetworkSettings)), "policy": ("lr",), "value": ("lr",)}


def compose(overrides: Sequence[str] = (), *, cfgs: Path | None = None) -> PPOConfig:
    """The configuration that a command line with these overrides has.

    Args:
        overrides: such as `env=Acrobot-v1` and `lr=linear(1e-3,1e-5)`.
        cfgs: the folder with `config.yaml`; by default the one of the source checkout.

    Raises:
        ConfigError: nothing can be composed, or every fault of what was composed at once.
        MissingExtra: Hydra is not installed.
    """
    given = [_quoted(one) for one in overrides]
    folder = cfgs or CFGS
    return _config(_composed(given, folder), given, folder)


def main(cfgs: Path | None = None, argv: Sequence[str] | None = None) -> None:
    """The command line: compose, read, train. Hydra's own options (`--help`, `--multirun`, ...) work as everywhere.

    A mistake in the configuration ends the program with its explanation and status 1, an interruption with 130.
    """
    hydra = _hydra()
    folder = cfgs or CFGS
    given = [_quoted(one) for one in (sys.argv[1:] if argv is None else argv)]
    try:
        if not any(one.startswith("-") for one in given):
            config = compose(given, cfgs=folder)
            if config.checkpoint_dir:
                claim(config.checkpoint_dir)  # before Hydra makes it, and says what went wrong in its own way
    except TempomatError as error:
        raise SystemExit(str(error)) from None
    _register()

    @hydra.main(config_path=str(folder), config_name=NAME, **_version_base(hydra))
    def run(composed: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        from tempomat_rl.ppo.train import train

        own = HydraConfig.get()
        try:
            result = train(_config(composed, list(own.overrides.task), folder, own))
        except TempomatError as error:
            raise SystemExit(str(error)) from None
        if not result.finished:
            raise SystemExit(INTERRUPTED)  # and the rest of a sweep does not begin

    before = sys.argv
    sys.argv = [before[0], *given]
    try:
        run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        sys.argv = before


def _hydra() -> Any:
    try:
        import hydra
    except ImportError:
        raise MissingExtra("the configuration files need the package hydra-core: pip install 'tempomat[rl]'") from None
    return hydra


def _quoted(override: str) -> str:
    """With the quotes without which `lr=linear(1e-3,0)` would be a function of Hydra's own."""
    return _WRITTEN.sub(r"\1='\2'", override)


def _version_base(hydra: Any) -> dict[str, str]:
    """Hydra 1.3 warns where it is left out, 1.4 where it is given."""
    major, minor = (int(part) for part in hydra.__version__.split(".")[:2])
    return {} if (major, minor) >= (1, 4) else {"version_base": "1.3"}


def _register() -> None:
    """The two functions that `cfgs/ppo/config.yaml` calls for the names of folders."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def _composed(overrides: Sequence[str], cfgs: Path) -> Any:
    """Hydra's composition, with its own settings in it."""
    hydra = _hydra()
    _register()
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(cfgs.resolve()), **_version_base(hydra)):
            return hydra.compose(NAME, overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        words = dict.fromkeys(str(one) for one in (error, error.__cause__) if one is not None)
        raise ConfigError(_explained("\n".join(words), overrides, cfgs)) from None


def _config(composed: Any, overrides: Sequence[str], cfgs: Path, own: Any = None) -> PPOConfig:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    own = own or composed.hydra
    try:
        kept = OmegaConf.masked_copy(composed, [one for one in composed if one != "hydra"])
        data: Any = OmegaConf.to_container(kept, resolve=True)
        folder = Path(own.runtime.output_dir) if not OmegaConf.is_missing(own.runtime, "output_dir") else None
    except OmegaConfBaseException as error:
        raise ConfigError(f"the configuration: {error}") from None
    return read(data, overrides=tuple(overrides), folder=folder, cfgs=cfgs)


def _explained(message: str, overrides: Sequence[str], cfgs: Path) -> str:
    """What to do about a mistake that Hydra finds, and Hydra's words where there is nothing to add."""
    for one in overrides:
        key, _, value = one.partition("=")
        if key.lstrip("+") == "presets":
            return f"{one}: write preset={value}. Presets: {', '.join(presets(cfgs))}"
    culprit = next((one for one in overrides if one in message or f"'{one.partition('=')[0]}'" in message), "")
    if missing := _MISSING.search(message):
        group, _, key = missing["path"].rpartition(".")
        known = _NESTED.get(group, SETTINGS)
        return f"{missing['path']}: no setting of that name.{did_you_mean(key, known)} Settings: {', '.join(known)}"
    key = culprit.partition("=")[0].lstrip("+~")
    if culprit and "is not in struct" in message:
        return f"{culprit}: no setting of that name.{did_you_mean(key, SETTINGS)} Settings: {', '.join(SETTINGS)}"
    return message
