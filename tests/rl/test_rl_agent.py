"""The update is the paper's, recomputed here in float64 from its formulas; and it goes on where it was saved."""

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch

import tempomat as tm
from tempomat.core.errors import StateError
from tempomat.torch import Scheduler
from tempomat_rl.drqv2 import AgentConfig, AgentError, DrQV2, EncA, EncB, Keypoint, Original
from tempomat_rl.frames import Batch, FrameSpec, Observation

KEYPOINTS, IMAGES, FRAMES, ACTIONS, BATCH = FrameSpec(None, 4), FrameSpec((1, 12, 12), 3), 3, 2, 6
SMALL = {"feature_dim": 5, "hidden_dim": 7, "tau": 0.25, "noise_clip": 0.1, "reward_scale": 0.5, "lr": 1e-2}
ENCODERS = {
    "keypoint": (KEYPOINTS, Keypoint(widths=(6,))),
    "original": (IMAGES, Original(channels=(4, 4), kernels=(3, 3), strides=(2, 1))),
    "enc_A": (IMAGES, EncA(width=8, heads=2, groups=(1, 2), channels=(4,), kernels=(5,), strides=(3,))),
    "enc_B": (IMAGES, EncB(width=8, heads=2, patch=6, groups=(1, 2), local_blocks=1)),
}


def agent_of(name="keypoint", seed=3, device="cpu", **changes):
    spec, encoder = ENCODERS[name]
    return DrQV2(
        spec, FRAMES, ACTIONS, AgentConfig(**{"encoder": encoder, **SMALL, **changes}), seed=seed, device=device
    )


def observation(spec, count, generator):
    image = None
    if spec.image is not None:
        channels, *size = spec.image
        image = torch.randint(0, 256, (count, FRAMES * channels, *size), dtype=torch.uint8, generator=generator)
    return Observation(image, torch.randn(count, FRAMES, spec.state, generator=generator))


