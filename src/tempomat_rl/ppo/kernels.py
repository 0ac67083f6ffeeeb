"""The element-wise arithmetic of PPO, compiled: losses and their gradients, sampling, and Adam.

Shapes: S samples, of which a minibatch is the B numbers `chosen_B`; A actions to choose among, or numbers per action;
H features. Every gradient is of the mean over the minibatch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """To machine code, kept on disk; divisions by zero give inf and nan, as in NumPy."""
    return njit(cache=True, error_model="numpy")(function)


@compiled
def normalized(advantage_S: Any, chosen_B: Any, normalize: Any) -> Any:
    """The minibatch's advantages, with mean 0 and deviation 1 if asked for and there are two at least."""
    count = len(chosen_B)
    advantage_B = np.empty(count, np.float32)
    mean, square = 0.0, 0.0
    for b in range(count):
        mean += advantage_S[chosen_B[b]]
    mean /= count
    for b in range(count):
        square += (advantage_S[chosen_B[b]] - mean) ** 2
    shift, scale = 0.0, 1.0
    if normalize and count > 1:
        shift, scale = mean, 1.0 / (math.sqrt(square / (count - 1)) + 1e-8)
    for b in range(count):
        advantage_B[b] = (advantage_S[chosen_B[b]] - shift) * scale
    return advantage_B


@compiled
def _surrogate(advantage: Any, log_ratio: Any, clip_range: Any) -> Any:
    """One sample's objective, its derivative by the log probability, its part of the KL, and whether it is clipped."""
    ratio = math.exp(log_ratio)
    kept = min(max(ratio, 1.0 - clip_range), 1.0 + clip_range)
    free, held = advantage * ratio, advantage * kept
    slope = free if ratio == kept or free < held else 0.0
    return min(free, held), slope, ratio - 1.0 - log_ratio, 1.0 if abs(ratio - 1.0) > clip_range else 0.0


@compiled
def learn_discrete(
    logits_BA: Any, chosen_B: Any, action_S: Any, logprob_S: Any, advantage_B: Any, clip_range: Any, entropy_coef: Any
) -> Any:
    """Gradient by the logits, and loss, entropy, KL and clip fraction."""
    count, actions = logits_BA.shape
    slope_BA = np.empty((count, actions), np.float32)
    log_A = np.empty(actions, np.float64)
    gain, entropy, kl, clipped = 0.0, 0.0, 0.0, 0.0
    for b in range(count):
        s = chosen_B[b]
        top, total, spread = np.float64(logits_BA[b].max()), 0.0, 0.0
        for a in range(actions):
            total += math.exp(logits_BA[b, a] - top)
        total = top + math.log(total)
        for a in range(actions):
            log_A[a] = logits_BA[b, a] - total
            spread -= math.exp(log_A[a]) * log_A[a]
        earned, slope, moved, cut = _surrogate(advantage_B[b], log_A[action_S[s]] - logprob_S[s], clip_range)
        for a in range(actions):
            share = math.exp(log_A[a])
            wanted = (1.0 if a == action_S[s] else 0.0) - share
            slope_BA[b, a] = (entropy_coef * share * (log_A[a] + spread) - slope * wanted) / count
        gain, entropy, kl, clipped = gain + earned, entropy + spread, kl + moved, clipped + cut
    return slope_BA, -gain / count, entropy / count, kl / count, clipped / count


@compiled
def learn_gaussian(
    mean_BA: Any,
    variance_BA: Any,
    chosen_B: Any,
    action_SA: Any,
    logprob_S: Any,
    advantage_B: Any,
    clip_range: Any,
    entropy_coef: Any,
) -> Any:
    """Gradients by means and by variances, and loss, entropy, KL and clip fraction."""
    count, actions = mean_BA.shape
    by_mean_BA = np.empty((count, actions), np.float32)
    by_variance_BA = np.empty((count, actions), np.float32)
    gain, entropy, kl, clipped = 0.0, 0.0, 0.0, 0.0
    for b in range(count):
        s = chosen_B[b]
        logprob, spread = 0.0, 0.0
        for a in range(actions):
            variance = np.float64(variance_BA[b, a])
            width = 0.5 * math.log(variance) + _HALF_LOG_2PI
            logprob -= 0.5 * (action_SA[s, a] - mean_BA[b, a]) ** 2 / variance + width
            spread += width + 0.5
        earned, slope, moved, cut = _surrogate(advantage_B[b], logprob - logprob_S[s], clip_range)
        for a in range(actions):
            variance, off = np.float64(variance_BA[b, a]), action_SA[s, a] - mean_BA[b, a]
            by_mean_BA[b, a] = -slope * off / variance / count
            by_logprob = 0.5 * (off * off / variance - 1.0) / variance
            by_variance_BA[b, a] = -(slope * by_logprob + entropy_coef * 0.5 / variance) / count
        gain, entropy, kl, clipped = gain + earned, entropy + spread, kl + moved, clipped + cut
    return by_mean_BA, by_variance_BA, -gain / count, entropy / count, kl / count, clipped / count


