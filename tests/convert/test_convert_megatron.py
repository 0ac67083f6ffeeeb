"""Megatron-LM's arguments, held to its documented formulas over whole runs and beyond."""

import argparse
import math
from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.convert import from_megatron

PEAK, FLOOR, FIRST = 3e-4, 3e-5, 1e-6
WARMUP, END = 50, 800
COUNTS = 1_000


def theirs(t: int, style: str, *, warmup: int = WARMUP, wsd: str = "", decay: int = 0) -> float:
    """The learning rate with t counts consumed."""
    if warmup and t <= warmup:
        return FIRST + (PEAK - FIRST) * t / warmup
    if style == "constant":
        return PEAK
    if t > END:
        return FLOOR
    if style == "inverse-square-root":
        return max(FLOOR, PEAK * math.sqrt(max(warmup, 1)) / math.sqrt(max(t, 1)))
    share = (t - warmup) / (END - warmup)
    if style == "WSD":
        share = max(t - (END - decay), 0) / decay
    falls = {
        "linear": 1.0 - share,
        "cosine": 0.5 * (math.cos(math.pi * share) + 1.0),
        "exponential": 2.0 * 0.5**share - 1.0,
        "minus_sqrt": 1.0 - math.sqrt(share),
    }
    return FLOOR + falls[wsd or style] * (PEAK - FLOOR)


def arguments(word: str = "iters", **changes: Any) -> dict[str, Any]:
    given = {"lr": PEAK, "min_lr": FLOOR, "lr_warmup_init": FIRST, f"lr_warmup_{word}": WARMUP, f"lr_decay_{word}": END,
             f"train_{word}": COUNTS}  # fmt: skip
    return {**given, **changes}


@pytest.mark.parametrize("word", ["iters", "samples"])
@pytest.mark.parametrize("style", ["constant", "linear", "cosine", "inverse-square-root"])
def test_a_style_has_megatrons_learning_rate_at_every_count(style: str, word: str) -> None:
    plan = from_megatron(arguments(word, lr_decay_style=style))
    expected = [theirs(t, style) for t in range(COUNTS)]
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), expected, rtol=1e-9, atol=0)
    assert plan.clock == ("samples" if word == "samples" else "optimizer_steps")
    assert plan.total == COUNTS


@pytest.mark.parametrize("shape", ["linear", "cosine", "exponential", "minus_sqrt"])
def test_wsd_falls_in_each_of_its_styles(shape: str) -> None:
    plan = from_megatron(arguments(lr_decay_style="WSD", lr_wsd_decay_style=shape, lr_wsd_decay_iters=200))
    expected = [theirs(t, "WSD", wsd=shape, decay=200) for t in range(COUNTS)]
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), expected, rtol=1e-9, atol=0)


def test_an_inverse_square_root_without_a_warmup_counts_samples() -> None:
    plan = from_megatron(arguments("samples", lr_decay_style="inverse-square-root", lr_warmup_samples=0))
    expected = [theirs(t, "inverse-square-root", warmup=0) for t in range(COUNTS)]
    np.testing.assert_allclose(plan["lr"](np.arange(COUNTS)), expected, rtol=1e-9, atol=0)
    plan = from_megatron(arguments(lr_decay_style="inverse-square-root", lr_warmup_iters=0, global_batch_size=16))
    # after each iteration 16 samples more are consumed
    expected = [max(FLOOR, PEAK / math.sqrt(max(16 * t, 1))) for t in range(END + 1)]
    np.testing.assert_allclose(plan["lr"](np.arange(END + 1)), expected, rtol=1e-9, atol=0)
    with pytest.raises(tm.ConversionError, match=r"global_batch_size: is missing"):
        from_megatron(arguments(lr_decay_style="inverse-square-root", lr_warmup_iters=0))


@pytest.mark.parametrize("style", ["linear", "cosine"])
def test_weight_decay_grows_over_the_whole_run(style: str) -> None:
    given = {"weight_decay_incr_style": style, "start_weight_decay": 0.01, "end_weight_decay": 0.1}
    plan = from_megatron(arguments(**given))

    def grown(share: float) -> float:
        return share if style == "linear" else 0.5 * (math.cos(math.pi * (1.0 - share)) + 1.0)

    expected = [0.01 + grown(min(t / COUNTS, 1.0)) * 0.09 for t in range(COUNTS + 100)]
    np.testing.assert_allclose(plan["weight_decay"](np.arange(COUNTS + 100)), expected, rtol=1e-9, atol=0)


