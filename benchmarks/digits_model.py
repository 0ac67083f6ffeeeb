"""Handwritten digits, a small net that tells them apart, and how hard each image is.

600 of the 1 797 images that ship with scikit-learn are the test of every run. A seed draws its own training images from
the rest; what remains is for validation, by which learning rates are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict, train_test_split
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from tempomat.torch.stream import Indices, words

TEST = 600
HIDDEN = 64
FOLDS = 3
EASIEST = 0.02  # of a difficulty: no sample's weight is ever nothing
EIGHT = 8
_LABELS, _SHIFTS, _RANDOM = 1, 2, 3  # streams of random numbers, a purpose each

# Shapes: N images, 64 pixels from -0.5 (paper) to 0.5 (ink), row after row.


class Images(NamedTuple):
    """Pixels (N, 64) in float32 and labels (N,)."""

    pixels: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Digits:
    """What a seed trains on, chooses by and is tested on; labels of the latter two are always right."""

    train: Images
    validation: Images
    test: Images

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(self.test.labels.max()) + 1


@cache
def load(seed: int, size: int, wrong: float = 0.0, eights: bool = False) -> Digits:
    """A seed's `size` training images: a share `wrong` of their labels is another digit; `eights` asks only whether
    it is one.
    """
    pixels, digits = load_digits(return_X_y=True)
    rest, test = train_test_split(np.arange(len(digits)), test_size=TEST, random_state=0, stratify=digits)
    train, validation = train_test_split(rest, train_size=size, random_state=seed, stratify=digits[rest])
    spoilt = digits[train]
    which, by = words(seed, _LABELS, 2 * size).reshape(2, size)
    bad = np.argsort(which, kind="stable")[: round(wrong * size)]
    spoilt[bad] = (spoilt[bad] + 1 + (by[bad] % 9).astype(int)) % 10

    def images(rows: Any, labels: Any) -> Images:
        asked = (labels == EIGHT).astype(np.int64) if eights else labels
        return Images(torch.tensor(pixels[rows] / 16 - 0.5, dtype=torch.float32), torch.tensor(asked))

    return Digits(images(train, spoilt), images(validation, digits[validation]), images(test, digits[test]))


class Rows(Dataset[Any]):
    """Training images as a `DataLoader` asks for them, a whole batch at once, each moved by up to one pixel.

    Where an image is moved to belongs to its place among all that a run draws, whatever the batches are.
    """

    def __init__(self, images: Images, seed: int, draws: int) -> None:
        self.labels = images.labels
        padded = functional.pad(images.pixels.view(-1, 8, 8), (1, 1, 1, 1), value=-0.5)
        self.moved = padded.unfold(1, 8, 1).unfold(2, 8, 1).reshape(-1, 9, 64)  # 4 is where it was
        self.where = torch.from_numpy((words(seed, _SHIFTS, draws) % 9).astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: Indices) -> Images:
        first, chosen = indices.info.counts["samples"], torch.tensor(indices)
        return Images(self.moved[chosen, self.where[first : first + len(chosen)]], self.labels[chosen])


def as_it_is(batch: Images) -> Images:
    """A `collate_fn` for batches that come whole."""
    return batch


def build_net(seed: int, classes: int) -> nn.Sequential:
    """One hidden layer; the weights are the seed's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))


@cache
def difficulty(seed: int, size: int, wrong: float, eights: bool) -> NDArray[np.float64]:
    """One less the probability of the label that an image has in training, by a logistic regression that was fitted to
    the other folds; shape (N,), from nearly 0 (easy) to 1.
    """
    pixels, labels = load(seed, size, wrong, eights).train
    found = cross_val_predict(
        LogisticRegression(C=0.1, max_iter=1000), pixels.numpy(), labels.numpy(), cv=FOLDS, method="predict_proba"
    )
    return 1.0 - found[np.arange(size), labels.numpy()]


def at_random(seed: int, size: int) -> NDArray[np.float64]:
    """A difficulty that says nothing."""
    return words(seed, _RANDOM, size) / 2.0**64


@torch.no_grad()
def evaluate(net: nn.Module, images: Images) -> dict[str, float]:
    """The mean loss, and a score in percent: the share recognised, or for eights the average precision."""
    logits = net(images.pixels)
    if logits.shape[1] == 2:
        score = float(average_precision_score(images.labels.numpy(), (logits[:, 1] - logits[:, 0]).numpy()))
    else:
        score = float((logits.argmax(1) == images.labels).double().mean())
    return {"loss": float(functional.cross_entropy(logits, images.labels)), "score": 100 * score}
