"""PPO's results: arms that differ in what they say, runs begun once and gone on with, words that follow intervals."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tempomat_rl.ppo.config import compose
from tempomat_rl.ppo.steering import Steering
from tempomat_rl.ppo.train import Training, train

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _as_scripts_find_each_other(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def results():
    return import_module("ppo_results")


@pytest.fixture
def arms():
    return import_module("ppo_arms")


@pytest.fixture
def running():
    return import_module("ppo_running")


@pytest.fixture
def effects():
    return import_module("ppo_effects")


@pytest.fixture
def report():
    return import_module("ppo_report")


def here(run, folder, core):
    """In this process, where everything is imported already."""
    train(compose([*run.settings, f"checkpoint_dir={folder}"]))


def broken_off(run, folder, core):
    """Stopped in the middle, as by Ctrl-C."""
    training = Training(compose([*run.settings, f"checkpoint_dir={folder}"]))
    training.run(lambda: training.env_steps >= 200)
    training.close()


def nobody(run, folder, core):
    pytest.fail(f"begun again: {run}")


def ended(by_seed, **more):
    """A row of an ablation's table, as good by every measure."""
    measures = ("final", "curve", "steps")
    return {"by_seed": {name: dict(by_seed) for name in measures}, "lr": 1e-3, "reached": len(by_seed), **more}


def test_the_whole_of_it_runs_at_toy_scale_and_trains_nothing_twice(results, arms, running, tmp_path, capsys):
    runs = running.Runs(tmp_path / "runs", train=here)
    assert results.main(["--toy", "--out", str(tmp_path)], runs=runs) == 0
    said = capsys.readouterr()
    wanted = arms.TOY.runs()
    assert f"0 of {len(wanted)} runs are there" in said.err
    assert "min left" in said.err
    assert (tmp_path / "ppo_results.md").read_text() in said.out
    found = json.loads((tmp_path / "ppo_results.json").read_text())
    assert list(found["published"]["CartPole-v1"]["returns"]) == ["0", "1"]
    assert list(found["ablation"]["CartPole-v1"]["arms"]) == list(arms.TOY.ablations["CartPole-v1"].arms)
    assert list(found["ablation"]["CartPole-v1"]["effects"]) == [arms.LR, "all four together"]
    assert (tmp_path / "ppo_ablation.png").stat().st_size > 10_000

    again = running.Runs(tmp_path / "runs", train=nobody)
    assert results.main(["--toy", "--out", str(tmp_path)], runs=again) == 0
    assert f"{len(wanted)} of {len(wanted)} runs are there" in capsys.readouterr().err


def test_half_of_it_and_fewer_seeds_can_be_asked_for(results, running, tmp_path):
    made = []

    def note(run, folder, core):
        made.append(folder.relative_to(tmp_path / "runs").as_posix())
        here(run, folder, core)

    runs = running.Runs(tmp_path / "runs", train=note)
    arguments = ["--toy", "--out", str(tmp_path), "--only", "published", "--seeds", "1"]
    assert results.main(arguments, runs=runs) == 0
    assert made == ["published/CartPole-v1/seed0"]
    assert "## What each schedule does" not in (tmp_path / "ppo_results.md").read_text()
    assert not (tmp_path / "ppo_ablation.png").exists()


def test_a_run_that_was_broken_off_is_named_and_goes_on_to_the_same_numbers(arms, running, effects, tmp_path):
    (run,) = [one for one in arms.TOY.runs() if (one.arm, one.seed) == (arms.FULL, 1)]
    whole, parts = (running.Runs(tmp_path / name, train=here) for name in ("whole", "parts"))
    running.carry_out(whole, [run], 1, print)
    parts.train = broken_off
    with pytest.raises(running.Broken, match=r"all-four-seed1: has not ended, see .*output\.txt"):
        running.carry_out(parts, [run], 1, print)
    assert parts.finished([run]) == {}
    parts.train = here
    running.carry_out(parts, [run], 1, print)
    one, other = (dict(runs.result(run), seconds=0, folder="") for runs in (whole, parts))
    assert one == other
    traces = [effects.trace(runs, run) for runs in (whole, parts)]
    assert np.array_equal(traces[0].counts, traces[1].counts)
    assert np.array_equal(traces[0].returns, traces[1].returns)


