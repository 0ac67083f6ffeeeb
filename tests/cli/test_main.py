"""The command line: what it prints, where, and with which exit code."""

import json
import os
import subprocess
import sys

import jsonschema
import pytest
import yaml

import tempomat as tm
from tempomat.analysis.lint import RULES
from tempomat.cli import main

GOOD = """\
total: 2_000
schedules:
  lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
  momentum: 0.9
"""
WARNED = GOOD.replace("momentum: 0.9", "weight_decay: {type: linear, init_value: 0.01, end_value: 0.1, duration: 100%}")
WRONG = GOOD.replace("duration: 100%", "duration: 60%").replace("end_value: 1.0e-5", "end_value: 0.0")
EPOCHS = GOOD.replace("2_000", "20 epochs")
BROKEN = GOOD.replace("cosine", "cosin").replace("0.9", "fast")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a plan of each kind, and the command line standing in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name, text in {"good": GOOD, "warned": WARNED, "wrong": WRONG, "epochs": EPOCHS, "broken": BROKEN}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "text.yaml").write_text("total: [1,\n")
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Run a command; gives its exit code, and what it wrote to stdout and to stderr."""

    def call(*words):
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code
        return (code, *capsys.readouterr())

    return call


def in_shell(folder, *words, **options):
    """The same as its own process, as a shell runs it."""
    command = [sys.executable, "-m", "tempomat", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)


# lint


CLEAN = """
good.yaml
warned.yaml
good.yaml --strict
wrong.yaml --ignore TM302
wrong.yaml --select TM1
epochs.yaml --steps-per-epoch 100
epochs.yaml --rate steps_per_epoch=1k
epochs.yaml --total 500
broken.yaml --ignore TM0
broken.yaml --select TM1
--explain TM101
--explain all
"""
FAULTY = """
warned.yaml --strict
wrong.yaml
broken.yaml
text.yaml
none.yaml
good.yaml wrong.yaml
epochs.yaml
text.yaml --format json
"""
REFUSED = """

--explain TM999
good.yaml --select TM9
good.yaml --total long
good.yaml --steps-per-epoch 0
good.yaml --rate steps=4
good.yaml --format xml
good.yaml --advances steps
good.yaml --nonsense
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [(line, code) for code, lines in enumerate((CLEAN, FAULTY, REFUSED)) for line in lines.strip("\n").split("\n")],
)
def test_lint_exits_with_0_if_clean_1_for_an_error_and_2_if_it_could_not_look(run, words, code):
    assert run("lint", *words.split())[0] == code


def test_a_finding_is_one_line_with_its_place_and_one_with_its_fix(run):
    code, out, err = run("lint", "wrong.yaml", "good.yaml")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "wrong.yaml:3: TM302 error schedules.lr.duration: is 0 from 1_200 of 2_000 optimizer_steps on: "
        "the last 40 % of the run trains nothing",
        "    fix: Fit it to the run: 100% for a length.",
        "Found 1 error and 0 warnings in 2 plans.",
        "`tempomat lint --explain TM302` says more.",
    ]


def test_a_clean_plan_is_one_line(run):
    assert run("lint", "good.yaml") == (0, "Found nothing in 1 plan.\n", "")


def test_every_fault_of_a_broken_plan_is_a_finding_with_its_line(run):
    _, out, _ = run("lint", "broken.yaml")
    assert (
        "broken.yaml:3: TM001 error schedules.lr.type: no schedule of the name 'cosin'\n    fix: Did you mean cosine?"
        in out
    )
    assert "broken.yaml:4: TM001 error schedules.momentum: must be a number" in out
    assert "Found 2 errors and 0 warnings in 1 plan." in out


def test_a_file_that_is_no_yaml_has_its_line_and_its_name_once(run):
    _, out, _ = run("lint", "text.yaml", "none.yaml")
    assert out.startswith("text.yaml:2: TM002 error is no YAML")
    assert "\nnone.yaml: TM002 error cannot be read: No such file or directory\n" in out


