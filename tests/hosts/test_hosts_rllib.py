"""RLlib: the example for real, its lists and ours, what is refused, and a restore."""

# RLlib need not be installed; where it is, its annotations know little of its own algorithms.
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import logging

import pytest
from loading import example

pytest.importorskip("ray.rllib")

import ray
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.sac import SACConfig

import tempomat as tm
from tempomat.core import BindingError
from tempomat.integrations.rllib import apply_plan

pytestmark = pytest.mark.filterwarnings("default")  # Ray and RLlib warn of themselves, in every release of others


@pytest.fixture(scope="module")
def cartpole():
    return example("hosts/rllib_cartpole.py")


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def plan(total: int | None = 1024, /, **entries):
    return tm.Plan({name.replace("__", "."): one for name, one in entries.items()}, clock="env_steps", total=total)


def line(high, low=0.0, length: int | str = "100%"):
    return tm.Linear(init_value=high, end_value=low, duration=length)


def test_the_example_has_the_plans_values_at_every_iteration(cartpole):
    rows, known = cartpole.main()["rows"], cartpole.PLAN.resolve()
    assert [row["env_steps"] for row in rows] == [256, 512, 768, 1024]
    for row in rows:
        at = int(row["env_steps"])
        assert row["clip_param"] == known["clip_param"](at)
        assert row["entropy_coeff"] == pytest.approx(known["entropy_coeff"](at), rel=1e-9, abs=0)
        assert row["lr"] == pytest.approx(known["lr"](at), rel=1e-3, abs=0)  # RLlib joins points by lines


def test_what_rllib_schedules_becomes_its_own_lists():
    config = apply_plan(PPOConfig(), plan(lr=line(1e-3)))
    assert config.lr == [[0, 1e-3], [1024, 0.0]]
    assert config.learner_class is PPOConfig().learner_class
    entropy = apply_plan(PPOConfig(), plan(entropy_coef=line(0.02, 0.0, 512))).entropy_coeff
    assert entropy[0] == [0, 0.02]
    assert [512, 0.0] in entropy
    assert apply_plan(DQNConfig(), plan(epsilon=line(1.0, 0.5))).epsilon == [[0, 1.0], [1024, 0.5]]
    sac = apply_plan(SACConfig(), plan(actor__lr=line(1e-3), critic__lr=line(2e-3), alpha__lr=line(4e-3)))
    assert (sac.actor_lr, sac.critic_lr, sac.alpha_lr) == tuple([[0, one], [1024, 0.0]] for one in (1e-3, 2e-3, 4e-3))


def test_a_list_for_the_clip_parameter_would_pass_and_crash_so_the_learner_has_it(cartpole, cluster):
    listed = cartpole.build().training(clip_param=[[0, 0.2], [100, 0.1]])
    algorithm = listed.build_algo()
    with pytest.raises(TypeError, match="unsupported operand"):
        algorithm.train()
    algorithm.stop()
    config = apply_plan(
        cartpole.build(), plan(clip_range=line(0.3, 0.1), value_coef=line(1.0, 0.5), grad_clip=line(40.0, 1.0))
    )
    assert config.clip_param == PPOConfig().clip_param
    algorithm = config.build_algo()
    learner = algorithm.learner_group._learner
    seen = []
    compute = learner.compute_loss_for_module

    def watched(*, config, **given):
        seen.append((config.clip_param, config.vf_loss_coeff, config.grad_clip))
        return compute(config=config, **given)

    learner.compute_loss_for_module = watched
    for _ in range(2):
        algorithm.train()
    algorithm.stop()
    known = plan(a=line(0.3, 0.1), b=line(1.0, 0.5), c=line(40.0, 1.0)).resolve()
    values = [tuple(known[name](at) for name in "abc") for at in (0, 256)]
    assert sorted(set(seen), reverse=True) == values


@pytest.mark.parametrize("clipped", [True, False])
def test_a_restored_algorithm_goes_on_with_the_values_it_had(cartpole, cluster, tmp_path, clipped):
    entries = (
        plan(clip_param=line(0.3, 0.1), entropy_coeff=line(0.02), lr=line(1e-3))
        if clipped
        else (plan(entropy_coeff=line(0.02), lr=line(1e-3)))
    )
    first = apply_plan(cartpole.build(), entries).build_algo()
    first.train()
    first.save_to_path(str(tmp_path))
    first.stop()
    second = apply_plan(cartpole.build(), entries).build_algo()
    second.restore_from_path(str(tmp_path))
    learner = second.learner_group._learner
    coefficient = learner.entropy_coeff_schedulers_per_module["default_policy"].get_current_value().item()
    second.stop()
    (optimizer,) = learner._named_optimizers.values()
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(7.5e-4, rel=1e-6, abs=0)
    assert learner.config.clip_param == (entries.resolve()["clip_param"](256) if clipped else 0.3)
    assert coefficient == pytest.approx(0.015, rel=1e-6, abs=0)  # RLlib keeps it in float32


def test_every_entry_without_a_place_is_named_at_once():
    wrong = plan(
        gamma=line(1.0), entropy_coefff=0.1, lr=tm.Plateau(metric="kl", init_value=0.1, factor=0.5, patience=1)
    )
    with pytest.raises(BindingError, match="the plan does not fit PPOConfig: 3 faults") as caught:
        apply_plan(PPOConfig(), wrong)
    message = str(caught.value)
    assert "gamma: RLlib does not schedule gamma, and reads it where no learner can change it." in message
    assert "entropy_coefff: PPOConfig has no 'entropy_coefff'. Did you mean entropy_coeff?" in message
    assert "lr: has a controller, and measurements do not reach RLlib's schedules" in message


def test_two_entries_of_one_field_are_refused():
    with pytest.raises(BindingError, match="clip_range: another entry means clip_param too"):
        apply_plan(PPOConfig(), plan(clip_param=0.2, clip_range=0.1))


def test_a_missing_end_or_another_clock_is_refused_with_the_fix():
    with pytest.raises(BindingError, match=r"RLlib's points need an end\. Give apply_plan\(\.\.\., total=\.\.\.\)"):
        apply_plan(PPOConfig(), plan(None, lr=line(1.0, 0.0, 9)))
    with pytest.raises(
        BindingError, match=r"the plan's clock is optimizer_steps\. Write Plan\(\.\.\., clock='env_steps'\)"
    ):
        apply_plan(PPOConfig(), tm.Plan({"lr": 0.1}))
