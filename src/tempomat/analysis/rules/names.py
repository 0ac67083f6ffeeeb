"""Rules on names: groups, metrics, hyperparameters, and who writes what."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from tempomat.analysis import words
from tempomat.analysis.rules.case import Case
from tempomat.analysis.rules.registry import Hit, few, rule
from tempomat.analysis.study import nodes
from tempomat.core import Controller
from tempomat.core.errors import did_you_mean
from tempomat.plan import HYPERPARAMETERS, LOOP_FAMILIES, EntryName

ALIASES = {
    "learning_rate": "lr",
    "wd": "weight_decay",
    "beta1": "betas[0]",
    "beta2": "betas[1]",
    "epsilon_adam": "eps",
    "clip_grad_norm": "grad_clip",
    "gradient_clip_val": "grad_clip",
    "max_grad_norm": "grad_clip",
    "gradient_accumulation_steps": "accumulation",
    "train_batch_size": "batch_size",
    "ent_coef": "entropy_coef",
    "vf_coef": "value_coef",
}
"""What other tools call a hyperparameter, and what it is called here."""
_NEAR = 0.85


def canonical(target: EntryName) -> str:
    """What an entry writes, under one name whatever the plan calls it."""
    key = target.key if target.index is None else f"{target.key}[{target.index}]"
    return ALIASES.get(key, key)


@rule(
    "TM401",
    "no-such-group",
    "error",
    wrong="""
        total: 10_000
        schedules:
          enocder.lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
    """,
    right="""
        total: 10_000
        schedules:
          encoder.lr: {type: cosine, init_value: 1.0e-3, end_value: 1.0e-5, duration: 100%}
    """,
    options="--groups encoder,actor,critic",
)
def no_such_group(case: Case) -> Iterator[Hit]:
    """An entry is for a param group or an optimizer that the run does not have.

    Training would refuse to start; checked here it costs nothing. Looked at only where `--groups` says what there is:
    names of param groups, of optimizers, or `optimizer.group`.

    Correct the name.
    """
    if case.groups is None:
        return
    for entry in case.entries:
        group = entry.target.group
        if group is not None and group not in case.groups:
            near = did_you_mean(group, case.groups).strip()
            has = words.listed(case.groups) or "no named group"
            yield Hit(entry.path, f"no group of the name {group!r}; this run has {has}", near)


@rule(
    "TM402",
    "two-writers",
    "error",
    wrong="""
        total: 10_000
        schedules:
          betas[0]: {type: linear, init_value: 0.85, end_value: 0.95, duration: 100%}
          beta1: 0.9
    """,
    right="""
        total: 10_000
        schedules:
          betas[0]: {type: linear, init_value: 0.85, end_value: 0.95, duration: 100%}
          betas[1]: 0.9
    """,
)
def two_writers(case: Case) -> Iterator[Hit]:
    """Two entries write the same hyperparameter of the same group, under two names.

    They overwrite each other unseen, and the one that comes last wins, or the first, according to the order of a
    dictionary. `lr` beside `encoder.lr` is fine: the entry of a group replaces the general one there.

    Keep one of them.
    """
    first: dict[tuple[str | None, str], str] = {}
    for entry in case.entries:
        what = canonical(entry.target)
        whole = what.partition("[")[0]
        clash = [(entry.target.group, what), (entry.target.group, whole)]
        clash += [key for key in first if key[0] == entry.target.group and what == key[1].partition("[")[0]]
        other = next((first[key] for key in clash if key in first), None)
        if other is not None:
            yield Hit(entry.path, f"writes what {other} writes", "Keep one of the two")
        first.setdefault((entry.target.group, what), entry.name)


@rule(
    "TM403",
    "metric-not-fed",
    "error",
    wrong="""
        total: 10_000
        schedules:
          lr: {type: plateau, metric: val_los, init_value: 1.0e-3, factor: 0.5, patience: 3}
    """,
    right="""
        total: 10_000
        schedules:
          lr: {type: plateau, metric: val_loss, init_value: 1.0e-3, factor: 0.5, patience: 3}
    """,
    options="--metrics val_loss,accuracy",
)
def metric_not_fed(case: Case) -> Iterator[Hit]:
    """A controller listens to a metric that the run does not measure.

    It hears nothing and never decides: the lr stays where it is. Looked at only where `--metrics` says what the run
    gives to `observe(...)`.

    Correct the name, or measure it.
    """
    if case.metrics is None:
        return
    for entry in case.entries:
        for path, node, _ in nodes(entry.written, case.study.clock, entry.path):
            if isinstance(node, Controller) and node.metric not in case.metrics:
                message = f"listens to {node.metric!r}; this run measures {words.listed(case.metrics) or 'nothing'}"
                yield Hit(f"{path}.metric", message, did_you_mean(node.metric, case.metrics).strip())


@rule(
    "TM404",
    "unusual-name",
    "warning",
    wrong="""
        total: 10_000
        schedules:
          weigth_decay: {type: linear, init_value: 0.1, end_value: 0.01, duration: 100%}
    """,
    right="""
        total: 10_000
        schedules:
          weight_decay: {type: linear, init_value: 0.1, end_value: 0.01, duration: 100%}
    """,
)
def unusual_name(case: Case) -> Iterator[Hit]:
    """A name is nearly that of a known hyperparameter, or is what another tool calls it.

    Under an unknown name a value goes to no optimizer and has no range to be checked against: a misspelt schedule is
    silently no schedule. RLlib's `lr_schedule` was ignored like that over several releases (#6096, #8368).

    Use the name here, or ignore the rule if your loop reads exactly this name.
    """
    for entry in case.entries:
        key = entry.target.key
        if key in HYPERPARAMETERS or entry.target.group in LOOP_FAMILIES:
            continue
        near = difflib.get_close_matches(key, HYPERPARAMETERS, n=1, cutoff=_NEAR)
        here = ALIASES.get(key) or (near[0] if near else None)
        if here is not None:
            yield Hit(entry.path, f"{key} is no name of a hyperparameter here; {here} is", f"Call it {here}")


@rule(
    "TM405",
    "needs-index",
    "error",
    wrong="""
        total: 10_000
        schedules:
          betas: {type: linear, init_value: 0.85, end_value: 0.95, duration: 100%}
    """,
    right="""
        total: 10_000
        schedules:
          betas[0]: {type: linear, init_value: 0.85, end_value: 0.95, duration: 100%}
    """,
)
def needs_index(case: Case) -> Iterator[Hit]:
    """`betas` is a pair, and a schedule gives one number.

    An optimizer that takes a number where it wants a pair fails at its first step.

    Say which of the two: `betas[0]` is the momentum, `betas[1]` the average of squares.
    """
    found = (entry for entry in case.entries if entry.target.key == "betas" and entry.target.index not in (0, 1))
    yield from few(
        Hit(entry.path, "betas is a pair, and this names neither of the two", "Write betas[0] or betas[1]")
        for entry in found
    )
