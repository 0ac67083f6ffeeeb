"""A character-level language model, small enough for one core, and the text that it learns: Python's own manual.

`pydoc_data.topics` ships with every Python: the chapters that `help("LAMBDA")` shows. A paragraph that stands in
several chapters is kept once, or the validation text would stand in the training text as well; of what remains, every
tenth stretch of 4000 characters is for validation.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

VALIDATION_EVERY = 10
STRETCH = 4000


@dataclass(frozen=True)
class Text:
    """Characters as numbers: `letters[i]` is written as `i`."""

    letters: str
    training: Tensor
    validation: Tensor
    checksum: int

    @property
    def told(self) -> str:
        """What it is, for the report."""
        return (
            f"pydoc_data.topics without repeated paragraphs: {len(self.training)} characters to train on, "
            f"{len(self.validation)} to validate on, {len(self.letters)} different ones, CRC-32 {self.checksum:08x}"
        )


def load_text() -> Text:
    """The manual's chapters, in the order of their names."""
    from pydoc_data.topics import topics

    seen: set[str] = set()
    whole = "\n\n".join(paragraph for name in sorted(topics) for paragraph in _new(topics[name].split("\n\n"), seen))
    letters = "".join(sorted(set(whole)))
    number = {letter: place for place, letter in enumerate(letters)}
    parts = torch.tensor([number[letter] for letter in whole]).split(STRETCH)
    held_out = set(range(VALIDATION_EVERY - 1, len(parts), VALIDATION_EVERY))
    training = torch.cat([part for place, part in enumerate(parts) if place not in held_out])
    validation = torch.cat([parts[place] for place in sorted(held_out)])
    return Text(letters, training, validation, zlib.crc32(whole.encode()))


def _new(paragraphs: list[str], seen: set[str]) -> Iterator[str]:
    for paragraph in (one.strip("\n") for one in paragraphs):  # the last one of a chapter ends with a line feed
        if paragraph and paragraph not in seen:
            seen.add(paragraph)
            yield paragraph


class Block(nn.Module):
    """Causal attention and a two-layer perceptron, each added to its normalised input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x_BTD: Tensor) -> Tensor:  # noqa: N803  B rows, T characters, D numbers each
        batch, length, width = x_BTD.shape
        split = self.queries_keys_values(self.norm(x_BTD)).view(batch, length, 3, self.heads, width // self.heads)
        seen = functional.scaled_dot_product_attention(*split.permute(2, 0, 3, 1, 4), is_causal=True)
        x_BTD = x_BTD + self.out(seen.transpose(1, 2).reshape(batch, length, width))  # noqa: N806
        return x_BTD + self.perceptron(self.norm2(x_BTD))


class Model(nn.Module):
    """A GPT of PyTorch's own layers at their own initial values."""

    def __init__(self, letters: int, *, width: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        self.letter, self.place = nn.Embedding(letters, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, letters)
        self.register_buffer("places", torch.arange(length), persistent=False)

    def forward(self, letters_BT: Tensor) -> Tensor:  # noqa: N803
        return self.out(self.norm(self.blocks(self.letter(letters_BT) + self.place(self.places))))


def loss_of(model: nn.Module, rows: Tensor) -> Tensor:
    """Mean nats per character; `rows` are one character longer than the model reads, shape (batch, length + 1)."""
    return functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def rows_at(text: Tensor, starts: Tensor | NDArray, length: int) -> Tensor:
    """Stretches of the text of `length + 1` characters, shape (len(starts), length + 1)."""
    return text[torch.as_tensor(starts)[:, None] + torch.arange(length + 1)]


@torch.no_grad()
def validation_loss(model: nn.Module, text: Tensor, length: int, rows: int | None = None) -> float:
    """Nats per character of the text cut into rows; `rows` takes that many, spread evenly, instead of all."""
    starts = torch.arange(0, len(text) - length, length)
    if rows is not None and rows < len(starts):
        starts = starts[torch.linspace(0, len(starts) - 1, rows).long()]
    model.eval()
    losses = [float(loss_of(model, rows_at(text, part, length))) * len(part) for part in starts.split(64)]
    model.train()
    return sum(losses) / len(starts)
