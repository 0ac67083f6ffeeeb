"""One tree of exceptions; every message says where, which rule, what it got."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

import pickle
import re
from pathlib import Path

import pytest

import tempomat as tm
from tempomat.core import errors


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (tm.ScheduleError, ValueError),
        (tm.PlanError, ValueError),
        (tm.BindingError, ValueError),
        (tm.StateError, ValueError),
        (tm.MeasurementError, ValueError),
        (tm.RecordError, OSError),
        (tm.MissingExtra, ImportError),
    ],
)
def test_every_error_is_a_tempomat_error_and_what_python_would_raise(kind, base):
    assert issubclass(kind, tm.TempomatError)
    assert issubclass(kind, base)
    with pytest.raises(base, match="what happened"):
        raise kind("what happened")


def test_the_tree_is_drawn_where_it_is_defined():
    package = Path(errors.__file__).parents[1]
    sources = "".join(path.read_text() for path in sorted(package.rglob("*.py")))
    kinds = re.findall(r"^class (\w+)\(TempomatError\b", sources, flags=re.MULTILINE)
    assert len(kinds) >= 7
    assert [name for name in kinds if f"─ {name} (" not in str(errors.__doc__)] == []


def test_an_error_without_faults_is_its_own_only_fault():
    assert tm.PlanError("no plan").faults == (tm.Fault("", "no plan"),)


def test_an_error_survives_pickling_with_its_faults():
    """Process pools hand errors over that way."""
    with pytest.raises(tm.ScheduleError, match="2 faults") as caught:
        tm.Linear(init_value="x", end_value=0, duration=0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.faults == caught.value.faults


def test_a_fault_is_seen_from_further_out_with_a_longer_path():
    fault = tm.Fault("[1].start", "is late")
    assert str(fault.under("intervals").under("lr").under("")) == "lr.intervals[1].start: is late"
    assert str(tm.Fault("", "is late").under("lr")) == "lr: is late"
    assert str(tm.Fault("", "is late")) == "is late"


def test_one_fault_is_on_the_titles_line_and_several_are_below_it():
    one, two = tm.Fault("a", "is wrong"), tm.Fault("b", "is worse")
    assert errors.list_faults("plan.yaml", [one]) == "plan.yaml: a: is wrong"
    assert errors.list_faults("plan.yaml", [one, two]) == "plan.yaml: 2 faults\n  a: is wrong\n  b: is worse"


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ("enocder", " Did you mean encoder?"), ("critics", " Did you mean critic?"), ("zzz", ""), ("", ""),
        ("ENCODR", " Did you mean encoder?"), ("steplr", " Did you mean StepLR?"), ("STEPLR", " Did you mean StepLR?"),
    ],
)  # fmt: skip
def test_a_near_name_is_suggested_whatever_its_letter_case_and_a_far_one_is_not(got, said):
    assert errors.did_you_mean(got, ["encoder", "actor", "critic", "StepLR"]) == said


def test_a_value_too_long_to_print_is_cut():
    with pytest.raises(tm.ScheduleError, match=r"must be a number, got \[0, 0, 0.*\.\.\. \(list\)") as caught:
        tm.Constant(value=[0] * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "value",
    ["x" * 100_000, "1" * 100_000, 10**5_000, {"x": "y" * 100_000}],
    ids=["text", "digits", "integer", "mapping"],
)
def test_a_message_stays_readable_whatever_it_got(value):
    for build in (
        lambda: tm.Constant(value=value),
        lambda: tm.Linear(init_value=0, end_value=1, duration=value),
        lambda: tm.IntervalTable(rule="step_decay", intervals=[value]),
        lambda: tm.Plateau(mode=value),
        lambda: tm.on(value, 1.0),
    ):
        with pytest.raises(tm.ScheduleError) as caught:  # noqa: PT011 - what it says is checked below
            build()
        assert len(str(caught.value)) < 1_000
