"""What a run of PPO says before it begins: every value over time, and what the linter finds in it."""

from __future__ import annotations

from collections.abc import Iterator

import tempomat as tm
from tempomat.analysis.lint import Finding
from tempomat.plan import to_data
from tempomat_rl.ppo.entries import METRICS
from tempomat_rl.ppo.settings import PPOConfig
from tempomat_rl.ppo.steering import UNITS


def findings(config: PPOConfig) -> tuple[Finding, ...]:
    """What the linter finds in the run's plan."""
    return tm.lint(config.plan, metrics=METRICS, advances=UNITS)


def lines(config: PPOConfig) -> Iterator[str]:
    """A line for each value, then every finding and every note."""
    yield f"{config.env}, preset {config.preset}, {config.total_env_steps:,} env steps:"
    width = max(map(len, config.plan.schedules))
    for name, node in config.plan.schedules.items():
        yield f"  {name:<{width}}  {describe(node, config.total_env_steps)}"
    for one in findings(config):
        yield f"  {one.severity} {one.code}: {one.message} [{one.path.removeprefix('schedules.')}]"
    for note in (*config.notes, *_idle(config)):
        yield f"  note: {note}"


def _idle(config: PPOConfig) -> Iterator[str]:
    """Workers that never have an environment."""
    envs = config.plan["num_envs"]
    if config.rollout != "local" and isinstance(envs, tm.Constant) and envs(0) < config.num_workers:
        idle = config.num_workers - int(envs(0))
        yield f"{idle} of {config.num_workers} workers have no environment: num_envs is {envs(0):g}"


def describe(node: tm.Node, total: int) -> str:
    """A value over a run, in a few words.

    >>> describe(tm.Linear(init_value=1e-3, end_value=0.0, duration=100), 100)
    '0.001 to 0, linear'
    >>> describe(tm.KLAdaptive(metric="approx_kl", target=0.01, init_value=3e-4), 100)
    '0.0003 at first, kl_adaptive, by approx_kl'
    """
    unit = ""
    if isinstance(node, tm.On):
        unit, node = f", on {node.unit}", node.schedule
    kind = _kind(node)
    if isinstance(node, tm.Reactive):
        heard = ", ".join(sorted({rule.metric for rule in node.controllers}))
        start = node.given([rule.level(rule.initial()) for rule in node.controllers])
        first = f"{start(0):.4g} at first, " if len(start.clocks) < 2 else ""
        return f"{first}{kind}, by {heard}{unit}"
    if not isinstance(node, tm.Schedule) or node.clocks - {""}:
        return f"{kind}{unit}"
    if isinstance(node, tm.Constant):
        return f"{node(0):g}"
    return f"{node(0):.4g} to {node(total):.4g}, {kind}{unit}"


def _kind(node: tm.Node) -> str:
    data = to_data(node)
    return str(data["type"]) if isinstance(data, dict) else "constant"
