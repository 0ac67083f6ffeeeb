"""From the command line to a `Config`: Hydra's composition, and words for the mistakes it explains badly.

`compose(["lr_schedule=gentle_decay", "seed=3"])` gives the `Config` that such a command line has; see `settings` for
what it holds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tempomat.core import MissingExtra, TempomatError
from tempomat.core.errors import did_you_mean
from tempomat_rl.resuming import claim
from tempomat_rl.schedules import NETWORKS
from tempomat_rl.settings import SETTINGS, Config, ConfigError, changes, read

__all__ = ["Config", "ConfigError", "changes", "compose", "main"]

CFGS = Path(__file__).resolve().parents[2] / "cfgs"
"""The configuration files of a source checkout."""
INTERRUPTED = 130
"""The status of a program that was ended by Ctrl-C."""
_LONGEST_NAME = 120


def compose(overrides: Sequence[str] = (), *, cfgs: Path | None = None) -> Config:
    """The configuration that a command line with these overrides has.

    Args:
        overrides: such as `lr_schedule=gentle_decay` and `lr_schedule.encoder.intervals.0.lr=2.0e-4`.
        cfgs: the folder with `config.yaml`; by default the one of the source checkout.

    Raises:
        ConfigError: nothing can be composed, or every fault of what was composed at once.
        MissingExtra: Hydra is not installed.
    """
    given = [_quoted(one) for one in overrides]
    return _config(_composed(given, cfgs or CFGS), given)


def main(cfgs: Path | None = None, argv: Sequence[str] | None = None) -> None:
    """The command line: compose, read, train. Hydra's own options (`--help`, `--multirun`, ...) work as everywhere.

    A mistake in the configuration ends the program with its explanation and status 1, an interruption with 130.
    """
    hydra = _hydra()
    folder = cfgs or CFGS
    written = list(sys.argv[1:] if argv is None else argv)
    sweep = bool({"-m", "--multirun"} & set(written))
    given = [_quoted(one, sweep) for one in written]
    try:
        if not any(one.startswith("-") for one in given):
            config = compose(given, cfgs=folder)
            if config.checkpoint_dir:
                claim(config.checkpoint_dir)  # before Hydra makes it, and says what went wrong in its own way
        elif sweep:
            _refuse_one_folder(given)
    except TempomatError as error:
        raise SystemExit(str(error)) from None
    _register()

    @hydra.main(config_path=str(folder), config_name="config", **_version_base(hydra))
    def run(composed: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        own = HydraConfig.get()
        from tempomat_rl.train import train  # type: ignore[import-not-found]

        try:
            result = train(_config(composed, list(own.overrides.task), own))
        except TempomatError as error:
            raise SystemExit(str(error)) from None
        if result is not None and not result.finished:
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


def _quoted(override: str, sweep: bool = False) -> str:
    """With the quotes without which Hydra reads more into a value than is meant.

    `noise=linear(1.0,0.1,500000)` would be a function of its own, and a folder's name with `=` or a comma, as run
    folders have them, no value at all; in a sweep commas part its values.
    """
    override = re.sub(r"^(\+{0,2}noise)=(\w+\([^()']*\))$", r"\1='\2'", override)
    key, _, value = override.partition("=")
    if key.lstrip("+") != "checkpoint_dir" or sweep or re.fullmatch(r"[\w./:+-]*|'.*'|\".*\"", value, re.DOTALL):
        return override
    return f"{key}='{re.sub(_BEFORE_QUOTE, _escaped, value)}'"


_BEFORE_QUOTE = re.compile(r"\\*('|$)")


def _escaped(match: re.Match[str]) -> str:
    """Hydra takes backslashes for themselves, save those before a quote."""
    slashes = match[0].rstrip("'")
    return slashes * 2 + ("\\'" if match[1] else "")


def _refuse_one_folder(given: Sequence[str]) -> None:
    """The runs of a sweep need a folder each."""
    for one in given:
        key, _, value = one.partition("=")
        if key.lstrip("+") == "checkpoint_dir" and "," not in value and "${" not in value and value != "null":
            raise ConfigError(
                f"{one}: all runs of the sweep would have this folder. Leave it out, for exp_local/multirun, or name "
                "one for each, such as 'checkpoint_dir=runs/${seed}'"
            )


def _version_base(hydra: Any) -> dict[str, str]:
    """Hydra 1.3 warns where it is left out, 1.4 where it is given."""
    major, minor = (int(part) for part in hydra.__version__.split(".")[:2])
    return {} if (major, minor) >= (1, 4) else {"version_base": "1.3"}


def _register() -> None:
    """The two functions that `cfgs/config.yaml` calls for the names of folders."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def run_folder(checkpoint_dir: str | None, moment: str, overrides: str) -> str:
    """`checkpoint_dir`, or else a folder in `exp_local` by moment and overrides."""
    return str(checkpoint_dir) if checkpoint_dir else f"exp_local/{run_name(moment, overrides)}"