def test_a_run_is_the_command_that_a_user_would_type(arms, running, tmp_path):
    run = arms.TOY.runs((arms.PUBLISHED,))[0]
    runs = running.Runs(tmp_path)
    running.carry_out(runs, [run], 2, print)
    assert runs.result(run)["finished"]
    assert "finished: return" in (runs.place(run) / running.OUTPUT).read_text()


def test_a_peer_is_a_program_of_its_own(arms, running, tmp_path, monkeypatch):
    begun = []

    class Program:
        def __init__(self, command, **_):
            begun.append(command)

        def wait(self):
            (runs.place(peer) / "result.json").write_text('{"finished": true, "episode_return": 1.0}')

    monkeypatch.setattr(running.subprocess, "Popen", Program)
    runs, peer = running.Runs(tmp_path), replace(arms.WHOLE, seeds=(3,)).runs((arms.PEER,))[0]
    running.carry_out(runs, [peer], 1, print)
    assert runs.result(peer)["episode_return"] == 1.0
    assert [Path(one).name for one in begun[0][1:]] == ["ppo_zoo_seeds.py", peer.task, "3", "seed3"]


def test_the_peer_has_the_settings_of_the_preset(monkeypatch):
    pytest.importorskip("stable_baselines3")
    from stable_baselines3 import PPO

    made = []
    learn = PPO.learn

    def note(model, total):
        made.append(model)
        return learn(model, total)

    monkeypatch.setattr(PPO, "learn", note)
    seeds = import_module("ppo_zoo_seeds")
    found = seeds.train("MountainCarContinuous-v0", 0, ["total_env_steps=16"], episodes=1)
    assert (found["finished"], found["env_steps"], found["episode_return_std"]) == (True, 16, 0.0)
    (model,) = made
    given = compose(["env=MountainCarContinuous-v0"]).data
    assert (model.n_steps, model.n_epochs, model.batch_size) == (8, 10, 8)  # 256, of 8 that there are
    assert (model.learning_rate, model.clip_range(1.0), model.ent_coef) == (7.77e-5, 0.1, 0.00429)
    assert (model.gamma, model.gae_lambda, model.vf_coef, model.max_grad_norm) == (0.9999, 0.9, 0.19, 5)
    assert model.use_sde
    assert model.policy.log_std_init == given["network"]["log_std_init"] == -3.29
    assert model.get_vec_normalize_env().gamma == given["gamma"]


def test_a_result_of_other_settings_is_refused(arms, running, tmp_path):
    runs, run = running.Runs(tmp_path, train=nobody), arms.TOY.runs()[0]
    runs.place(run).mkdir(parents=True)
    (runs.place(run) / "result.json").write_text("{}")
    (runs.place(run) / "settings.json").write_text('["env=CartPole-v1", "seed=5"]')
    with pytest.raises(SystemExit, match=r"was made with env=CartPole-v1 seed=5\. Remove that folder first"):
        running.carry_out(runs, [run], 1, print)


def test_an_interrupt_begins_no_further_run_and_says_how_to_go_on(results, arms, running, tmp_path, capsys):
    begun = []

    def interrupted(run, folder, core):
        begun.append(folder)
        raise KeyboardInterrupt

    runs = running.Runs(tmp_path / "runs", train=interrupted)
    assert results.main(["--toy", "--out", str(tmp_path)], runs=runs) == 130
    assert "the same command goes on with them" in capsys.readouterr().err
    assert len(begun) == 1


