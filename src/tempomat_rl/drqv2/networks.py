"""Actor and twin critic on the encoder's numbers.

Shapes: B samples, E encoder numbers, D features, H hidden, A actions; 2 critics.
"""

from __future__ import annotations

import torch
from torch import nn

from tempomat_rl.drqv2.config import Norm


class Trunk(nn.Sequential):
    """The encoder's E numbers to D features in [-1, 1]: linear, norm, tanh."""

    def __init__(self, inputs: int, feature_dim: int, norm: Norm) -> None:
        layers: list[nn.Module] = [nn.Linear(inputs, feature_dim)]
        if norm == "layer":
            layers.append(nn.LayerNorm(feature_dim))
        elif norm == "rms":
            layers.append(nn.RMSNorm(feature_dim, eps=1e-5))
        super().__init__(*layers, nn.Tanh())


class Actor(nn.Module):
    """The mean action, in [-1, 1]: trunk, two hidden layers, tanh."""

    def __init__(self, inputs: int, action_size: int, feature_dim: int, hidden_dim: int, norm: Norm) -> None:
        super().__init__()
        self.trunk = Trunk(inputs, feature_dim, norm)
        self.policy = nn.Sequential(
            nn.Linear(feature_dim, hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_dim, action_size),
        )

    def forward(self, encoded_BE: torch.Tensor) -> torch.Tensor:
        """(B, E) to (B, A) in float32."""
        return torch.tanh(self.policy(self.trunk(encoded_BE)).float())


class TwinLinear(nn.Module):
    """Two linear layers side by side: one product of a batch of two instead of two products."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(2, 1, outputs))

    def draw(self) -> None:
        """Orthogonal weights, each layer its own."""
        for one in self.weight.data:
            nn.init.orthogonal_(one)

    def forward(self, x_2BI: torch.Tensor) -> torch.Tensor:
        """(2, B, inputs) to (2, B, outputs)."""
        return torch.baddbmm(self.bias, x_2BI, self.weight)


class TwinCritic(nn.Module):
    """Two values of a state and an action: one trunk, then two hidden layers for each value."""

    def __init__(self, inputs: int, action_size: int, feature_dim: int, hidden_dim: int, norm: Norm) -> None:
        super().__init__()
        self.trunk = Trunk(inputs, feature_dim, norm)
        self.first = TwinLinear(feature_dim + action_size, hidden_dim)
        self.second = TwinLinear(hidden_dim, hidden_dim)
        self.value = TwinLinear(hidden_dim, 1)

    def forward(self, encoded_BE: torch.Tensor, action_BA: torch.Tensor) -> torch.Tensor:
        """(B, E) and (B, A) to (2, B) in float32."""
        features_BD = self.trunk(encoded_BE)
        joined = torch.cat([features_BD, action_BA.to(features_BD.dtype)], dim=1)
        x_2BH = torch.relu_(self.second(torch.relu_(self.first(joined.expand(2, -1, -1)))))
        # A product with a single column is many times slower than a sum.
        weight_21H = self.value.weight.mT
        return (x_2BH * weight_21H).sum(2) + self.value.bias.squeeze(2)


def initialize(module: nn.Module) -> None:
    """Orthogonal weights (gain sqrt 2 for convolutions, before their ReLU) and zero biases, as in DrQ-v2.

    Layers of another kind keep what they were built with.
    """
    for layer in module.modules():
        if isinstance(layer, TwinLinear):
            layer.draw()
        elif isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.orthogonal_(layer.weight, gain=2**0.5 if isinstance(layer, nn.Conv2d) else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