def test_a_plan_without_a_total_says_what_was_not_looked_at(run, folder):
    (folder / "open.yaml").write_text(GOOD.replace("total: 2_000\n", "").replace("100%", "90"))
    _, out, _ = run("lint", "open.yaml")
    assert "open.yaml: has no total, so nothing was checked against the run's length. Give --total.\n" in out
    assert "has no total" not in run("lint", "open.yaml", "--total", "90")[1]


def test_what_the_run_knows_is_given_beside_the_plan(run, folder):
    (folder / "rl.yaml").write_text("total: 100\nschedules: {actr.lr: {type: plateau, metric: kll, init_value: 0.1}}\n")
    words = ["--groups", "actor,critic", "--metrics", "kl", "--advances", "optimizer_steps"]
    _, out, _ = run("lint", "rl.yaml", *words)
    assert "TM401 error schedules.actr.lr: no group of the name 'actr'; this run has actor, critic" in out
    assert "TM403 error schedules.actr.lr.metric: listens to 'kll'; this run measures kl" in out


def test_json_has_every_field_of_every_finding(run):
    code, out, err = run("lint", "wrong.yaml", "warned.yaml", "text.yaml", "good.yaml", "--format", "json")
    found = json.loads(out)
    assert (code, err) == (1, "")
    assert [(one["file"], one["line"], one["code"], one["severity"]) for one in found] == [
        ("wrong.yaml", 3, "TM302", "error"),
        ("warned.yaml", 4, "TM304", "warning"),
        ("text.yaml", 2, "TM002", "error"),
    ]
    for one in found:
        assert set(one) == {"file", "line", "code", "name", "severity", "path", "message", "fix"}
        assert one["name"] == RULES[one["code"]].name


def test_json_of_nothing_is_an_empty_list(run):
    assert json.loads(run("lint", "good.yaml", "--format", "json")[1]) == []


def test_github_shows_a_finding_beside_its_line(run, folder):
    (folder / "a,b:c.yaml").write_text(WRONG)
    _, out, _ = run("lint", "a,b:c.yaml", "--format", "github")
    assert out == (
        "::error file=a%2Cb%3Ac.yaml,line=3,title=TM302 ends-at-zero::schedules.lr.duration: is 0 from 1_200 of 2_000 "
        "optimizer_steps on: the last 40 %25 of the run trains nothing. Fit it to the run: 100%25 for a length.\n"
    )


@pytest.mark.parametrize("code", [*RULES, "tm101"])
def test_every_code_is_explained(run, code):
    exit_code, out, err = run("lint", "--explain", code)
    assert (exit_code, err) == (0, "")
    assert out.startswith(f"## {code.upper()} {RULES[code.upper()].name}\n")
    assert max(len(line) for line in out.splitlines() if not line.startswith((" ", "lr", "```"))) < 80


def test_an_unknown_code_is_refused_with_a_suggestion(run):
    code, out, err = run("lint", "--explain", "TM110x")
    assert (code, out) == (2, "")
    assert err.startswith("tempomat: no rule has the code 'TM110X'. Did you mean TM110?")


# preview


def test_preview_draws_the_plan_with_its_assumptions(run):
    code, out, err = run("preview", "epochs.yaml")
    assert (code, err) == (0, "")
    for part in ("epochs.yaml", "lr   1e-3 → 1e-5", "momentum   0.9 (constant)", "optimizer_steps", "drawn with 100"):
        assert part in out
    assert max(map(len, out.splitlines())) <= 80


def test_preview_takes_the_run_and_the_size(run):
    _, out, _ = run("preview", "epochs.yaml", "--steps-per-epoch", "7", "--width", "50", "--height", "3", "--log")
    assert "steps_per_epoch" not in out
    assert "140" in out
    assert max(map(len, out.splitlines())) <= 50