def run_name(moment: str | int, overrides: str) -> str:
    """A name that every file system takes.

    >>> run_name("120000", "encoder_bundle@agent=enc_B,task=dmc/cartpole_balance")
    '120000_encoder_bundle-agent=enc_B,task=dmc-cartpole_balance'
    """
    tidy = re.sub(r"[^\w=.,+-]+", "-", str(overrides or ""))[:_LONGEST_NAME].strip("-.")
    return f"{moment}_{tidy}" if tidy else str(moment)


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
            return hydra.compose("config", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # Hydra refuses some choices bare
        words = dict.fromkeys(str(one) for one in (error, error.__cause__) if one is not None)
        raise ConfigError(_explained("\n".join(words), overrides, cfgs)) from None


def _config(composed: Any, overrides: Sequence[str], own: Any = None) -> Config:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    own = own or composed.hydra
    choices = own.runtime.choices
    try:
        data: Any = OmegaConf.to_container(
            OmegaConf.masked_copy(composed, [one for one in composed if one != "hydra"]), resolve=True
        )
        folder = Path(own.runtime.output_dir) if not OmegaConf.is_missing(own.runtime, "output_dir") else None
    except OmegaConfBaseException as error:
        raise ConfigError(f"the configuration: {error}") from None
    return read(data, overrides=tuple(overrides), folder=folder, preset=choices.get("lr_schedule"))


# words for mistakes

_CHOICE = re.compile(r"Could not find '(?P<choice>[^']+)'")
_SCHEDULE = re.compile(r"\+{0,2}lr_schedule\.(?P<network>[^.=\[\]]+)")


def _explained(message: str, overrides: Sequence[str], cfgs: Path) -> str:
    """What to do about a mistake that Hydra finds, and Hydra's words where there is nothing to add."""
    for one in overrides:
        key, _, value = one.partition("=")
        if "[" in key:
            dotted = re.sub(r"\[(\d+)\]", r".\1", key)
            return f"{one}: a place in a list is written with a point. Write {dotted}={value}"
        if value == "null" and (cfgs / key.partition("@")[0]).is_dir():
            return f"{one}: null is no choice. Leave it out for the usual one, or write ~{key} for none"
        if key == "encoder_bundle":
            return f"{one}: this choice belongs to the agent. Write encoder_bundle@agent={value}"
    if missing := _CHOICE.search(message):
        for one in overrides:
            key, _, name = one.partition("=")
            group = key.partition("@")[0]
            if f"{group}/{name}" == missing["choice"]:
                return f"{one}: no such choice.{_choices(cfgs / group, name)}"
    culprit = next((one for one in overrides if one in message or f"'{one.partition('=')[0]}'" in message), "")
    key = culprit.partition("=")[0].lstrip("+~")
    if match := _SCHEDULE.match(culprit):
        return f"{culprit}: {_about_schedule(match['network'], message, overrides, cfgs)}"
    if culprit and "is not in struct" in message and "." not in key:
        return f"{culprit}: no setting of that name.{did_you_mean(key, SETTINGS)} Settings: {', '.join(SETTINGS)}"
    return message


def _choices(group: Path, name: str) -> str:
    """The one that may have been meant, and all there are."""
    found = sorted(one.relative_to(group).with_suffix("").as_posix() for one in group.rglob("*.yaml"))
    return f"{did_you_mean(name, found)} Choices: {', '.join(found)}"


def _about_schedule(network: str, message: str, overrides: Sequence[str], cfgs: Path) -> str:
    """Why a value of the lr_schedule cannot be overridden."""
    presets = ", ".join(sorted(one.stem for one in cfgs.glob("lr_schedule/*.yaml") if one.stem != "constant"))
    chosen = [one.partition("=")[2] for one in overrides if one.startswith("lr_schedule=")]
    if not chosen or chosen[-1] == "constant":
        return f"no lr_schedule is chosen, so it has nothing to override. Choose one first: lr_schedule={presets}"
    if network not in NETWORKS:
        known = f"this run has {', '.join(NETWORKS)}.{did_you_mean(network, NETWORKS)}"
        return f"no network of the name {network}; {known}"
    rest = [one for one in overrides if not _SCHEDULE.match(one)]
    if "lr_schedule" in (_composed(rest, cfgs).get("lr_schedule") or {}):
        return (
            f"cfgs/lr_schedule/{chosen[-1]}.yaml lacks the line `# @package _global_` at its top. Add it, or write "
            f"lr_schedule.lr_schedule.{network}..."
        )
    known = next((line for line in message.splitlines() if "not in struct" in line or "out of range" in line), message)
    return f"the lr_schedule {chosen[-1]} has no such value: {known.strip()}"
