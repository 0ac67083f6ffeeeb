"""Policies in torch, for what the fast learner cannot see: images, several observations at once, shared trunks, a GPU.

Shapes: B samples or environments; C channels of H x W pixels; A actions to choose among, or numbers per action; E
encoded numbers, F features of the last hidden layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tempomat_rl.ppo.batch import Observation, Rollout
from tempomat_rl.ppo.drawing import SDE_FLOOR, Drawing, action_size
from tempomat_rl.ppo.fast import first_layer
from tempomat_rl.ppo.learner import Action, Learner, Samples, Settings, refuse_state, refuse_unfit, too_far
from tempomat_rl.ppo.options import LearnerError, NetworkSettings, UpdateSettings

Floats = NDArray[np.float32]
Seen = dict[str, torch.Tensor]
ALONE = ""
"""The name of an observation that is one array."""
LARGE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, kernel and stride of each convolution (Mnih et al. 2015), for images of 36 pixels and more."""
SMALL = ((32, 3, 2), (64, 3, 2), (64, 3, 1))
"""The same for smaller ones."""


def is_image(space: Any) -> bool:
    """Bytes in three dimensions, one of them the channels: the first or last, whichever is shorter."""
    return space.dtype == np.uint8 and len(space.shape) == 3


@final
class ImageEncoder(nn.Module):
    """Convolutions and one dense layer of 512, with ReLU, on pixels / 255."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._last = shape[2] < shape[0]
        channels, height, width = (shape[2], *shape[:2]) if self._last else shape
        layers: list[nn.Module] = []
        for out, kernel, stride in LARGE if min(height, width) >= 36 else SMALL:
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
            if min(height, width) < 1:
                raise LearnerError(f"observation_space: images must have 15 pixels a side at least, got {shape}.")
            layers += [nn.Conv2d(channels, out, kernel, stride), nn.ReLU()]
            channels = out
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, 512), nn.ReLU())
        self.out_features = 512

    def forward(self, image_B: torch.Tensor) -> torch.Tensor:
        image_BCHW = image_B.permute(0, 3, 1, 2) if self._last else image_B
        return self.layers(image_BCHW.float() / 255.0)


@final
class Flat(nn.Module):
    """Everything that is no image: its numbers in a row."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.out_features = math.prod(shape)

    def forward(self, observation_B: torch.Tensor) -> torch.Tensor:
        return observation_B.flatten(1).float()


