"""The evidence on digits: fair tuning, pairing by seed, runs begun once, and sentences that follow intervals."""

import json
import math
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _as_scripts_find_each_other(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def evidence():
    return import_module("evidence_digits")


@pytest.fixture
def digits():
    return import_module("digits_runs")


@pytest.fixture
def model():
    return import_module("digits_model")


@pytest.fixture
def report():
    return import_module("digits_report")


@pytest.fixture
def toy(digits, tmp_path):
    return digits.Runs(tmp_path / "runs", digits.TOY)


def ended(score, loss=0.1):
    """A run's result."""
    seen = {"score": score, "loss": loss}
    curve = {"updates": [1, 2], "loss": [1.0, loss], "score": [0.0, score]}
    return {"diverged": False, "updates": 2, "validation": seen, "test": seen, "curve": curve, "seconds": 0.1}


def leave(runs, run, found):
    path = runs.folder / f"{run.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"settings": runs.settings(run), **found}))


def sizes(digits, arm, epochs=10):
    """The batches of an arm of the first table, epoch by epoch, without training."""
    run = digits.Run("batches", arm, 0.04, 1)
    sampler = digits.BatchSampler(digits.order(run, digits.TOY), digits.plan(run, digits.TOY).resolve())
    return [[len(batch) for batch in sampler] for _ in range(epochs)]


def rows(report, **scores):
    """A table of rows with scores by seed, held against the first."""
    table = {
        name.replace("_", " "): {
            "scores": dict(enumerate(values)),
            "updates": 100,
            "curve": {"updates": [1, 2], "loss": [1.0, 0.1]},
        }
        for name, values in scores.items()
    }
    base = next(iter(table.values()))
    return {name: {**row, "against": report.difference(row, base)} for name, row in table.items()}


def test_the_whole_of_it_runs_at_toy_scale_and_trains_nothing_twice(
    evidence, toy, digits, tmp_path, monkeypatch, capsys
):
    told = evidence.evidence(toy, tmp_path, tmp_path / "images" / "evidence_digits.png")
    found = json.loads((tmp_path / "evidence_digits.json").read_text())
    assert set(found["tables"]) == set(toy.scale.settings)
    for name, setting in toy.scale.settings.items():
        assert set(setting.arms) <= set(found["tables"][name])
        for row in found["tables"][name].values():
            assert list(row["scores"]) == ["1", "2"]
            assert row["diverged"] == 0
            assert row["peak"] in setting.peaks
    assert len(found["claims"]) == 3 + 7 + 2
    assert (tmp_path / "evidence_digits.md").read_text() == told
    assert all(one in told for one in found["claims"])
    assert (tmp_path / "images" / "evidence_digits.png").stat().st_size > 10_000
    said = capsys.readouterr().err
    assert f"tuning: 0 of {len(evidence.tuning(toy.scale))} runs are there, in {toy.folder}" in said
    assert "min left" in said

    monkeypatch.setattr(digits, "train", lambda run, scale: pytest.fail(f"trained again: {run}"))
    evidence.carry_out(toy, evidence.tuning(toy.scale), "tuning")
    evidence.carry_out(toy, evidence.measured(toy), "testing")
    assert f"testing: {len(evidence.measured(toy))} of {len(evidence.measured(toy))}" in capsys.readouterr().err


def test_a_run_is_the_same_whenever_it_is_made(digits):
    run = digits.Run("noisy", digits.COMPETENCE, 0.08, 1)
    one, other = digits.train(run, digits.TOY), digits.train(run, digits.TOY)
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_a_run_of_other_settings_is_refused(toy, digits):
    run = digits.Run("noisy", digits.SHUFFLED, 0.04, 1)
    leave(toy, run, ended(50.0))
    assert toy.result(run)["test"]["score"] == 50.0
    setting = replace(toy.scale.settings["noisy"], epochs=3)
    toy.scale = replace(toy.scale, settings={**toy.scale.settings, "noisy": setting})
    with pytest.raises(SystemExit, match=r"was made with other settings or another torch\. Remove .*runs first"):
        toy.result(run)


def test_more_seeds_or_a_finer_grid_keep_the_runs_that_are_there(toy, digits):
    run = digits.Run("noisy", digits.SHUFFLED, 0.04, 1)
    leave(toy, run, ended(50.0))
    setting = replace(toy.scale.settings["noisy"], peaks=(0.04, 0.05))
    toy.scale = replace(toy.scale, seeds=(1, 2, 3), settings={**toy.scale.settings, "noisy": setting})
    assert toy.result(run)["test"]["score"] == 50.0


def test_a_run_that_diverges_ends_and_has_learnt_nothing(digits):
    found = digits.train(digits.Run("noisy", digits.SHUFFLED, 1e30, 1), digits.TOY)
    assert found["diverged"]
    assert found["test"] == {"loss": math.log(10), "score": 0.0}


def test_the_ramp_multiplies_the_batch_where_lr_decay_divides_the_lr(digits):
    assert [epoch[0] for epoch in sizes(digits, digits.RAMP)] == [8, 8, 8, 24, 24, 24, 72, 72, 100, 100]
    assert [epoch[0] for epoch in sizes(digits, digits.DECAY)] == [8] * 10
    decay = digits.plan(digits.Run("batches", digits.DECAY, 0.27, 1), digits.TOY).resolve()["lr"]
    found = [decay(100 * epoch) for epoch in range(10)]
    assert found == pytest.approx([0.27] * 3 + [0.09] * 3 + [0.03] * 2 + [0.01] * 2, rel=1e-12)


def test_at_full_scale_the_larger_batch_makes_about_as_many_updates_as_the_ramp(digits):
    size, epochs = digits.LAPTOP.size, digits.LAPTOP.settings["batches"].epochs
    marks = [0, *(int(mark[:-1]) * epochs // 100 for mark in digits.MARKS), epochs]
    batch = digits.LAPTOP.settings["batches"].batch
    ramp = sum((marks[k + 1] - marks[k]) * math.ceil(size / (batch * digits.FACTOR**k)) for k in range(4))
    larger = epochs * math.ceil(size / digits.LAPTOP.settings["batches"].larger)
    assert larger == pytest.approx(ramp, rel=0.05)


def test_every_row_draws_the_same_images_moved_alike_whatever_its_batches_are(digits, model):
    train = model.load(1, 100).train
    rows = model.Rows(train, 1, 1000)

    def drawn(arm):
        run = digits.Run("batches", arm, 0.04, 1)
        sampler = digits.BatchSampler(digits.order(run, digits.TOY), digits.plan(run, digits.TOY).resolve())
        return torch.cat([rows.__getitems__(batch).pixels for _ in range(10) for batch in sampler])

    assert torch.equal(drawn(digits.RAMP), drawn(digits.DECAY))


def test_an_image_is_moved_by_at_most_a_pixel(model):
    one = torch.full((1, 64), -0.5)
    one[0, 8 * 3 + 3] = 0.5
    moved = model.Rows(model.Images(one, torch.zeros(1)), 0, 1).moved[0]
    assert sorted(divmod(int(where.argmax()), 8) for where in moved) == [(y, x) for y in (2, 3, 4) for x in (2, 3, 4)]
    assert torch.equal(moved[4], one[0])


def test_seeds_have_their_own_training_images_and_one_test_that_none_of_them_is_in(model):
    one, other = model.load(1, 100), model.load(2, 100)
    assert torch.equal(one.test.pixels, other.test.pixels)
    assert not torch.equal(one.train.pixels, other.train.pixels)
    parts = [len(part.labels) for part in (one.train, one.validation, one.test)]
    assert parts == [100, 1797 - 600 - 100, 600]


def test_wrong_labels_are_in_training_alone_and_as_many_as_asked_for(model):
    right, noisy = model.load(1, 100), model.load(1, 100, 0.3)
    assert int((right.train.labels != noisy.train.labels).sum()) == 30
    assert torch.equal(right.test.labels, noisy.test.labels)
    assert torch.equal(right.validation.labels, noisy.validation.labels)


def test_a_wrong_label_is_harder_than_a_right_one(model):
    wrong = (model.load(1, 400).train.labels != model.load(1, 400, 0.3).train.labels).numpy()
    scores = model.difficulty(1, 400, 0.3, False)
    assert scores[wrong].mean() > scores[~wrong].mean() + 0.15


def test_hard_negatives_leave_positives_the_highest_weight(digits, model):
    weights = digits._hardness((1, 400, 0.0, True))
    positive = model.load(1, 400, 0.0, True).train.labels.numpy() == 1
    assert (weights[positive] == 1.0).all()
    assert weights[~positive].max() < 1.0
    assert weights[~positive].min() >= model.EASIEST


def test_the_learning_rate_is_the_one_of_the_best_validation_score_and_of_equals_the_lower_loss(evidence, toy, digits):
    first, second = toy.scale.settings["noisy"].peaks
    for arm, (one, other) in {
        digits.SHUFFLED: (ended(90.0), ended(91.0)),
        digits.EASY: (ended(91.0, loss=0.3), ended(90.0, loss=0.1)),
        digits.HARD: (ended(90.0, loss=0.3), ended(90.0, loss=0.1)),
    }.items():
        leave(toy, digits.Run("noisy", arm, first, 101), one)
        leave(toy, digits.Run("noisy", arm, second, 101), other)
    leave(toy, digits.Run("noisy", digits.RANDOM, first, 101), ended(99.0))  # half tuned: not chosen yet
    assert evidence.chosen(toy, "noisy") == {digits.SHUFFLED: second, digits.EASY: first, digits.HARD: second}


def test_the_ramp_takes_the_lr_of_decay_and_comes_again_with_its_own(evidence, toy, digits):
    first, second = toy.scale.settings["batches"].peaks
    for arm, best in {digits.DECAY: first, digits.RAMP: second}.items():
        for peak in (first, second):
            leave(toy, digits.Run("batches", arm, peak, 101), ended(90.0 + (peak == best)))
    assert evidence.rows_of(toy, "batches") == {
        digits.DECAY: (digits.DECAY, first),
        digits.RAMP: (digits.RAMP, first),
        evidence.OWN_LR: (digits.RAMP, second),
    }


def test_a_difference_is_paired_over_the_seeds_that_both_rows_have(report):
    found = report.difference({"scores": {1: 90.0, 2: 95.0, 3: 99.0}}, {"scores": {1: 89.0, 2: 92.0, 4: 10.0}})
    assert (found["by_seed"], found["mean"]) == ([1.0, 3.0], 2.0)
    assert found["interval"] == pytest.approx((2 - 12.7062047, 2 + 12.7062047), rel=1e-7)
    assert report.difference({"scores": {1: 1.0}}, {"scores": {2: 1.0}}) is None


@pytest.mark.parametrize(
    ("interval", "said"), [((0.1, 0.3), "helps"), ((-0.3, -0.1), "hurts"), ((-0.1, 0.3), "makes no difference that")]
)
def test_a_sentence_follows_from_its_interval(report, interval, said):
    assert report.effect({"interval": interval}).startswith(said)


@pytest.mark.parametrize(
    ("ramp", "said"),
    [
        ([95.0, 95.1, 95.2], "ends where lr decay ends, to within 0.5 points"),
        ([96.0, 96.1, 96.2], "does better than lr decay"),
        ([94.0, 94.1, 94.2], "does worse than lr decay"),
        ([92.0, 95.1, 98.2], "may or may not end where lr decay ends"),
    ],
)
def test_the_ramp_is_the_same_only_if_its_interval_lies_within_half_a_point(report, digits, ramp, said):
    decay = [95.0, 95.2, 95.1]
    table = rows(report, lr_decay=decay, batch_ramp=ramp, constant=[90, 91, 90])
    table[digits.LARGER] = table[digits.CONSTANT]
    assert report.claims({"batches": table})[0].startswith(f"**Batch ramp instead of lr decay** {said}")


def test_a_claim_says_where_it_helps_and_where_not(report):
    short = rows(report, shuffled=[90.0, 90.0, 90.0], easy_first=[91.0, 91.1, 91.2])
    long = rows(report, shuffled=[90.0, 90.0, 90.0], easy_first=[89.0, 90.1, 91.2])
    (said,) = report.claims({"short": short, "long": long})
    assert said.startswith("**Easy first** helps in short +1.10 [")
    assert "; makes no difference that could be seen in long +0.10 [" in said


def test_a_row_is_also_held_against_its_control(report):
    table = rows(report, shuffled=[90.0, 90.0, 90.0], easy_first=[89.0, 89.1, 89.2], random_first=[88.0, 88.1, 88.1])
    said = report.claims({"long": table})
    assert said[0].startswith("**Easy first** hurts in long -0.90 [")
    assert said[-1].startswith("**The order of difficulty in easy first, against the same pace at random,** helps")
    assert "in long +1.03 [" in said[-1]


def test_a_difference_of_nothing_has_no_minus(report):
    assert report.shown({"mean": -0.001, "interval": (-0.004, 0.2)}) == "+0.00 [+0.00, +0.20]"


def test_a_learning_rate_at_the_end_of_the_grid_is_pointed_out(evidence, report, toy, digits):
    for seed in (101, 1, 2):
        for peak in toy.scale.settings["noisy"].peaks:
            leave(toy, digits.Run("noisy", digits.SHUFFLED, peak, seed), ended(90.0 + peak))
    table = evidence.table_of(toy, "noisy")
    assert table[digits.SHUFFLED]["at_the_end_of_the_grid"]
    assert "(end of the grid)" in report.as_markdown(toy.scale, {"noisy": table}, {})


def test_an_interrupt_keeps_what_is_finished_and_says_so(evidence, digits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evidence, "FOLDER", tmp_path / "runs")
    monkeypatch.setattr(evidence.digits, "LAPTOP", digits.TOY)
    monkeypatch.setattr("sys.argv", ["evidence_digits.py"])
    made = []

    def train(run, scale):
        if made:
            raise KeyboardInterrupt
        made.append(run)
        return ended(50.0)

    monkeypatch.setattr(digits, "train", train)
    assert evidence.main() == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert len(list((tmp_path / "runs").rglob("*.json"))) == 1


def test_difficulties_that_say_nothing_are_the_seeds_own(model):
    one = model.at_random(1, 50)
    assert np.array_equal(one, model.at_random(1, 50))
    assert not np.array_equal(one, model.at_random(2, 50))


def first_epoch(digits, arm):
    """What a row draws first, as places in the order from easy to hard."""
    run = digits.Run("noisy", arm, 0.08, 1)
    hardness = import_module("digits_model").difficulty(1, 100, 0.3, False)
    places = np.argsort(np.argsort(hardness, kind="stable"))
    plan = digits.plan(run, digits.TOY).resolve()
    sampler = digits.BatchSampler(digits.order(run, digits.TOY), plan)
    return [places[batch] for batch in sampler]


def test_rows_begin_where_their_names_say(digits):
    first = {arm: first_epoch(digits, arm)[0] for arm in digits.SAMPLING_ARMS}
    assert max(first[digits.EASY]) < 20
    assert max(first[digits.COMPETENCE]) < 20
    assert min(first[digits.HARD_FIRST]) >= 80
    assert len(set(first[digits.RANDOM])) == 20
    assert max(first[digits.RANDOM]) >= 80
    assert len(set(first[digits.SHUFFLED])) == 32
    assert first[digits.HARD].mean() > first[digits.SHUFFLED].mean() + 3
    assert len(set(first[digits.HARDER])) == 32  # a power of 0: all alike


def test_paces_go_from_a_fifth_to_all_and_powers_from_0_to_1(digits):
    total = 2 * 100

    def entry(arm, name):
        found = digits.plan(digits.Run("noisy", arm, 0.08, 1), digits.TOY).resolve()[name]
        return [found(0), found(total // 8), found(total // 2), found(total)]

    assert entry(digits.EASY, "difficulty") == pytest.approx([0.2, 0.4, 1.0, 1.0], rel=1e-12)
    root = (0.75 * 0.2**2 + 0.25) ** 0.5
    assert entry(digits.COMPETENCE, "difficulty") == pytest.approx([0.2, root, 1.0, 1.0], rel=1e-12)
    assert entry(digits.HARDER, "sampling_power") == pytest.approx([0.0, 0.125, 0.5, 1.0], rel=1e-12)
    assert entry(digits.HARD, "sampling_power") == [1.0] * 4
    assert entry(digits.EASY, "lr") == pytest.approx([0.08, 0.07, 0.04, 0.0], rel=1e-12)
