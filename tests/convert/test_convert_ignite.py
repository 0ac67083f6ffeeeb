"""Ignite's schedulers, live, over whole runs."""

from typing import Any

import numpy as np
import pytest

import tempomat as tm
from tempomat.convert import from_ignite

torch = pytest.importorskip("torch")
pytest.importorskip("ignite")
from ignite.engine import Engine  # noqa: E402 - Ignite may be missing
from ignite.handlers import param_scheduler as of_params  # noqa: E402
from ignite.handlers import state_param_scheduler as of_state  # noqa: E402

COUNTS = 130
LR = 0.1


def optimizer(*rates: float) -> Any:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates or (LR,)])


def cosine(**changes: Any) -> Any:
    given = {"param_name": "lr", "start_value": 1.0, "end_value": 0.1, "cycle_size": 20, **changes}
    return of_params.CosineAnnealingScheduler(given.pop("optimizer", None) or optimizer(), **given)


def linear(**changes: Any) -> Any:
    given = {"param_name": "lr", "start_value": 1.0, "end_value": 0.1, "cycle_size": 20, **changes}
    return of_params.LinearCyclicalScheduler(given.pop("optimizer", None) or optimizer(), **given)


def points(*pairs: tuple[int, float]) -> Any:
    return of_params.PiecewiseLinear(optimizer(), "lr", milestones_values=list(pairs))


def concat() -> Any:
    shared = optimizer()
    parts = [linear(optimizer=shared, monotonic=True, cycle_size=10), cosine(optimizer=shared),
             of_params.PiecewiseLinear(shared, "lr", milestones_values=[(0, 0.3), (40, 0.0001)])]  # fmt: skip
    return of_params.ConcatScheduler(parts, durations=[10, 45])


def torchs(make: Any) -> Any:
    return of_params.LRScheduler(make(optimizer()))


def warmed() -> Any:
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer(), gamma=0.98)
    return of_params.create_lr_scheduler_with_warmup(
        decay, warmup_start_value=0.0, warmup_end_value=LR, warmup_duration=10
    )


LIVE: dict[str, Any] = {
    "cosine": cosine,
    "cosine of longer and lower cycles": lambda: cosine(cycle_mult=2.0, start_value_mult=0.5, end_value=0.01),
    "cosine and a line back": lambda: cosine(warmup_duration=7),
    "triangle": linear,
    "triangle of an odd size": lambda: linear(cycle_size=15),
    "saw": lambda: linear(monotonic=True),
    "saw and a line back": lambda: linear(monotonic=True, warmup_duration=5),
    "points": lambda: points((5, 0.5), (10, 1.0), (60, 0.1)),
    "points with a jump": lambda: points((0, 0.5), (10, 1.0), (10, 0.2), (60, 0.1)),
    "points that end in a jump": lambda: points((0, 0.5), (10, 1.0), (10, 0.2)),
    "one point": lambda: points((3, 0.5)),
    "several in a row": concat,
    "a PyTorch scheduler": lambda: torchs(lambda one: torch.optim.lr_scheduler.StepLR(one, step_size=30, gamma=0.5)),
    "a PyTorch scheduler behind a warmup": warmed,
}


def values(scheduler: Any) -> list[float]:
    """The value that each event sets."""
    found = []
    for _ in range(COUNTS):
        scheduler(None)
        found.append(float(scheduler.optimizer_param_groups[0]["lr"]))
    return found


@pytest.mark.parametrize("name", LIVE)
def test_a_schedule_has_ignites_value_at_every_event(name: str) -> None:
    ours = from_ignite(LIVE[name]())
    ours = ours["lr"] if isinstance(ours, tm.Plan) else ours
    np.testing.assert_allclose(ours(np.arange(COUNTS)), values(LIVE[name]()), rtol=1e-9, atol=0)


STATE: dict[str, Any] = {
    "exponential": lambda: of_state.ExpStateScheduler(2.0, 0.9, "x", create_new=True),
    "step": lambda: of_state.StepStateScheduler(2.0, 0.5, 7, "x", create_new=True),
    "multistep": lambda: of_state.MultiStepStateScheduler(2.0, 0.5, [1, 20, 60], "x", create_new=True),
    "points": lambda: of_state.PiecewiseLinearStateScheduler([(0, 1.0), (30, 0.2), (90, 0.4)], "x", create_new=True),
}


@pytest.mark.parametrize("name", STATE)
def test_a_scheduler_of_the_engines_state_counts_its_first_event_as_1(name: str) -> None:
    engine, scheduler, expected = Engine(lambda *_: None), STATE[name](), []
    for _ in range(COUNTS):
        scheduler(engine)
        expected.append(vars(engine.state)["x"])
    np.testing.assert_allclose(from_ignite(STATE[name]())(np.arange(COUNTS)), expected, rtol=1e-9, atol=0)


def test_a_plateau_becomes_a_controller_that_falls_where_ignites_does() -> None:
    make = {"metric_name": "loss", "patience": 1, "factor": 0.5, "cooldown": 1}
    scheduler = of_params.ReduceLROnPlateauScheduler(optimizer(), **make)
    rule = from_ignite(of_params.ReduceLROnPlateauScheduler(optimizer(), **make))
    engine, state = Engine(lambda *_: None), rule.initial()
    for count, loss in enumerate([1.0, 0.9, 0.95, 0.95, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]):
        engine.state.metrics = {"loss": loss}
        scheduler(engine)
        state = rule.update(state, loss, count)
        assert rule.level(state) == scheduler.optimizer_param_groups[0]["lr"]
    assert rule.metric == "loss"
    assert rule.level(state) < LR


def test_a_scheduler_that_has_run_is_refused() -> None:
    scheduler = cosine()
    scheduler(None)
    with pytest.raises(tm.ConversionError, match=r"ignite: has already run 1 events, and may have changed"):
        from_ignite(scheduler)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cosine(cycle_mult=1.5), "cycle_mult: must be a whole number: Ignite cuts each cycle"),
        (lambda: cosine(end_value_mult=0.5), "end_value_mult: 0.5 changes each cycle in a way"),
        (lambda: linear(cycle_mult=2.0, end_value_mult=0.5), r"(?s)2 faults.*cycle_mult: .*end_value_mult: "),
        (lambda: cosine(warmup_duration=3, start_value_mult=0.5), "start_value_mult: 0.5 changes each cycle"),
        (
            lambda: of_state.LambdaStateScheduler(lambda event: event, "x"),
            "LambdaStateScheduler is a function or class",
        ),
        (
            lambda: of_params.ParamGroupScheduler([cosine(optimizer=optimizer()), cosine(optimizer=optimizer())]),
            "schedulers: are for 2 param groups. Convert each alone",
        ),
        (lambda: object(), "object is a function or class of your own"),
        (
            lambda: of_params.ReduceLROnPlateauScheduler(optimizer(0.1, 0.2), "loss"),
            "scheduler: moves param groups of different lr",
        ),
    ],
)
def test_what_no_schedule_does_is_named(make: Any, message: str) -> None:
    with pytest.raises(tm.ConversionError, match=message):
        from_ignite(make())


def test_a_lambda_in_a_row_is_named_with_its_place() -> None:
    shared = optimizer()
    inner = of_params.LRScheduler(torch.optim.lr_scheduler.LambdaLR(shared, lambda epoch: 1.0))
    row = of_params.ConcatScheduler([cosine(optimizer=shared), inner], durations=[10])
    with pytest.raises(tm.ConversionError, match=r"lambda"):
        from_ignite(row)
