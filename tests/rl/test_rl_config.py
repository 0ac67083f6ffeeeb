"""The command line: everything that the guide prints composes and means what it says, and mistakes are explained."""

# pyright: reportArgumentType=false, reportOptionalMemberAccess=false

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rl.guide import commands, flags, tables

import tempomat as tm
from tempomat_rl import startup
from tempomat_rl.config import CFGS, ConfigError, changes, compose, main
from tempomat_rl.drqv2.config import EncA, EncB, Keypoint, Original
from tempomat_rl.numbers import whole_number
from tempomat_rl.program.command import run_folder, run_name
from tempomat_rl.schedules import NETWORKS
from tempomat_rl.settings import read

ROOT = Path(__file__).parents[2]
M = 1_000_000
OWN_PRESET = next(block for block in tables() if "@package" in block)


@pytest.fixture
def cfgs(tmp_path):
    """A copy of the configuration files to drop presets into."""
    return Path(shutil.copytree(CFGS, tmp_path / "cfgs"))


def rates(config, network, counts):
    return [config.plan[f"{network}.lr"](count) for count in counts]


def test_the_guide_still_prints_what_is_tested_here():
    assert len(commands()) == 13
    assert ["lr_schedule=aggressive_decay", "lr=2.0e-4", "num_train_frames=3000000"] in commands()
    assert flags() == ["lr=5.0e-5", "decay_rate=0.9998", "lr=2.0e-4"]


@pytest.mark.parametrize("overrides", commands(), ids=" ".join)
def test_every_command_of_the_guide_composes(overrides, cfgs):
    (cfgs / "lr_schedule" / "your_preset.yaml").write_text(OWN_PRESET)
    config = compose(overrides, cfgs=cfgs)
    assert list(config.overrides) == overrides
    assert config.total_env_steps == config.num_train_frames
    assert all(config.plan[f"{network}.lr"].clocks <= {"", "stage"} for network in NETWORKS)
    assert json.loads(json.dumps(config.data)) == config.data
    assert startup.lines(config)


@pytest.mark.parametrize("flag", flags())
def test_the_guides_advice_in_the_text_composes_alone_and_with_a_preset(flag):
    assert compose([flag]).plan.resolved
    assert compose(["lr_schedule=differential", flag]).plan != compose(["lr_schedule=differential"]).plan


@pytest.mark.parametrize("block", tables())
@pytest.mark.parametrize("header", ["# @package _global_\n", ""])
def test_every_table_of_the_guide_works_as_a_preset_of_ones_own(block, header, cfgs):
    block = block.replace("# @package _global_\n", "")
    (cfgs / "lr_schedule" / "mine.yaml").write_text(header + block)
    config = compose(["lr_schedule=mine"], cfgs=cfgs)
    for network, table in yaml.safe_load(block)["lr_schedule"].items():
        first = table["intervals"][0]
        node = config.plan[f"{network}.lr"]
        value = node.schedule(0) if isinstance(node, tm.On) else node(0)
        assert value == float(first.get("lr", first.get("init_lr")))
    assert config.lr == 1e-4
    assert bool(config.notes) == (header == "")


def test_a_preset_without_its_top_key_works_too(cfgs):
    (cfgs / "lr_schedule" / "mine.yaml").write_text("actor: {type: step_decay, intervals: [{lr: 3.0e-4}]}\n")
    config = compose(["lr_schedule=mine", "lr_schedule.actor.intervals.0.lr=4e-4"], cfgs=cfgs)
    assert rates(config, "actor", [0]) == [4e-4]
    assert config.notes == ()


@pytest.mark.parametrize("header", ["# @package _global_\n", ""])
def test_a_preset_of_ones_own_may_say_what_it_is_written_for(header, cfgs):
    text = f"{header}base_lr: 3.0e-4\nlr_schedule: {{actor: {{type: step_decay, intervals: [{{lr: 6.0e-4}}]}}}}\n"
    (cfgs / "lr_schedule" / "mine.yaml").write_text(text)
    plain, halved = (compose(["lr_schedule=mine", *more], cfgs=cfgs) for more in ([], ["lr=1.5e-4"]))
    assert (rates(plain, "actor", [0]), rates(plain, "critic", [0])) == ([6e-4], [3e-4])
    assert (rates(halved, "actor", [0]), rates(halved, "critic", [0])) == ([3e-4], [1.5e-4])


