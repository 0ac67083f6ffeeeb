"""Generalized advantage estimation: how much better than expected each action turned out.

Shapes: T steps of N environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tempomat_rl.ppo.batch import Rollout


def advantages(rollout: Rollout, gamma: float, lam: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    r"""Advantages and returns of a rollout.

    .. math::
        \delta_t = r_t + \gamma\, v'_t - v_t, \qquad
        A_t = \delta_t + \gamma \lambda\, c_t\, A_{t+1}, \qquad
        R_t = A_t + v_t

    where :math:`v'_t` is 0 if the episode terminated at :math:`t`, the value of the observation it was cut off at if it
    was truncated, and :math:`v_{t+1}` otherwise (that of `last_value_N` after the last row); :math:`c_t` is 1 within an
    episode and 0 at its end. A step that terminated and was truncated at once terminated.

    Where other weights acted than those that learn, `weight_TN` is :math:`\rho_t = \min(\bar\rho, \pi / \mu)`, by how
    much likelier the present policy :math:`\pi` takes the action than the one that took it, :math:`\mu`; then

    .. math::
        E_t = \rho_t \delta_t + \gamma \lambda\, c_t \min(1, \rho_t)\, E_{t+1}, \qquad
        A_t = \delta_t + \gamma \lambda\, c_t\, E_{t+1}, \qquad
        R_t = E_t + v_t

    :math:`R_t` is V-trace's target, capped as there; where every :math:`\rho_t` is 1, all of this is what stands above,
    to the bit. :math:`A_t` lacks the factor of its own step, which is the sample's weight in the loss
    (`Samples.weight_S`): the decoupled objective is :math:`\rho_t \min(k_t A_t, \operatorname{clip}(k_t) A_t)`, in
    which the ratio :math:`k_t` to :math:`\pi` bounds how far the batch moves the weights that it meets, and
    :math:`\rho_t` alone corrects for who acted. It is multiplied in after advantages are normalized, since the mean of
    products, once subtracted, would not cancel out of the gradient, as that of the :math:`A_t` does where no
    :math:`\rho_t` is capped. IMPALA's policy gradient takes :math:`r_t + \gamma R_{t+1} - v_t`, that is, no
    :math:`\lambda` before :math:`E_{t+1}`; :math:`A_t` has it, so that batches of every age are learned from by one
    rule, which is GAE's where :math:`\mu = \pi`.

    Args:
        rollout: T steps of N environments; steps that are not valid get 0 and carry nothing across.
        gamma: the discount, from 0 to 1.
        lam: :math:`\lambda`, from 0 to 1.

    Returns:
        `advantage_TN` and `return_TN`, float32, computed in float64.

    Source:
        Schulman et al. 2016 (arXiv:1506.02438). With weights: V-trace, Espeholt et al. 2018 (arXiv:1802.01561),
        equation 1 with lambda as in remark 2; the decoupled objective, Hilton et al. 2022 (arXiv:2110.00641).

    Agrees with:
        Stable-Baselines3's `RolloutBuffer.compute_returns_and_advantage`, whose rewards hold the discounted final
        value at truncations.

    Example:
        >>> zeros, no = np.zeros((2, 1), np.float32), np.zeros((2, 1), bool)
        >>> rollout = Rollout(
        ...     observation_TNO=zeros, action_TN=zeros, logprob_TN=zeros, value_TN=zeros, reward_TN=zeros + 1,
        ...     terminated_TN=no, truncated_TN=no, valid_TN=~no, final_value_TN=zeros, last_value_N=np.float32([4]),
        ... )
        >>> advantages(rollout, 0.5, 1.0)[0].ravel().tolist()
        [2.5, 3.0]
    """
    advantage_TN = np.zeros(rollout.reward_TN.shape, np.float32)
    return_TN = np.zeros_like(advantage_TN)
    _accumulate(
        rollout.reward_TN,
        rollout.value_TN,
        rollout.terminated_TN,
        rollout.truncated_TN,
        rollout.valid_TN,
        rollout.final_value_TN,
        rollout.last_value_N,
        rollout.weight_TN,
        gamma,
        lam,
        advantage_TN,
        return_TN,
    )
    return advantage_TN, return_TN


@njit(cache=True)
def _accumulate(
    reward_TN: Any,
    value_TN: Any,
    terminated_TN: Any,
    truncated_TN: Any,
    valid_TN: Any,
    final_value_TN: Any,
    last_value_N: Any,
    weight_TN: Any,
    gamma: Any,
    lam: Any,
    advantage_TN: Any,
    return_TN: Any,
) -> None:
    length, num_envs = reward_TN.shape
    for n in range(num_envs):
        after, carried = np.float64(last_value_N[n]), 0.0
        for t in range(length - 1, -1, -1):
            value = np.float64(value_TN[t, n])
            if not valid_TN[t, n]:
                after, carried = value, 0.0
                continue
            if terminated_TN[t, n]:
                after, carried = 0.0, 0.0
            elif truncated_TN[t, n]:
                after, carried = np.float64(final_value_TN[t, n]), 0.0
            if weight_TN is None:  # compiled away: one loop for each case
                carried = reward_TN[t, n] + gamma * after - value + gamma * lam * carried
                advantage_TN[t, n] = carried
            else:
                weight = np.float64(weight_TN[t, n])
                error, ahead = reward_TN[t, n] + gamma * after - value, gamma * lam * carried
                advantage_TN[t, n] = error + ahead
                carried = weight * error + min(1.0, weight) * ahead
            return_TN[t, n] = carried + value
            after = value
