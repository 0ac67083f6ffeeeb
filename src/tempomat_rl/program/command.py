"""From the command line to a run: Hydra's composition, and the program around it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, final

from tempomat.core import MissingExtra, TempomatError
from tempomat_rl.program.resuming import claim
from tempomat_rl.program.session import INTERRUPTED, Ending
from tempomat_rl.program.settings import AnyConfig, ConfigError

if TYPE_CHECKING:
    from tempomat_rl.program.sweeping import Sweep  # needs Hydra

NAME = "config"
SWEEP_DIR = "hydra.sweep.dir"
_LONGEST_NAME = 120


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[AnyConfig]):
    """The command line of one program.

    Args:
        cfgs: the folder with `config.yaml` in a source checkout.
        written: settings that may be written as a call, such as `linear(1.0,0.1,500000)`, which Hydra would read as a
            function of its own.
        read: the configuration of composed data, the choices by group and the folder of files, with `overrides` and
            `folder`.
        explained: what to say about a mistake that Hydra finds: its message, the overrides, the folder.
        train: what the program does.
    """

    cfgs: Path
    written: Sequence[str]
    read: Callable[..., AnyConfig]
    explained: Callable[[str, Sequence[str], Path], str]
    train: Callable[[AnyConfig], Ending | None]

    def compose(self, overrides: Sequence[str] = (), *, cfgs: Path | None = None) -> AnyConfig:
        """The configuration that a command line with these overrides has.

        Args:
            overrides: such as `seed=3`, `lr_schedule=cosine` and `checkpoint_dir=exp_local/mine`.
            cfgs: the folder with `config.yaml`; by default the one of the source checkout.

        Raises:
            ConfigError: nothing can be composed, or every fault of what was composed at once.
            MissingExtra: Hydra is not installed.
        """
        folder = cfgs or self.cfgs
        given = [self._quoted(one) for one in overrides]
        return self._config(self.composed(given, folder), given, folder)

    def main(self, cfgs: Path | None = None, argv: Sequence[str] | None = None) -> None:
        """The command line: compose, read, train. Hydra's own options (`--help`, `--multirun`, ...) work as everywhere.

        A mistake in the configuration ends the program with its explanation and status 1, an interruption with 130.
        """
        hydra = _hydra()
        folder = cfgs or self.cfgs
        written = list(sys.argv[1:] if argv is None else argv)
        several = bool({"-m", "--multirun"} & set(written))
        given = [self._quoted(one, several) for one in written]
        sweep: Sweep | None = None
        try:
            if several:
                _refuse_one_folder(given)
                sweep, given = self._sweep(given, folder)
            elif not any(one.startswith("-") for one in given):
                config = self.compose(given, cfgs=folder)
                if config.checkpoint_dir:
                    claim(config.checkpoint_dir)  # before Hydra makes it, and says what went wrong in its own way
        except TempomatError as error:
            raise SystemExit(str(error)) from None
        _register()

        @hydra.main(config_path=str(folder), config_name=NAME, **_version_base(hydra))
        def run(composed: Any) -> None:
            from hydra.core.hydra_config import HydraConfig

            own = HydraConfig.get()

            def train() -> Ending | None:
                return self.train(self._config(composed, list(own.overrides.task), folder, own))

            if sweep:
                sweep.run(Path(own.runtime.output_dir).name, train)
            else:
                _alone(train)

        with _arguments(given):
            if sweep:
                sweep.launch(run, written)
            else:
                _uninterrupted(run)

    def _sweep(self, given: Sequence[str], cfgs: Path) -> tuple[Sweep, list[str]]:
        """The sweep of a command line, and that line with what the sweep's launcher needs besides."""
        from tempomat_rl.program.sweeping import Sweep, no_launcher, require

        chosen = [one.partition("=")[2] for one in given if one.lstrip("+").startswith("hydra/launcher=")]
        needed = require(chosen[-1]) if chosen else ()
        try:
            own = self.composed([one for one in given if one.lstrip("+").startswith(("hydra.", "hydra/"))], cfgs).hydra
        except ConfigError as error:
            raise (
                no_launcher(chosen[-1]) if chosen and f"hydra/launcher/{chosen[-1]}'" in str(error) else error
            ) from None
        launcher, here = str(own.runtime.choices.get("hydra/launcher")), Path.cwd()
        folder = (here / str(own.sweep.dir)).resolve()
        rest = [one for one in given if not one.startswith(f"{SWEEP_DIR}=")]
        at = next((place for place, one in enumerate(rest) if "=" in one and not one.startswith("-")), len(rest))
        rest[at:at] = [*needed, f"{SWEEP_DIR}={_as_text(str(folder))}"]  # Hydra takes overrides in one piece alone
        return Sweep(folder, here, launcher), rest

    def composed(self, overrides: Sequence[str], cfgs: Path) -> Any:
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
        except (HydraException, OmegaConfBaseException, ValueError) as error:  # Hydra refuses some choices bare
            words = dict.fromkeys(str(one) for one in (error, error.__cause__) if one is not None)
            raise ConfigError(self.explained("\n".join(words), overrides, cfgs)) from None

    def _config(self, composed: Any, overrides: Sequence[str], cfgs: Path, own: Any = None) -> AnyConfig:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        own = own or composed.hydra
        try:
            kept = OmegaConf.masked_copy(composed, [one for one in composed if one != "hydra"])
            data: Any = OmegaConf.to_container(kept, resolve=True)
            folder = Path(own.runtime.output_dir) if not OmegaConf.is_missing(own.runtime, "output_dir") else None
        except OmegaConfBaseException as error:
            raise ConfigError(f"the configuration: {error}") from None
        return self.read(data, own.runtime.choices, cfgs, overrides=tuple(overrides), folder=folder)

    def _quoted(self, override: str, sweep: bool = False) -> str:
        """With the quotes without which Hydra reads more into a value than is meant.

        A call would be a function of Hydra's own, and a folder's name with `=` or a comma, as run folders have them, no
        value at all; in a sweep commas part its values.
        """
        key, _, value = override.partition("=")
        name = key.lstrip("+")
        if name in self.written and re.fullmatch(r"\w+\([^()']*\)", value):
            return f"{key}='{value}'"
        is_folder = name == SWEEP_DIR or (name == "checkpoint_dir" and not sweep)
        if not is_folder or re.fullmatch(r"[\w./:+-]*|'.*'|\".*\"", value, re.DOTALL):
            return override
        return f"{key}={_as_text(value)}"


