"""The report on the text: a sentence for each claim as the intervals have it, tables, and a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from text_runs import BETAS, WARMUP, WEIGHT_DECAY, WSD_FALL, Runs, Scale, learning_rate
from text_tables import COMMAND, LINEAR, Case, Choice, averaged, ended, tuned, warm_and_cold

import tempomat as tm

DECAYS = (LINEAR, "cosine to 10 %", "WSD")
Found = Mapping[str, Any]


def as_markdown(found: Found, where: Mapping[str, Any], scale: Scale) -> str:
    """The report."""
    described = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
    lines = ["# Schedules on a character-level language model", "", f"`{COMMAND}`. {described}.", ""]
    lines += _setting(found, scale)
    claims = list(_claims(found))
    for title, told in (
        ("Where it helps", [claim + _verdict(row) for claim, row in claims if _is_lower(row)]),
        ("Where it does not", [claim + _verdict(row) for claim, row in claims if not _is_lower(row)]),
        ("Beside that", list(_remarks(found))),
    ):
        lines += [f"## {title}", "", *([f"- {one}" for one in told] or ["Nowhere."]), ""]
    for table in (_schedule_table, _warmup_table, _average_table, _tuning_table):
        lines += [*table(found), ""]
    return "\n".join(lines)


def _setting(found: Found, scale: Scale) -> Iterator[str]:
    yield from _paragraph(
        f"Text: {found['text']}. Model: a GPT, normalised before each block; layers: {scale.layers}, width "
        f"{scale.width}, heads: {scale.heads}, reading {scale.length} characters. AdamW with betas {BETAS[0]} and "
        f"{BETAS[1]} and weight decay {WEIGHT_DECAY}, no clipping, {scale.updates} updates of {scale.batch} rows. "
        f"Every lr rises over the first {WARMUP} of the run from a hundredth of its peak, unless it is the warmup that "
        f"is tried. WSD falls to zero along a line over the last {WSD_FALL}."
    )
    yield from _paragraph(
        f"Tuned: the peak of each schedule, among {_listed(scale.peaks)}, by the mean loss over seeds that the "
        f"comparison does not use ({_listed(scale.tuning_seeds)}); for the average of the weights its decay as well, "
        f"among {_listed(scale.averages)}. Nothing else was tuned."
    )
    yield from _paragraph(
        f"Loss: of the whole validation text at the end of the run, nats per character, mean over {len(scale.seeds)} "
        "seeds. A seed fixes the weights at the start and the batches. In brackets 95 % intervals (Student's t), each "
        "for itself; differences are paired by seed, and below zero is better. A run that diverged counts as one that "
        "has learnt nothing, ln(letters)."
    )


def _paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(text, 120, break_on_hyphens=False), ""]


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{one:g}" for one in values)


# sentences


def _claims(found: Found) -> Iterator[tuple[str, Found]]:
    """What is said to help, each with its difference."""
    for name in DECAYS:
        yield (
            f"**{_capital(name)}** against a constant lr, each at its best peak",
            found["schedules"][name]["against"]["constant"],
        )
    slow = found["slow"]
    yield (
        f"**{_capital(LINEAR)}** against a constant lr, both from the lowest peak, {slow['peak']:g}",
        slow["difference"],
    )
    for multiple, row in found["warmup"].items():
        place = "its best peak" if multiple == "1" else f"{multiple} times its best peak"
        yield f"**Warmup** before linear to zero at {place}, {row['peak']:g}, against none", row["difference"]
    average, choice = found["average"], found["choice"]
    which = f"**An average of the weights** at a constant lr of {choice['average_peak']:g}"
    yield f"{which} against the last weights of the same runs", average["same run, last weights"]
    if choice["average_peak"] != choice["peaks"]["constant"]:
        yield f"{which} against the last weights at the best constant lr", average["against"]["constant"]
    for name in DECAYS:
        yield f"{which} instead of decay, against {name} at its best peak", average["against"][name]


def _remarks(found: Found) -> Iterator[str]:
    for name in DECAYS[1:]:
        row = found["schedules"][name]["against"][LINEAR]
        yield f"{_capital(name)} against linear to zero, each at its best peak{_verdict(row)}"
    curve = found["schedules"]["constant"]["curve"]["loss"]
    if len(curve) >= 5:
        last = curve[-1] - curve[-1 - len(curve) // 5]
        yield f"At the best constant lr the loss changed by {last:+.3f} in the last fifth of the run."
    best = found["schedules"][LINEAR]["mean"]
    for row in found["warmup"].values():
        if row["peak"] != found["choice"]["peaks"][LINEAR]:
            warm, cold = (f"{row[one]['mean'] - best:+.3f}" for one in ("warm", "cold"))
            yield f"Linear to zero from {row['peak']:g} against its best peak: {warm} with warmup, {cold} without."
    for name, means in found["tuning"].items():
        if found["choice"]["peaks"][name] in (min(means), max(means)):
            yield f"The best peak of {name} is at the edge of the grid, so a better one may lie beyond."


def _verdict(difference: Found) -> str:
    low, _ = difference["interval"]
    told = "lower" if _is_lower(difference) else "higher" if low > 0 else "no difference that these seeds can show"
    return f": {_signed(difference)}, {told}."


def _is_lower(difference: Found) -> bool:
    return difference["interval"][1] < 0


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


# tables


def _schedule_table(found: Found) -> Iterator[str]:
    yield "## Schedules, each at its best peak"
    yield ""
    yield "| schedule | peak lr | loss | against constant | against linear to zero |"
    yield "|---|---|---|---|---|"
    for name, row in found["schedules"].items():
        against = (_signed(row["against"][base]) if base in row["against"] else "-" for base in ("constant", LINEAR))
        yield f"| {name} | {found['choice']['peaks'][name]:g} | {_plain(row)} | {' | '.join(against)} |"
    slow = found["slow"]
    yield f"| constant, slow | {slow['peak']:g} | {_plain(slow['constant'])} | - | - |"
    yield f"| {LINEAR}, slow | {slow['peak']:g} | {_plain(slow[LINEAR])} | {_signed(slow['difference'])}, slow | - |"


def _warmup_table(found: Found) -> Iterator[str]:
    yield "## Linear to zero with and without warmup"
    yield ""
    yield "| peak lr | with warmup | without | difference | diverged with, without |"
    yield "|---|---|---|---|---|"
    for row in found["warmup"].values():
        cells = (_plain(row["warm"]), _plain(row["cold"]), _signed(row["difference"]))
        yield f"| {row['peak']:g} | {' | '.join(cells)} | {row['diverged']['warm']}, {row['diverged']['cold']} |"


def _average_table(found: Found) -> Iterator[str]:
    average, choice = found["average"], found["choice"]
    yield "## An exponential average of the weights at a constant lr, against decay"
    yield ""
    yield f"Peak {choice['average_peak']:g}, decay {choice['average_decay']:g}: {_plain(average)}."
    yield ""
    yield "| against the last weights of | difference |"
    yield "|---|---|"
    yield f"| the same runs | {_signed(average['same run, last weights'])} |"
    for name, difference in average["against"].items():
        yield f"| {name}, at its best peak | {_signed(difference)} |"


def _tuning_table(found: Found) -> Iterator[str]:
    yield "## The tuning: mean loss by peak lr"
    yield ""
    yield f"| schedule | {' | '.join(f'{peak:g}' for peak in found['tuning']['constant'])} |"
    yield "|---" * (len(found["tuning"]["constant"]) + 1) + "|"
    for name, means in found["tuning"].items():
        chosen = found["choice"]["peaks"][name]
        cells = (f"**{mean:.3f}**" if peak == chosen else f"{mean:.3f}" for peak, mean in means.items())
        yield f"| {name} | {' | '.join(cells)} |"


def _plain(row: Found) -> str:
    low, high = row["interval"]
    return f"{row['mean']:.3f} [{low:.3f}, {high:.3f}]"


def _signed(row: Found) -> str:
    low, high = row["interval"]
    return f"{row['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"


# picture


def draw(choice: Choice, store: Runs, path: Path) -> None:
    """The lr of each schedule, the validation losses under them, and those with and without warmup."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (rates, schedules, warmup) = plt.subplots(1, 3, figsize=(14, 4.4), constrained_layout=True)
    counts = np.arange(store.scale.updates)
    for name, case in tuned(choice).items():
        plan = tm.Plan({"lr": learning_rate(case(store.scale.seeds[0]))}, total=store.scale.updates).resolve()
        rates.plot(counts, plan["lr"](counts), label=name)
        _band(schedules, case, store, label=f"{name}, {choice.peaks[name]:g}")
    average = f"{choice.average_decay:g}"
    _band(schedules, averaged(choice), store, average=average, label="constant, average of weights", linestyle="--")
    for place, multiple in enumerate(store.scale.multiples):
        warm, cold = warm_and_cold(choice, multiple)
        peak = multiple * choice.peaks[LINEAR]
        _band(warmup, warm, store, color=f"C{place}", label=f"{peak:g}, with warmup")
        _band(warmup, cold, store, color=f"C{place}", label=f"{peak:g}, without", linestyle=":")
    rates.set(title="Learning rate", ylabel="lr")
    lowest, start = schedules.get_ylim()[0], store.scale.evaluations // 4
    early = store.result(tuned(choice)["constant"](store.scale.seeds[0]))
    top = early["curve"]["loss"][start] if early and len(early["curve"]["loss"]) > start else None
    schedules.set(
        title="Each schedule at its best peak", ylabel="validation loss, nats per character", ylim=(lowest, top)
    )
    warmup.set(title="Linear to zero, with and without warmup", ylabel="validation loss, nats per character")
    for axis in (rates, schedules, warmup):
        axis.set_xlabel("optimizer steps")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    bottom, top = warmup.get_ylim()
    warmup.set_ylim(bottom, top + (top - bottom) / 4)  # room for the names above the lines
    warmup.legend(fontsize=7, ncols=2, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _band(axis: Any, case: Case, store: Runs, *, average: str | None = None, **style: Any) -> None:
    """The mean over seeds, and from the lowest to the highest; as far as all runs have got."""
    found = [ended(case(seed), store)["curve"] for seed in store.scale.seeds]
    lines = [one["loss"] if average is None else one["averages"].get(average, []) for one in found]
    shared = min(map(len, lines))
    values = np.array([line[:shared] for line in lines])
    (line,) = axis.plot(found[0]["updates"][:shared], values.mean(axis=0), lw=1.6, **style)
    axis.fill_between(
        found[0]["updates"][:shared], values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15, lw=0
    )
