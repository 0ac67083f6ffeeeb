"""Numbers as people write them, durations in any unit, and how they become counts."""

# Arguments of types that no annotation allows are given on purpose.
# pyright: reportArgumentType=false

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tempomat as tm
from tempomat.core.clock import check_rates
from tempomat.core.numbers import as_count, as_float, parse_number

RUN = tm.Horizon(
    total=tm.Duration("20 epochs"),
    rates={"steps_per_epoch": 100, "batch_size": 32, "tokens_per_sample": 1024},
)
RL = tm.Horizon(
    clock=tm.Unit.ENV_STEPS,
    total=tm.Duration("3M frames"),
    rates={"action_repeat": 2, "env_steps_per_optimizer_step": 4, "env_steps_per_episode": 108},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("1e-4", Fraction(1, 10_000)),
        ("1E-4", Fraction(1, 10_000)),
        ("3e6", 3_000_000),
        ("3e+6", 3_000_000),
        ("3M", 3_000_000),
        ("1.5M", 1_500_000),
        ("2k", 2_000),
        ("2K", 2_000),
        ("1G", 10**9),
        ("1B", 10**9),
        ("1T", 10**12),
        ("10_000", 10_000),
        ("1_000_000.5", Fraction(2_000_001, 2)),
        ("0.1", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        (" 5 ", 5),
    ],
)
def test_a_number_as_written_has_its_exact_value(text, value):
    assert parse_number(text) == value
    assert as_float(text) == float(value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("010", "'010' has a leading zero, which some readers take for octal; write 10"),
        ("00", "leading zero.* write 0"),
        ("-007", "leading zero.* write 7"),
        ("1:30", "'1:30' is not a number"),
        ("on", "'on' is not a number"),
        ("yes", "is not a number"),
        ("", "'' is not a number"),
        (".", "is not a number"),
        ("e5", "is not a number"),
        ("M", "is not a number"),
        ("1_", "is not a number"),
        ("_1", "is not a number"),
        ("1__0", "is not a number"),
        ("0x10", "is not a number"),
        ("1,000", "is not a number"),
        ("3m", "'3m' is not a number"),
        ("3 M", "is not a number"),
        ("nan", "is not a number"),
        ("inf", "is not a number"),
        (".inf", "is not a number"),
        ("--5", "is not a number"),
        ("1e4000", "is not a number"),
        ("\u0664", "is not a number"),
        ("9" * 65, "is not a number"),
    ],
)
def test_what_other_readers_take_for_something_else_is_no_number(text, match):
    with pytest.raises(ValueError, match=match):
        parse_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_from_its_repr(value):
    assert as_float(repr(value)) == value


def test_a_number_too_large_for_a_float_is_refused():
    with pytest.raises(ValueError, match="must be finite, got"):
        as_float("1e999")


def test_a_count_is_an_integer_in_range():
    assert as_count(2**62) == 2**62
    with pytest.raises(ValueError, match=r"must be between 0 and 2\^10, got 1025"):
        as_count(1025, 1024)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10_000", "10000"),
        ("3M", "3000000"),
        ("1e3", "1000"),
        ("3M frames", "3000000 frames"),
        ("20 epochs", "20 epochs"),
        ("1 epoch", "1 epochs"),
        ("20epochs", "20 epochs"),
        ("20 Epochs", "20 epochs"),
        ("5 env steps", "5 env_steps"),
        ("5 env_step", "5 env_steps"),
        ("5_000 optimizer steps", "5000 optimizer_steps"),
        ("90 min", "5400 seconds"),
        ("1.5 h", "5400 seconds"),
        ("2 days", "172800 seconds"),
        ("30 s", "30 seconds"),
        ("5%", "5%"),
        ("12.5 %", "12.5%"),
        ("0.1%", "0.1%"),
        ("100% - 10_000", "100% - 10000"),
        ("50% + 2 epochs - 1k", "50% + 2 epochs - 1000"),
        ("2 epochs + 50%", "50% + 2 epochs"),
        ("10 - 10", "0"),
        ("0%", "0"),
        ("0.12345678901234567 epochs", "0.12345678901234567 epochs"),
    ],
)
def test_a_duration_is_kept_in_one_spelling(text, canonical):
    assert str(tm.Duration(text)) == canonical
    assert tm.Duration(canonical) == tm.Duration(text)
    assert hash(tm.Duration(canonical)) == hash(tm.Duration(text))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("010", "'010' has a leading zero.* in the length '010'"),
        ("010 epochs", "'010' has a leading zero"),
        ("1:30", "'1:30' is not a length"),
        ("on", "'on' is not a length. Write a count"),
        ("", "'' is not a length"),
        ("epochs", "'epochs' is not a length"),
        ("nan", "is not a length"),
        ("inf epochs", "is not a length"),
        ("1000 steps", "'1000 steps': `steps` means several things. Write optimizer_steps or env_steps"),
        ("1 step", "`steps` means several things"),
        ("5 epocs", "no unit of the name 'epocs'. Did you mean epochs?"),
        ("5 apples", "no unit of the name 'apples'.* Units: optimizer_steps, epochs"),
        ("3m", "no unit of the name 'm'"),
        ("5 % epochs", "is not a length"),
        ("5%%", "is not a length"),
        ("5% -", "is not a length"),
        ("5% - ", "is not a length"),
        ("5% * 2", "is not a length"),
        ("5%-10", "is not a length"),
        ("1..5 epochs", "'1..5' is not a number"),
        ("1__0 epochs", "'1__0' is not a number"),
    ],
)
def test_what_is_no_duration_is_refused_with_its_text(text, match):
    with pytest.raises(tm.ScheduleError, match=match):
        tm.Duration(text)


