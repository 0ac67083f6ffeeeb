"""Any order of updates, steps, measurements, saves, loads and new groups, against a model of a few lines.

The model knows nothing of how the scheduler works: a value is the schedule called with the count, times what
a plateau of ten lines says; a save is a copy of the model.
"""

import copy
import math
import warnings
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule
from runtime.toys import group, held, sgd, through_a_file, weights

import tempomat as tm
from tempomat.torch import Scheduler

BASE = tm.warmup_cosine(peak_value=1.0, end_value=0.01, warmup=5, total=40)
HEAD = tm.StepDecay(init_value=0.5, factor=0.5, every=3)
NOISE = tm.Linear(init_value=1.0, end_value=0.0, duration=50)
PATIENCE, FACTOR = 1, 0.5
PLAN = tm.Plan(
    {
        "lr": BASE * tm.Plateau(patience=PATIENCE, factor=FACTOR, threshold=0.0),
        "head.lr": HEAD,
        "noise": tm.on("env_steps", NOISE),
    }
)


class Model:
    """What has to be true: three counts, one plateau, and for each group the weight that its updates must have made."""

    def __init__(self):
        self.updates, self.env_steps, self.pending = 0, 0, 0
        self.level, self.best, self.bad = 1.0, math.inf, 0
        self.started = False

    def expected(self):
        return {
            "lr": BASE(self.updates) * self.level,
            "head.lr": HEAD(self.updates),
            "noise": NOISE(self.env_steps),
        }

    def measured(self, loss):
        self.bad = 0 if loss < self.best else self.bad + 1
        self.best = min(loss, self.best)
        if self.bad > PATIENCE:
            self.level, self.bad = self.level * FACTOR if self.level * (1 - FACTOR) > 1e-8 else self.level, 0


losses = st.sampled_from([0.5, 1.0, 1.5, 2.0])


class Training(RuleBasedStateMachine):
    """The loop that hypothesis writes."""

    saves = Bundle("saves")
    scheduler: Any

    @initialize(names=st.sampled_from([["body"], ["body", "head"], ["head", "body", "body"]]))
    def begin(self, names):
        self.optimizer = sgd(*names, lr=0.3)
        self.scheduler = self.build()
        self.model = Model()
        self.moved = [0.0] * len(names)
        self.unwritten = set()

    def build(self):
        return Scheduler(self.optimizer, PLAN, later=["head"])

    def of_group(self, place):
        own = self.optimizer.param_groups[place].get("name") == "head"
        return self.model.expected()["head.lr" if own else "lr"]

    @rule()
    def update(self):
        self.model.started = True
        for place in range(len(self.optimizer.param_groups)):
            self.moved[place] -= self.of_group(place)
        self.optimizer.step()
        self.model.pending += 1
        self.unwritten.clear()
        assert weights(self.optimizer) == self.moved

    @rule(loss=st.none() | losses)
    def step(self, loss):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.scheduler.step(loss)
        if self.model.pending:
            self.model.pending = 0
            self.model.updates += 1
            if loss is not None:
                self.model.measured(loss)

    @rule(loss=losses)
    def observe(self, loss):
        self.scheduler.observe(val_loss=loss)
        self.model.measured(loss)

    @rule(count=st.integers(0, 9))
    def act(self, count):
        self.scheduler.advance(env_steps=count)
        self.model.env_steps += count

    @rule(count=st.sampled_from([1, 30, 600]))
    def skip_ahead(self, count):
        self.scheduler.advance(optimizer_steps=count)
        self.model.updates += count

    @precondition(lambda self: self.model.updates > 3)
    @rule()
    def rewind(self):
        self.scheduler.rewind(optimizer_steps=self.model.updates - 3)
        self.model.updates -= 3

    @precondition(lambda self: len(self.optimizer.param_groups) < 5)
    @rule(name=st.sampled_from(["head", "body", ""]))
    def add_group(self, name):
        self.optimizer.add_param_group(group(name))
        self.unwritten.add(len(self.moved))  # until the next update
        self.moved.append(0.0)

    @rule(target=saves)
    def save(self):
        return through_a_file(self.scheduler.state_dict()), copy.copy(self.model)

    @rule(saved=saves, anew=st.booleans())
    def load(self, saved, anew):
        state, model = saved
        if anew:
            self.scheduler = None  # one writer at a time
            self.scheduler = self.build()
        self.scheduler.load_state_dict(state)
        self.model = copy.copy(model)
        self.model.started = True
        self.unwritten.clear()

    @rule()
    def reload_the_optimizer(self):
        self.optimizer.load_state_dict(through_a_file(self.optimizer.state_dict()))
        self.unwritten.clear()

    @rule()
    def copy_both(self):
        self.optimizer, self.scheduler = copy.deepcopy((self.optimizer, self.scheduler))
        for one in self.optimizer.param_groups:
            one["params"][0].grad = torch.ones_like(one["params"][0])

    @rule(loss=st.sampled_from([math.nan, math.inf, "low"]))
    def a_measurement_that_is_none(self, loss):
        before = self.scheduler.state_dict()
        try:
            self.scheduler.observe(val_loss=loss)
        except tm.MeasurementError:
            assert self.scheduler.state_dict() == before
        else:
            raise AssertionError(f"{loss} was taken for a measurement")

    @invariant()
    def counts_are_right(self):
        assert self.scheduler.counts == {"optimizer_steps": self.model.updates, "env_steps": self.model.env_steps}

    @invariant()
    def values_are_the_schedules_own(self):
        assert self.scheduler.asked == self.model.expected()
        assert self.scheduler.values == self.model.expected()

    @invariant()
    def groups_hold_the_values_once_started(self):
        if self.model.started:
            places = [place for place in range(len(self.moved)) if place not in self.unwritten]
            assert [held(self.optimizer)[place] for place in places] == [self.of_group(place) for place in places]


Training.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
test_any_order_of_calls_gives_the_values_of_the_model = Training.TestCase