# the presets, by the page of the pipeline: boundaries in millions, rates

STEPS = {
    "gentle_decay": ([0, 2, 4], [1e-4, 5e-5, 2.5e-5]),
    "aggressive_decay": ([0, 1, 2, 3, 4], [2e-4, 1e-4, 5e-5, 2e-5, 1e-5]),
    "stage_based": ([0, 0.5, 1.5, 3, 5], [1.2e-4, 1e-4, 7e-5, 5e-5, 3e-5]),
}


@pytest.mark.parametrize("preset", STEPS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_step_preset_has_the_rates_that_are_documented(preset, network):
    starts, values = STEPS[preset]
    counts = [round(start * M) for start in starts]
    config = compose([f"lr_schedule={preset}"])
    assert rates(config, network, counts) == values
    assert rates(config, network, [count - 1 for count in counts[1:]]) == values[:-1]
    assert rates(config, network, [10 * M, 10**12]) == values[-1:] * 2
    assert dict(config.plan[f"{network}.lr"].intervals[-1])["end"] == 10 * M


def exponential(init, rate, every, start):
    return lambda count: init * rate ** ((count - start) // every)


def test_exponential_smooth_has_the_rates_that_are_documented():
    config = compose(["lr_schedule=exponential_smooth"])
    first, second = exponential(1e-4, 0.9995, 10_000, 0), exponential(5e-5, 0.999, 10_000, 3 * M)
    counts = [0, 9_999, 10_000, 2_999_999, 3 * M, 5 * M, 20 * M]
    exact = [*map(first, counts[:4]), *map(second, counts[4:])]
    for network in NETWORKS:
        assert rates(config, network, counts) == pytest.approx(exact, rel=1e-13, abs=0)
    assert first(2_999_999) == pytest.approx(8.61e-5, rel=1e-3), "the jump to 5e-5 that the linter finds"
    assert any(one.code == "TM204" for one in startup.findings(config))


def test_differential_has_the_rates_that_are_documented():
    config = compose(["lr_schedule=differential"])
    assert rates(config, "encoder", [0, 3 * M - 1, 3 * M]) == [8e-5, 8e-5, 4e-5]
    counts = [0, 5_000, 2 * M - 1, 2 * M, 3 * M]
    first, second = exponential(1.2e-4, 0.999, 5_000, 0), exponential(6e-5, 0.9995, 10_000, 2 * M)
    exact = [*map(first, counts[:3]), *map(second, counts[3:])]
    assert rates(config, "actor", counts) == pytest.approx(exact, rel=1e-13, abs=0)
    starts = [0, M - 1, M, 2_500_000 - 1, 2_500_000]
    assert rates(config, "critic", starts) == [1.5e-4, 1.5e-4, 7e-5, 7e-5, 3e-5]


def test_stage_following_has_the_rates_of_stage_based_on_the_clock_of_stages():
    following, based = compose(["lr_schedule=stage_following"]), compose(["lr_schedule=stage_based"])
    for network in NETWORKS:
        node = following.plan[f"{network}.lr"]
        assert node.clocks == {"stage"}
        counts = [dict(one)["start"] for one in based.plan[f"{network}.lr"].intervals]
        assert [node.schedule(stage) for stage in range(5)] == rates(based, network, counts)
        assert node.schedule(50) == 3e-5


def test_no_preset_and_constant_are_the_same():
    plain, constant = compose(), compose(["lr_schedule=constant"])
    assert plain.plan == constant.plan
    assert changes(plain.data, constant.data) == []
    assert {plain.plan[f"{network}.lr"] for network in NETWORKS} == {tm.Constant(value=1e-4)}
    assert compose(["~lr_schedule"]).plan == plain.plan


# what the guide's commands do


def test_a_value_of_a_preset_is_overridden_by_its_place():
    config = compose(["lr_schedule=gentle_decay", "lr_schedule.encoder.intervals.0.lr=2.0e-4"])
    assert rates(config, "encoder", [0, 2 * M]) == [2e-4, 5e-5]
    assert rates(config, "actor", [0]) == [1e-4]


def test_the_type_of_a_step_table_alone_is_changed():
    config = compose(["lr_schedule=gentle_decay", "lr_schedule.actor.type=exponential_decay"])
    exact = [1e-4, 1e-4, 1e-4 * 0.999, 5e-5, 5e-5 * 0.999]
    assert rates(config, "actor", [0, 999, 1000, 2 * M, 2 * M + 1000]) == pytest.approx(exact, rel=1e-13, abs=0)
    assert rates(config, "critic", [0, 2 * M - 1]) == [1e-4, 1e-4]
    faster = compose([*config.overrides, "decay_rate=0.5"])
    assert rates(faster, "actor", [1000]) == [5e-5]


def test_lr_scales_the_whole_preset():
    config = compose(["lr_schedule=aggressive_decay", "lr=2.0e-4", "num_train_frames=3000000"])
    assert rates(config, "critic", [0, M, 2 * M]) == [4e-4, 2e-4, 1e-4]
    assert config.plan.total == 3 * M
    assert config.agent.lr == config.lr == 2e-4


def test_values_of_three_networks_are_overridden_at_once():
    config = compose(next(one for one in commands() if len(one) == 4 and "lr_schedule=differential" in one))
    assert [rates(config, network, [0])[0] for network in NETWORKS] == [1e-4, 1.5e-4, 2e-4]


def test_fitting_stretches_a_preset_to_the_run():
    config = compose(["lr_schedule=gentle_decay", "fit_schedules=true", "num_train_frames=1M"])
    assert rates(config, "actor", [199_999, 200_000, 399_999, 400_000]) == [1e-4, 5e-5, 5e-5, 2.5e-5]


@pytest.mark.parametrize("written", ["3000000", "3_000_000", "3e6", "3M", "'3e6'"])
def test_numbers_are_read_as_people_write_them(written):
    config = compose([f"num_train_frames={written}", "lr='1e-3'", "agent.hidden_dim=1e3", "agent.tau='1e-2'"])
    assert (config.num_train_frames, config.plan.total) == (3 * M, 3 * M)
    assert (config.lr, config.agent.hidden_dim, config.agent.tau) == (1e-3, 1000, 0.01)


@pytest.mark.parametrize("written", ["noise=linear(1.0,0.1,500000)", "noise='linear(1.0,0.1,500000)'"])
def test_the_noise_of_drqv2_needs_no_quotes_of_its_own(written):
    assert compose([written]).plan["noise"](250_000) == pytest.approx(0.55, rel=1e-12)


# scales, encoders, tasks


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("original", Original()),
        ("enc_A", EncA()),
        ("enc_B", EncB()),
        ("keypoint", Keypoint(widths=(512,))),
    ],
)
def test_an_encoder_is_chosen_by_its_name(name, encoder):
    config = compose([f"encoder_bundle@agent={name}"])
    assert config.agent.encoder == encoder
    assert config.observation == ("keypoint" if name == "keypoint" else "image")