@final
class Networks(nn.Module):
    """Encoders by name, a trunk if it is shared, the layers of policy and critic, and deviations."""

    def __init__(self, observation_space: Any, actions: int, discrete: bool, network: NetworkSettings) -> None:
        super().__init__()
        spaces = getattr(observation_space, "spaces", None) or {ALONE: observation_space}
        self._names = sorted(spaces)
        self.encoders = nn.ModuleList(
            ImageEncoder(spaces[name].shape) if is_image(spaces[name]) else Flat(spaces[name].shape)
            for name in self._names
        )
        size = sum(cast(int, encoder.out_features) for encoder in self.encoders)
        together, policy_layers = (network.policy_layers, ()) if network.shared else ((), network.policy_layers)
        value_layers = policy_layers if network.value_layers is None else network.value_layers
        self.trunk = _dense(size, together, network.activation)
        size = together[-1] if together else size
        self.policy = _dense(size, policy_layers, network.activation)
        features = policy_layers[-1] if policy_layers else size
        self.policy_head = nn.Linear(features, actions)
        spread = (0,) if discrete else (features, actions) if network.sde else (actions,)
        self.log_std = nn.Parameter(torch.full(spread, network.log_std_init))
        self.value = _dense(size, value_layers, network.activation)
        self.value_head = nn.Linear(value_layers[-1] if value_layers else size, 1)

    def encode(self, seen: Seen) -> torch.Tensor:
        """(B, E), through the trunk where there is one."""
        encoded = [encoder(seen[name]) for name, encoder in zip(self._names, self.encoders, strict=True)]
        return self.trunk(encoded[0] if len(encoded) == 1 else torch.cat(encoded, dim=1))

    def forward(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits or means (B, A), features (B, F), values (B)."""
        encoded_BE = self.encode(seen)
        features_BF = self.policy(encoded_BE)
        return self.policy_head(features_BF), features_BF, self.value_head(self.value(encoded_BE))[:, 0]

    def initialize(self, rng: np.random.Generator, is_orthogonal: bool) -> None:
        """The same numbers as the fast learner's, in its order, where that could do it."""
        gains = {self.policy_head: 0.01, self.value_head: 1.0}
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                outs = len(layer.weight)
                weight, bias = first_layer(
                    rng, layer.weight[0].numel(), outs, gains.get(cast(Any, layer), math.sqrt(2.0)), is_orthogonal
                )
                with torch.no_grad():
                    layer.weight.copy_(torch.from_numpy(weight.T.copy()).view_as(layer.weight))
                    cast(torch.Tensor, layer.bias).copy_(torch.from_numpy(bias))

    def of(self, critic: bool) -> Iterator[nn.Parameter]:
        """The critic's own weights, or all others."""
        return (one for name, one in self.named_parameters() if name.startswith("value") == critic)


def _dense(size: int, layers: tuple[int, ...], activation: str) -> nn.Sequential:
    modules: list[nn.Module] = []
    for out in layers:
        modules += [nn.Linear(size, out), nn.Tanh() if activation == "tanh" else nn.ReLU()]
        size = out
    return nn.Sequential(*modules)


@final
class TorchLearner(Learner):
    """Networks in torch, gradients by autograd, torch's Adam.

    Args, errors and everything else as of `make_learner`.
    """

    def __init__(self, observation_space: Any, action_space: Any, network: NetworkSettings, *, seed: int) -> None:
        actions, discrete = action_size(action_space)
        self.network, self.device = network, torch.device(network.device)
        self._drawing = Drawing(discrete, network)
        with torch.random.fork_rng(devices=[]):  # layers draw weights that are overwritten at once
            self.networks = Networks(observation_space, actions, discrete, network)
        self.networks.initialize(np.random.default_rng(seed), network.orthogonal)
        self.networks.to(self.device)
        groups = [{"params": list(self.networks.of(critic))} for critic in (False, True)]
        self.optimizer = torch.optim.Adam(groups, lr=0.0, eps=1e-5, fused=True)
        self.optimizer_steps = 0
        self._held: tuple[Samples, dict[str, Any]] | None = None

    # acting

    def begin(self, num_envs: int, rng: np.random.Generator) -> None:
        self._drawing.begin()

    @torch.no_grad()
    def act(self, observation_NO: Observation, rng: np.random.Generator) -> tuple[Action, Floats, Floats]:
        out_NA, features_NF, value_N = (one.cpu().numpy() for one in self.networks(self._seen(observation_NO)))
        return *self._drawing.draw(out_NA, features_NF, self.networks.log_std.cpu().numpy(), rng), value_N

    @torch.no_grad()
    def evaluate(self, observation_NO: Observation) -> Action:
        out_NA = self.networks(self._seen(observation_NO))[0].cpu().numpy()
        return out_NA.argmax(axis=1) if self._drawing.discrete else out_NA

    @torch.no_grad()
    def value(self, observation_NO: Observation) -> Floats:
        return self.networks(self._seen(observation_NO))[2].cpu().numpy()

    @torch.no_grad()
    def _judge(self, observation_NO: Observation, action_N: Action) -> tuple[Floats, Floats]:
        out_NA, features_NF, value_N = (one.cpu().numpy() for one in self.networks(self._seen(observation_NO)))
        log_std = self.networks.log_std.cpu().numpy()
        return self._drawing.logprob(out_NA, features_NF, log_std, action_N), value_N

    def _seen(self, observation: Observation) -> Seen:
        named = observation if isinstance(observation, Mapping) else {ALONE: observation}
        return {name: self._tensor(one) for name, one in named.items()}

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), device=self.device)

    # learning

    def update(self, rollout: Rollout, settings: Settings, rng: np.random.Generator) -> dict[str, float]:
        try:
            return super().update(rollout, settings, rng)
        finally:
            self._held = None

    def step(self, samples: Samples, chosen_B: NDArray[np.int64], now: UpdateSettings) -> tuple[float, ...]:
        batch = self._take(samples, chosen_B)
        out_BA, features_BF, value_B = self.networks(batch.pop("observation"))
        logprob_B, entropy_B = self._measure(out_BA, features_BF, batch["action"])
        advantage_B = batch["advantage"]
        if now.normalize_advantage and len(chosen_B) > 1:
            advantage_B = (advantage_B - advantage_B.mean()) / (advantage_B.std() + 1e-8)
        if "weight" in batch:
            advantage_B = advantage_B * batch["weight"]
        log_ratio_B = logprob_B - batch["logprob"]
        ratio_B = log_ratio_B.exp()
        kept_B = ratio_B.clamp(1.0 - now.clip_range, 1.0 + now.clip_range)
        policy_loss = -torch.minimum(advantage_B * ratio_B, advantage_B * kept_B).mean()
        if now.clip_range_vf is not None:
            moved_B = (value_B - batch["value"]).clamp(-now.clip_range_vf, now.clip_range_vf)
            value_B = batch["value"] + moved_B
        value_loss = nn.functional.mse_loss(value_B, batch["return"])
        entropy = entropy_B.mean()
        with torch.no_grad():
            kl = (ratio_B - 1.0 - log_ratio_B).mean()
            clipped = ((ratio_B - 1.0).abs() > now.clip_range).float().mean()
            measured = torch.stack([policy_loss, value_loss, entropy, kl, clipped]).tolist()
        if too_far(measured[3], now):
            return *measured, 0.0, 0.0
        loss = policy_loss - now.entropy_coef * entropy + now.value_coef * value_loss
        return *measured, *self._descend(loss, now)

    def _take(self, samples: Samples, chosen_B: NDArray[np.int64]) -> dict[str, Any]:
        """The minibatch on the device; the samples of an update go there once."""
        if self._held is None or self._held[0] is not samples:
            names = "action", "logprob", "value", "advantage", "return", "weight"
            parts = {name: getattr(samples, f"{name}_S") for name in names}
            there = {name: self._tensor(part) for name, part in parts.items() if part is not None}
            self._held = samples, {**there, "observation": self._seen(samples.observation_SO)}
        chosen = self._tensor(chosen_B)
        return {
            name: {key: part[chosen] for key, part in one.items()} if isinstance(one, dict) else one[chosen]
            for name, one in self._held[1].items()
        }

    def _measure(
        self, out_BA: torch.Tensor, features_BF: torch.Tensor, action_B: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log probabilities of the actions, and entropies."""
        if self._drawing.discrete:
            log_BA = out_BA.log_softmax(dim=1)
            return log_BA.gather(1, action_B[:, None])[:, 0], -(log_BA.exp() * log_BA).sum(dim=1)
        twice = 2.0 * self.networks.log_std
        if self.network.sde:
            # Detached: features are not learned so as to be loud or quiet.
            log_variance_BA = (features_BF.detach().square() @ twice.exp() + SDE_FLOOR).log()
        else:
            log_variance_BA = twice.expand_as(out_BA)
        square_BA = (action_B - out_BA).square() / log_variance_BA.exp()
        entropy_BA = 0.5 * (log_variance_BA + math.log(2.0 * math.pi))
        return -(0.5 * square_BA + entropy_BA).sum(dim=1), (entropy_BA + 0.5).sum(dim=1)

    def _descend(self, loss: torch.Tensor, now: UpdateSettings) -> tuple[float, float]:
        """Clip the gradient, step both networks, and give the norms from before clipping."""
        self.optimizer.zero_grad()
        loss.backward()
        groups = [group["params"] for group in self.optimizer.param_groups]
        norms = [nn.utils.get_total_norm([one.grad for one in group if one.grad is not None]) for group in groups]
        policy_norm, value_norm = torch.stack(norms).tolist()
        refuse_unfit(policy_norm, value_norm, self.optimizer_steps)
        if now.max_grad_norm is not None:
            every = [one for group in groups for one in group]
            nn.utils.clip_grads_with_norm_(every, now.max_grad_norm, torch.stack(norms).norm())
        value_lr = now.policy_lr if now.value_lr is None else now.value_lr
        for group, lr in zip(self.optimizer.param_groups, (now.policy_lr, value_lr), strict=True):
            group["lr"] = lr
        self.optimizer.step()
        return policy_norm, value_norm

    def measurements(self) -> dict[str, float]:
        return {} if self._drawing.discrete else {"std": float(self.networks.log_std.detach().exp().mean())}

    # keeping

    @property
    def norms(self) -> dict[str, float]:
        return {
            name: float(nn.utils.get_total_norm([one.detach() for one in self.networks.of(critic)]))
            for name, critic in (("policy", False), ("value", True))
        }

    def state_dict(self) -> dict[str, Any]:
        named = dict(self.networks.named_parameters())
        adam = {name: self.optimizer.state.get(one, {}) for name, one in named.items()}
        return {
            "optimizer_steps": self.optimizer_steps,
            "weights": {name: _array(one) for name, one in named.items()},
            "first_moments": {name: _array(adam[name].get("exp_avg", one * 0.0)) for name, one in named.items()},
            "second_moments": {name: _array(adam[name].get("exp_avg_sq", one * 0.0)) for name, one in named.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        named = dict(self.networks.named_parameters())
        refuse_state(state, {name: tuple(one.shape) for name, one in named.items()})
        steps = int(state["optimizer_steps"])
        with torch.no_grad():
            for name, one in named.items():
                one.copy_(torch.as_tensor(state["weights"][name]))
                self.optimizer.state[one] = {
                    "step": torch.tensor(float(steps), device=self.device),
                    "exp_avg": torch.tensor(state["first_moments"][name], device=self.device),
                    "exp_avg_sq": torch.tensor(state["second_moments"][name], device=self.device),
                }
        self.optimizer_steps = steps
        self._drawing.begin()


def _array(tensor: torch.Tensor) -> Floats:
    return tensor.detach().cpu().numpy().copy()