def test_a_batch_size_ramps_up_over_samples() -> None:
    plan = from_megatron(arguments("samples", global_batch_size=64, rampup_batch_size=["16", "8", "300"]))
    increments = (64 - 16) // 8
    expected = [64 if t > 300 else 16 + int(t / (300 / increments)) * 8 for t in range(500)]
    assert plan["batch_size"](np.arange(500)).tolist() == expected


LINE = (
    "pretrain_gpt.py --lr 3e-4 --min-lr=3e-5 --lr-decay-style cosine --train-samples 10000 --lr-warmup-fraction 0.01 "
    "--rampup-batch-size 16 8 3000 --global-batch-size 64 --bf16 --num-layers 24 --weight-decay 0.1"
)


def test_a_command_line_reads_as_its_namespace() -> None:
    namespace = argparse.Namespace(
        lr=3e-4, min_lr=3e-5, lr_decay_style="cosine", train_samples=10_000, lr_warmup_fraction=0.01, train_iters=None,
        rampup_batch_size=[16, 8, 3000], global_batch_size=64, bf16=True, num_layers=24, weight_decay=0.1,
        lr_warmup_iters=0, lr_decay_iters=None, decoupled_lr=None,
    )  # fmt: skip
    plan = from_megatron(LINE)
    assert plan == from_megatron(LINE.split()) == from_megatron(namespace) == from_megatron(vars(namespace))
    assert set(plan.schedules) == {"lr", "weight_decay", "batch_size"}
    assert plan["lr"](100) == 3e-4
    assert plan["weight_decay"](0) == 0.1


def test_defaults_are_megatrons() -> None:
    plan = from_megatron("--lr 1e-3 --train-iters 100")
    assert plan["lr"] == tm.warmup_linear(peak_value=1e-3, warmup=0, total=100)
    assert plan["weight_decay"] == tm.Constant(value=0.01)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--lr 1e-3", "megatron: train_iters: is missing"),
        ("--train-iters 5", "megatron: lr: is missing"),
        ("--lr 1e-3 --train-iters 100 --lr-warmup-samples 5", "--lr-warmup-samples: does not go with --train-iters"),
        ("--lr 1e-3 --train-samples 100 --train-iters 5", "--train-iters: does not go with --train-samples"),
        ("--lr 1e-3 --train-iters 99 --lr-warmup-fraction 0.1", "--lr-warmup-fraction: comes to 9.9 iters"),
        (
            "--lr 1e-3 --train-iters 100 --lr-warmup-fraction 0.1 --lr-warmup-iters 5",
            "--lr-warmup-fraction: does not go with --lr-warmup-iters",
        ),
        ("--lr 1e-3 --train-iters 100 --lr-warmup-iters 100", "lr_warmup_iters: must be less than the decay .100."),
        ("--lr 1e-3 --train-iters 100 --lr-decay-stile cosine", "schedules. Did you mean lr-decay-style"),
        ("--lr 1e-3 --train-iters 100 --lr-decay-style cosin", "lr_decay_style: must be one of .* Did you mean cosine"),
        ("--lr 1e-3 --train-iters 100 --lr-decay-style WSD", "lr_wsd_decay_iters: is missing"),
        ("--lr 1e-3 --train-iters 100 --min-lr 1", "min_lr: must not be above lr .0.001., got 1"),
        ("--lr 1e-3 --train-iters 100 --decoupled-lr 1e-2", "--decoupled-lr: gives the embedding and output layers"),
        ("--lr 1e-3 --train-iters 100 --end-weight-decay 0.1", "--end-weight-decay: goes with --weight-decay-incr"),
        (
            "--lr 1e-3 --train-iters 9 --weight-decay-incr-style linear --start-weight-decay 2 --end-weight-decay 1",
            "--end-weight-decay: must not be below --start-weight-decay",
        ),
        (
            "--lr 1e-3 --train-iters 9 --rampup-batch-size 1 1 9 --global-batch-size 8",
            "--rampup-batch-size: goes with --train-samples",
        ),
        (
            "--lr 1e-3 --train-samples 9 --rampup-batch-size 1 1 --global-batch-size 8",
            "--rampup-batch-size: takes the first size, the increment and the samples, got 2",
        ),
        ("--lr fast --train-iters many", r"(?s)2 faults.*lr: .*train_iters: "),
        (7, "megatron: needs the command line or the namespace, got 7"),
    ],
)  # fmt: skip
def test_what_megatron_refuses_or_cannot_be_read_is_named(args: Any, message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_megatron(args)