def test_the_full_scale_has_the_documented_settings():
    config = compose()
    assert isinstance(config.agent.encoder, EncB)
    assert (config.num_train_frames, config.num_seed_frames, config.num_random_frames) == (6 * M, 4800, 2000)
    assert (config.batch_size, config.replay_size, config.update_every_steps) == (512, 400_000, 2)
    assert (config.n_step, config.discount, config.frame_stack, config.action_repeat) == (3, 0.99, 3, 1)
    assert (config.eval_every_frames, config.num_eval_episodes, config.image_size) == (30_000, 10, 84)
    assert (config.agent.tau, config.agent.feature_dim, config.agent.hidden_dim) == (0.05, 128, 512)
    assert (config.agent.noise_clip, config.agent.shift, config.agent.brightness) == (0.32, 4, (0.5, 1.5))
    assert config.plan["noise"] == tm.Linear(init_value=0.42, end_value=0.01, duration=5 * M)


def test_the_laptop_sees_keypoints_unless_an_encoder_is_chosen():
    config = compose(["scale=laptop"])
    assert isinstance(config.agent.encoder, Keypoint)
    assert (config.observation, config.fit_schedules, config.lr) == ("keypoint", True, 1e-3)
    image = compose(["scale=laptop", "encoder_bundle@agent=original"])
    assert image.agent.encoder == Original(channels=(16, 32, 32), kernels=(3, 3, 3), strides=(2, 2, 2))
    assert (image.observation, image.image_size) == ("image", 42)
    assert image.plan == config.plan


