"""What the evidence on digits comes to: paired differences, a plain sentence for each claim, and the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import digits_runs as digits
import numpy as np
import outcomes
from digits_runs import Scale

COMMAND = "python benchmarks/evidence_digits.py"
SAME = 0.5  # points of accuracy: 3 of the 600 test images

SAID = {
    digits.EASY: "Easy first",
    digits.COMPETENCE: "Competence-based curriculum",
    digits.HARD: "Hard samples drawn often",
    digits.HARDER: "Hard samples drawn more and more often",
    digits.BALANCED: "Control, both classes equally often whatever their difficulty,",
    digits.RANDOM: "Control, the same pace as easy first in no order of difficulty,",
    digits.HARD_FIRST: "Control, the hardest first,",
}
"""Rows that a sentence is about, and how it begins."""

PAIRS = {
    (digits.EASY, digits.RANDOM): "The order of difficulty in easy first, against the same pace at random,",
    (digits.HARD, digits.BALANCED): "The difficulty in hard negatives, against classes equally often,",
}
"""Rows that are held against a control besides the base, and how the sentence begins."""

Table = dict[str, Any]


def difference(one: Table, other: Table) -> Table | None:
    """Of two rows' scores, seed by seed, over the seeds that both have; None without any."""
    by_seed = [value - other["scores"][seed] for seed, value in one["scores"].items() if seed in other["scores"]]
    if not by_seed:
        return None
    return {"by_seed": by_seed, "mean": float(np.mean(by_seed)), "interval": outcomes.interval(by_seed)}


def shown(found: Table | None) -> str:
    """A paired difference."""
    if found is None:
        return "-"
    mean, low, high = (round(value, 2) + 0.0 for value in (found["mean"], *found["interval"]))  # + 0.0: never -0.00
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def effect(found: Table) -> str:
    """What an interval says."""
    low, high = found["interval"]
    if low > 0:
        return "helps"
    return "hurts" if high < 0 else "makes no difference that could be seen"


# sentences


def claims(tables: dict[str, Table]) -> list[str]:
    """A plain sentence for each thing that is said of these schedules."""
    said = list(_about_batches(tables.get("batches", {})))
    for arm, title in SAID.items():
        said += _about_arm(title, {name: row["against"] for name, table in tables.items() if (row := table.get(arm))})
    for (arm, control), title in PAIRS.items():
        both = {name: table for name, table in tables.items() if arm in table and control in table}
        said += _about_arm(title, {name: difference(table[arm], table[control]) for name, table in both.items()})
    return said


def _about_batches(table: Table) -> Iterator[str]:
    if not {digits.CONSTANT, digits.DECAY, digits.RAMP, digits.LARGER} <= set(table):
        return
    decay, ramp, larger = table[digits.DECAY], table[digits.RAMP], table[digits.LARGER]
    against, constant = ramp["against"], table[digits.CONSTANT]["against"]
    low, high = against["interval"]
    if low >= -SAME and high <= SAME:
        verdict = f"ends where lr decay ends, to within {SAME} points"
    elif low > 0 or high < 0:
        verdict = f"does {'better' if low > 0 else 'worse'} than lr decay"
    else:
        verdict = "may or may not end where lr decay ends"
    curves = [np.array(row["curve"]["loss"]) for row in (ramp, decay)]
    first = round(len(curves[0]) * int(digits.MARKS[0][:-1]) / 100)  # up to there both do the same
    gap = float(np.abs(curves[0] - curves[1])[first:].max())
    yield (
        f"**Batch ramp instead of lr decay** {verdict}: {shown(against)} points of accuracy, with {ramp['updates']} "
        f"updates instead of {decay['updates']} ({decay['updates'] / ramp['updates']:.1f} times fewer), at the same lr "
        f"and the same number of epochs. From {digits.MARKS[0]} of the run on, while the mean test loss of lr decay "
        f"falls from {curves[1][first - 1]:.3f} to {curves[1][-1]:.3f}, that of the ramp is never more than {gap:.3f} "
        "off it."
    )
    matters = "matters here" if constant["interval"][1] < 0 else "shows no gain here"
    yield f"**Decay itself** {matters}: a constant lr and batch, at its own best lr, comes to {shown(constant)} points."
    control = difference(ramp, larger)
    assert control is not None
    yield (
        f"**As many updates by other means**: a larger batch from the start, with lr decay and an lr of its own, takes "
        f"{larger['updates']} updates and comes to {shown(larger['against'])} points against lr decay at the small "
        f"batch; the ramp to {shown(control)} points against that larger batch."
    )


