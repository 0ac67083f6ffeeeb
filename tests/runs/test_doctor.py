"""The doctor says what it sees in runs made to show one thing each, and nothing of a healthy one."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.core import RecordError
from tempomat.runs import Recorder, read_run
from tempomat.runs.doctor import DIAGNOSES, diagnose, explain, handbook

ROOT = Path(__file__).parents[2]
TOTAL = 200
COSINE = tm.warmup_cosine(peak_value=0.1, end_value=0.001, warmup=20, total=TOTAL)
EARLY = tm.MultiStep(init_value=0.1, factor=0.01, milestones=[40])


def record(
    folder, entries, measured, *, steps=TOTAL, total=TOTAL, asked=None, applied=None, counts=None, events=(), close=True
):
    """A run of `steps` rows whose measurements are functions of the share of the run done."""
    plan = tm.Plan(entries, total=total)
    scheduler: Any = SimpleNamespace(plan=plan, counts={}, asked={}, values={}, events=[])
    recorder = Recorder(folder, seed=0)
    for step in range(steps):
        count = step if counts is None else counts[step]
        scheduler.counts = {"optimizer_steps": count}
        scheduler.asked = {name: 1.0 if plan[name].controllers else plan[name](count) for name in plan.schedules}
        scheduler.asked |= {} if asked is None else asked(count)
        scheduler.values = scheduler.asked | ({} if applied is None else applied(count))
        scheduler.events += [one for one in events if one["counts"]["optimizer_steps"] == count]
        recorder.write(scheduler, **{name: of(step / TOTAL) for name, of in measured.items()})
    recorder.flush()
    if close:
        recorder.close()
    return read_run(folder)


def noise(size, seed=0):
    """Noise that depends on how often it was asked alone."""
    draws = iter(np.random.default_rng(seed).standard_normal(10_000))
    return lambda share: size * next(draws)


def falling(share):
    """A loss that goes on falling to the end, and never to next to nothing."""
    return 0.2 + 2 * math.exp(-3 * share)


def found(run, **given):
    return {one.code: one for one in diagnose(run, **given).findings}


def weights(finding):
    return {cause.what: cause.weight for cause in finding.causes}


def test_a_healthy_run_yields_no_finding(tmp_path):
    shiver = noise(0.02)
    run = record(tmp_path, {"lr": COSINE}, {"loss": lambda t: falling(t) + shiver(t), "grad_norm": lambda t: 1.0})
    seen = diagnose(run)
    assert seen.findings == ()
    assert seen.metric == "loss"
    assert seen.summary[0] == "200 rows, up to 199 of 200 optimizer_steps, seed 0"
    assert re.match(r"loss: 200 values, first 2\.2, lowest 0\.2\d+, last 0\.\d+", seen.summary[1])


def test_a_healthy_score_of_which_more_is_better_yields_no_finding(tmp_path):
    run = record(tmp_path, {"lr": COSINE}, {"score": lambda t: -falling(t)})
    assert found(run, metric="score", mode="max") == {}
    assert "TD201" in found(run, metric="score", mode="min")


def test_divergence_without_warmup_is_told_with_its_count_its_lr_and_its_gradients(tmp_path):
    def exploding(t):
        return 2.0 * math.exp(60 * max(0, t - 0.05))

    run = record(tmp_path, {"lr": 0.5}, {"loss": exploding, "grad_norm": lambda t: 3 * exploding(t)})
    one = found(run)["TD201"]
    assert one.severity == "error"
    assert one.message.startswith(
        "loss is far worse than its first value (2) from 12 optimizer_steps (6 % of the run) on"
    )
    expected = {"lr too high": "likely", "no warmup": "likely", "exploding gradients": "possible"}
    assert weights(one) == expected | {"bad initialisation": "possible"}
    said = {cause.what: cause.evidence for cause in one.causes}
    assert said["lr too high"] == "lr was 0.5, 100 % of its highest (0.5)"
    assert (
        said["exploding gradients"]
        == "grad_norm began at 6 and was 66.1 at 18, after the loss; the plan has no grad_clip"
    )
    assert "0.5 -> 0.167" in one.fix


def test_a_loss_that_ends_in_nan_diverges_and_a_warmup_and_calm_gradients_speak_against_their_causes(tmp_path):
    loss = {"loss": lambda t: falling(t) if t < 0.5 else math.nan, "grad_norm": lambda t: 1 + t, "acc": lambda t: t}
    run = record(tmp_path, {"lr": COSINE, "grad_clip": 1.5}, loss)
    one = found(run)["TD201"]
    assert one.message == (
        "loss is NaN at 100 optimizer_steps (50 % of the run) and is no finite number from there on. "
        "Its best was 0.653 at 99"
    )
    assert weights(one) == {
        "lr too high": "likely",
        "no warmup": "unlikely",
        "exploding gradients": "unlikely",
        "bad initialisation": "unlikely",
    }
    assert found(run)["TD105"].message.startswith("100 of 200 values are no finite numbers, the first (NaN) at 100 ")


def test_an_lr_that_the_run_had_come_through_is_an_unlikely_cause_and_gradients_that_burst_before_a_likely_one(
    tmp_path,
):
    loss = {"loss": lambda t: falling(t) if t < 0.5 else math.inf, "grad_norm": lambda t: 1.0 if t < 0.45 else 1e6}
    one = found(record(tmp_path, {"lr": EARLY}, loss))["TD201"]
    assert "loss is infinite at 100" in one.message
    assert (weights(one)["lr too high"], weights(one)["exploding gradients"]) == ("unlikely", "likely")
    assert weights(one)["no warmup"] == "unlikely"
    assert one.causes[0].evidence.startswith("grad_norm began at 1 and was 1e+06 at 90, before the loss did")


def test_a_loss_at_the_edge_of_what_a_number_can_be_diverges(tmp_path):
    run = record(tmp_path, {"lr": 0.5}, {"loss": lambda t: 1.7e308 if t > 0.1 else 1e308 * t, "grad_norm": lambda t: 0})
    assert weights(found(run)["TD201"])["exploding gradients"] == "unlikely"


def test_one_spike_and_one_nan_are_no_divergence(tmp_path):
    run = record(tmp_path, {"lr": COSINE}, {"loss": lambda t: {0.5: 100.0, 0.9: math.nan}.get(t, falling(t))})
    assert list(found(run)) == ["TD105"]


def flattening(share):
    """A loss that falls for a fifth of the run and no further."""
    return 0.5 + 2 * max(0, 0.2 - share)


@pytest.mark.parametrize(
    ("lr", "likely", "fix"),
    [
        (EARLY, {"lr decayed too soon": "likely"}, "Keep the lr up for longer than"),
        (0.1, {"lr decayed too soon": "unlikely", "lr too high to settle": "possible"}, "Let the lr fall"),
        (
            tm.MultiStep(init_value=1.0, factor=0.3, milestones=[30]),
            {"lr decayed too soon": "possible"},
            "Try a larger",
        ),
    ],
    ids=["decayed", "constant", "between"],
)
def test_a_plateau_is_weighed_by_where_the_lr_was_when_the_loss_stopped(tmp_path, lr, likely, fix):
    shiver = noise(0.01)
    entries = {"lr": lr, "batch_size": 32}
    one = found(record(tmp_path, entries, {"loss": lambda t: flattening(t) + shiver(t)}))["TD202"]
    assert re.search(r"after 69 optimizer_steps \(34 % of the run\): 0\.5\d* then, 0\.\d+ in the last", one.message)
    assert weights(one) == likely | {"batch too small": "possible", "nothing left to learn": "possible"}
    assert one.fix.startswith(fix)


def test_exploration_that_had_ended_by_then_is_a_likely_cause_of_a_plateau(tmp_path):
    entries = {"lr": COSINE, "entropy_coef": tm.Linear(init_value=0.01, end_value=0.0, duration=40)}
    run = record(tmp_path, entries, {"return": lambda t: -flattening(t)})
    one = found(run, metric="return", mode="max")["TD202"]
    assert one.causes[0].what == "exploration too low"
    assert one.causes[0].weight == "likely"


def test_a_loss_that_has_nearly_vanished_may_stay_where_it_is_and_swing(tmp_path):
    shiver = noise(1e-3)
    run = record(tmp_path, {"lr": 0.1}, {"val_loss": lambda t: 2 * math.exp(-60 * t) + abs(shiver(t))})
    assert found(run) == {}


def test_noise_that_could_hide_a_gain_is_not_taken_for_a_plateau(tmp_path):
    shiver = noise(0.5)
    run = record(tmp_path, {"lr": 0.1}, {"loss": lambda t: flattening(t) * math.exp(shiver(t))})
    assert "TD202" not in found(run)


def test_an_lr_that_is_still_rising_was_not_decayed_too_soon(tmp_path):
    shiver = noise(0.01)
    lr = tm.warmup_cosine(peak_value=0.1, end_value=0.001, warmup=150, total=TOTAL)
    one = found(record(tmp_path, {"lr": lr}, {"loss": lambda t: 0.5 + shiver(t)}))["TD202"]
    assert weights(one)["lr decayed too soon"] == "unlikely"


@pytest.mark.parametrize(
    ("lr", "weight"), [(0.1, "likely"), (COSINE, "unlikely")], ids=["constant lr", "lr that was decayed"]
)
def test_a_validation_loss_that_does_not_calm_oscillates(tmp_path, lr, weight):
    shiver = noise(0.1)
    entries = {"lr": lr, "entropy_coef": 0.01}
    run = record(tmp_path, entries, {"val_loss": lambda t: 0.4 + 2 * math.exp(-6 * t) + shiver(t)})
    one = found(run)["TD203"]
    assert weights(one) == {
        "lr not decayed enough": weight,
        "entropy too high": "possible",
        "too aggressive updates": "not told",
    }
    assert "swings by 0.0975 about 0.398 in the last fifth, 1.2 times" in one.message
    assert ("Let the lr and the entropy coefficient fall" in one.fix) == (weight == "likely")


@pytest.mark.parametrize(("late", "weight"), [(2.0, "possible"), (0.5, "unlikely")], ids=["clipped", "not clipped"])
def test_updates_are_aggressive_if_most_of_the_late_ones_were_clipped(tmp_path, late, weight):
    shiver = noise(0.1)
    measured = {"val_loss": lambda t: 0.4 + shiver(t), "grad_norm": lambda t: late if t > 0.7 else 2.5 - late}
    one = found(record(tmp_path, {"lr": 0.1, "grad_clip": 1.0}, measured))["TD203"]
    assert weights(one)["too aggressive updates"] == weight


def test_a_training_loss_oscillates_only_if_its_swings_have_grown(tmp_path):
    shiver = noise(0.1)
    steady = record(tmp_path / "steady", {"lr": 0.1}, {"loss": lambda t: falling(t) + shiver(t)})
    assert "TD203" not in found(steady)
    growing = record(
        tmp_path / "growing",
        {"lr": 0.1},
        {
            "loss": lambda t: falling(t) + shiver(t) * (1 if t < 0.8 else 3),
            "clip_fraction": lambda t: 0.7 if t >= 0.8 else 0.1,
        },
    )
    causes = weights(found(growing)["TD203"])
    assert causes["too aggressive updates"] == causes["lr not decayed enough"] == "likely"
    assert causes["noise of the batches"] == "possible"


def test_a_validation_loss_that_rises_while_the_training_loss_falls_is_overfitting_and_no_divergence(tmp_path):
    rising = {"val_loss": lambda t: 1 + 5 * abs(t - 0.3), "train_loss": falling}
    run = record(tmp_path / "both", {"lr": COSINE}, rising)
    assert list(found(run)) == ["TD204"]
    assert found(run)["TD204"].message.startswith("val_loss was best (1.24) about 79 optimizer_steps (40 % of the run)")
    alone = record(tmp_path / "alone", {"lr": COSINE}, {"val_loss": rising["val_loss"]})
    assert "TD204" not in found(alone)


def test_a_run_that_ended_early_says_what_share_is_done(tmp_path):
    run = record(tmp_path / "closed", {"lr": COSINE}, {"loss": falling}, steps=50)
    assert found(run)["TD101"].message == (
        "the record ends at 49 of 200 optimizer_steps (24 %). The recorder was closed there"
    )
    run = record(tmp_path / "open", {"lr": COSINE}, {"loss": falling}, steps=50, close=False)
    assert "not closed" in found(run)["TD101"].message


@pytest.mark.parametrize(("steps", "early"), [(20, False), (18, True)], ids=["the last interval", "two before"])
def test_rows_at_every_tenth_step_may_end_an_interval_before_the_total(tmp_path, steps, early):
    run = record(tmp_path, {"lr": COSINE}, {"loss": falling}, steps=steps, counts=range(0, TOTAL, 10))
    assert ("TD101" in found(run)) == early


@pytest.mark.parametrize(
    ("applied", "seen"),
    [
        (lambda count: {"lr": float(np.float32(COSINE(count)))}, False),
        (lambda count: {"lr": COSINE(count) * (1.01 if count > 30 else 1)}, True),
        (lambda count: {"batch_size": 38.0}, False),
        (lambda count: {"batch_size": 64.0}, True),
    ],
    ids=["float32", "another value", "a whole number", "another whole number"],
)
def test_what_is_applied_may_differ_from_what_was_asked_by_rounding_alone(tmp_path, applied, seen):
    entries = {"lr": COSINE, "batch_size": 37.5}
    assert ("TD102" in found(record(tmp_path, entries, {"loss": falling}, applied=applied))) == seen


@pytest.mark.parametrize(
    ("name", "behind", "seen"),
    [("batch_size", 3, False), ("batch_size", -3, True), ("lr", 3, True), ("frozen.batch_size", 3, False)],
    ids=["batches in flight", "before it was asked", "an optimizer's own", "of a group"],
)
def test_batches_in_flight_keep_the_size_that_a_controller_asked_for_before(tmp_path, name, behind, seen):
    def asked(count):
        return 32.0 * (1 + count // 50)

    tree = tm.NoiseScale(min_value=32, max_value=128) if "batch_size" in name else tm.Plateau(init_value=1.0)
    run = record(
        tmp_path,
        {name: tree},
        {"loss": falling},
        asked=lambda count: {name: asked(count)},
        applied=lambda count: {name: asked(max(count - behind, 0))},
    )
    assert ("TD102" in found(run)) == seen


def test_a_value_that_differs_is_told_with_its_first_count(tmp_path):
    run = record(tmp_path, {"lr": 0.1}, {"loss": falling}, applied=lambda count: {"lr": 0.1 if count < 30 else 0.2})
    one = found(run)["TD102"]
    assert one.path == "schedules.lr"
    assert one.message == ("applied differs from asked in 170 of 200 rows, first at 30: asked 0.1, applied 0.2")


def test_a_schedule_that_never_moved_is_told_from_a_constant_and_from_a_controller_that_had_no_reason(tmp_path):
    entries = {"lr": tm.MultiStep(init_value=0.1, factor=0.1, milestones=[500]), "momentum": 0.9}
    run = record(tmp_path, entries | {"weight_decay": tm.Plateau(init_value=1.0)}, {"loss": falling})
    seen = [one for one in diagnose(run).findings if one.code == "TD103"]
    assert [(one.path, one.severity) for one in seen] == [
        ("schedules.lr", "warning"),
        ("schedules.weight_decay", "note"),
    ]
    assert seen[0].message == "is 0.1 in all 200 rows, and is no constant in the plan"


def test_a_clock_that_was_never_advanced_is_an_error(tmp_path):
    run = record(tmp_path, {"lr": COSINE}, {"loss": falling}, counts=[0] * TOTAL)
    assert found(run)["TD104"].severity == "error"
    assert "TD103" not in found(run)


@pytest.mark.parametrize(
    ("norm", "code"),
    [
        (lambda t: 0.5, "TD106"),
        (lambda t: 2.0, "TD107"),
        (lambda t: 2.0 if t < 0.5 else 0.5, None),
        (lambda t: 1.0 if t < 0.5 else 0.5, None),
    ],
    ids=["never above", "always above", "half", "measured after clipping"],
)
def test_a_clip_that_acts_never_or_always_is_told(tmp_path, norm, code):
    run = record(tmp_path, {"lr": COSINE, "grad_clip": 1.0}, {"loss": falling, "grad_norm": norm})
    assert list(found(run)) == ([code] if code else [])


@pytest.mark.parametrize(
    ("share", "more", "code"),
    [
        (0.1, {"grad_norm_max": lambda t: 4.0}, None),
        (0.0, {"grad_norm_max": lambda t: 0.9}, "TD106"),
        (1.0, {"grad_norm_max": lambda t: 4.0}, "TD107"),
        (1.0, {}, "TD106"),
    ],
    ids=["some", "none", "all", "another clip_fraction"],
)
def test_a_meter_tells_of_each_update_what_its_mean_norm_does_not(tmp_path, share, more, code):
    measured = {"loss": falling, "grad_norm": lambda t: 0.5, "clip_fraction": lambda t: share, **more}
    run = record(tmp_path, {"lr": COSINE, "grad_clip": 1.0}, measured)
    assert list(found(run)) == ([code] if code else [])


def test_decisions_are_listed_by_entry(tmp_path):
    events = [
        {"event": "decision", "entry": "lr", "level": 0.5**n, "counts": {"optimizer_steps": 10 * n}}
        for n in range(1, 8)
    ]
    run = record(tmp_path, {"lr": tm.Plateau(init_value=1.0)}, {"loss": falling}, events=events)
    assert found(run)["TD108"].message == (
        "7 decisions by its controllers, level at 10 to 0.5, at 20 to 0.25, at 30 to 0.125, at 40 to 0.0625, "
        "at 50 to 0.0312, and 2 more"
    )


def test_what_a_rewind_went_back_behind_is_not_judged(tmp_path):
    counts = [*range(100), *range(50, TOTAL)]
    rewind = {"event": "rewind", "before": {"optimizer_steps": 99}, "counts": {"optimizer_steps": 50}}
    plan = tm.Plan({"lr": COSINE}, total=TOTAL)
    scheduler: Any = SimpleNamespace(plan=plan, counts={}, asked={"lr": 0.1}, values={"lr": 0.1}, events=[])
    with Recorder(tmp_path) as recorder:
        for place, count in enumerate(counts):
            scheduler.counts = {"optimizer_steps": count}
            scheduler.asked = scheduler.values = {"lr": COSINE(count)}
            if place == 100:
                scheduler.events.append(rewind)
            lost = 50 <= place < 100
            recorder.write(scheduler, loss=1e9 if lost else falling(count / TOTAL))
    seen = diagnose(read_run(tmp_path))
    assert seen.findings == ()
    assert seen.summary[1].startswith("loss: 200 values, first 2.2, lowest 0.301")


def test_the_loss_is_the_first_known_name_with_enough_values(tmp_path):
    losses = {"train_loss": falling, "val_loss": falling}
    assert diagnose(record(tmp_path / "often", {"lr": COSINE}, losses)).metric == "val_loss"
    plan = tm.Plan({"lr": 0.1}, total=60)
    scheduler: Any = SimpleNamespace(plan=plan, counts={}, asked={"lr": 0.1}, values={"lr": 0.1}, events=[])
    with Recorder(tmp_path / "seldom") as recorder:
        for count in range(60):
            scheduler.counts = {"optimizer_steps": count}
            seldom = {"val_loss": falling(count / 60)} if count % 10 == 0 else {}
            recorder.write(scheduler, train_loss=falling(count / 60), **seldom)
    assert diagnose(read_run(tmp_path / "seldom")).metric == "train_loss"


def test_no_loss_or_too_little_of_it_is_said(tmp_path):
    run = record(tmp_path / "none", {"lr": COSINE}, {"score": falling})
    assert diagnose(run).metric is None
    assert found(run)["TD200"].message.endswith("Measured: score")
    run = record(tmp_path / "few", {"lr": COSINE}, {"loss": falling}, steps=39, total=39)
    assert found(run)["TD200"].message == "has 39 values, and the shape of a curve is only judged from 40 on"


def test_a_metric_that_is_not_there_or_whose_good_side_is_unknown_is_refused(tmp_path):
    run = record(tmp_path, {"lr": COSINE}, {"loss": falling, "score": falling, "return_std": falling}, steps=3)
    with pytest.raises(
        RecordError, match=r"'scor' was not measured\. Did you mean score\? Measured: loss, score, return_s"
    ):
        diagnose(run, metric="scor")
    with pytest.raises(RecordError, match=r"return_std: say whether less of it is better \(mode min\) or more"):
        diagnose(run, metric="return_std")
    assert "highest 2.2" in diagnose(run, metric="score").summary[1]
    with pytest.raises(RecordError, match=r"mode must be min or max, got 'less'"):
        diagnose(run, metric="score", mode="less")  # pyright: ignore[reportArgumentType]


def test_a_run_without_rows_is_refused(tmp_path):
    run = record(tmp_path, {"lr": COSINE}, {"loss": falling}, steps=1)
    with pytest.raises(RecordError, match="the record has no rows yet"):
        diagnose(type(run)(run.folder, run.info, run.plan, (), ()))


def test_errors_come_before_warnings_and_warnings_before_notes(tmp_path):
    measured = {"loss": lambda t: 1 + 100 * t, "grad_norm": lambda t: 0.5}
    run = record(tmp_path, {"lr": COSINE, "grad_clip": 1.0}, measured, steps=100)
    assert [one.code for one in diagnose(run).findings] == ["TD201", "TD101", "TD106"]


@pytest.mark.parametrize("code", DIAGNOSES)
def test_every_code_is_explained(code):
    assert explain(code).startswith(f"## {code} {DIAGNOSES[code].name}\n")


def test_an_unknown_code_is_told_those_there_are():
    with pytest.raises(RecordError, match=r"no diagnosis has the code 'TD2O1'\. Did you mean TD201\? Codes: TD101,"):
        explain("TD2O1")


def test_the_handbook_in_docs_is_the_one_of_the_diagnoses():
    written = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert written == handbook(), "write it anew with: tempomat doctor --explain all > docs/doctor.md"


def train(folder, plan, validate=False):
    """Linear regression by SGD on batches of 4, for the length of a plan."""
    torch = pytest.importorskip("torch")
    scheduler_of = pytest.importorskip("tempomat.torch").Scheduler
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 8, generator=draw)
    outputs = inputs @ torch.arange(8.0)[:, None] + torch.randn(64, 1, generator=draw)
    weight = torch.nn.Parameter(torch.zeros(8, 1))
    scheduler = scheduler_of(torch.optim.SGD([weight]), plan)
    with Recorder(folder, plan, seed=0) as recorder:
        for _ in range(plan.total):
            batch = torch.randint(64, (4,), generator=draw)
            loss = ((inputs[batch] @ weight - outputs[batch]) ** 2).mean()
            scheduler.optimizer.zero_grad()
            loss.backward()
            norm = weight.grad.norm().item()
            scheduler.optimizer.step()
            whole = ((inputs @ weight - outputs) ** 2).mean().item()
            recorder.write(scheduler, grad_norm=norm, **{"val_loss" if validate else "loss": whole})
            scheduler.step()
    return read_run(folder)


def test_a_regression_trained_with_too_high_an_lr_diverges(tmp_path):
    one = found(train(tmp_path, tm.Plan({"lr": 0.5}, total=100)))["TD201"]
    assert (weights(one)["lr too high"], weights(one)["no warmup"]) == ("likely", "likely")


def test_a_regression_oscillates_late_at_a_constant_lr_and_not_under_a_decay(tmp_path):
    constant = train(tmp_path / "constant", tm.Plan({"lr": 0.12}, total=400), validate=True)
    assert weights(found(constant)["TD203"])["lr not decayed enough"] == "likely"
    decayed = tm.Plan({"lr": tm.Cosine(init_value=0.12, end_value=0.0012, duration=400)}, total=400)
    assert "TD203" not in found(train(tmp_path / "decayed", decayed, validate=True))


GATES = {"curriculum_stage": tm.SuccessGates(window=10, min_episodes=5, success_rate=0.85, max_stage=1)}


def staged(folder, rate, *, stage=1, steps=150, entries=GATES, **given):
    """A run of two stages, the last of which began at 40, with a success rate from there on."""
    passed = {"event": "decision", "entry": "curriculum_stage", "controller": 0, "level": 1.0}
    events = [{**passed, "counts": {"optimizer_steps": 40}}] if stage else []
    measured = {"eval/success_rate": lambda t: rate(t) if t >= 0.2 else 0.9}
    now = {"applied": lambda count: {"curriculum_stage": float(stage and count >= 40)}} if entries is GATES else {}
    return record(folder, entries, measured, steps=steps, events=events, **{**now, **given})


def test_a_run_whose_last_stage_was_held_has_not_ended_early(tmp_path):
    assert "TD101" not in found(staged(tmp_path / "held", lambda t: 0.85))
    assert "TD101" in found(staged(tmp_path / "below", lambda t: 0.84))
    assert "TD101" in found(staged(tmp_path / "stage", lambda t: 0.9, stage=0))
    assert "TD101" in found(staged(tmp_path / "broken", lambda t: 0.9, close=False))
    assert "TD101" in found(staged(tmp_path / "without", lambda t: 0.9, entries={"lr": 0.1}))


def test_the_success_rate_of_the_last_stage_is_judged(tmp_path):
    def stuck(t):
        return min(0.3, t)

    run = staged(tmp_path / "stuck", stuck, steps=TOTAL)
    seen = diagnose(run)
    assert seen.metric == "eval/success_rate"
    assert seen.summary[1].startswith(
        "eval/success_rate since the last stage began at 40: 160 values, first 0.2, highest"
    )
    assert "gained no more than" in found(run)["TD202"].message
    assert "TD202" not in found(staged(tmp_path / "passed", lambda t: 0.85, steps=TOTAL))
    assert "TD202" in found(staged(tmp_path / "free", lambda t: 0.94, steps=TOTAL, entries={"lr": 0.1}))
    assert "TD202" not in found(staged(tmp_path / "enough", lambda t: 0.95, steps=TOTAL, entries={"lr": 0.1}))


def test_a_success_rate_may_swing_with_its_episodes(tmp_path):
    shiver = noise(0.2)
    run = staged(tmp_path, lambda t: 0.5 + shiver(t), steps=TOTAL)
    assert not {"TD201", "TD203"} & set(found(run))


def test_more_success_is_better_unless_said_otherwise(tmp_path):
    run = staged(tmp_path, lambda t: 0.2 + 0.6 * t, steps=TOTAL)
    assert found(run, metric="eval/success_rate").keys() == found(run).keys()
    assert "TD201" in found(run, metric="eval/success_rate", mode="min")


RETURNS = ("episode_return", "eval/episode_return")


def rising(share):
    """A return below 0 that goes on rising to the end, and never through it."""
    return -1200 + 1000 * share


@pytest.mark.parametrize("name", RETURNS)
def test_more_return_is_better(tmp_path, name):
    shiver = noise(20)
    seen = diagnose(record(tmp_path / "up", {"lr": COSINE}, {name: lambda t: rising(t) + shiver(t)}))
    assert (seen.metric, seen.findings) == (name, ())
    assert re.match(rf"{name}: 200 values, first -1\.2e\+03, highest -\d{{3}}, last -\d{{3}}", seen.summary[1])
    fallen = found(record(tmp_path / "down", {"lr": 0.1}, {name: lambda t: -300 - 900 * t}))["TD201"]
    assert f"{name} is far worse than its first value (-300)" in fallen.message


def test_a_return_that_stays_is_a_plateau_and_what_to_try_speaks_of_it(tmp_path):
    run = record(tmp_path, {"lr": 0.1}, {"episode_return": lambda t: min(rising(t), -900)})
    one = found(run)["TD202"]
    assert "episode_return gained no more than" in one.message
    assert one.fix.endswith("and see whether episode_return rises with it")


def test_a_return_is_judged_before_a_loss_if_there_is_enough_of_it_and_after_the_success_rate(tmp_path):
    both = {"loss": lambda t: 1 + t, "episode_return": rising, "eval/episode_return": rising}
    assert diagnose(record(tmp_path / "both", {"lr": COSINE}, both)).metric == "eval/episode_return"
    run = record(tmp_path / "few", {"lr": COSINE}, both, steps=39, total=39)
    assert diagnose(run).metric == "eval/episode_return"
    both["success_rate"] = lambda t: t
    assert diagnose(record(tmp_path / "rate", {"lr": COSINE}, both)).metric == "success_rate"
    late = {"episode_return": lambda t: rising(t) if t >= 0.9 else math.nan, "loss": falling}
    assert diagnose(record(tmp_path / "late", {"lr": COSINE}, late)).metric == "loss"


def test_a_return_is_that_of_the_last_stage(tmp_path):
    run = staged(tmp_path, lambda t: 0.5, steps=TOTAL)
    easy = {"episode_return": lambda t: 10.0 if t < 0.2 else t}
    again = record(tmp_path / "again", GATES, easy, events=run.events)
    assert (
        diagnose(again).summary[1].startswith("episode_return since the last stage began at 40: 160 values, first 0.2")
    )


def test_a_return_that_was_0_first_does_not_diverge_by_its_noise(tmp_path):
    shiver = noise(0.1)
    run = record(tmp_path / "noise", {"lr": COSINE}, {"episode_return": lambda t: (shiver(t) - 0.2) * (t > 0)})
    assert "TD201" not in found(run)
    run = record(tmp_path / "fall", {"lr": COSINE}, {"episode_return": lambda t: shiver(t) - 5 * t})
    assert "TD201" in found(run)


@pytest.mark.parametrize(("before", "after", "seen"), [(1, 2, False), (8, 20, True), (20, 20, False)])
def test_a_return_oscillates_if_its_swings_have_grown_and_are_large_beside_what_it_gained(
    tmp_path, before, after, seen
):
    shiver = noise(1.0)

    def swinging(t):
        return 100 * min(t / 0.6, 1) - 100 + shiver(t) * (after if t >= 0.8 else before)

    run = record(tmp_path, {"lr": COSINE}, {"eval/episode_return": swinging})
    assert ("TD203" in found(run)) is seen
    assert not seen or weights(found(run)["TD203"])["noise of the episodes"] == "possible"


def test_an_evaluated_return_that_falls_is_no_overfitting(tmp_path):
    turned = {"eval/episode_return": lambda t: 100 - 100 * abs(t - 0.5), "loss": falling}
    assert "TD204" not in found(record(tmp_path / "return", {"lr": COSINE}, turned))
    turned = {"eval_score": turned["eval/episode_return"], "loss": falling}
    assert "TD204" in found(record(tmp_path / "score", {"lr": COSINE}, turned), metric="eval_score")