@pytest.mark.parametrize("encoder", ["original", "enc_A", "enc_B"])
def test_every_encoder_of_the_laptop_fits_its_image(encoder):
    torch = pytest.importorskip("torch")
    from tempomat_rl.drqv2 import DrQV2
    from tempomat_rl.frames import FrameSpec, Observation

    config = compose(["scale=laptop", f"encoder_bundle@agent={encoder}"])
    size = config.image_size
    agent = DrQV2(FrameSpec((1, size, size), 11), config.frame_stack, 5, config.agent, seed=0)
    image = torch.zeros((2, config.frame_stack, size, size), dtype=torch.uint8)
    seen = Observation(image, torch.zeros((2, config.frame_stack, 11)))
    assert agent.act(seen, 0.0, explore=False).shape == (2, 5)


DMC = sorted(one.stem for one in (CFGS / "task" / "dmc").glob("*.yaml"))


@pytest.mark.parametrize("scale", ["full", "laptop"])
@pytest.mark.parametrize("task", DMC)
def test_a_task_of_dm_control_has_the_settings_of_drqv2_at_any_scale(task, scale):
    config = compose([f"task=dmc/{task}", f"scale={scale}"])
    assert f"{config.task['domain']}_{config.task['task']}" == task
    assert config.curriculum is None
    assert config.agent.encoder == Original(offset=0.5)
    assert (config.action_repeat, config.image_size, config.batch_size, config.replay_size) == (2, 84, 256, M)
    assert (config.agent.feature_dim, config.agent.hidden_dim, config.agent.tau) == (50, 1024, 0.01)
    assert (config.agent.noise_clip, config.agent.brightness, config.agent.reward_scale) == (0.3, None, 1.0)
    assert config.plan.total == config.num_train_frames // 2 == config.total_env_steps
    assert config.env_steps(4000) == 2000
    assert (config.lr, config.plan["noise"](0)) == (1e-4, 1.0)


def test_a_task_of_dm_control_may_have_another_encoder():
    assert isinstance(compose(["task=dmc/cartpole_balance", "encoder_bundle@agent=enc_A"]).agent.encoder, EncA)