amounts = st.fractions(0, 10**6, max_denominator=1).map(str) | st.decimals(0, 10**4, places=3).map(str)
terms = st.builds("{} {}".format, amounts, st.sampled_from(["epochs", "frames", "samples", "", "%"]))
durations = st.builds(
    lambda first, more: tm.Duration(first + "".join(f" {sign} {term}" for sign, term in more)),
    terms,
    st.lists(st.tuples(st.sampled_from("+-"), terms), max_size=3),
)


@given(durations)
def test_a_duration_reads_back_from_its_text_and_its_repr(duration):
    assert tm.Duration(str(duration)) == duration
    assert eval(repr(duration), {"Duration": tm.Duration}) == duration


@given(durations, durations)
def test_sums_and_differences_of_durations_are_exact(one, two):
    assert (one + two) - two == one
    assert one - one == tm.Duration("0")
    assert one + two == two + one
    assert one - two + two == one
    assert (one == two) == (dict(one.terms) == dict(two.terms)) == (str(one) == str(two))


def test_a_difference_below_zero_keeps_its_sign():
    assert tm.Duration("5%") - tm.Duration("10%") != tm.Duration("5%")
    with pytest.raises(tm.ScheduleError, match="comes to -100 optimizer_steps; a length must be between"):
        RUN.count(tm.Duration("5%") - tm.Duration("10%"))


@pytest.mark.parametrize(
    ("horizon", "text", "unit", "count"),
    [
        (RUN, "7", None, 7),
        (RUN, "7", tm.Unit.EPOCHS, 7),
        (RUN, "20 epochs", None, 2_000),
        (RUN, "100%", None, 2_000),
        (RUN, "5%", None, 100),
        (RUN, "5%", tm.Unit.EPOCHS, 1),
        (RUN, "640 samples", None, 20),
        (RUN, "1 epoch", tm.Unit.TOKENS, 100 * 32 * 1024),
        (RUN, "1M tokens", None, 31),  # 30.5 and a little more
        (RUN, "100% - 10", None, 1_990),
        (RUN, "1 epoch + 64 samples", None, 102),
        (RUN, "0.005 epochs", None, 0),  # one half goes to the even neighbour, as everywhere in Python
        (RUN, "0.015 epochs", None, 2),
        (RL, "1M frames", None, 500_000),
        (RL, "100%", None, 1_500_000),
        (RL, "10 optimizer_steps", None, 40),
        (RL, "2 episodes", None, 216),
        (RL, "1 frames", tm.Unit.OPTIMIZER_STEPS, 0),
        (RL, "100%", tm.Unit.OPTIMIZER_STEPS, 375_000),
        (tm.Horizon(clock=tm.Unit.SECONDS), "90 min", None, 5_400),
        (tm.Horizon(clock=tm.Unit.SECONDS, total=tm.Duration("1 h")), "5%", None, 180),
        (tm.Horizon(clock=tm.Unit.STAGE), "3 stages", None, 3),
        (tm.Horizon(total=tm.Duration("600")), "2%", None, 12),
        (tm.Horizon(total=tm.Duration("1")), "100%", None, 1),
        (RUN, "1T epochs", None, 10**14),
    ],
)
def test_a_duration_becomes_a_count_through_whatever_rates_there_are(horizon, text, unit, count):
    assert horizon.count(tm.Duration(text), unit) == count


def test_counts_are_exact_where_floats_are_not():
    """3 times 1/3 of the run is the run; 0.1 % of 1e15 is 1e12 and not a neighbour."""
    horizon = tm.Horizon(total=tm.Duration("1_000_000_000_000_001"))
    assert horizon.count(tm.Duration("0.1%")) == 1_000_000_000_000
    assert horizon.count(tm.Duration("100%")) == 1_000_000_000_000_001
    assert tm.Horizon(rates={"steps_per_epoch": 3}).count(tm.Duration("2.1 epochs")) == 6