def _about_arm(title: str, found: Mapping[str, Table | None]) -> Iterator[str]:
    """By setting what a row differs by, sorted by what that says."""
    by_effect: dict[str, list[str]] = {}
    for setting, one in found.items():
        if one is not None:
            by_effect.setdefault(effect(one), []).append(f"{setting} {shown(one)}")
    if by_effect:
        yield f"**{title}** " + "; ".join(f"{what} in {', '.join(where)}" for what, where in by_effect.items()) + "."


def as_markdown(scale: Scale, tables: dict[str, Table], where: dict[str, Any]) -> str:
    """The results for a reader."""
    described = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
    lines = ["# Batch size, curriculum and hard samples on handwritten digits", "", f"`{COMMAND}`; {described}.", ""]
    lines += [
        f"A net of one hidden layer, SGD with momentum 0.9, {scale.size} training images moved by up to a pixel; "
        f"600 test images, which nothing is chosen by. Seeds {_span(scale.seeds)}: each has training images, "
        "weights, order and shifts of its own, the same for every row. In brackets 95 % intervals (Student's t); "
        "differences are paired by seed, in points of the score.",
        "",
        f"The highest lr of each row has the best mean validation score of {len(digits.PEAKS)} values, each twice the "
        f"one before, over seeds {_span(scale.tuning_seeds)}; the grid is the same for every row of a table. In "
        "the first table the batch ramp takes the lr of lr decay, as Smith et al. 2018 do (arXiv:1711.00489), and once "
        "more its own if that is another. Where a run diverges its score is 0.",
        "",
        "About one interval in twenty leaves out 0 by chance. An lr is chosen once for all seeds: the luck in that "
        "choice is in no interval.",
        "",
        "## What came of it",
        "",
    ]
    lines += [f"- {one}" for one in claims(tables)] + [""]
    for name, table in tables.items():
        lines += _table_lines(scale, name, table)
    lines += list(_legend())
    return "\n".join(lines) + "\n"


def _table_lines(scale: Scale, name: str, table: Table) -> Iterator[str]:
    setting = scale.settings[name]
    yield f"## {name}: {setting.told}"
    yield ""
    yield f"| | lr | updates | test {setting.measure}, % | against {setting.base} | test loss |"
    yield "|---|---|---|---|---|---|"
    for arm, row in table.items():
        low, high = row["interval"]
        edge = " (end of the grid)" if row["at_the_end_of_the_grid"] else ""
        against = "-" if arm == setting.base else shown(row["against"])
        lost = f"; {row['diverged']} diverged" if row["diverged"] else ""
        score = f"{row['mean']:.2f} [{low:.2f}, {high:.2f}]{lost}"
        yield f"| {arm} | {row['peak']:g}{edge} | {row['updates']} | {score} | {against} | {row['loss']:.3f} |"
    yield ""


def _legend() -> Iterator[str]:
    yield "## What the rows are"
    yield ""
    marks = ", ".join(digits.MARKS)
    yield (
        f"- lr decay: the lr over {digits.FACTOR} at {marks} of the run. batch ramp: the batch times {digits.FACTOR} "
        "there, the lr constant."
    )
    yield "- larger batch, lr decay: a batch that comes to about the ramp's number of updates, from the start."
    yield (
        f"- easy first: the easiest {digits.FIRST_SHARE:.0%} of the images in play, linearly more until all are at "
        f"{digits.PACED} of the run. competence: the same ends, by the square root of Platanios et al. 2019 "
        "(arXiv:1903.09848). random first, hard first: the same pace as easy first, by scores that say nothing, and "
        "from the other end."
    )
    yield (
        "- hard often: images drawn by their difficulty, at least .02; hard more and more: by its power, which rises "
        "from 0 to 1 over the run. Among eights against all else, positives have weight 1 and negatives their "
        "difficulty: these are hard negatives. balanced: both classes equally often."
    )
    yield (
        "- Difficulty: one less the probability of the image's training label by a logistic regression fitted to the "
        "other folds of the training images. In the sampling tables the lr falls linearly to 0 and the batch is 32: it "
        "is highest while few images are in play. Other paces, shapes of the lr, nets and sizes were not tried."
    )


def _span(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
