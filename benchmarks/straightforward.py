"""The peer of our agent: DrQ-v2 written from its paper (Yarats et al. 2021, arXiv:2107.09645), nothing done for speed.

It does what the official implementation does, the way it does it: floats that `grid_sample` shifts, two separate value
networks, gradients of everything, Adam as it comes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tempomat_rl.drqv2 import DrQV2
from tempomat_rl.drqv2.networks import TwinLinear
from tempomat_rl.frames import Batch

PIXELS, STACK, PAD, CLIP, TAU, LR = 84, 9, 4, 0.3, 0.01, 1e-4
CHANNELS, ENCODED = 32, (32, 35, 35)


def shift_by_sampling(image: torch.Tensor) -> torch.Tensor:
    """Shifts by up to 4 whole pixels, as a sampling of floats between pixels."""
    count, _, size, _ = image.shape
    padded = functional.pad(image, (PAD,) * 4, mode="replicate")
    step = 2.0 / (size + 2 * PAD)
    line = torch.arange(size) * step - 1.0 + step / 2
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).expand(count, -1, -1, -1)
    # Drawn as rows and columns, sampled at x and y.
    moved = grid + step * torch.randint(0, 2 * PAD + 1, (count, 2)).flip(1)[:, None, None]
    return functional.grid_sample(padded, moved, padding_mode="zeros", align_corners=False)


class Straightforward:
    """The agent at its published sizes; `bf16` is the least that has been done to it elsewhere, and channels last."""

    def __init__(
        self, action_size: int, feature_dim: int, hidden_dim: int, *, lr: float = LR, bf16: bool = False
    ) -> None:
        layers: list[nn.Module] = []
        for inputs, stride in ((STACK, 2), (CHANNELS, 1), (CHANNELS, 1), (CHANNELS, 1)):
            layers += [nn.Conv2d(inputs, CHANNELS, 3, stride), nn.ReLU()]
        self.bf16, self.encoder = bf16, nn.Sequential(*layers)
        self.actor = nn.Sequential(_trunk(feature_dim), _mlp(feature_dim, hidden_dim, action_size), nn.Tanh())
        self.critic, self.target = (_critic(action_size, feature_dim, hidden_dim) for _ in range(2))
        self.target.load_state_dict(self.critic.state_dict())
        if bf16:
            self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks: list[nn.Module] = [self.encoder, self.actor, self.critic]
        self.optimizers = {one: torch.optim.Adam(one.parameters(), lr=lr) for one in networks}

    @torch.no_grad()
    def copy_from(self, agent: DrQV2) -> None:
        """The weights of an agent of ours of the same sizes."""
        ours = [layer for layer in agent.encoder.modules() if isinstance(layer, nn.Conv2d)]
        for mine, one in zip(list(self.encoder)[::2], ours, strict=True):
            mine.load_state_dict(one.state_dict())
        _copy_trunk(self.actor[0], agent.actor.trunk)
        self.actor[1].load_state_dict(agent.actor.policy.state_dict())
        twins = [layer for layer in agent.critic.modules() if isinstance(layer, TwinLinear)]
        _copy_trunk(self.critic["trunk"], agent.critic.trunk)
        for which in range(2):
            layers = [layer for layer in self.critic[f"q{which + 1}"].modules() if isinstance(layer, nn.Linear)]
            for mine, one in zip(layers, twins, strict=True):
                mine.weight.copy_(one.weight[which].T)
                mine.bias.copy_(one.bias[which, 0])
        self.target.load_state_dict(self.critic.state_dict())

    @torch.no_grad()
    def act(self, image: torch.Tensor) -> torch.Tensor:
        """The mean action."""
        return self.actor(self._encode(image.float()))

    def update(self, batch: Batch, noise: float) -> dict[str, float]:
        """One step of every network."""
        image, next_image = batch.observation.image_BFCHW, batch.next_observation.image_BFCHW
        assert image is not None
        assert next_image is not None
        with self._precision():
            encoded = self._encode(shift_by_sampling(image.float()))
            with torch.no_grad():
                ahead = self._encode(shift_by_sampling(next_image.float()))
                values = torch.minimum(*_both(self.target, ahead, _noisy(self.actor(ahead), noise)))
                wanted = batch.reward_B + batch.discount_B * values
            q1, q2 = _both(self.critic, encoded, batch.action_BA)
        critic_loss = functional.mse_loss(q1, wanted) + functional.mse_loss(q2, wanted)
        self._step(critic_loss, self.encoder, self.critic)
        with self._precision():
            encoded = encoded.detach()
            actor_loss = -torch.minimum(*_both(self.critic, encoded, _noisy(self.actor(encoded), noise))).mean()
        self._step(actor_loss, self.actor)
        for old, new in zip(self.target.parameters(), self.critic.parameters(), strict=True):
            old.data.copy_(TAU * new.data + (1 - TAU) * old.data)
        return {"critic_loss": critic_loss.item(), "actor_loss": actor_loss.item()}

    def _encode(self, image: torch.Tensor) -> torch.Tensor:
        pixels = image / 255.0 - 0.5
        return self.encoder(pixels.to(memory_format=torch.channels_last) if self.bf16 else pixels).flatten(1)

    def _step(self, loss: torch.Tensor, *networks: nn.Module) -> None:
        for network in networks:
            self.optimizers[network].zero_grad(set_to_none=True)
        loss.backward()
        for network in networks:
            self.optimizers[network].step()

    def _precision(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bf16)


def _trunk(feature_dim: int) -> nn.Sequential:
    channels, height, width = ENCODED
    return nn.Sequential(nn.Linear(channels * height * width, feature_dim), nn.LayerNorm(feature_dim), nn.Tanh())


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    layers = nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, hidden), nn.ReLU(inplace=True)
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


def _critic(action_size: int, feature_dim: int, hidden_dim: int) -> nn.ModuleDict:
    values = {f"q{which}": _mlp(feature_dim + action_size, hidden_dim, 1) for which in (1, 2)}
    return nn.ModuleDict({"trunk": _trunk(feature_dim), **values})


def _copy_trunk(mine: nn.Module, ours: nn.Module) -> None:
    """Ours reads the encoder's numbers with the channels last."""
    channels, height, width = ENCODED
    state = dict(ours.state_dict())
    last = state["0.weight"].unflatten(1, (height, width, channels))
    state["0.weight"] = last.permute(0, 3, 1, 2).flatten(1)
    mine.load_state_dict(state)


def _noisy(mean: torch.Tensor, noise: float) -> torch.Tensor:
    action = mean + (noise * torch.randn_like(mean)).clamp(-CLIP, CLIP)
    return action - action.detach() + action.detach().clamp(-1.0, 1.0)


def _both(networks: nn.ModuleDict, encoded: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    joined = torch.cat([networks["trunk"](encoded), action], dim=1)
    return networks["q1"](joined)[:, 0].float(), networks["q2"](joined)[:, 0].float()