def values(arms, arm, task="Pendulum-v1"):
    """First and last value of what is scheduled as long as nothing was heard, and the controllers of the rate."""
    ablation = arms.WHOLE.ablations[task]
    plan = compose([f"env={task}", *ablation.settings(arm)]).plan
    steering = Steering(plan)
    first = steering.values
    steering.advance(env_steps=ablation.total, episodes=0)
    ends = {name: (first[name], steering.values[name]) for name in ("lr", "clip_range", "entropy_coef")}
    return ends, {rule.metric: rule for rule in plan["lr"].controllers}


def test_all_arms_begin_alike_and_each_lacks_what_its_name_says(arms):
    falls = {"lr": (1e-3, 0.0), "clip_range": (0.2, 1e-6), "entropy_coef": (0.01, 0.0)}
    entry = {arms.LR: "lr", arms.CLIP: "clip_range", arms.ENTROPY: "entropy_coef"}
    for arm, on in arms.ARMS.items():
        found, controllers = values(arms, arm)
        expected = {entry[one]: falls[entry[one]] if one in on else (falls[entry[one]][0],) * 2 for one in entry}
        assert found == expected, arm
        assert list(controllers) == (["approx_kl"] if arms.KL in on else []), arm
        for rule in controllers.values():
            assert (rule.first, rule.target, rule.min_value, rule.max_value) == (1.0, 0.01, 0.25, 4.0)
    assert arms.ARMS[arms.without(arms.KL)] == {arms.LR, arms.CLIP, arms.ENTROPY}
    assert arms.ARMS[arms.alone(arms.KL)] == {arms.KL}


def test_published_runs_have_the_published_length_and_nothing_else_said(arms):
    for task, published in arms.WHOLE.published.items():
        assert compose([f"env={task}"]).total_env_steps == published.figure.env_steps
        assert published.overrides == ()


def test_a_finer_record_changes_nothing_that_is_trained(arms, effects, running, tmp_path):
    run = arms.TOY.runs((arms.ABLATION,))[0]
    assert arms.LOG_EVERY in run.overrides
    coarse = replace(run, overrides=tuple(one.replace(arms.LOG_EVERY, "log_every=25%") for one in run.overrides))
    both = [running.Runs(tmp_path / name, train=here) for name in ("fine", "coarse")]
    for runs, one in zip(both, (run, coarse), strict=True):
        running.carry_out(runs, [one], 1, print)
    fine, rough = effects.trace(both[0], run), effects.trace(both[1], coarse)
    assert both[0].result(run)["episode_return"] == both[1].result(coarse)["episode_return"]
    assert len(rough.counts) < len(fine.counts)
    assert (
        dict(zip(rough.counts, rough.returns, strict=True)).items()
        <= dict(zip(fine.counts, fine.returns, strict=True)).items()
    )


def curve(effects, counts, returns):
    return effects.Trace(np.array(counts), np.array(returns, float), 1e-3, 1e4)


def test_the_mean_over_training_weighs_by_env_steps(effects):
    one = curve(effects, [100, 200, 400], [0.0, 10.0, 10.0])
    assert one.mean(400) == pytest.approx((100 * 0 + 100 * 5 + 200 * 10) / 400, rel=1e-3)  # a grid of 1001
    assert one.mean(800) == pytest.approx((100 * 5 + 600 * 10) / 800, rel=1e-3)


def test_a_threshold_is_reached_at_the_first_row_that_is_as_good(effects):
    one = curve(effects, [100, 200, 400], [0.0, 10.0, 9.0])
    assert (one.first(9.5), one.first(10.0), one.first(10.5)) == (200, 200, None)
    assert (one.at(50), one.at(200), one.at(399), one.at(1000)) == (0.0, 10.0, 10.0, 9.0)


def test_a_run_that_never_learns_counts_as_one_that_does_at_its_end(arms, effects, monkeypatch):
    traces = {0: curve(effects, [100, 200], [5.0, 5.0]), 1: curve(effects, [100, 200], [5.0, 50.0])}
    monkeypatch.setattr(effects, "trace", lambda runs, run: traces[run.seed])
    task = replace(arms.TOY.ablations["CartPole-v1"], total=300, threshold=20.0)

    class Ended:
        def result(self, run):
            return {"episode_return": 7.0}

    by_seed = {seed: arms.Run(arms.ABLATION, "CartPole-v1", arms.FULL, seed, ()) for seed in traces}
    row = effects._arm(Ended(), task, by_seed)
    assert row["by_seed"]["steps"] == {0: 300, 1: 200}
    assert (row["reached"], row["final"]["mean"]) == (1, 7.0)