@pytest.mark.parametrize(
    ("horizon", "text", "match"),
    [
        (tm.Horizon(), "5%", "5% of the run needs the run's length. Give the plan a `total`"),
        (tm.Horizon(), "5 epochs", "epochs cannot be turned into optimizer_steps. Give steps_per_epoch="),
        (tm.Horizon(), "5 samples", "samples cannot be turned into optimizer_steps. Give batch_size="),
        (
            tm.Horizon(),
            "5 frames",
            "frames cannot be turned into optimizer_steps. Give action_repeat= and env_steps_per_opt",
        ),
        (tm.Horizon(rates={"action_repeat": 2}), "5 frames", "Give env_steps_per_optimizer_step="),
        (
            tm.Horizon(rates={"steps_per_epoch": 9}),
            "5 min",
            "seconds cannot be turned into optimizer_steps. Nothing converts",
        ),
        (tm.Horizon(rates={"steps_per_epoch": 9}), "5 stages", "stage cannot be turned into .* use one unit"),
        (tm.Horizon(clock=tm.Unit.SECONDS), "5 epochs", "epochs cannot be turned into seconds. Nothing converts"),
        (
            tm.Horizon(total=tm.Duration("5 epochs")),
            "5%",
            "epochs cannot be turned into optimizer_steps. Give steps_per_epoch=",
        ),
        (RUN, "1000T epochs", r"comes to 100000000000000000 optimizer_steps; a length must be between 0 and 2\^53"),
    ],
)
def test_a_conversion_that_is_missing_is_named_and_never_guessed(horizon, text, match):
    with pytest.raises(tm.ScheduleError, match=match):
        horizon.count(tm.Duration(text))


def test_the_shortest_chain_of_rates_is_taken():
    both = tm.Horizon(
        clock=tm.Unit.SAMPLES, rates={"steps_per_epoch": 100, "batch_size": 32, "samples_per_epoch": 3_199}
    )
    assert both.ratio(tm.Unit.EPOCHS, tm.Unit.SAMPLES) == 3_199
    assert both.ratio(tm.Unit.SAMPLES, tm.Unit.EPOCHS) == Fraction(1, 3_199)
    assert both.ratio(tm.Unit.EPOCHS, tm.Unit.EPOCHS) == 1


@pytest.mark.parametrize("source", list(tm.Unit))
@pytest.mark.parametrize("target", list(tm.Unit))
def test_there_and_back_is_where_one_was(source, target):
    rates = {
        "steps_per_epoch": 7,
        "batch_size": 32,
        "tokens_per_sample": 11,
        "action_repeat": 3,
        "env_steps_per_optimizer_step": 4,
        "env_steps_per_episode": 13,
    }
    horizon = tm.Horizon(rates=rates)
    lonely = {tm.Unit.SECONDS, tm.Unit.STAGE}
    if source != target and lonely & {source, target}:
        with pytest.raises(tm.ScheduleError, match="use one unit"):
            horizon.ratio(source, target)
    else:
        assert horizon.ratio(source, target) * horizon.ratio(target, source) == 1


@pytest.mark.parametrize(
    ("rates", "match"),
    [
        (
            {"step_per_epoch": 5},
            "no conversion of the name 'step_per_epoch'. Did you mean steps_per_epoch?.*Conversions: steps_per_epoch",
        ),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be at least 1, got 0"),
        ({"steps_per_epoch": -1}, "steps_per_epoch must be between 0 and"),
        ({"steps_per_epoch": 2.5}, "steps_per_epoch must be an integer count, got 2.5"),
        ({"steps_per_epoch": True}, "steps_per_epoch must be an integer count, got True"),
        ({"steps_per_epoch": "100"}, "steps_per_epoch must be an integer count, got '100'"),
        ({"x": 1, "batch_size": 0}, "no conversion of the name 'x'.*; batch_size must be at least 1"),
        (5, "must be a mapping such as .*, got 5"),
        ([("batch_size", 3)], "must be a mapping"),
    ],
)
def test_rates_are_positive_integers_under_known_names(rates, match):
    with pytest.raises(tm.ScheduleError, match=match):
        check_rates(rates)


@pytest.mark.parametrize(
    "text",
    ["1" + "_" * 5_000 + "!", " + ".join(["1 epoch"] * 50_000), "9" * 500_000, "a" * 500_000],
    ids=["underscores", "sum", "digits", "letters"],
)
def test_a_text_far_too_long_for_a_duration_is_refused_before_it_is_read(text):
    with pytest.raises(tm.ScheduleError) as caught:  # noqa: PT011 - what it says is checked below
        tm.Duration(text)
    assert len(str(caught.value)) < 500


def test_a_plain_length_that_is_no_whole_number_is_refused_as_text_too():
    for written in ("2.5", "1e-4", 2.5):
        with pytest.raises(tm.ScheduleError, match=r"`duration` must be (an integer|a whole|an? ).*"):
            tm.Linear(init_value=0, end_value=1, duration=written)