def batch_of(name="keypoint", seed=11, count=BATCH):
    spec, generator = ENCODERS[name][0], torch.Generator().manual_seed(seed)
    return Batch(
        observation(spec, count, generator),
        2 * torch.rand(count, ACTIONS, generator=generator) - 1,
        torch.randn(count, generator=generator),
        torch.tensor([0.99, 0.0, 0.97]).repeat(count // 3),
        observation(spec, count, generator),
    )


def values(metrics):
    return {name: float(torch.as_tensor(value).detach()) for name, value in metrics.items()}


def gradient_of(parameter):
    assert parameter.grad is not None
    return parameter.grad


def in_double(agent) -> dict[str, Any]:
    """Copies of the networks in float64."""
    return {name: copy.deepcopy(network).double() for name, network in agent._networks().items()}


def twin(critic, encoded, action):
    """Both values, one network after the other, without batched products."""
    joined = torch.cat([critic.trunk(encoded), action], dim=1)
    out = []
    for k in range(2):
        x = joined
        for layer in (critic.first, critic.second):
            x = (x @ layer.weight[k] + layer.bias[k]).clamp(min=0)
        out.append((x @ critic.value.weight[k] + critic.value.bias[k])[:, 0])
    return out


def policy(actor, encoded):
    return torch.tanh(actor.policy(actor.trunk(encoded)))


class Draws:
    """What the agent will draw for its two losses, in its order."""

    def __init__(self, agent):
        self.generator = torch.Generator()
        self.generator.set_state(agent._learning.get_state())

    def noise(self, deviation, clip):
        drawn = torch.randn(BATCH, ACTIONS, generator=self.generator).double()
        return (deviation * drawn).clamp(-clip, clip)


NOISE = 0.2


def test_losses_target_and_gradients_are_those_of_the_formulas_in_float64():
    agent, batch = agent_of(), batch_of()
    before, draws = in_double(agent), Draws(agent)
    metrics = values(agent.update(batch, NOISE))
    after = in_double(agent)
    state, next_state = (one.state_BFK.flatten(1).double() for one in (batch.observation, batch.next_observation))
    action, reward, discount = (one.double() for one in (batch.action_BA, batch.reward_B, batch.discount_B))

    with torch.no_grad():
        next_encoded = before["encoder"].layers(next_state)
        next_action = (policy(before["actor"], next_encoded) + draws.noise(NOISE, 0.1)).clamp(-1, 1)
        next_q = torch.minimum(*twin(before["critic_target"], next_encoded, next_action))
    target = 0.5 * reward + discount * next_q
    encoded = before["encoder"].layers(state)
    q1, q2 = twin(before["critic"], encoded, action)
    critic_loss = ((q1 - target) ** 2).mean() + ((q2 - target) ** 2).mean()

    # The actor is judged by the critic as it is after its step, on numbers of the encoder as it was before.
    mean = policy(before["actor"], encoded.detach())
    noisy = mean + draws.noise(NOISE, 0.1)
    noisy = noisy + (noisy.clamp(-1, 1) - noisy).detach()
    actor_loss = -torch.minimum(*twin(after["critic"], encoded.detach(), noisy)).mean()

    expected = {
        "critic_loss": critic_loss,
        "actor_loss": actor_loss,
        "q1": q1.mean(),
        "q2": q2.mean(),
        "target_q": target.mean(),
        "reward": reward.mean(),
        "noise": NOISE,
    }
    # 2e-5: float32 sums of some dozen terms, some of which cancel.
    assert metrics == pytest.approx(values(expected), rel=2e-5, abs=0)

    critic_loss.backward()
    actor_loss.backward()
    for name in ("encoder", "critic", "actor"):
        for mine, theirs in zip(getattr(agent, name).parameters(), before[name].parameters(), strict=True):
            difference = (gradient_of(mine) - gradient_of(theirs)).abs().max()
            assert difference <= 1e-4 * gradient_of(theirs).abs().max(), name


def test_terminated_transitions_take_nothing_from_the_next_state():
    agent, batch = agent_of(reward_scale=2.0), batch_of()
    ended = batch._replace(discount_B=torch.zeros(BATCH))
    assert values(agent.update(ended, NOISE))["target_q"] == pytest.approx(2.0 * float(batch.reward_B.mean()), rel=1e-6)


def test_each_optimizer_makes_one_step_of_adam_with_its_own_lr():
    agent = agent_of()
    rates = {"encoder": 1e-3, "actor": 2e-3, "critic": 4e-3}
    for name, lr in rates.items():
        agent.optimizers[name].param_groups[0]["lr"] = lr
    before = in_double(agent)
    agent.update(batch_of(), NOISE)
    for name, lr in rates.items():
        for new, old in zip(getattr(agent, name).parameters(), before[name].parameters(), strict=True):
            gradient, new, old = gradient_of(new).double(), new.detach(), old.detach()
            # The first step of Adam (Kingma and Ba 2015) is lr * g / (|g| + eps).
            expected = old - lr * gradient / (gradient.abs() + 1e-8)
            # 1e-6 of the weights' size: they are float32.
            assert float((new - expected).abs().max()) <= 1e-6 * float(old.abs().max() + lr), name


def test_the_target_critic_goes_tau_of_the_way_to_the_critic():
    agent = agent_of()
    agent.update(batch_of(), NOISE)  # the first one leaves the two apart
    before = in_double(agent)["critic_target"]
    agent.update(batch_of(), NOISE)
    rows = zip(agent.critic_target.parameters(), before.parameters(), agent.critic.parameters(), strict=True)
    for target, old, online in rows:
        expected = old + 0.25 * (online.double() - old)
        assert torch.allclose(target.double(), expected, rtol=1e-5, atol=1e-8)
        assert not torch.equal(target, online)


def test_a_scaled_reward_is_a_scaled_reward_and_is_reported_unscaled():
    batch = batch_of()
    halved = agent_of(reward_scale=0.5).update(batch, NOISE)
    by_hand = agent_of(reward_scale=1.0).update(batch._replace(reward_B=0.5 * batch.reward_B), NOISE)
    assert float(halved["critic_loss"]) == float(by_hand["critic_loss"])
    assert float(halved["reward"]) == pytest.approx(float(batch.reward_B.mean()), rel=1e-6)


@pytest.mark.parametrize("noise", [0.05, 0.4, 5.0])
def test_noise_in_the_losses_is_clipped_and_passes_the_gradient_on(noise):
    agent = agent_of()
    mean = torch.tensor([[0.0, 0.97]]).repeat(1000, 1).requires_grad_()
    noisy = agent._noisy(mean, noise)
    added = (noisy - mean).detach()
    assert float(noisy.detach().max()) <= 1.0
    assert float(added.abs().max()) <= 0.1 + 1e-6
    assert bool((added[:, 0].abs() > 0.0999).any()) == (noise > 0.05 or 2 * noise >= 0.1)
    noisy.sum().backward()
    assert torch.equal(gradient_of(mean), torch.ones_like(mean))


def test_acting_gives_the_mean_or_noise_around_it():
    agent = agent_of()
    seen = observation(KEYPOINTS, 4000, torch.Generator().manual_seed(1))
    mean, again = agent.act(seen, 0.3, explore=False), agent.act(seen, 0.3, explore=False)
    assert mean.dtype == np.float32
    assert mean.shape == (4000, ACTIONS)
    assert np.array_equal(mean, again)
    noisy = agent.act(seen, 0.3, explore=True)
    assert np.abs(noisy).max() == 1.0  # not clipped at .1 as in the losses, and cut at the actions' bounds
    inside = np.abs(mean) < 0.05
    assert inside.sum() > 100
    assert (noisy - mean)[inside].std() == pytest.approx(0.3, rel=0.1)
    assert not np.array_equal(noisy, agent.act(seen, 0.3, explore=True))


def test_random_actions_are_uniform():
    drawn = agent_of().act_randomly(20_000)
    assert drawn.dtype == np.float32
    assert drawn.shape == (20_000, ACTIONS)
    counts, _ = np.histogram(drawn, bins=8, range=(-1.0, 1.0))
    assert counts.sum() == drawn.size
    assert counts == pytest.approx(drawn.size / 8, rel=0.05)


def test_how_often_it_acts_does_not_change_what_it_learns():
    one, other = agent_of(), agent_of()
    other.act(observation(KEYPOINTS, 2, torch.Generator()), 0.3)
    other.act_randomly(3)
    assert values(one.update(batch_of(), NOISE)) == values(other.update(batch_of(), NOISE))


def test_a_seed_decides_everything_and_leaves_the_global_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = agent_of(seed=1), agent_of(seed=1), agent_of(seed=2)
    first, again, different = (values(agent.update(batch_of(), NOISE)) for agent in (one, same, other))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again
    assert first["q1"] != different["q1"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ENCODERS)
def test_a_saved_agent_goes_on_with_the_same_numbers(name, precision):
    agent, batch = agent_of(name, precision=precision), batch_of(name)
    agent.update(batch, NOISE)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    resumed = agent_of(name, seed=99, precision=precision)
    resumed.update(batch, NOISE)  # what it had is replaced, moments and draws among it
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(2):
        assert values(agent.update(batch, NOISE)) == values(resumed.update(batch, NOISE))
    seen = batch.observation
    assert np.array_equal(agent.act(seen, 0.3), resumed.act(seen, 0.3))
    assert agent.updates == resumed.updates == 3


def test_loading_keeps_the_learning_rates_of_now():
    saved = agent_of().state_dict()
    agent = agent_of(lr=7e-3, lr_tensors=True)
    rate = agent.optimizers["actor"].param_groups[0]["lr"]
    agent.load_state_dict(saved)
    assert agent.optimizers["actor"].param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(7e-3)


def test_a_state_of_another_agent_is_refused_with_every_reason_and_changes_nothing():
    agent = agent_of()
    state = agent_of(hidden_dim=9).state_dict()
    del state["generators"]["acting"]
    before = values(copy.deepcopy(agent).update(batch_of(), NOISE))
    with pytest.raises(
        StateError, match=r"networks\.critic\.second\.weight: has \(2, 9, 9\), here \(2, 7, 7\)"
    ) as told:
        agent.load_state_dict(state)
    assert "generators.acting: missing" in str(told.value)
    assert values(agent.update(batch_of(), NOISE)) == before


def test_a_plan_writes_the_three_learning_rates():
    agent = agent_of()
    falling = tm.Linear(init_value=1e-3, end_value=0.0, duration=4)
    plan = tm.Plan({f"{name}.lr": falling for name in ("encoder", "actor", "critic")})
    scheduler = Scheduler(agent.optimizers, plan)
    for expected in (1e-3, 7.5e-4, 5e-4):
        agent.update(batch_of(), NOISE)
        assert [one.param_groups[0]["lr"] for one in agent.optimizers.values()] == pytest.approx([expected] * 3)
        scheduler.step()


@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
@pytest.mark.slow
def test_a_compiled_update_is_not_compiled_anew_when_rates_and_noise_change():
    from torch._dynamo.testing import CompileCounter

    agent, batch, counter = agent_of(compile=True), batch_of(), CompileCounter()
    torch._dynamo.reset()
    agent._learn = torch.compile(agent._learn_once, backend=counter)  # counts, where the agent's own compiler does not
    compiled = []
    for count in range(1, 6):
        agent.update(batch, 0.2 / count)
        compiled.append(counter.frame_count)
        for optimizer in agent.optimizers.values():
            optimizer.param_groups[0]["lr"].fill_(1e-3 / count)
    assert compiled[0] > 0
    assert compiled[1:] == [compiled[1]] * 4  # the second call may be: the first one made the moments


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_a_compiled_update_gives_the_same_numbers():
    plain, compiled = agent_of(), agent_of(compile=True)
    batch = batch_of()
    for _ in range(3):
        theirs, ours = values(plain.update(batch, NOISE)), values(compiled.update(batch, NOISE))
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled", [False, True])
def test_rates_that_a_scheduler_writes_reach_an_update_on_a_gpu(compiled):
    agent = agent_of(device="cuda", lr_tensors=True, compile=compiled, precision="bf16")
    (lr,) = [group["lr"] for group in agent.optimizers["critic"].param_groups]
    assert lr.device.type == "cuda"
    agent.update(batch_of(), NOISE)
    for optimizer in agent.optimizers.values():
        optimizer.param_groups[0]["lr"].fill_(0.0)
    before = [one.clone() for one in agent.critic.parameters()]
    agent.update(batch_of(), NOISE)
    assert all(torch.equal(one, other) for one, other in zip(before, agent.critic.parameters(), strict=True))


def test_bfloat16_gives_nearly_the_same_losses_and_keeps_float32_weights():
    exact, rough = (agent_of("original", precision=precision) for precision in ("fp32", "bf16"))
    batch = batch_of("original")
    theirs, ours = values(exact.update(batch, NOISE)), values(rough.update(batch, NOISE))
    # bfloat16 has 8 bits; a dozen layers of rounding stay within some percent.
    assert ours["critic_loss"] == pytest.approx(theirs["critic_loss"], rel=0.05)
    assert ours != theirs
    assert {one.dtype for one in rough.critic.parameters()} == {torch.float32}


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_a_trunk_normalizes_as_named(norm):
    agent = agent_of(norm=norm)
    linear, *_ = agent.actor.trunk
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    y = linear(x).double()
    if norm == "layer":
        y = (y - y.mean(1, keepdim=True)) / (y.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    elif norm == "rms":
        y = y / ((y**2).mean(1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(agent.actor.trunk(x).double(), torch.tanh(y), rtol=1e-4, atol=1e-7)


def test_weights_begin_orthogonal_and_the_target_as_the_critic():
    agent = agent_of("original", hidden_dim=4)
    for weight in agent.critic.second.weight:
        assert torch.allclose(weight @ weight.T, torch.eye(4), rtol=0, atol=1e-6)
    assert not torch.equal(*agent.critic.second.weight)
    flat = agent.encoder.first.weight.flatten(1)
    assert torch.allclose(flat @ flat.T, 2.0 * torch.eye(4), rtol=0, atol=1e-5)  # gain sqrt 2
    assert float(agent.encoder.first.bias.detach().abs().max()) == 0.0
    for target, online in zip(agent.critic_target.parameters(), agent.critic.parameters(), strict=True):
        assert torch.equal(target, online)
        assert not target.requires_grad


def test_pixels_are_augmented_as_configured_and_both_observations_with_draws_of_their_own():
    observed: Any = batch_of("original").observation

    def augmented(**changes) -> tuple[Any, Any]:
        agent = agent_of("original", **changes)
        first, second = agent._augment(observed), agent._augment(observed)
        assert first.state_BFK is observed.state_BFK
        return first.image_BFCHW, second.image_BFCHW

    plain, _ = augmented(shift=0, brightness=None)
    assert torch.equal(plain, observed.image_BFCHW)
    first, second = augmented(shift=2, brightness=None)
    assert first.dtype == torch.uint8
    assert not torch.equal(first, second)
    half, _ = augmented(shift=0, brightness=(0.5, 0.5))
    assert torch.equal(half, 0.5 * plain)
    varied, _ = augmented(shift=0, brightness=(0.5, 1.0))
    factors = (varied / plain.clamp(min=1)).amax((1, 2, 3))
    assert len(factors.unique()) == BATCH
    assert 0.5 <= float(factors.min()) < float(factors.max()) <= 1.0


def test_shifts_are_uniform_over_all_places():
    agent = agent_of("original", shift=1, brightness=None)
    image = torch.zeros(9000, 3, 12, 12, dtype=torch.uint8)
    image[:, :, 6, 6] = 255
    seen = agent._augment(Observation(image, torch.zeros(9000, FRAMES, 3))).image_BFCHW
    assert seen is not None
    assert torch.equal(seen[:, 0], seen[:, 1])  # frames of one observation move together
    places = seen[:, 0].flatten(1).argmax(1)
    found, counts = places.unique(return_counts=True)
    assert found.tolist() == [12 * row + column for row in (5, 6, 7) for column in (5, 6, 7)]
    assert counts.tolist() == pytest.approx([1000] * 9, rel=0.12)  # four deviations of a count


def test_it_learns_which_action_pays():
    agent = agent_of(hidden_dim=32, feature_dim=16, lr=3e-3, tau=0.05, noise_clip=0.3, reward_scale=1.0)
    generator = torch.Generator().manual_seed(0)
    wanted = torch.tensor([0.5, -0.25])
    for _ in range(400):
        seen = observation(KEYPOINTS, 64, generator)
        action = 2 * torch.rand(64, ACTIONS, generator=generator) - 1
        reward = -((action - wanted) ** 2).sum(1)
        agent.update(Batch(seen, action, reward, torch.zeros(64), seen), 0.1)
    chosen = agent.act(observation(KEYPOINTS, 200, generator), explore=False)
    assert np.abs(chosen - wanted.numpy()).mean() < 0.1


def test_an_encoder_that_does_not_fit_the_task_is_refused():
    config = AgentConfig(encoder=Original(), **SMALL)
    with pytest.raises(AgentError, match=r"original reads images, got a task without"):
        DrQV2(KEYPOINTS, FRAMES, ACTIONS, config, seed=0)