def _alone(train: Callable[[], Ending | None]) -> None:
    try:
        result = train()
    except TempomatError as error:
        raise SystemExit(str(error)) from None
    if result is not None and not result.finished:
        raise SystemExit(INTERRUPTED)


def _uninterrupted(run: Callable[[], None]) -> None:
    try:
        run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def _arguments(given: Sequence[str]) -> Iterator[None]:
    """The command line as Hydra reads it."""
    before = sys.argv
    sys.argv = [before[0], *given]
    try:
        yield
    finally:
        sys.argv = before


def _as_text(value: str) -> str:
    return f"'{re.sub(_BEFORE_QUOTE, _escaped, value)}'"


_BEFORE_QUOTE = re.compile(r"\\*('|$)")


def _escaped(match: re.Match[str]) -> str:
    """Hydra takes backslashes for themselves, save those before a quote."""
    slashes = match[0].rstrip("'")
    return slashes * 2 + ("\\'" if match[1] else "")


def _hydra() -> Any:
    try:
        import hydra
    except ImportError:
        raise MissingExtra("the configuration files need the package hydra-core: pip install 'tempomat[rl]'") from None
    return hydra


def _version_base(hydra: Any) -> dict[str, str]:
    """Hydra 1.3 warns where it is left out, 1.4 where it is given."""
    major, minor = (int(part) for part in hydra.__version__.split(".")[:2])
    return {} if (major, minor) >= (1, 4) else {"version_base": "1.3"}


def _refuse_one_folder(given: Sequence[str]) -> None:
    """The runs of a sweep need a folder each."""
    for one in given:
        key, _, value = one.partition("=")
        if key.lstrip("+") == "checkpoint_dir" and "," not in value and "${" not in value and value != "null":
            raise ConfigError(
                f"{one}: all runs of the sweep would have this folder. Leave it out, for exp_local/multirun, or name "
                "one for each, such as 'checkpoint_dir=runs/${seed}'"
            )


def _register() -> None:
    """The two functions that `config.yaml` calls for the names of folders."""
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
