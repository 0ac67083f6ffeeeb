"""Whether less or more of a measurement is better, as far as its name tells."""

from __future__ import annotations

from typing import Literal

Mode = Literal["min", "max"]

LESS = ("loss", "error", "perplexity", "nll", "mse", "mae", "rmse")
MORE = ("accuracy", "acc", "return", "reward", "score", "success_rate", "f1", "auc", "bleu")
"""Words in the name of a measurement that say whether less or more of it is better."""
_SPREADS = ("std", "var")
"""Words that make it a measure of how far values are apart, of which neither is."""


def mode_of(name: str) -> Mode | None:
    """Whether less or more of a measurement is better, by the words of its name; None where they do not say.

    >>> mode_of("val_loss"), mode_of("eval/success_rate"), mode_of("grad_norm"), mode_of("return_std")
    ('min', 'max', None, None)
    """
    if _has(name, _SPREADS):
        return None
    return "min" if _has(name, LESS) else "max" if _has(name, MORE) else None


def is_rate(name: str) -> bool:
    """Whether it is a share of episodes that succeeded, which may be in a part of the record: `eval/success_rate`."""
    return name.rsplit("/", 1)[-1] == "success_rate"


def is_return(name: str) -> bool:
    """Whether it is what episodes brought in."""
    return mode_of(name) == "max" and _has(name, ("return", "reward"))


def _has(name: str, words: tuple[str, ...]) -> bool:
    parts = "_" + name.lower().replace("/", "_").replace(".", "_").replace("-", "_") + "_"
    return any(f"_{word}_" in parts for word in words)