def test_what_a_schedule_brings_is_with_it_minus_without_it_by_seed(arms, effects):
    table = {
        arms.FULL: ended({0: 5.0, 1: 7.0, 2: 1.0}),
        arms.without(arms.LR): ended({0: 1.0, 1: 1.0}),
        arms.alone(arms.LR): ended({0: 2.0}),
        arms.CONSTANT: ended({0: 3.0}),
    }
    found = effects._effects(table)
    assert list(found) == [arms.LR, effects.ALL]
    among = found[arms.LR][effects.AMONG]["final"]
    assert (among["by_seed"], among["mean"]) == ({0: 4.0, 1: 6.0}, 5.0)
    assert among["interval"] == pytest.approx((5.0 - 12.7062047, 5.0 + 12.7062047), rel=1e-7)
    assert found[arms.LR][effects.BY_ITSELF]["final"]["mean"] == -1.0
    assert found[effects.ALL][effects.BY_ITSELF]["final"]["mean"] == 2.0
    assert effects.paired(ended({0: 1.0}), ended({1: 1.0}), "final") is None


@pytest.mark.parametrize(
    ("name", "interval", "said"),
    [
        ("final", (0.1, 0.3), "better"),
        ("final", (-0.3, -0.1), "worse"),
        ("curve", (-0.1, 0.3), "nothing to be seen"),
        ("steps", (-300.0, -100.0), "better"),
        ("steps", (100.0, 300.0), "worse"),
    ],
)
def test_a_word_follows_from_its_interval_and_fewer_steps_are_better(report, name, interval, said):
    assert report.effect(name, {"interval": interval}) == said


def test_a_sentence_names_what_is_seen_and_counts_what_is_not(report, arms):
    def one(mean, by_seed=(1.0,)):
        return {"mean": mean, "interval": (mean - 1.0, mean + 1.0), "by_seed": dict(enumerate(by_seed))}

    measures = {"final": one(0.5), "curve": one(3.0), "steps": {**one(0.0, (0.0, 0.0)), "interval": (0.0, 0.0)}}
    table = {"effects": {arms.LR: {"by itself": measures}}}
    said = list(report._claims({"CartPole-v1": table}))
    assert said[0] == (
        "- **LR annealing:** better in mean return over training on CartPole-v1, by itself, +3.0 [+2.0, +4.0]. "
        "Nothing to be seen in 2 of 3."
    )
    rows = list(report._effects(table))
    assert rows[2] == (
        "| LR annealing, by itself | +0.5 [-0.5, +1.5] | **+3.0 [+2.0, +4.0]** better | the same in all seeds |"
    )


def test_all_seeds_of_a_peer_are_told_from_the_worst_to_the_best(report):
    ours, theirs = {"returns": {0: 3.0, 1: -1.0}}, {"returns": {0: 2.0, 1: 4.0}, "mean": 3.0}
    assert report._beside_peer("Task-v0", ours, theirs) == (
        "Task-v0 under the same settings, all seeds: ours -1.0, 3.0; Stable-Baselines3 itself 2.0, 4.0, mean 3.0."
    )


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (5.0, "the published model is among our seeds; 1 of 2 of them"),
        (6.04, "the published model is among our seeds; 0 of 2 of them"),
        (6.1, "the published model is above all of ours; 0 of 2 of them"),
        (3.9, "the published model is below all of ours; 2 of 2 of them"),
    ],
)
def test_a_published_model_is_held_against_all_seeds(report, figure, said):
    row = {"figure": {"mean": figure}, "returns": {0: 4.0, 1: 6.0}}
    assert report._held(row).startswith(said)