@compiled
def learn_value(value_B: Any, chosen_B: Any, value_S: Any, return_S: Any, most: Any, coef: Any) -> Any:
    """Gradient by the values, (B, 1), and the mean squared error; values move by `most` at most, if that is above 0."""
    count = len(chosen_B)
    slope_B1 = np.empty((count, 1), np.float32)
    loss = 0.0
    for b in range(count):
        s = chosen_B[b]
        value, inside = np.float64(value_B[b]), True
        if most > 0.0:
            moved = value - value_S[s]
            inside = abs(moved) <= most
            value = value_S[s] + min(max(moved, -most), most)
        error = value - return_S[s]
        loss += error * error
        slope_B1[b, 0] = 2.0 * coef * error / count if inside else 0.0
    return slope_B1, loss / count


@compiled
def draw_discrete(logits_NA: Any, uniform_N: Any) -> Any:
    """Actions by the inverse of the cumulative probabilities, and their log probabilities."""
    count, actions = logits_NA.shape
    action_N, logprob_N = np.empty(count, np.int64), np.empty(count, np.float32)
    for n in range(count):
        top, total = np.float64(logits_NA[n].max()), 0.0
        for a in range(actions):
            total += math.exp(logits_NA[n, a] - top)
        chosen, rest = 0, uniform_N[n] * total - math.exp(logits_NA[n, 0] - top)
        while rest >= 0.0 and chosen < actions - 1:
            chosen += 1
            rest -= math.exp(logits_NA[n, chosen] - top)
        action_N[n], logprob_N[n] = chosen, logits_NA[n, chosen] - top - math.log(total)
    return action_N, logprob_N


@compiled
def discrete_logprob(logits_NA: Any, action_N: Any) -> Any:
    """Of actions that were taken, to the bit as `draw_discrete` gives it."""
    count, actions = logits_NA.shape
    logprob_N = np.empty(count, np.float32)
    for n in range(count):
        top, total = np.float64(logits_NA[n].max()), 0.0
        for a in range(actions):
            total += math.exp(logits_NA[n, a] - top)
        logprob_N[n] = logits_NA[n, action_N[n]] - top - math.log(total)
    return logprob_N


@compiled
def gaussian_logprob(noise_NA: Any, variance_NA: Any) -> Any:
    """Of actions that are `noise_NA` away from their means."""
    count, actions = noise_NA.shape
    logprob_N = np.empty(count, np.float32)
    for n in range(count):
        total = 0.0
        for a in range(actions):
            variance = np.float64(variance_NA[n, a])
            total -= 0.5 * (noise_NA[n, a] ** 2 / variance + math.log(variance)) + _HALF_LOG_2PI
        logprob_N[n] = total
    return logprob_N


@compiled
def through_tanh(slope_BH: Any, hidden_BH: Any, bias_H: Any) -> Any:
    """In place: the gradient before the activation; into `bias_H`: its sum."""
    bias_H[:] = 0.0
    for b in range(len(slope_BH)):
        for h in range(len(bias_H)):
            slope_BH[b, h] *= np.float32(1.0) - hidden_BH[b, h] * hidden_BH[b, h]
            bias_H[h] += slope_BH[b, h]


@compiled
def through_relu(slope_BH: Any, hidden_BH: Any, bias_H: Any) -> Any:
    """In place: the gradient before the activation; into `bias_H`: its sum."""
    bias_H[:] = 0.0
    for b in range(len(slope_BH)):
        for h in range(len(bias_H)):
            slope_BH[b, h] = slope_BH[b, h] if hidden_BH[b, h] > 0.0 else np.float32(0.0)
            bias_H[h] += slope_BH[b, h]


@compiled
def adam(weight_P: Any, slope_P: Any, first_P: Any, second_P: Any, scale: Any, lr: Any, count: Any) -> None:
    """One step of Adam, the `count`-th, on gradients times `scale`: betas of .9 and .999, an epsilon of 1e-5."""
    scale = np.float32(scale)
    step = np.float32(lr / (1.0 - 0.9**count))
    rise = np.float32(1.0 / math.sqrt(1.0 - 0.999**count))
    keep, take = np.float32(0.9), np.float32(1.0 - 0.9)
    keep_square, take_square, epsilon = np.float32(0.999), np.float32(1.0 - 0.999), np.float32(1e-5)
    for p in range(len(weight_P)):
        slope = slope_P[p] * scale
        first_P[p] = keep * first_P[p] + take * slope
        second_P[p] = keep_square * second_P[p] + take_square * slope * slope
        weight_P[p] -= step * first_P[p] / (math.sqrt(second_P[p]) * rise + epsilon)
