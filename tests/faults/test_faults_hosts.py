"""What users report of schedules inside the frameworks that they train with: each fault there, and ours beside it."""

# pyright: reportMissingImports=false

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tempomat as tm

TESTS = Path(__file__).parents[1]


def line(high, low=0.0, length: int | str = "100%"):
    return tm.Linear(init_value=high, end_value=low, duration=length)


def test_19_on_two_processes_the_schedule_advances_once_an_update(tmp_path):
    """Accelerate steps a prepared scheduler once for each process (#1382, #1398, #2926, #3797)."""
    pytest.importorskip("accelerate")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, Path(__file__).with_name("accelerated.py"), tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        found = json.loads((tmp_path / f"result-{rank}.json").read_text(encoding="utf-8"))
        assert (found["processes"], found["theirs"]) == (2, 6)
        assert found["counts"] == {"optimizer_steps": 3}
        assert found["lr"] == pytest.approx([0.4, 0.7], rel=1e-12, abs=0)


def sb3(kind: str) -> Any:
    """A small model of Stable-Baselines3 on an environment of its own."""
    pytest.importorskip("stable_baselines3")
    import stable_baselines3
    from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox

    env = IdentityEnvBox(ep_length=8) if kind == "SAC" else IdentityEnv(dim=2, ep_length=8)
    sizes = (
        {"learning_starts": 4, "batch_size": 4, "buffer_size": 100, "ent_coef": 0.1}
        if kind == "SAC"
        else {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
    )
    return getattr(stable_baselines3, kind)(
        "MlpPolicy", env, seed=0, device="cpu", policy_kwargs={"net_arch": [4]}, **sizes
    )


def learned(model: Any, total: int, optimizers: dict[str, Any], **entries: Any) -> list[dict[str, Any]]:
    """What a model under a plan held when one of the optimizers stepped."""
    from tempomat.integrations.sb3 import TempomatCallback

    rows = list[dict[str, Any]]()

    def note(name, optimizer):
        values = {"at": model.num_timesteps, "ent_coef": model.ent_coef}
        rows.append({"name": name, "lr": optimizer.param_groups[0]["lr"], **values})

    for name, one in optimizers.items():
        one.register_step_post_hook(lambda optimizer, *_, name=name: note(name, optimizer))
    plan = tm.Plan({name.replace("__", "."): one for name, one in entries.items()}, clock="env_steps", total=total)
    model.learn(total, callback=TempomatCallback(plan))
    return rows


def test_25_the_entropy_coefficient_is_scheduled():
    """SB3 has no schedule for it: #316, #540, #628, #2111."""
    theirs = sb3("PPO")
    theirs.ent_coef = lambda progress: 0.01 * progress
    with pytest.raises(TypeError, match="unsupported operand"):
        theirs.learn(16)
    model = sb3("PPO")
    fall = line(0.02, length=80)
    rows = learned(model, 64, {"policy": model.policy.optimizer}, ent_coef=fall, lr=1e-3)
    assert [(row["at"], row["ent_coef"]) for row in rows] == [(at, fall(at)) for at in (16, 32, 48, 64)]


def test_25_each_network_has_its_own_learning_rate():
    """SB3 writes one rate into every optimizer: #338, open since 2021."""
    theirs = sb3("SAC")
    seen = set[float]()
    theirs.critic.optimizer.param_groups[0]["lr"] = 0.5
    theirs.critic.optimizer.register_step_pre_hook(lambda one, *_: seen.add(one.param_groups[0]["lr"]))
    theirs.learn(8)
    assert seen == {theirs.learning_rate}
    model = sb3("SAC")
    networks = {"actor": model.actor.optimizer, "critic": model.critic.optimizer}
    rates = {"actor": line(1e-3, length=20), "critic": line(4e-3, length=20)}
    rows = learned(model, 10, networks, actor__lr=rates["actor"], critic__lr=rates["critic"])
    assert {row["name"] for row in rows} == set(networks)
    assert [row["lr"] for row in rows] == [rates[row["name"]](row["at"]) for row in rows]


@pytest.mark.filterwarnings("default")  # Ray and RLlib warn of themselves, in every release of others
def test_26_rllib_trains_at_the_rate_that_was_asked_for():
    """RLlib's `lr_schedule` was ignored in silence: #6096, #8368, PR#49363. Now it is refused."""
    pytest.importorskip("ray.rllib")
    import ray
    from ray.rllib.algorithms.ppo import PPOConfig

    from tempomat.integrations.rllib import apply_plan

    def config():
        small: Any = {"train_batch_size_per_learner": 64, "minibatch_size": 64, "num_epochs": 1}
        runners: Any = {"num_env_runners": 0, "create_env_on_local_worker": True}
        return PPOConfig().environment("CartPole-v1").env_runners(**runners).training(**small)

    def rates(of, rounds=3):
        algorithm = of.build_algo()
        learner = algorithm.learner_group._learner
        used = []
        for _ in range(rounds):
            (optimizer,) = learner._named_optimizers.values()
            used.append(float(optimizer.param_groups[0]["lr"]))
            algorithm.train()
        algorithm.stop()
        return used

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        plan = tm.Plan({"lr": line(1e-3, length=256)}, clock="env_steps", total=256)
        ours = apply_plan(config(), plan)
        assert rates(ours) == pytest.approx([plan.resolve()["lr"](at) for at in (0, 64, 128)], rel=1e-6, abs=0)
        theirs = config().training(lr=1e-3)
        theirs.lr_schedule = [[0, 1e-3], [256, 0.0]]
        with pytest.raises(ValueError, match="`lr_schedule` is deprecated"):
            rates(theirs)
        assert rates(theirs.copy(copy_frozen=False).experimental(_validate_config=False)) == [1e-3] * 3
    finally:
        ray.shutdown()