def test_preview_writes_files_instead_and_says_where(run, folder):
    code, out, _ = run("preview", "good.yaml", "--png", "plan.png", "--html", "plan.html")
    assert (code, out) == (0, "wrote plan.png\nwrote plan.html\n")
    assert (folder / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert "momentum" in (folder / "plan.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["broken.yaml"], "tempomat: broken.yaml: 2 faults\n  line 3, schedules.lr.type"),
        (["none.yaml"], "tempomat: none.yaml: cannot be read: No such file or directory"),
        (["good.yaml", "--width", "10"], "argument --width: must be a whole number of at least 40, got '10'"),
        (["good.yaml", "--height", "x"], "argument --height: must be a whole number of at least 2, got 'x'"),
        (["good.yaml", "--html", "no/where.html"], "tempomat: no/where.html: cannot be written: No such file"),
        (["good.yaml", "--png", "no/where.png"], "no/where.png: cannot be written"),
        (["good.yaml", "--total", "0"], "tempomat preview: argument --total: must be at least 1, got 0"),
        (["good.yaml", "--batch-size", "1.5"], "argument --batch-size: batch_size must be an integer count"),
        (["good.yaml", "--rate", "step_per_epoch=1"], "Did you mean steps_per_epoch?"),
        ([], "the following arguments are required: PLAN.yaml"),
    ],
)
def test_what_preview_cannot_do_is_said_on_stderr_with_exit_code_2(run, words, said):
    code, out, err = run("preview", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


# diff, schema, and the rest


def test_diff_says_every_path_that_differs(run):
    code, out, _ = run("diff", "good.yaml", "wrong.yaml")
    assert code == 1
    assert out.splitlines() == ["schedules.lr.end_value: 1e-05 -> 0.0", "schedules.lr.duration: 100% -> 60%"]
    assert run("diff", "good.yaml", "good.yaml") == (0, "No difference.\n", "")
    assert run("diff", "good.yaml", "none.yaml")[0] == 2


def test_schema_accepts_a_good_plan_and_refuses_a_broken_one(run):
    _, out, _ = run("schema")
    schema = json.loads(out)
    jsonschema.validate(yaml.safe_load(GOOD.replace("2_000", "2000")), schema)
    with pytest.raises(jsonschema.ValidationError, match="'fast' is not valid"):
        jsonschema.validate(yaml.safe_load(BROKEN), schema)


def test_nothing_typed_shows_what_there_is_on_stderr(run):
    code, out, err = run()
    assert (code, out) == (2, "")
    for command in ("preview", "lint", "diff", "schema"):
        assert command in err


@pytest.mark.parametrize("command", [[], ["preview"], ["lint"], ["diff"], ["schema"]])
def test_every_command_has_help_within_80_columns(run, command):
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80


def test_the_version_is_the_packages(run):
    assert run("--version") == (0, f"tempomat {tm.__version__}\n", "")


def test_an_interrupt_ends_quietly(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tempomat.cli.commands.load_plan", interrupted)
    assert run("diff", "good.yaml", "good.yaml") == (130, "", "")


# as its own process


def test_the_module_runs_as_the_command_does(folder):
    done = in_shell(folder, "lint", "wrong.yaml")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("wrong.yaml:3: TM302 error")


def test_a_reader_that_has_gone_is_no_traceback(folder):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tempomat", "lint", "--explain", "all"]
    done = subprocess.run(command, cwd=folder, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_without_unicode_gets_question_marks(folder):
    done = in_shell(folder, "preview", "good.yaml", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "lr   1e-3 ? 1e-5" in done.stdout


def test_a_full_disk_is_said(folder):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "tempomat", "schema"]
        done = subprocess.run(command, cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "tempomat: output: No space left on device\n")


@pytest.mark.parametrize("words", [["--version"], ["lint", "--explain", "TM101"], ["lint", "good.yaml"]])
def test_nothing_heavy_is_loaded_to_lint(folder, words):
    script = (
        "import sys\nfrom tempomat.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'jax', 'matplotlib', 'optax', 'sklearn', 'tempomat.analysis.picture'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy), 'yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(f"heavy: [] {'good.yaml' in words}\n")
