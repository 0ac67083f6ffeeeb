"""Permutations that are computed place by place, so that nothing of their length is ever held or saved."""

from __future__ import annotations

from typing import Any

import numpy as np

from tempomat.torch.stream import words

Whole = np.ndarray[Any, np.dtype[np.int64]]
"""Whole numbers, of shape (N,)."""
_Words = np.ndarray[Any, np.dtype[np.uint64]]

_ROUNDS = 8
_BLOCKS = _ROUNDS // 4
"""How many blocks of four words the keys of one permutation take."""
_MANY = 2**40
"""Where the words of single places begin, far behind those of keys."""
_ODD, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


def permuted(places: Any, size: int, *, seed: int, key: int, stream: int = 0) -> Whole:
    """What stands at some places of a random order of `range(size)`.

    A Feistel network over pairs of half-words, walked on until it comes back into the range: a permutation whatever
    its rounds are, for about as much work as there are places.

    Args:
        places: whole numbers of shape (N,), from 0 to `size - 1`.
        size: how many things the order has; 1 to 2^62.
        seed: 0 to 2^63 - 1.
        key: a second number, such as an epoch: another one is another order.
        stream: a small number that tells apart what else is drawn under the same seed and key.

    Returns:
        Whole numbers of shape (N,), from 0 to `size - 1`.

    Source:
        Luby and Rackoff 1988, How to construct pseudorandom permutations from pseudorandom functions; cycle walking:
        Black and Rogaway 2002, Ciphers with arbitrary finite domains.

    Example:
        >>> sorted(permuted(range(5), 5, seed=0, key=0).tolist())
        [0, 1, 2, 3, 4]
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = words(seed, key, _ROUNDS, skip=_BLOCKS * stream)
    found = np.array(places, dtype=np.uint64)
    outside = np.ones(len(found), dtype=bool)
    while outside.any():
        found[outside] = _mixed(found[outside], half, keys)
        outside = found >= size
    return found.astype(np.int64)


def _mixed(numbers: _Words, half: int, keys: _Words) -> _Words:
    """One permutation of all numbers of twice `half` bits."""
    bits, mask = np.uint64(half), np.uint64(2**half - 1)
    left, right = numbers >> bits, numbers & mask
    for one in keys:
        hashed = right * _ODD + one
        hashed = (hashed ^ (hashed >> np.uint64(32))) * _MIX
        left, right = right, left ^ ((hashed >> np.uint64(31)) & mask)
    return left << bits | right


def unit(seed: int, key: int, stream: int = 0) -> float:
    """A random number from 0 to below 1, of 32 bits, so that a small whole number can be added to it exactly."""
    return float(words(seed, key, 1, skip=_BLOCKS * stream)[0] >> np.uint64(32)) / 2**32


def units(start: int, stop: int, *, seed: int, key: int) -> Any:
    """Random numbers above 0 and below 1 that belong to the places `[start, stop)` under a seed and a key."""
    first = start - start % 4  # a block of words is the smallest thing to go forward by
    raw = words(seed, key, stop - first, skip=_MANY + first // 4)[start - first :]
    return ((raw >> np.uint64(32)).astype(np.float64) + 0.5) / 2**32
