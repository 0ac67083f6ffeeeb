"""Encoders: from stacked frames to the numbers that actor and critic read.

Shapes: B samples, F stacked frames, C channels, H x W pixels, K state numbers, E encoder numbers, S tokens, D width.
Pixels come as 0 to 255, of any type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from tempomat_rl.drqv2.config import AgentError, EncA, EncB, EncoderConfig, Keypoint, Original
from tempomat_rl.frames import FrameSpec


class Encoder(Protocol):
    """A module with `out_features` E."""

    out_features: int

    def __call__(self, image_BFCHW: torch.Tensor | None, state_BFK: torch.Tensor) -> torch.Tensor:
        """B x (F * C) x H x W pixels and (B, F, K) to (B, E)."""
        ...


class OriginalEncoder(nn.Module):
    """See `config.Original`."""

    def __init__(self, config: Original, spec: FrameSpec, frame_stack: int) -> None:
        super().__init__()
        channels, height, width = _image(config, spec)
        layers, (height, width) = _convolutions(
            frame_stack * channels, config.channels, config.kernels, config.strides, (height, width)
        )
        self.first, self.rest = cast(nn.Conv2d, layers[0]), layers[1:]
        self.offset = config.offset
        self.out_features = config.channels[-1] * height * width + frame_stack * spec.state

    def forward(self, image_BFCHW: torch.Tensor, state_BFK: torch.Tensor) -> torch.Tensor:
        # pixels / 255 - offset is linear, so the first weights take it over, and no pass over the pixels is needed.
        weight, bias = self.first.weight, cast(torch.Tensor, self.first.bias)
        bias = bias - self.offset * weight.sum((1, 2, 3))
        x = self.rest(functional.conv2d(_pixels(image_BFCHW), weight / 255.0, bias, self.first.stride))
        # Channels last is how they lie in memory, so that nothing is copied.
        flat_BE = x.permute(0, 2, 3, 1).flatten(1)
        if state_BFK.shape[2] == 0:
            return flat_BE
        return torch.cat([flat_BE, state_BFK.flatten(1).to(flat_BE.dtype)], dim=1)


class KeypointEncoder(nn.Module):
    """See `config.Keypoint`."""

    def __init__(self, config: Keypoint, spec: FrameSpec, frame_stack: int) -> None:
        super().__init__()
        if spec.image is not None or spec.state == 0:
            raise AgentError(
                f"encoder.name: keypoint reads state numbers alone, got a task with image={spec.image}, "
                f"state={spec.state}. Take a task that observes key points, or another encoder"
            )
        layers: list[nn.Module] = []
        inputs = frame_stack * spec.state
        for width in config.widths:
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.out_features = inputs

    def forward(self, image_BFCHW: torch.Tensor | None, state_BFK: torch.Tensor) -> torch.Tensor:
        return self.layers(state_BFK.flatten(1))


class EncAEncoder(nn.Module):
    """See `config.EncA`."""

    def __init__(self, config: EncA, spec: FrameSpec, frame_stack: int) -> None:
        super().__init__()
        channels, height, width = _image(config, spec)
        self.convolutions, _ = _convolutions(channels, config.channels, config.kernels, config.strides, (height, width))
        self.image_token = nn.Linear(config.channels[-1], config.width)
        self.state_tokens = StateTokens(config.groups, spec, config.width)
        self.time = Embedding(frame_stack, config.width)
        self.across = Block(config.width, config.heads)
        self.over_time = Block(config.width, config.heads)
        self.out_features = config.width

    def forward(self, image_BFCHW: torch.Tensor, state_BFK: torch.Tensor) -> torch.Tensor:
        batch, frames, _ = state_BFK.shape
        pooled = self.convolutions(_per_frame(image_BFCHW, frames)).mean((2, 3))
        image_1D = self.image_token(pooled).unflatten(0, (batch, frames)).unsqueeze(2)
        time_F1D = self.time.weight.unsqueeze(1)
        # One image token per frame, so that state tokens of a frame attend to it alone.
        state_SD = (self.state_tokens(state_BFK) + time_F1D).flatten(0, 1)
        crossed_SD = self.across(state_SD, (image_1D + time_F1D).flatten(0, 1))
        return self.over_time(crossed_SD.unflatten(0, (batch, frames)).flatten(1, 2)).mean(1)


class EncBEncoder(nn.Module):
    """See `config.EncB`."""

    def __init__(self, config: EncB, spec: FrameSpec, frame_stack: int) -> None:
        super().__init__()
        channels, height, width = _image(config, spec)
        if height % config.patch or width % config.patch:
            raise AgentError(
                f"encoder.patch: must divide the image's sides, {height} x {width}, got {config.patch}. "
                "Take one that does, or another image size"
            )
        count = (height // config.patch) * (width // config.patch)
        self.patches = nn.Conv2d(channels, config.width, config.patch, config.patch)
        self.place = Embedding(count, config.width)
        self.state_tokens = StateTokens(config.groups, spec, config.width)
        self.time = Embedding(frame_stack, config.width)
        self.local = nn.Sequential(*(Block(config.width, config.heads) for _ in range(config.local_blocks)))
        self.temporal = nn.Sequential(*(Block(config.width, config.heads) for _ in range(config.temporal_blocks)))
        self.out_features = config.width

    def forward(self, image_BFCHW: torch.Tensor, state_BFK: torch.Tensor) -> torch.Tensor:
        batch, frames, _ = state_BFK.shape
        patches_SD = self.patches(_per_frame(image_BFCHW, frames)).flatten(2).mT + self.place.weight
        state_SD = self.state_tokens(state_BFK).flatten(0, 1)
        tokens_SD = self.local(torch.cat([state_SD, patches_SD.to(state_SD.dtype)], dim=1))
        # Over time each frame is its state tokens and one mean of its patches.
        states = state_SD.shape[1]
        summary_SD = torch.cat([tokens_SD[:, :states], tokens_SD[:, states:].mean(1, keepdim=True)], dim=1)
        timed_SD = summary_SD.unflatten(0, (batch, frames)) + self.time.weight.unsqueeze(1)
        return self.temporal(timed_SD.flatten(1, 2)).mean(1)


class Embedding(nn.Module):
    """A learned vector per place: `weight` is (places, D)."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(places, width))


