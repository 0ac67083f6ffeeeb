"""Experience that older weights made, told as the present ones see it.

Shapes as in `batch`; S samples are the T x N steps in a row.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempomat_rl.ppo.batch import Observation, Rollout, each
from tempomat_rl.ppo.learner import Learner, few_at_once
from tempomat_rl.ppo.options import LearnerError


def corrected(rollout: Rollout, learner: Learner, *, rho_bar: float = 1.0) -> Rollout:
    r"""The rollout as if the learner's present weights had acted in it, with what each step then counts for.

    .. math::
        \rho_t = \min\!\Big(\bar\rho,\ \frac{\pi(a_t \mid o_t)}{\mu(a_t \mid o_t)}\Big)

    with :math:`\mu` the policy that acted and :math:`\pi` the present one. Log probabilities and all values are those
    of the present networks, so that PPO's ratios start from 1 and its values from where the critic is; `weight_TN` is
    :math:`\rho_t`, which `gae.advantages` and the policy's loss take into account.

    Under gSDE both probabilities are over all draws of the noise, as in the objective itself: that the steps of a
    rollout share one draw is left out of account.

    Args:
        rollout: with `ends`, see `Collector.collect`. One of age 0 comes back as it is.
        learner: that is to learn from it; it is only asked.
        rho_bar: :math:`\bar\rho`, at least 1. At 1, values are of a policy between the two, and the farther they are
            apart the closer to the one that acted; the higher, the closer to the present one, and the larger the
            variance.

    Returns:
        Another rollout, of the same age and with the same observations, actions, rewards and ends.

    Raises:
        LearnerError: the rollout has no `ends`, or not all of them; it is corrected already; `rho_bar` is no finite
            number of at least 1.

    Source:
        Espeholt et al. 2018 (arXiv:1802.01561); Hilton et al. 2022 (arXiv:2110.00641).
    """
    if not 1.0 <= rho_bar < math.inf:
        raise LearnerError(f"rho_bar: must be a finite number of at least 1, got {rho_bar}.")
    if not rollout.policy_age:
        return rollout
    if rollout.weight_TN is not None:
        raise LearnerError("rollout: must not be corrected yet, and is. Correct it once, right before the update.")
    shape = rollout.reward_TN.shape
    seen_SO = each(rollout.observation_TNO, _in_a_row)
    logprob_S, value_S = learner.judge(seen_SO, _in_a_row(rollout.action_TN))
    logprob_TN, value_TN = logprob_S.reshape(shape), value_S.reshape(shape)
    last_value_N, final_value_TN = _values_at_ends(rollout, learner, value_TN)
    ahead_TN = np.subtract(logprob_TN, rollout.logprob_TN, dtype=np.float64)
    weight_TN = np.exp(np.minimum(ahead_TN, math.log(rho_bar)))  # cannot overflow, however unlikely the action was
    return replace(
        rollout,
        logprob_TN=logprob_TN,
        value_TN=value_TN,
        final_value_TN=final_value_TN,
        last_value_N=last_value_N,
        weight_TN=np.where(rollout.valid_TN, weight_TN, 1.0).astype(np.float32),
    )


def _in_a_row(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(-1, *array.shape[2:])


def _values_at_ends(
    rollout: Rollout, learner: Learner, value_TN: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """After the last row, and where episodes were truncated."""
    ends = rollout.ends
    if ends is None:
        raise LearnerError("rollout: must hold its ends, and does not. Collect it with keep_ends=True.")
    last_value_N = _values(learner, ends.last_NO, rollout.num_envs)
    after_TN = np.concatenate([value_TN[1:], last_value_N[None]])
    cut_TN = rollout.truncated_TN & ~rollout.terminated_TN
    told_TN = np.zeros_like(cut_TN)
    if ends.final_KO is not None:
        t_K, n_K = ends.place_K2.T
        told_TN[t_K, n_K] = True
        after_TN[t_K, n_K] = _values(learner, ends.final_KO, len(ends.place_K2))
    _refuse_unknown(cut_TN[:-1] & ~told_TN[:-1] & rollout.valid_TN[1:])
    return last_value_N, np.where(cut_TN, after_TN, np.float32(0.0))


def _refuse_unknown(lost_TN: NDArray[np.bool_]) -> None:
    """Truncations whose last observation is neither told nor in the next row."""
    places = np.argwhere(lost_TN).tolist()
    if places:
        t, n = places[0]
        raise LearnerError(
            f"rollout.ends: must tell the last observation of each truncated episode, and lacks {len(places)}, the "
            f"first in row {t} of environment {n}. Collect it with keep_ends=True."
        )


def _values(learner: Learner, observation_SO: Observation, count: int) -> NDArray[np.float32]:
    return np.concatenate([learner.value(part) for _, part in few_at_once(observation_SO, count)])
