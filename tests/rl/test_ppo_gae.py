"""Advantages: against a loop in float64, and against Stable-Baselines3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rl.rollouts import DISCRETE, OBSERVED, rollout_of

from tempomat_rl.ppo.batch import Rollout
from tempomat_rl.ppo.gae import advantages
from tempomat_rl.ppo.making import make_learner
from tempomat_rl.ppo.options import NetworkSettings

# float32 holds what was computed in float64; a sum that nearly cancels has the error of its terms, which are near 1.
CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    return rollout_of(make_learner(OBSERVED, DISCRETE, NetworkSettings(), seed=0), length=40, num_envs=6)


def with_resets(rollout: Rollout) -> Rollout:
    """The step after each end is spent on a reset, as Gymnasium does at the next step."""
    valid_TN = np.ones_like(rollout.valid_TN)
    over_TN = rollout.terminated_TN | rollout.truncated_TN
    for t in range(1, rollout.length):
        valid_TN[t] = ~(over_TN[t - 1] & valid_TN[t - 1])
    return replace(
        rollout,
        valid_TN=valid_TN,
        terminated_TN=rollout.terminated_TN & valid_TN,
        truncated_TN=rollout.truncated_TN & valid_TN,
    )


def by_definition(rollout: Rollout, gamma: float, lam: float) -> np.ndarray:
    """Each advantage on its own: the discounted sum of the errors from there to the end of the episode."""
    value_TN = rollout.value_TN.astype(np.float64)
    after_TN = np.vstack([value_TN[1:], rollout.last_value_N[None]])
    after_TN = np.where(rollout.truncated_TN, rollout.final_value_TN, after_TN)
    after_TN = np.where(rollout.terminated_TN, 0.0, after_TN)
    error_TN = rollout.reward_TN + gamma * after_TN - value_TN
    over_TN = rollout.terminated_TN | rollout.truncated_TN
    advantage_TN = np.zeros_like(value_TN)
    for t, n in np.argwhere(rollout.valid_TN):
        for k in range(t, rollout.length):
            advantage_TN[t, n] += (gamma * lam) ** (k - t) * error_TN[k, n]
            if over_TN[k, n]:
                break
    return advantage_TN


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (1.0, 1.0), (0.0, 0.5)])
def test_an_advantage_is_the_discounted_sum_of_errors_up_to_the_end_of_its_episode(rollout, gamma, lam):
    for one in (rollout, with_resets(rollout)):
        advantage_TN, return_TN = advantages(one, gamma, lam)
        expected_TN = by_definition(one, gamma, lam)
        np.testing.assert_allclose(advantage_TN, expected_TN, **CLOSE)
        np.testing.assert_allclose(return_TN, np.where(one.valid_TN, expected_TN + one.value_TN, 0.0), **CLOSE)


def test_the_last_row_looks_at_the_value_after_it(rollout):
    plain = replace(rollout, terminated_TN=rollout.valid_TN & False, truncated_TN=rollout.valid_TN & False)
    raised = replace(plain, last_value_N=plain.last_value_N + 1.0)
    difference_N = (advantages(raised, 0.9, 0.8)[0] - advantages(plain, 0.9, 0.8)[0])[-1]
    np.testing.assert_allclose(difference_N, 0.9, rtol=1e-5)


def test_a_truncation_looks_at_its_final_value_and_a_termination_at_nothing(rollout):
    raised = replace(rollout, final_value_TN=rollout.final_value_TN + 1.0, last_value_N=rollout.last_value_N)
    changed_TN = advantages(raised, 0.9, 0.0)[0] != advantages(rollout, 0.9, 0.0)[0]
    np.testing.assert_array_equal(changed_TN, rollout.truncated_TN & ~rollout.terminated_TN)


def test_a_step_spent_on_a_reset_gets_nothing_and_carries_nothing(rollout):
    one = with_resets(rollout)
    assert not one.valid_TN.all()
    wild = replace(
        one,
        reward_TN=np.where(one.valid_TN, one.reward_TN, 1e6).astype(np.float32),
        value_TN=np.where(one.valid_TN, one.value_TN, -1e6).astype(np.float32),
    )
    for before, after in zip(advantages(one, 0.9, 0.8), advantages(wild, 0.9, 0.8), strict=True):
        np.testing.assert_array_equal(before, after)
        assert (after[~one.valid_TN] == 0.0).all()


def test_advantages_are_those_of_stable_baselines3(rollout):
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    torch = pytest.importorskip("torch")
    gamma, lam = 0.98, 0.8
    buffer = buffers.RolloutBuffer(
        rollout.length, OBSERVED, DISCRETE, gae_lambda=lam, gamma=gamma, n_envs=rollout.num_envs
    )
    over_TN = rollout.terminated_TN | rollout.truncated_TN
    cut_TN = rollout.truncated_TN & ~rollout.terminated_TN
    begins_TN = np.vstack([np.zeros((1, rollout.num_envs), bool), over_TN[:-1]])
    for t in range(rollout.length):
        buffer.add(
            rollout.observation_TNO[t],
            rollout.action_TN[t][:, None],
            rollout.reward_TN[t] + gamma * rollout.final_value_TN[t] * cut_TN[t],
            begins_TN[t],
            torch.from_numpy(rollout.value_TN[t]),
            torch.from_numpy(rollout.logprob_TN[t]),
        )
    buffer.compute_returns_and_advantage(torch.from_numpy(rollout.last_value_N), over_TN[-1])
    advantage_TN, return_TN = advantages(rollout, gamma, lam)
    # theirs are summed in float32 over up to 40 steps
    np.testing.assert_allclose(advantage_TN, buffer.advantages, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(return_TN, buffer.returns, rtol=1e-4, atol=1e-5)