class StateTokens(nn.Module):
    """(B, F, K) to (B, F, S, D): a token for each group of state numbers, with a linear layer of its own."""

    def __init__(self, groups: tuple[int, ...], spec: FrameSpec, width: int) -> None:
        super().__init__()
        if sum(groups) != spec.state:
            raise AgentError(
                f"encoder.groups: must add up to the task's state numbers, {spec.state}, got {list(groups)}, "
                f"{sum(groups)} in all. Write one group per token, such as [3, 4, 4]"
            )
        self.groups, self.width = list(groups), width
        self.layers = nn.ModuleList(nn.Linear(group, width) for group in groups)

    def forward(self, state_BFK: torch.Tensor) -> torch.Tensor:
        tokens = [layer(one) for layer, one in zip(self.layers, state_BFK.split(self.groups, 2), strict=True)]
        return torch.stack(tokens, 2) if tokens else state_BFK.new_zeros(*state_BFK.shape[:2], 0, self.width)


class Block(nn.Module):
    """Attention, then a layer of four times the width with a GELU; each after a norm and added to what came in.

    With a context the tokens attend to it, otherwise to one another.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mixing = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.joined = nn.Linear(width, width)
        self.mixing = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens_BSD: torch.Tensor, context_BTD: torch.Tensor | None = None) -> torch.Tensor:
        """(B, S, D), and (B, T, D) to attend to, to (B, S, D)."""
        normed_BSD = self.before_attention(tokens_BSD)
        attended_BSD = self._attend(normed_BSD, normed_BSD if context_BTD is None else context_BTD)
        tokens_BSD = tokens_BSD + attended_BSD
        return tokens_BSD + self.mixing(self.before_mixing(tokens_BSD))

    def _attend(self, tokens_BSD: torch.Tensor, context_BTD: torch.Tensor) -> torch.Tensor:
        def split(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

        key, value = self.key_value(context_BTD).chunk(2, dim=2)
        mixed = functional.scaled_dot_product_attention(split(self.query(tokens_BSD)), split(key), split(value))
        return self.joined(mixed.transpose(1, 2).flatten(2))


def _per_frame(image_BFCHW: torch.Tensor, frames: int) -> torch.Tensor:
    """B x (F * C) x H x W pixels of 0 to 255 as (B * F) x C x H x W of 0 to 1."""
    return _pixels(image_BFCHW.unflatten(1, (frames, -1)).flatten(0, 1)) / 255.0


def _pixels(image_BCHW: torch.Tensor) -> torch.Tensor:
    """As what the next layer computes in; bfloat16 has every whole number up to 256."""
    kind = image_BCHW.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    return image_BCHW.to(dtype, memory_format=torch.channels_last)


def _image(config: EncoderConfig, spec: FrameSpec) -> tuple[int, int, int]:
    if spec.image is None:
        raise AgentError(
            f"encoder.name: {config.name} reads images, got a task without. Take a task that observes images, "
            "or the encoder keypoint"
        )
    return spec.image


def _convolutions(
    inputs: int,
    channels: tuple[int, ...],
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    size: tuple[int, int],
) -> tuple[nn.Sequential, tuple[int, int]]:
    """Convolutions, a ReLU after each, and the size of what comes out."""
    layers: list[nn.Module] = []
    for outputs, kernel, stride in zip(channels, kernels, strides, strict=True):
        if min(size) < kernel:
            raise AgentError(
                f"encoder.kernels: a kernel of {kernel} does not fit what is left of the image, {size[0]} x {size[1]}. "
                "Take fewer layers, smaller strides or a larger image"
            )
        layers += [nn.Conv2d(inputs, outputs, kernel, stride), nn.ReLU(inplace=True)]
        inputs = outputs
        size = (size[0] - kernel) // stride + 1, (size[1] - kernel) // stride + 1
    return nn.Sequential(*layers), size


KINDS: dict[type[Any], Callable[..., Any]] = {
    Original: OriginalEncoder,
    EncA: EncAEncoder,
    EncB: EncBEncoder,
    Keypoint: KeypointEncoder,
}


def build_encoder(config: EncoderConfig, spec: FrameSpec, frame_stack: int) -> Any:
    """The module that a config describes, for stacked frames of this kind.

    Raises:
        AgentError: it does not fit what the task observes.
    """
    return KINDS[type(config)](config, spec, frame_stack)
