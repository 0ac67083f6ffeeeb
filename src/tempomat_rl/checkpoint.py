"""A run's checkpoints: the rolling one, one per stage, and the best, each either whole or not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tempomat.core.errors import RecordError, StateError, shown
from tempomat.plan.atomic import sync_folder, write_atomically
from tempomat_rl.packing import check_seal, from_bytes, to_bytes
from tempomat_rl.segments import make_folder

FORMAT = 1
INDEX = "best_checkpoints.json"
KIND = re.compile(r"snapshot|stage_(0|[1-9]\d{0,8})")
BEST = re.compile(r"best_stage_(\d{1,9})_([01]\.\d{4})_(\d{1,19})\.pt")


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint that was read, and what was passed over on the way to it: a sentence for each damaged one."""

    path: Path
    kind: str
    """`snapshot`, `best` or `stage_N`"""
    state: dict[str, Any]
    skipped: tuple[str, ...]


class Checkpoints:
    """The checkpoints in one folder.

    `snapshot.pt` and `stage_N.pt` are written beside, flushed and renamed; the one before stays as `*.previous.pt`.
    Of each stage the best `keep` by success rate stay, of the last stage the best `keep_last`, as
    `best_stage_N_RATE_ENVSTEPS.pt`; `best_checkpoints.json` lists them for a reader. No file runs code when loaded,
    and a changed or missing byte is noticed in every one.

    Args:
        folder: made when something is saved.
        last_stage: the curriculum's highest stage.
        keep: best checkpoints of a stage.
        keep_last: best checkpoints of the last stage.
        least: success rate from which on a checkpoint may be one of the best.
    """

    def __init__(
        self, folder: Path, *, last_stage: int, keep: int = 3, keep_last: int = 8, least: float = 0.80
    ) -> None:
        if min(keep, keep_last) < 1:
            raise StateError(f"checkpoints: `keep` and `keep_last` must be at least 1, got {keep} and {keep_last}.")
        self.folder = Path(folder)
        self.last_stage, self.keep, self.keep_last, self.least = last_stage, keep, keep_last, least
        self._whole: set[Path] = set()
        """Written or read by this object, hence known to be intact."""

    def save(self, kind: str, state: dict[str, Any]) -> Path:
        """Save as `snapshot` or `stage_N`. When this returns the state survives a power loss.

        Raises:
            StateError: the state holds something that is neither plain data nor an array or tensor.
            RecordError: the disk is full or fails; the checkpoints that were there load as before.
        """
        if not KIND.fullmatch(kind):
            raise StateError(f"checkpoint: the kind must be snapshot or stage_N, got {shown(kind)}.")
        path = self.folder / f"{kind}.pt"
        content = to_bytes({"format": FORMAT, "kind": kind, "state": state})
        try:
            self._replace(path, content)
        except OSError as error:
            raise _unwritable(path, error) from error
        return path

    def would_keep(self, stage: int, success_rate: float) -> bool:
        """Whether `save_best` would save it: at least `least`, and a place is free or a worse one has it."""
        if not self.least <= success_rate <= 1.0:
            return False
        held = [rate for _, rate, _, _ in self._best(stage)][: self._places(stage)]
        return len(held) < self._places(stage) or round(success_rate, 4) > held[-1]

    def save_best(self, stage: int, success_rate: float, state: dict[str, Any], *, env_steps: int) -> Path | None:
        """Save it if it is one of the best of its stage; where their number is complete the worst one goes.

        Of equals the older ones stay. Returns the file, or None. Raises as `save` does.
        """
        if not self.would_keep(stage, success_rate):
            return None
        path = self.folder / f"best_stage_{stage}_{success_rate:.4f}_{env_steps}.pt"
        content = to_bytes({"format": FORMAT, "kind": path.stem, "state": state})
        try:
            self._clear()
            write_atomically(path, content)
            dropped = list(self._best(stage))[self._places(stage) :]
            self._write_index(without={one for *_, one in dropped})
            for *_, one in dropped:
                one.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        return path

    def newest_intact(self) -> Found | None:
        """The first that is whole of: the snapshot, the one before it, the best from the highest stage down and by
        rate, the stages from the highest down. None where there is no checkpoint at all.

        Raises:
            StateError: there are checkpoints, and every one is damaged; each is named.
        """
        skipped: list[str] = []
        for path in self._candidates():
            try:
                state = self.load(path)
            except StateError as error:
                skipped.append(str(error))
                continue
            kind = path.name.split(".")[0]
            return Found(path, "best" if BEST.fullmatch(path.name) else kind, state, tuple(skipped))
        if skipped:
            faults = "\n".join(f"  {line}" for line in skipped)
            raise StateError(f"{self.folder}: no checkpoint is intact.\n{faults}\nBegin anew in another folder.")
        return None

    def load(self, path: Path) -> dict[str, Any]:
        """What was saved there.

        Raises:
            StateError: the file is damaged, cannot be read, is another checkpoint's under this name, or comes from a
                later version.
        """
        path = Path(path)
        try:
            content = from_bytes(path.read_bytes())
        except OSError as error:
            raise StateError(f"{path}: cannot be read: {error.strerror}.") from error
        except StateError as error:
            raise StateError(f"{path}: {error}.") from error
        if not isinstance(content, dict) or not {"format", "kind", "state"} <= content.keys():
            raise StateError(f"{path}: is no checkpoint of this program.")
        if content["format"] != FORMAT:
            raise StateError(f"{path}: has format {shown(content['format'])}; this version reads {FORMAT}.")
        if content["kind"] != path.name.removesuffix(".pt").removesuffix(".previous"):
            raise StateError(f"{path}: holds {shown(content['kind'])}, saved under that name. Rename it back.")
        self._whole.add(path)
        return content["state"]

    def _replace(self, path: Path, content: bytes) -> None:
        """Between the two renames there is only the previous one, which is then the newest that was ever whole."""
        self._clear()
        beside = path.with_name(f"{path.name}.next")
        write_atomically(beside, content)
        if path in self._whole or _intact(path):
            path.replace(path.with_suffix(".previous.pt"))
        beside.replace(path)
        self._whole.add(path)
        sync_folder(self.folder)

    def _clear(self) -> None:
        """Make the folder; remove what a killed writer has left."""
        make_folder(self.folder)
        for left in self.folder.glob(".*.pt.*part"):
            left.unlink(missing_ok=True)

    def _places(self, stage: int) -> int:
        return self.keep_last if stage == self.last_stage else self.keep

    def _best(self, stage: int | None = None) -> list[tuple[int, float, int, Path]]:
        """Stage, rate, env steps and file of the best, of one stage or of all; the best first, of equals the older."""
        names = ((path, BEST.fullmatch(path.name)) for path in self.folder.glob("best_stage_*.pt"))
        best = [(int(name[1]), float(name[2]), int(name[3]), path) for path, name in names if name]
        of_stage = [one for one in best if stage in (None, one[0])]
        return sorted(of_stage, key=lambda one: (-one[0], -one[1], one[2]))

    def _candidates(self) -> Iterator[Path]:
        stages = {_stage(path) for path in self.folder.glob("stage_*.pt")} - {-1}
        yield from self._both("snapshot")
        yield from (path for *_, path in self._best())
        for stage in sorted(stages, reverse=True):
            yield from self._both(f"stage_{stage}")

    def _both(self, kind: str) -> list[Path]:
        """The newest of a kind and the one before it, where they are."""
        return [path for name in (kind, f"{kind}.previous") if (path := self.folder / f"{name}.pt").exists()]

    def _write_index(self, without: set[Path]) -> None:
        best = [
            {"file": path.name, "stage": stage, "success_rate": rate, "env_steps": env_steps}
            for stage, rate, env_steps, path in self._best()
            if path not in without
        ]
        write_atomically(self.folder / INDEX, (json.dumps({"best": best}, indent=2) + "\n").encode())


def _stage(path: Path) -> int:
    """The stage in a file's name; -1 where it is no stage's checkpoint."""
    kind = KIND.fullmatch(path.name.removesuffix(".pt").removesuffix(".previous"))
    return int(kind[1]) if kind and kind[1] is not None else -1


def _intact(path: Path) -> bool:
    try:
        check_seal(path.read_bytes())
    except (OSError, StateError):
        return False
    return True


def _unwritable(path: Path, error: OSError) -> RecordError:
    return RecordError(
        f"{path}: cannot be saved: {error.strerror or error}. The checkpoints before it are as they were."
    )