# mistakes


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (
            ["lr_schedule.encoder.intervals.0.lr=2e-4"],
            r"no lr_schedule is chosen, so it has nothing to override. .* lr_schedule=aggressive_decay, differential",
        ),
        (
            ["lr_schedule=gentle_decay", "lr_schedule.enocder.intervals.0.lr=1"],
            "no network of the name enocder; this run has encoder, actor, critic. Did you mean encoder?",
        ),
        (
            ["lr_schedule=gentle_decay", "lr_schedule.actor.intervals.7.lr=1"],
            "gentle_decay has no such .* out of range",
        ),
        (["lr_schedule=gentle_decay", "lr_schedule.actor.intervals.0.lrr=1"], "no such value: Key 'lrr'"),
        (
            ["lr_schedule=gentle_decay", "lr_schedule.actor.intervals[0].lr=1"],
            r"a place in a list is written with a point. Write lr_schedule.actor.intervals.0.lr=1",
        ),
        (
            ["lr_schedule=gentle_decya"],
            r"no such choice\. Did you mean gentle_decay\? Choices: aggressive_decay, const",
        ),
        (["task=dmc/cartpol_balance"], r"no such choice\. Did you mean dmc/cartpole_balance\?"),
        (["encoder_bundle@agent=encB"], r"encoder_bundle@agent=encB: no such choice\. Did you mean enc_B\?"),
        (
            ["lr_schedule=gentle_decay", "fit_schedules=true", "lr_schedule.actor.intervals.1.start=100"],
            r"intervals\[1\]: starts at 100, before intervals\[0\] ends \(2_000_000\)",
        ),
        (["lr_schedule=null"], "lr_schedule=null: null is no choice. Leave it out .* or write ~lr_schedule for none"),
        (["lr_schedule=3"], "Config group override must be a string or a list"),
        (["encoder_bundle=enc_A"], "belongs to the agent. Write encoder_bundle@agent=enc_A"),
        (["batchsize=3"], "batchsize=3: no setting of that name. Did you mean batch_size?"),
        (["+batchsize=3"], r"batchsize: no setting of that name. Did you mean batch_size\?"),
        (["+agent.lr=3"], "agent.lr: is a setting of the whole run. Write lr="),
        (["agent.widht=3"], "widht"),
        (["agent.encoder.name=enc_C"], "agent.encoder.name: must be original, enc_A, enc_B, keypoint, got 'enc_C'"),
        (["lr=${nothing}"], "nothing"),
        (["task.clutter_share=2"], "task.clutter_share: must be a number from 0 to 1, got 2"),
        (["+task.wind=2"], "task.wind: gimbal has no such option. Options: resting_share"),
        (["task.name=gimball"], "task.name: must be gimbal or dmc, got 'gimball'"),
        (["task=dmc/walker_walk", "task.domain=3"], "task.domain: must be a name of dm_control, got 3"),
        (
            ["task=dmc/walker_walk", "curriculum_preset=balanced"],
            "the task dmc has no stages. Choose curriculum_preset",
        ),
        (["curriculum.window=60"], "curriculum.window: holds at most 60 episodes, and `min_episodes` asks for 80"),
        (["task=dmc/walker_walk", "lr_schedule=stage_following"], "lr_schedule.actor.clock: .* needs a curriculum"),
        (["num_train_frames=1.5"], "num_train_frames: must be a whole number, got 1.5"),
        (["num_train_frames=0"], "num_train_frames: must be from 1 to"),
        (["num_envs=many"], "num_envs: 'many' is not a number"),
        (["seed=true"], "seed: must be a number, got True"),
        (["lr=-1"], "lr: must be at least 0, got -1"),
        (["base_lr=0"], "base_lr: must be above 0, got 0"),
        (["decay_rate=0"], "decay_rate: must be above 0, got 0"),
        (["discount=1.1"], "discount: must be at most 1, got 1.1"),
        (["precision=fp16"], "precision: must be auto, fp32, bf16, got 'fp16'"),
        (["device=gpu"], "device: must be auto, cpu, cuda or cuda:1, got 'gpu'"),
        (["on_change=kepe"], "on_change: must be .* Did you mean keep?"),
        (["save_video=yes"], "save_video: must be true or false, got 'yes'"),
        (["checkpoint_dir=3"], "checkpoint_dir: must be a folder, got 3"),
        (["~agent"], "agent: must be a mapping with encoder, feature_dim and so on, got None"),
        (["~seed"], "seed: is missing"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_mistake_is_explained(overrides, match):
    with pytest.raises(ConfigError, match=match):
        compose(overrides)


def test_every_fault_comes_at_once():
    bad = ["seed=-1", "noise=linear(1,2)", "agent.tau=4", "curriculum.window=3", "lr=x", "task.sine_share=-1"]
    with pytest.raises(ConfigError, match="the configuration: 7 faults") as caught:
        compose(["lr_schedule=gentle_decay", "lr_schedule.actor.intervals.0.start=1.9M", *bad, "num_train_frames=no"])
    assert {fault.path for fault in caught.value.faults} == {
        "seed", "noise", "agent.tau", "curriculum.window", "lr", "task.sine_share", "num_train_frames",
    }  # fmt: skip


def test_a_preset_that_something_wipes_out_is_noticed(cfgs):
    primary = (cfgs / "config.yaml").read_text()
    moved = primary.replace("  - _self_\n", "").replace("  - override", "  - _self_\n  - override")
    (cfgs / "config.yaml").write_text(f"{moved}\nlr_schedule: null\n")
    with pytest.raises(ConfigError, match="lr_schedule: gentle_decay was chosen and nothing is left of it"):
        compose(["lr_schedule=gentle_decay"], cfgs=cfgs)


def test_a_value_of_a_preset_without_its_header_is_explained(cfgs):
    (cfgs / "lr_schedule" / "mine.yaml").write_text(OWN_PRESET.replace("# @package _global_\n", ""))
    with pytest.raises(ConfigError, match=r"mine\.yaml lacks the line `# @package _global_` at its top"):
        compose(["lr_schedule=mine", "lr_schedule.actor.intervals.0.lr=1"], cfgs=cfgs)


@pytest.mark.parametrize("value", [1.5, "2.5", "x", True, None, float("nan"), 2**60, "1e400"])
def test_what_is_no_count_is_refused(value):
    with pytest.raises(ValueError, match=r"must be|is not a number"):
        whole_number(value)


def test_without_hydra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra", None)
    with pytest.raises(tm.MissingExtra, match=r"the package hydra-core: pip install 'tempomat\[rl\]'"):
        compose()


# data, changes, notes


def test_plain_data_reads_back_as_the_same_configuration():
    config = compose(["lr_schedule=differential", "scale=laptop", "curriculum_preset=aggressive"])
    again = read(json.loads(json.dumps(config.data)), overrides=config.overrides, preset=config.preset)
    assert again == config
    assert "encoder_sizes" not in config.data


def test_what_changed_between_two_runs_is_listed_by_path():
    old = compose(["lr_schedule=gentle_decay"]).data
    new = compose(["lr_schedule=gentle_decay", "lr_schedule.actor.intervals.1.lr=1e-5", "batch_size=64", "seed=2"]).data
    assert changes(old, new) == [
        "seed: 0 -> 2",
        "lr_schedule.actor.intervals[1].lr: 5e-05 -> 1e-05",
        "batch_size: 512 -> 64",
    ]
    assert changes(old, old) == []


def test_how_a_run_is_carried_out_may_differ():
    how = ["device=cpu", "checkpoint_dir=x", "on_change=keep", "save_video=false", "log_every_frames=3", "threads=1"]
    assert changes(compose().data, compose([*how, "save_every_frames=7"]).data) == []


def test_a_decay_rate_without_anything_to_decay_is_noted():
    assert compose(["decay_rate=0.9"]).notes == ("decay_rate changes nothing: no network has an exponential_decay",)
    assert compose(["lr_schedule=exponential_smooth", "decay_rate=0.9"]).notes == ()


# what a run says before it begins


def test_the_start_says_what_will_be_applied_and_what_never_comes():
    text = startup.lines(compose(["lr_schedule=aggressive_decay", "lr=2.0e-4", "num_train_frames=3000000"]))
    assert text[:7] == [
        "lr_schedule aggressive_decay, scaled by 2, over 3,000,000 env steps:",
        "  encoder, actor, critic",
        "    from env step 0: 0.0004",
        "    from env step 1,000,000: 0.0002",
        "    from env step 2,000,000: 0.0001",
        "    from env step 3,000,000: 4e-05 (never reached)",
        "    from env step 4,000,000: 2e-05 (never reached)",
    ]
    places = "lr_schedule.encoder.intervals[3], lr_schedule.actor.intervals[3], lr_schedule.critic.intervals[3]"
    assert any(one.startswith("  warning TM107: ") and one.endswith(f"[{places}]") for one in text)


def test_the_start_shows_where_a_rate_begins_and_ends_and_the_stages():
    text = startup.lines(compose(["lr_schedule=differential"]))
    assert "    from env step 0: 0.00012 to 8.05e-05" in text
    assert "    from env step 2,000,000: 6e-05 to 4.91e-05" in text
    text = startup.lines(compose(["lr_schedule=stage_following", "curriculum_preset=conservative"]))
    assert text[2:7] == [
        "    from stage 0: 0.00012",
        "    from stage 1: 0.0001",
        "    from stage 2: 7e-05",
        "    from stage 3: 5e-05",
        "    from stage 4: 3e-05 (never reached)",
    ]


def test_the_start_ends_with_the_notes():
    assert startup.lines(compose(["decay_rate=0.9"]))[-1].startswith("  note: decay_rate changes nothing")


# the command itself


class Trained(list):
    """Stands for `tempomat_rl.train`, and keeps what it was asked to train."""

    def train(self, config):
        self.append(config)


@pytest.fixture
def trained(monkeypatch, tmp_path):
    stub = Trained()
    monkeypatch.setitem(sys.modules, "tempomat_rl.train", stub)
    monkeypatch.chdir(tmp_path)
    return stub


def test_the_command_trains_what_it_composed_in_a_folder_of_its_own(trained, tmp_path):
    main(argv=["lr_schedule=gentle_decay", "encoder_bundle@agent=enc_A"])
    (config,) = trained
    assert config.plan == compose(["lr_schedule=gentle_decay"]).plan
    assert config.preset == "gentle_decay"
    folder = config.folder.relative_to(tmp_path)
    assert re.fullmatch(
        r"exp_local/\d{4}\.\d\d\.\d\d/\d{6}_encoder_bundle-agent=enc_A,lr_schedule=gentle_decay", str(folder)
    )
    assert list(config.folder.iterdir()) == [], "Hydra leaves nothing there"
    assert Path.cwd() == tmp_path


def test_a_folder_that_is_named_is_the_runs_folder(trained, tmp_path):
    main(argv=[f"checkpoint_dir={tmp_path / 'mine'}"])
    assert trained[0].folder == trained[0].checkpoint_dir == tmp_path / "mine"


def test_a_sweep_trains_each_of_its_runs_in_a_folder_of_its_own(trained):
    main(argv=["--multirun", "seed=1,2"])
    assert [one.seed for one in trained] == [1, 2]
    assert len({one.folder for one in trained}) == 2


def test_a_mistake_ends_the_command_with_its_explanation(trained):
    with pytest.raises(SystemExit, match=r"curriculum\.window: holds at most 3 episodes"):
        main(argv=["curriculum.window=3"])
    with pytest.raises(SystemExit, match="seed: must be from 0"):
        main(argv=["-m", "seed=-1,-2"])
    assert trained == []


def test_what_training_refuses_ends_the_command_too(trained, monkeypatch):
    def refuse(config):
        raise tm.StateError("was made with other settings")

    monkeypatch.setattr(trained, "train", refuse, raising=False)
    with pytest.raises(SystemExit, match="was made with other settings"):
        main(argv=[])


def test_names_of_folders_suit_every_file_system():
    assert run_name("1", "") == "1"
    assert run_name("1", "a/b c:d\\e") == "1_a-b-c-d-e"
    assert len(run_name("1", "x" * 500)) < 130
    assert run_folder(None, "m", "a=1") == "exp_local/m_a=1"
    assert run_folder("here", "m", "a=1") == "here"


def test_the_script_explains_a_mistake_without_a_traceback():
    done = subprocess.run(
        [sys.executable, str(ROOT / "train_gimbal_curriculum.py"), "lr_schedule.actor.type=step_decay"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("lr_schedule.actor.type=step_decay: no lr_schedule is chosen")
    assert "Traceback" not in done.stderr
