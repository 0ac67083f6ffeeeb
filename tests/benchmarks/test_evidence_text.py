"""The evidence on text compares like with like, begins no run twice, and says what its intervals say."""

import json
import math
from importlib import import_module
from pathlib import Path

import pytest
import torch

import tempomat as tm

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PEAK = 1e-2


@pytest.fixture(autouse=True)
def _as_scripts_find_each_other(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def runs():
    return import_module("text_runs")


@pytest.fixture(scope="module")
def text():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return import_module("text_model").load_text()


def lr_of(runs, schedule, *, warm=True, total=100):
    return tm.Plan({"lr": runs.learning_rate(runs.Run(schedule, PEAK, 1, warm))}, total=total).resolve()["lr"]


def test_all_of_it_at_toy_size_goes_on_from_what_is_there_and_comes_out_the_same(tmp_path, capsys):
    module = import_module("evidence_text")
    command = ["--toy", "--out", str(tmp_path)]
    assert module.main(command) == 0
    told = capsys.readouterr()
    found = json.loads((tmp_path / "evidence_text.json").read_text())
    assert (tmp_path / "evidence_text.png").read_bytes().startswith(b"\x89PNG")
    assert told.out == (tmp_path / "evidence_text.md").read_text() + "\n"
    assert "about 0 min left" in told.err
    assert f"Written: {tmp_path / 'evidence_text.md'}" in told.err
    assert all(len(row["losses"]) == 2 for row in found["schedules"].values())

    files = sorted((tmp_path / "runs").iterdir())
    lost = json.loads(files[0].read_text())
    files[0].unlink()
    kept = [path.stat().st_mtime_ns for path in files[1:]]
    assert module.main(command) == 0
    again = json.loads(files[0].read_text())
    assert [path.stat().st_mtime_ns for path in files[1:]] == kept
    assert {**again, "seconds": 0} == {**lost, "seconds": 0}
    assert json.loads((tmp_path / "evidence_text.json").read_text())["schedules"] == found["schedules"]

    files[0].write_text(json.dumps({**again, "settings": {**again["settings"], "updates": 21}}))
    with pytest.raises(SystemExit, match=r"was made with other settings, text or torch\. Remove .*runs first"):
        module.main(command)


def test_a_report_before_the_runs_names_the_first_that_is_missing(tmp_path):
    with pytest.raises(SystemExit, match=r"constant-0\.001-seed101: has not ended"):
        import_module("evidence_text").main(["--toy", "--report", "--out", str(tmp_path)])


def test_the_schedules_rise_alike_and_end_where_their_names_say(runs):
    ends = {"constant": PEAK, "cosine to 10 %": PEAK / 10, "linear to zero": 0.0, "WSD": 0.0}
    assert list(ends) == list(runs.SCHEDULES)
    for name, end in ends.items():
        lr = lr_of(runs, name)
        assert (lr(0), lr(5), lr(100)) == pytest.approx((PEAK / 100, PEAK, end), rel=1e-12)
        assert lr_of(runs, name, warm=False)(0) == pytest.approx(PEAK, rel=1e-12)
    assert lr_of(runs, "WSD")(80) == pytest.approx(PEAK, rel=1e-12)
    assert lr_of(runs, "WSD")(90) == pytest.approx(PEAK / 2, rel=1e-12)
    with pytest.raises(ValueError, match=r"no schedule of that name: 'wsd'\. There are constant"):
        lr_of(runs, "wsd")


def test_no_paragraph_is_in_both_parts_of_the_text(text):
    def paragraphs(part):
        return set("".join(text.letters[at] for at in part.tolist()).split("\n\n"))

    training, validation = paragraphs(text.training), paragraphs(text.validation)
    assert len(validation) > 100
    assert len(training & validation) <= 5  # what the cut through a paragraph leaves, such as its last word
    assert 0.08 < len(text.validation) / len(text.training) < 0.12


def test_a_run_that_diverges_ends_there_and_counts_as_one_that_has_learnt_nothing(runs, text):
    found = runs.train(runs.Run("constant", 1e30, 1, warm=False), runs.TOY, text)
    nothing = math.log(len(text.letters))
    assert found["diverged"]
    assert found["loss"] == nothing
    assert set(found["averages"].values()) == {nothing}


def test_an_average_follows_its_own_decay(runs, text):
    scale = runs.replace(runs.TOY, averages=(0.0, 0.5, 0.999))
    found = runs.train(runs.Run("constant", PEAK, 1), scale, text)
    assert found["averages"]["0"] == pytest.approx(found["loss"], rel=1e-6)  # float32 sums
    assert found["loss"] < found["averages"]["0.5"] < found["averages"]["0.999"]  # later weights are better so early


def test_the_lowest_mean_over_the_tuning_seeds_is_chosen(runs, tmp_path):
    tables, scale = import_module("text_tables"), import_module("text_runs").TOY
    losses = {(1e-3, 101): 2.0, (1e-3, 102): 2.0, (1e-2, 101): 1.0, (1e-2, 102): 3.5}
    averages = {1e-3: {"0.5": 2.0, "0.9": 1.9}, 1e-2: {"0.5": 1.8, "0.9": 2.5}}

    class Store:
        def __init__(self):
            self.scale = scale

        def result(self, run):
            return {"loss": losses[run.peak, run.seed], "averages": averages[run.peak]}

    tuning = [runs.Run(name, *key) for key in losses for name in runs.SCHEDULES]
    choice = tables.choose(tuning, Store())
    assert choice.peaks == dict.fromkeys(runs.SCHEDULES, 1e-3)
    assert (choice.average_peak, choice.average_decay) == (1e-2, 0.5)


def test_a_claim_helps_only_where_its_whole_interval_is_below_zero():
    report = import_module("text_report")

    def told(low, high):
        return report._verdict({"mean": (low + high) / 2, "interval": (low, high)})

    assert told(-0.3, -0.1) == ": -0.200 [-0.300, -0.100], lower."
    assert told(-0.3, 0.1) == ": -0.100 [-0.300, +0.100], no difference that these seeds can show."
    assert told(0.1, 0.3) == ": +0.200 [+0.100, +0.300], higher."
