"""`tempomat convert`: what is typed, what is printed and written, and what is said of what cannot be."""

import doctest
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import tempomat as tm
from tempomat.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "convert.md").read_text(encoding="utf-8")

DS = {
    "scheduler": {
        "type": "WarmupLR",
        "params": {"warmup_max_lr": 1e-3, "warmup_num_steps": 10, "warmup_type": "linear"},
    }
}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["convert", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


ARGUMENTS = {"lr_scheduler_type": "linear", "learning_rate": 0.1, "max_steps": 40}

HOSTS: dict[str, tuple[list[str], tm.Plan]] = {
    "torch": (
        ["torch", "CosineAnnealingLR", "lr=0.1", "T_max=100"],
        tm.Plan({"lr": tm.Cosine(init_value=0.1, end_value=0.0, duration=100)}),
    ),
    "transformers": (
        ["transformers", "linear", "lr=3e-4", "num_training_steps=1000", "num_warmup_steps=100"],
        tm.Plan({"lr": tm.warmup_linear(peak_value=3e-4, warmup=100, total=1_000)}, total=1_000),
    ),
    "optax": (
        ["optax", "cosine_decay", "init_value=1e-3", "decay_steps=50", "alpha=0.1"],
        tm.Plan({"lr": tm.Cosine(init_value=1e-3, end_value=1e-4, duration=50)}),
    ),
    "timm": (
        ["timm", "cosine", "num_epochs=50", "lr=0.1"],
        tm.Plan({"lr": tm.Cosine(init_value=0.1, end_value=0.0, duration=50)}, clock="epochs", total=50),
    ),
    "keras": (
        ["keras", "ExponentialDecay", "initial_learning_rate=0.1", "decay_steps=10", "decay_rate=0.5",
         "staircase=true"],
        tm.Plan({"lr": tm.Exponential(init_value=0.1, decay_rate=0.5, every=10, staircase=True)}),
    ),
    "keras number": (["keras", "1e-3"], tm.Plan({"lr": 1e-3})),
    "composer": (
        ["composer", "Linear", "lr=0.1", "t_max=500tok"],
        tm.Plan({"lr": tm.Linear(init_value=0.1, end_value=0.0, duration=500)}, clock="tokens"),
    ),
    "composer whose run is known": (
        ["composer", "CosineAnnealing", "lr=6e-4", "alpha_f=0.1", "max_duration=2000ba"],
        tm.Plan({"lr": tm.Cosine(init_value=6e-4, end_value=6e-5, duration=2_000)}, total=2_000),
    ),
    "composer whose run has another unit": (
        ["composer", "Linear", "lr=0.1", "t_max=500tok", "max_duration=9ba"],
        tm.Plan({"lr": tm.Linear(init_value=0.1, end_value=0.0, duration=500)}, clock="tokens"),
    ),
    "composer of epochs without their steps": (
        ["composer", "Linear", "lr=0.1", "t_max=500ba", "max_duration=9ep"],
        tm.Plan({"lr": tm.Linear(init_value=0.1, end_value=0.0, duration=500)}),
    ),
    "composer list": (
        ["composer", "MultiStep", "lr=1.0", "milestones=[3ba, 7ba]", "gamma=0.5"],
        tm.Plan({"lr": tm.MultiStep(init_value=1.0, factor=0.5, milestones=(3, 7))}),
    ),
    "rllib": (
        ["rllib", "[[0, 1.0e-3], [1000, 1.0e-5]]", "--name", "entropy_coeff"],
        tm.Plan({"entropy_coeff": tm.PiecewiseLinear(values=(1e-3, 1e-5), boundaries=(0, 1_000))}, clock="env_steps"),
    ),
    "timm constant": (["timm", "none", "num_epochs=50", "lr=0.1"], tm.Plan({"lr": 0.1}, clock="epochs", total=50)),
    "torch one cycle": (
        ["torch", "OneCycleLR", "max_lr=0.1", "total_steps=100", "cycle_momentum=false"],
        tm.Plan({"lr": tm.one_cycle(peak_value=0.1, init_value=0.004, end_value=4e-7, warmup=29, total=99)}, total=100),
    ),
    "sb3 for longer": (
        ["sb3", "lin_3e-4", "total=1000", "--total", "2000"],
        tm.Plan({"lr": tm.Linear(init_value=3e-4, end_value=0.0, duration=1_000)}, clock="env_steps", total=2_000),
    ),
    "sb3": (
        ["sb3", "lin_3e-4", "total=1M"],
        tm.Plan({"lr": tm.Linear(init_value=3e-4, end_value=0.0, duration=1_000_000)}, clock="env_steps",
                total=1_000_000),
    ),
    "drqv2": (
        ["drqv2", "linear(1.0,0.1,500000)", "unit=frames", "--action-repeat", "2"],
        tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.1, duration=500_000)}, clock="frames",
                rates={"action_repeat": 2}),
    ),
    "megatron": (
        ["megatron", "--lr 1e-3 --lr-decay-style cosine --train-iters 100"],
        tm.Plan({"lr": tm.warmup_cosine(peak_value=1e-3, warmup=0, total=100), "weight_decay": 0.01}, total=100),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_prints_a_plan_that_reads_back(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name.startswith("torch"):
        pytest.importorskip("torch")
    words, plan = HOSTS[name]
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert tm.loads_plan(out) == plan


def test_a_plan_whose_source_knows_the_run_needs_no_total_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, args = tmp_path / "plan.yaml", written(tmp_path / "args.json", ARGUMENTS)
    run(capsys, "transformers", args, "-o", str(path))
    assert tm.load_plan(path).total == 40
    code, out, _ = run(capsys, str(path), "--to", "csv")
    assert (code, len(out.splitlines()), out.splitlines()[-1]) == (0, 42, "40,0.0")
    _, out, _ = run(capsys, "transformers", "constant", "lr=0.1")
    assert tm.loads_plan(out) == tm.Plan({"lr": 0.1})


def test_a_plan_is_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.yaml"
    code, out, _ = run(capsys, "sb3", "lin_3e-4", "-o", str(path))
    assert (code, out) == (0, f"wrote {path}\n")
    assert tm.load_plan(path)["lr"] == tm.Linear(init_value=3e-4, end_value=0.0, duration="100%")


def written(path: Path, data: Any) -> str:
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


def test_hosts_read_their_own_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "deepspeed", written(tmp_path / "ds.json", DS))
    assert code == 0
    assert tm.loads_plan(out)["lr"](11) == 1e-3

    script = {"epochs": 20, "sched": "step", "decay_epochs": 5, "warmup_epochs": 0, "lr": None, "model": "resnet"}
    code, out, _ = run(capsys, "timm", written(tmp_path / "args.yaml", script), "lr=0.5")
    assert tm.loads_plan(out)["lr"] == tm.StepDecay(init_value=0.5, factor=0.1, every=5)

    zoo = {"CartPole-v1": {"n_timesteps": 1e5, "learning_rate": "lin_1e-3", "clip_range": 0.2}, "Pong": {}}
    code, out, _ = run(capsys, "sb3", written(tmp_path / "ppo.yml", zoo), "key=CartPole-v1")
    assert set(tm.loads_plan(out).schedules) == {"lr", "clip_range"}

    config = {"initial_learning_rate": 0.1, "decay_steps": 9, "power": 2.0}
    saved = {"optimizer": {"lr": {"class_name": "PolynomialDecay", "config": config}}}
    code, out, _ = run(capsys, "keras", written(tmp_path / "keras.json", saved), "key=optimizer.lr")
    assert tm.loads_plan(out)["lr"] == tm.Polynomial(init_value=0.1, end_value=1e-4, duration=9, power=2.0)

    megatron = {"lr": 1e-3, "train_samples": 100, "num_layers": 24}
    code, out, _ = run(capsys, "megatron", written(tmp_path / "args.json", megatron))
    assert tm.loads_plan(out).clock == "samples"


def test_a_saved_torch_state_is_read_as_plain_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
    path = tmp_path / "checkpoint.pt"
    torch.save({"epoch": 3, "sched": [scheduler.state_dict()], "optim": optimizer.state_dict()}, path)
    expected = tm.Plan({"lr": tm.StepDecay(init_value=0.5, factor=0.1, every=30)})
    for words in (["class=StepLR"], [], ["groups=optim.param_groups"]):
        code, out, err = run(capsys, "torch", str(path), "key=sched.0", *words)
        assert (code, err) == (0, "")
        assert tm.loads_plan(out) == expected
    code, _, err = run(capsys, "torch", str(path))
    assert (code, err) == (2, f"tempomat: {path}: holds no scheduler's state here, but epoch, sched, optim. "
                              "Say where it is: key=NAME\n")  # fmt: skip


def test_a_torch_file_that_holds_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "evil.pt"
    torch.save({"last_epoch": Path("x")}, path)
    code, _, err = run(capsys, "torch", str(path))
    assert code == 2
    assert f"{path}: cannot be read as plain data: " in err


def test_a_plan_is_written_as_a_table_or_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tm.Plan({"lr": tm.Linear(init_value=1.0, end_value=0.0, duration=4), "wd": 0.5}, total=4)
    path = tmp_path / "plan.yaml"
    tm.save_plan(plan, path)
    code, out, _ = run(capsys, str(path), "--to", "csv", "--every", "2")
    assert (code, out.splitlines()) == (0, ["optimizer_steps,lr,wd", "0,1.0,0.5", "2,0.5,0.5", "4,0.0,0.5"])
    table = tmp_path / "table.csv"
    code, out, _ = run(capsys, str(path), "--to", "csv", "-o", str(table), "--entry", "lr")
    assert (code, out) == (0, f"wrote {table}\n")
    assert table.read_text(encoding="utf-8").splitlines()[:2] == ["optimizer_steps,lr", "0,1.0"]
    tm.save_plan(tm.Plan({"lr": plan["lr"]}, clock="env_steps", total=4), path)
    code, out, _ = run(capsys, str(path), "--to", "rllib")
    assert json.loads(out) == [[0, 1.0], [4, 0.0]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tourch", "StepLR"], "no host of the name 'tourch'. Did you mean torch? Hosts: torch, transformers, optax,"),
        (["sb3"], "sb3: nothing to convert is named. Such as: tempomat convert sb3 lin_3e-4 total=1000000"),
        (["sb3", "lin_3e-4", "totl=5"], "sb3: totl: no argument of that name. Did you mean total? Arguments: total"),
        (["sb3", "lin_3e-4", "5"], "convert: '5': must be key=value, without spaces"),
        (["torch", "MultiStepLR", "lr=1", "milestones=[3"], "convert: milestones: '[3' is no YAML: did not find"),
        (["rllib", "[[0, 1e-3], [1000, oops]]"], "rllib: points[1][1]: 'oops' is not a number"),
        (["timm", "--sched cosine --min-lrr 1e-5 --lr 1"], "timm: min_lrr: no argument of timm's training script. Did"),
        (["sb3", "auto_0.1"], "sb3: must be a number or lin_<number>, got 'auto_0.1'. It is learned, not scheduled"),
        (["sb3", "lin_3e-4", "total=1", "total=2"], "convert: total: is given twice"),
        (
            ["torch", "steplr", "lr=1"],
            "from_torch_args: steplr: PyTorch has no scheduler 'steplr'. Did you mean StepLR?",
        ),
        (
            ["torch", "LambdaLR", "lr=1"],
            "from_torch_args: LambdaLR: lr_lambda: is a function, and none can be given on a command line",
        ),
        (
            ["torch", "SequentialLR", "lr=1", "milestones=[5]", "schedulers=[{name: MultiplicativeLR, lr_lambda: x}]"],
            "from_torch_args: SequentialLR: schedulers[0].lr_lambda: is a function",
        ),
        (["composer", "Linear", "t_max=5ba"], "composer: lr: is missing: lr=..."),
        (["keras", "CosineDecay", "decay_steps=5"], "keras CosineDecay: initial_learning_rate: is missing"),
        (["drqv2", "linear(1,0)"], "drqv2: linear: takes 3 numbers"),
        (["timm", "cosine", "noise=0.5", "lr=1"], "timm: noise: is drawn from torch's random generator"),
        (["rllib", "missing.json"], "missing.json: cannot be read: No such file"),
        (
            ["megatron", "--lr 1e-3 --train-iters 9", "--name", "lr"],
            "--name: megatron names the entries itself: lr, weight_decay",
        ),
        (["missing.yaml", "--to", "csv"], "missing.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "torch":
        pytest.importorskip("torch")
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"tempomat: {message}")


IMPOSSIBLE = [
    (["transformers", "cosine", "lr=-1", "num_training_steps=10"], "is -1 at 0 optimizer_steps"),
    (["sb3", "lin_-1"], "is -1 at 0 env_steps"),
    (["composer", "Linear", "lr=0.1", "t_max=500tok", "alpha_f=-1"], "is -4e-4 at 251 tokens"),
]


@pytest.mark.parametrize(("words", "value"), IMPOSSIBLE)
def test_a_value_that_no_run_would_take_is_told_as_lint_tells_it(
    words: list[str], value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, "schedules:" in out) == (1, True)
    assert err == (
        f"{words[0]}: TM202 error schedules.lr: {value}, and lr must be at least 0\n"
        "    fix: Change its ends, or clip it.\n"
    )


def test_a_file_with_an_impossible_value_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.yaml"
    code, out, err = run(capsys, *IMPOSSIBLE[0][0], "-o", str(path))
    assert (code, out) == (1, f"wrote {path}\n")
    assert err.startswith(f"{path}: TM202 error schedules.lr")
    assert tm.load_plan(path)["lr"](0) == -1.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["transformers", "cosine", "--lr", "1e-3"],
            "unrecognized arguments: --lr 1e-3. What the host takes is written",
        ),
        (
            ["plan.yaml", "--to", "rlib"],
            "argument --to: invalid choice: 'rlib' (choose from 'csv', 'rllib'). Did you me",
        ),
        (
            ["plan.yaml", "--to", "csv", "--every", "0"],
            "argument --every: must be a whole number of at least 1, got '0'",
        ),
    ],
)
def test_options_that_convert_has_not_are_said_with_its_own_help(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(capsys, *words)
    err = capsys.readouterr().err
    assert err.startswith(f"tempomat convert: {message}")
    assert err.endswith("See `tempomat convert --help`.\n")


def test_a_plan_alone_is_told_what_it_may_become(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.yaml"
    tm.save_plan(tm.Plan({"lr": 0.1}), path)
    code, _, err = run(capsys, str(path))
    assert (code, err) == (2, f"tempomat: {path}: to convert a plan say to what, --to csv or rllib\n")
    code, _, err = run(capsys, str(path), "more", "--to", "csv")
    assert (code, err) == (2, "tempomat: --to csv: takes a plan and nothing else, got more\n")
    code, _, err = run(capsys, str(path), "--to", "rllib")
    assert "--to rllib: needs the run's length. Give the plan a `total`, or --total" in err


def test_a_key_that_leads_nowhere_is_said_with_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "ppo.yml", {"Pong": {}, "CartPole": {}})
    code, _, err = run(capsys, "sb3", path, "key=Breakout")
    assert (code, err) == (
        2,
        f"tempomat: {path}: key=Breakout: nothing of the name 'Breakout'; there is Pong, CartPole\n",
    )


def test_nothing_is_written_where_something_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("before", encoding="utf-8")
    code, _, err = run(capsys, "sb3", "cos_3e-4", "-o", str(path))
    assert code == 2
    assert "takes any prefix for one" in err
    assert path.read_text(encoding="utf-8") == "before"
    code, _, err = run(capsys, "sb3", "lin_3e-4", "-o", str(tmp_path / "no" / "plan.yaml"))
    assert (code, "cannot be written: No such file" in err) == (2, True)


def test_the_page_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (config,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    Path("ds_config.json").write_text(config, encoding="utf-8")
    shown = re.findall(r"```console\n\$ tempomat convert (.*?)\n(.*?)```", PAGE, re.DOTALL)
    assert len(shown) >= 11
    for command, expected in shown:
        _, out, err = run(capsys, *shlex.split(command))
        assert out + err == expected, command


def test_the_pages_python_runs_as_shown() -> None:
    (session,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    runner = doctest.DocTestRunner()
    runner.run(doctest.DocTestParser().get_doctest(session, {}, "convert.md", None, 0))
    assert runner.failures == 0


ZOO = """
atari:
  n_timesteps: !!float 1e7
  learning_rate: lin_2.5e-4
  clip_range: 0.1
Pong: &pong
  n_timesteps: !!float 1e6
  learning_rate: !!float 1e-4
Breakout:
  <<: *pong
  n_timesteps: !!float 2e6
"""


def test_a_zoos_file_is_read_as_its_makers_write_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ppo.yml").write_text(ZOO, encoding="utf-8")
    code, out, _ = run(capsys, "sb3", "ppo.yml", "key=atari")
    line = tm.Linear(init_value=2.5e-4, end_value=0.0, duration=10_000_000)
    assert code == 0
    assert tm.loads_plan(out) == tm.Plan({"lr": line, "clip_range": 0.1}, total=10_000_000, clock="env_steps")
    _, out, _ = run(capsys, "sb3", "ppo.yml", "key=Breakout")
    assert tm.loads_plan(out) == tm.Plan({"lr": 1e-4}, total=2_000_000, clock="env_steps")
    code, _, err = run(capsys, "sb3", "ppo.yml")
    assert (code, err) == (2, "tempomat: ppo.yml: holds several. Say which: key=NAME; there is atari, Pong, Breakout\n")


def test_an_epochs_steps_reach_the_hosts_that_need_them(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["composer", "LinearWithWarmupScheduler", "lr=1e-3", "t_warmup=0.06dur", "max_duration=10ep"]
    _, out, _ = run(capsys, *words, "--steps-per-epoch", "100")
    assert tm.loads_plan(out)["lr"] == tm.warmup_linear(peak_value=1e-3, warmup=60, total=1_000)
    _, out, _ = run(
        capsys, "timm", "--sched cosine --lr 0.1 --epochs 30 --sched-on-updates", "--steps-per-epoch", "100"
    )
    lr = tm.loads_plan(out)["lr"]
    assert lr(2_999) > 0.0 == lr(3_000)


def test_the_options_of_training_arguments_are_taken_under_their_name(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["transformers", "cosine_with_min_lr", "lr=2e-4", "num_training_steps=100"]
    _, out, _ = run(capsys, *words, "lr_scheduler_kwargs={min_lr_rate: 0.5}")
    assert tm.loads_plan(out)["lr"](100) == 1e-4
    _, _, err = run(capsys, *words, "min_lr_rate=0.5", "num_warmup_stps=10")
    assert "num_warmup_stps: no argument of that name. Did you mean num_warmup_steps?" in err
