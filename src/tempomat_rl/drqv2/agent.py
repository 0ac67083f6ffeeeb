"""DrQ-v2: deterministic policy gradient from pixels or key points, with a twin critic and n-step returns.

Shapes: N environments, B samples, A actions, E encoder numbers; 2 critics.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tempomat.core.errors import Fault, StateError, join_path, list_faults
from tempomat_rl.drqv2.augment import brighten, shift
from tempomat_rl.drqv2.config import AgentConfig
from tempomat_rl.drqv2.encoders import build_encoder
from tempomat_rl.drqv2.networks import Actor, TwinCritic, initialize
from tempomat_rl.frames import Batch, FrameSpec, Observation

Metrics = dict[str, Any]
LEARNING = ("encoder", "actor", "critic")
"""The networks that have an optimizer."""


class DrQV2:
    """An agent: networks, their optimizers, and the random numbers that they draw.

    Args:
        spec: what one frame holds.
        frame_stack: frames per observation.
        action_size: numbers per action.
        config: sizes and constants.
        seed: of weights, noise and augmentation.
        device: where it all lives.

    Raises:
        AgentError: the encoder does not fit what the task observes.

    Source:
        Yarats et al. 2021, DrQ-v2 (arXiv:2107.09645).
    """

    def __init__(
        self,
        spec: FrameSpec,
        frame_stack: int,
        action_size: int,
        config: AgentConfig,
        *,
        seed: int,
        device: str | torch.device = "cpu",
    ) -> None:
        self.spec, self.frame_stack, self.action_size = spec, frame_stack, action_size
        self.config, self.device = config, torch.device(device)
        # Two streams: how often it acts does not change what it draws to learn.
        learning, acting = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        self._learning = torch.Generator(self.device).manual_seed(int(learning >> 1))
        self._acting = torch.Generator(self.device).manual_seed(int(acting >> 1))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self._build()
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        self.optimizers = {name: self._optimizer(getattr(self, name)) for name in LEARNING}
        self.updates = 0
        # A number would be part of what is compiled, and each new one would compile it anew.
        self._noise = torch.zeros((), device=self.device) if config.compile else None
        self._learn = torch.compile(self._learn_once) if config.compile else self._learn_once

    def _build(self) -> None:
        config = self.config
        self.encoder = build_encoder(config.encoder, self.spec, self.frame_stack)
        sizes = self.encoder.out_features, self.action_size, config.feature_dim, config.hidden_dim, config.norm
        self.actor, self.critic = Actor(*sizes), TwinCritic(*sizes)
        for network in (self.encoder, self.actor, self.critic):
            initialize(network)
            network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        tensors = self.config.lr_tensors or self.config.compile
        lr = torch.tensor(self.config.lr, device=self.device) if tensors else self.config.lr
        capturable = tensors and self.device.type == "cuda"
        return torch.optim.Adam(network.parameters(), lr=lr, fused=True, capturable=capturable)

    # acting

    @torch.no_grad()
    def act(self, observation: Observation, noise: float = 0.0, explore: bool = True) -> NDArray[np.float32]:
        """Actions in [-1, 1] for N observations: the mean, and normal noise of that deviation when exploring.

        Returns:
            (N, A), float32.
        """
        with self._precision():
            mean_NA = self.actor(self._encode(observation))
        if explore:
            drawn_NA = torch.randn(mean_NA.shape, generator=self._acting, device=self.device)
            mean_NA = (mean_NA + noise * drawn_NA).clamp_(-1.0, 1.0)
        return mean_NA.cpu().numpy()

    def act_randomly(self, num_envs: int) -> NDArray[np.float32]:
        """Uniform actions in [-1, 1), (N, A), from the same random numbers as the noise."""
        drawn_NA = torch.rand(num_envs, self.action_size, generator=self._acting, device=self.device)
        return (2.0 * drawn_NA - 1.0).cpu().numpy()

    # learning

    def update(self, batch: Batch, noise: float) -> Metrics:
        """One step of encoder and critic, one of the actor, and one of the target critic.

        Args:
            batch: transitions over n steps, rewards unscaled.
            noise: deviation of the noise on the actions in both losses, clipped at `config.noise_clip`.

        Returns:
            Tensors without dimensions (reading one waits for the device): `critic_loss`, `actor_loss`, `q1`, `q2`,
            `target_q` in scaled rewards, `reward` (mean of the n-step sums, unscaled); and `noise` as given.
        """
        metrics = self._learn(batch, noise if self._noise is None else self._noise.fill_(noise))
        self.updates += 1
        return metrics | {"noise": noise}

    def _learn_once(self, batch: Batch, noise: float | torch.Tensor) -> Metrics:
        action_BA, reward_B, discount_B = (
            one.to(self.device, non_blocking=True) for one in (batch.action_BA, batch.reward_B, batch.discount_B)
        )
        with self._precision():
            encoded_BE = self._encode(self._augment(batch.observation))
            with torch.no_grad():
                next_BE = self._encode(self._augment(batch.next_observation))
        metrics = self._update_critic(encoded_BE, action_BA, reward_B, discount_B, next_BE, noise)
        metrics |= self._update_actor(encoded_BE.detach(), noise)
        self._update_target()
        return metrics | {"reward": reward_B.mean()}

    def _update_critic(
        self,
        encoded_BE: torch.Tensor,
        action_BA: torch.Tensor,
        reward_B: torch.Tensor,
        discount_B: torch.Tensor,
        next_BE: torch.Tensor,
        noise: float | torch.Tensor,
    ) -> Metrics:
        """y = reward + discount * min Q'(s', a'), and both squared errors; the encoder learns from this loss alone."""
        with self._precision():
            with torch.no_grad():
                next_BA = self._noisy(self.actor(next_BE), noise)
                next_B = self.critic_target(next_BE, next_BA).amin(0)
                target_B = torch.addcmul(reward_B * self.config.reward_scale, discount_B, next_B)
            q_2B = self.critic(encoded_BE, action_BA)
        loss = 2.0 * functional.mse_loss(q_2B, target_B.expand_as(q_2B))
        self._step(loss, "encoder", "critic")
        q1, q2 = q_2B.detach().mean(1)
        return {"critic_loss": loss.detach(), "q1": q1, "q2": q2, "target_q": target_B.mean()}

    def _update_actor(self, encoded_BE: torch.Tensor, noise: float | torch.Tensor) -> Metrics:
        """-min Q(s, pi(s) + noise); the encoder's numbers come detached, and the critic stays as it is."""
        with self._precision():
            action_BA = self._noisy(self.actor(encoded_BE), noise)
            q_2B = self.critic(encoded_BE, action_BA)
        loss = -q_2B.amin(0).mean()
        self._step(loss, "actor")
        return {"actor_loss": loss.detach()}

    def _step(self, loss: torch.Tensor, *names: str) -> None:
        """Gradients of these networks alone, and a step of their optimizers."""
        optimizers = [self.optimizers[name] for name in names]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=[one for name in names for one in getattr(self, name).parameters()])
        for optimizer in optimizers:
            optimizer.step()

    @torch.no_grad()
    def _update_target(self) -> None:
        """target += tau * (critic - target)."""
        for target, online in zip(self.critic_target.parameters(), self.critic.parameters(), strict=True):
            target.lerp_(online, self.config.tau)

    # parts

    def _encode(self, observation: Observation) -> torch.Tensor:
        image, state = observation
        if image is not None:
            image = image.to(self.device, non_blocking=True)
        return self.encoder(image, state.to(self.device, non_blocking=True))

    def _augment(self, observation: Observation) -> Observation:
        """The observation with its pixels shifted, then brightened; the draws differ for each sample."""
        image, config = observation.image_BFCHW, self.config
        if image is None:
            return observation
        image = image.to(self.device, non_blocking=True)
        if config.shift:
            by_B2 = torch.randint(2 * config.shift + 1, (len(image), 2), generator=self._learning, device=self.device)
            image = shift(image, by_B2, config.shift)
        if config.brightness is not None:
            least, most = config.brightness
            drawn_B = torch.rand(len(image), generator=self._learning, device=self.device)
            image = brighten(image, least + (most - least) * drawn_B)
        return observation._replace(image_BFCHW=image)

    def _noisy(self, mean_BA: torch.Tensor, noise: float | torch.Tensor) -> torch.Tensor:
        """Mean plus clipped noise, cut to [-1, 1]; the gradient passes as if nothing were cut."""
        drawn_BA = torch.randn(mean_BA.shape, generator=self._learning, device=self.device)
        clip = self.config.noise_clip
        with torch.no_grad():
            added_BA = (mean_BA + (drawn_BA * noise).clamp_(-clip, clip)).clamp_(-1.0, 1.0).sub_(mean_BA)
        return mean_BA + added_BA

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    # state

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next updates and actions depend on: plain data, and tensors that the next update changes.

        Settings are not in it, learning rates among them.
        """
        return {
            "networks": {name: network.state_dict() for name, network in self._networks().items()},
            "optimizers": {name: one.state_dict()["state"] for name, one in self.optimizers.items()},
            "generators": {"learning": self._learning.get_state(), "acting": self._acting.get_state()},
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, with the same numbers. Learning rates stay as they are: they belong to the schedule.

        Raises:
            StateError: it is of an agent of other sizes, or incomplete. Nothing has been changed then.
        """
        faults = list(self._misfits(state))
        if faults:
            raise StateError(list_faults("agent: the saved state does not fit", faults), faults)
        for name, network in self._networks().items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.state.clear()
            for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
                if index in state["optimizers"][name]:
                    moments = state["optimizers"][name][index]
                    optimizer.state[parameter] = {k: v.to(self.device, copy=True) for k, v in moments.items()}
        self._learning.set_state(state["generators"]["learning"].cpu())
        self._acting.set_state(state["generators"]["acting"].cpu())
        self.updates = int(state["updates"])

    def _networks(self) -> dict[str, nn.Module]:
        return {name: getattr(self, name) for name in (*LEARNING, "critic_target")}

    def _misfits(self, state: dict[str, Any]) -> Iterator[Fault]:
        """What is missing, or has another shape than here."""
        expected = _shapes(self.state_dict())
        got = _shapes(state)
        for path, shape in expected.items():
            # Before its first update an agent has no moments, and one that is loaded into may be anywhere.
            if path not in got and not path.startswith("optimizers."):
                yield Fault(path, "missing. Load a state that this version saved, of an agent with this config")
            elif got.get(path, shape) != shape:
                yield Fault(path, f"has {got[path]}, here {shape}. Build the agent with the config of the saved one")


def _shapes(state: Any, path: str = "") -> dict[str, str]:
    """The shape of every tensor in nested mappings, and the type of everything else, by path."""
    if isinstance(state, Mapping):
        return {k: v for key, one in state.items() for k, v in _shapes(one, join_path(path, str(key))).items()}
    return {path: str(tuple(state.shape)) if isinstance(state, torch.Tensor) else type(state).__name__}
