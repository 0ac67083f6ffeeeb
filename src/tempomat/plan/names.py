"""The hyperparameters that the field has names for: what each may be, and how an entry of a plan is named.

An entry is `key`, `group.key` or `key[index]`: `lr`, `encoder.lr`, `betas[0]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from tempomat.core import ScheduleError

_NAME = re.compile(
    r"(?:(?P<group>[A-Za-z_][\w\-]*(?:\.[A-Za-z_][\w\-]*)*)\.)?(?P<key>[A-Za-z_][\w\-]*)(?:\[(?P<index>\d{1,3})\])?"
)


@final
@dataclass(frozen=True, slots=True)
class Range:
    """The values that a target takes; an open end excludes its bound."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value lies inside; a NaN or an infinity never does."""
        above = self.low is None or (value > self.low if self.low_open else value >= self.low)
        below = self.high is None or (value < self.high if self.high_open else value <= self.high)
        return above and below and abs(value) < float("inf")

    def __str__(self) -> str:
        parts = [f"{'above' if self.low_open else 'at least'} {self.low:g}"] if self.low is not None else []
        parts += [f"{'below' if self.high_open else 'at most'} {self.high:g}"] if self.high is not None else []
        return " and ".join(parts) or "finite"


ANY = Range()
_POSITIVE, _NOT_NEGATIVE = Range(0, low_open=True), Range(0)
_SHARE, _MOMENTUM = Range(0, 1), Range(0, 1, high_open=True)

HYPERPARAMETERS: dict[str, Range] = {
    **dict.fromkeys(("lr", "weight_decay", "eps", "lr_decay", "lambd", "initial_accumulator_value"), _NOT_NEGATIVE),
    **dict.fromkeys(("momentum", "betas", "dampening", "alpha", "rho"), _MOMENTUM),
    **dict.fromkeys(("grad_clip", "clip_range", "clip_range_vf", "clip_param", "temperature"), _POSITIVE),
    **dict.fromkeys(("target_kl", "noise_clip"), _POSITIVE),
    **dict.fromkeys(
        ("batch_size", "accumulation", "sequence_length", "image_size", "epochs_per_batch", "minibatch_size"),
        Range(1),
    ),
    **dict.fromkeys(
        ("rollout_length", "num_envs", "eval_interval", "checkpoint_interval", "update_interval"), Range(1)
    ),
    **dict.fromkeys(
        ("ema_decay", "dropout", "epsilon", "label_smoothing", "gamma", "gae_lambda", "tau", "mixup"), _SHARE
    ),
    **dict.fromkeys(("noise", "difficulty", "stage", "loss_weight", "value_coef", "grad_noise"), _NOT_NEGATIVE),
    # of exploration and of TD3's target: SB3's names and CleanRL's; SB3 builds DDPG as TD3 with a noise clip of 0
    "exploration_rate": _SHARE,
    **dict.fromkeys(("action_noise", "exploration_noise", "target_policy_noise", "target_noise_clip"), _NOT_NEGATIVE),
    **dict.fromkeys(("beta", "kl_coef", "kl_coeff"), _NOT_NEGATIVE),  # of a divergence: papers' name, TRL's, RLlib's
    **dict.fromkeys(("entropy_coef", "ent_coef", "entropy_coeff"), ANY),  # CleanRL's word, SB3's, RLlib's
    "sampling_power": ANY,
}
"""Names that the field has for hyperparameters, and what each may be."""

LOOP_FAMILIES: dict[str, Range] = {"mixture": _NOT_NEGATIVE}
"""Groups of entries that are the loop's, with keys that the user chooses: `mixture.web`, `mixture.books`."""

OPTIMIZER_KEYS = frozenset(
    {"lr", "weight_decay", "momentum", "betas", "eps", "dampening", "alpha", "rho", "lr_decay", "lambd"}
)
"""Names that belong to an optimizer's param groups; a loop that reads them by itself would be a mistake."""


@final
@dataclass(frozen=True, slots=True)
class EntryName:
    """An entry's name, taken apart."""

    group: str | None
    key: str
    index: int | None

    @property
    def range(self) -> Range:
        """What the hyperparameter may be; anything finite where the field has no such name."""
        return LOOP_FAMILIES.get(self.group or "") or HYPERPARAMETERS.get(self.key, ANY)


def entry_name(name: object) -> EntryName:
    """Take an entry's name apart.

    >>> entry_name("encoder.betas[0]")
    EntryName(group='encoder', key='betas', index=0)

    Raises:
        ScheduleError: it is no name.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) and len(name) <= 200 else None
    if match is None:
        raise ScheduleError(
            f"{name!r} names no hyperparameter. Write key, group.key or key[index], such as lr, encoder.lr, betas[0]"
        )
    return EntryName(match["group"], match["key"], None if match["index"] is None else int(match["index"]))
