"""Names of entries, and the ranges of what they name."""

import math

import pytest

import tempomat as tm
from tempomat.plan import HYPERPARAMETERS, EntryName, Range, entry_name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("lr", (None, "lr", None)),
        ("encoder.lr", ("encoder", "lr", None)),
        ("betas[0]", (None, "betas", 0)),
        ("encoder.betas[1]", ("encoder", "betas", 1)),
        ("net.encoder.weight_decay", ("net.encoder", "weight_decay", None)),
        ("my-own_target2", (None, "my-own_target2", None)),
    ],
)
def test_a_name_is_key_group_and_index(name, parts):
    assert entry_name(name) == EntryName(*parts)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "2lr",
        ".lr",
        "lr.",
        "a..lr",
        "betas[]",
        "betas[x]",
        "betas[-1]",
        "betas[1000]",
        "lr lr",
        "betas[0][1]",
        "lr\n",
        "x" * 201,
        5,
        None,
        ("lr",),
    ],
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(tm.ScheduleError, match=r"names no hyperparameter. Write key, group.key or key"):
        entry_name(name)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("lr", [0.0, 1e-8, 1e6], [-1e-12, math.nan, math.inf]),
        ("encoder.betas[0]", [0.0, 0.999], [1.0, -0.1, math.nan]),
        ("grad_clip", [1e-9, 5.0], [0.0, -1.0, math.inf]),
        ("batch_size", [1, 10**6], [0.5, 0.0]),
        ("dropout", [0.0, 1.0], [1.01, -0.01]),
        ("entropy_coef", [-1.0, 0.0, 1.0], [math.nan, -math.inf]),
        ("beta", [0.0, 0.2, 5.0], [-0.1, math.nan]),
        ("kl_coef", [0.0, 5.0], [-0.1, math.inf]),
        ("a_name_of_mine", [-1e9, 1e9], [math.nan, math.inf, -math.inf]),
    ],
)
def test_a_hyperparameter_has_the_range_that_its_name_implies(name, inside, outside):
    limits = entry_name(name).range
    assert all(map(limits.holds, inside))
    assert not any(map(limits.holds, outside))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Range(), "finite"),
        (Range(0), "at least 0"),
        (Range(0, low_open=True), "above 0"),
        (Range(0, 1), "at least 0 and at most 1"),
        (Range(0, 1, high_open=True), "at least 0 and below 1"),
    ],
)
def test_a_range_says_what_it_is(limits, said):
    assert str(limits) == said


def test_every_known_name_is_a_name():
    assert all(entry_name(name).key == name for name in HYPERPARAMETERS)
