"""The results of PPO for a reader: each figure beside the published one, a sentence for each schedule, tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from ppo_arms import ABLATION, CLIP, ENTROPY, KL, LR, PEER, PUBLISHED, SB3
from ppo_effects import CURVE, FINAL, MEASURES, STEPS

COMMAND = "python benchmarks/ppo_results.py"
Found = Mapping[str, Any]
NAMES = {FINAL: "final return", CURVE: "mean return over training", STEPS: "env steps until learned"}
BETTER, WORSE, NOTHING = "better", "worse", "nothing to be seen"
ALL = "All four together"
TITLES = {LR: "LR annealing", CLIP: "Clip annealing", ENTROPY: "Entropy decay", KL: "KL-adaptive lr"}


def as_markdown(found: Found, where: Mapping[str, Any]) -> str:
    """The report."""
    described = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
    lines = ["# PPO beside published figures, and what its schedules do", "", f"`{COMMAND}`; {described}.", ""]
    lines += _explained(found)
    if found[PUBLISHED]:
        lines += ["## Beside published figures", "", *_published(found[PUBLISHED], found[PEER])]
    if found[ABLATION]:
        lines += ["## What each schedule does", "", *_asked(), *_claims(found[ABLATION]), "", *_known()]
        for task, table in found[ABLATION].items():
            lines += [*_ablation(task, table)]
    return "\n".join(lines) + "\n"


def _explained(found: Found) -> Iterator[str]:
    seeds = found["seeds"]
    yield (
        f"Seeds {seeds[0]} to {seeds[-1]}, none left out. Final return: 100 episodes of the likeliest actions after "
        "the last update. Return in training: mean of the last 100 episodes. In brackets 95 % intervals over seeds "
        "(Student's t); differences are paired by seed."
    )
    yield ""


# beside published figures


def _published(tables: Found, peers: Found) -> Iterator[str]:
    yield (
        "`python train_ppo.py env=... seed=...`, nothing else. The zoo's figure is one model's: mean and standard "
        "deviation over episodes. Ours: mean over seeds of such means, and of such deviations."
    )
    yield ""
    yield "| task | env steps | RL Baselines3 Zoo | ours | least, median, most | env steps/s | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for task, row in tables.items():
        figure, returns = row["figure"], list(row["returns"].values())
        cells = [
            task,
            f"{figure['env_steps']:,}",
            f"{figure['mean']:.1f} ± {figure['std']:.1f}",
            f"**{row['mean']:.1f}** ± {row['std']:.1f} {_span(row['interval'], '.1f')}",
            ", ".join(f"{one:.1f}" for one in (min(returns), median(returns), max(returns))),
            f"{max(row['speed']):,.0f}",
            f"{min(row['seconds']):.0f}",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    for task, row in tables.items():
        yield f"- {task}: {_held(row)}"
    count = min(len(row["returns"]) for row in tables.values())
    chance = 100 * (count - 1) / (count + 1)
    yield f"- One more seed of the same kind would be between the least and the most of ours with {chance:.0f} %."
    for task, row in peers.items():
        if task in tables:
            yield f"- {_beside_peer(task, tables[task], row)}"
    yield ""
    yield (
        "Env steps/s: of a run the median of its rows, evaluations and checkpoints included. Seconds: of a run, "
        "without the start of Python. Both are the best of the seeds: what else a machine does only makes runs longer. "
        "Beside peers: [ppo.md](ppo.md)."
    )
    yield ""
    yield from _in_training(tables)


def _held(row: Found) -> str:
    """How a figure of one model compares, however seeds may be distributed."""
    figure, values = row["figure"]["mean"], list(row["returns"].values())
    shown = float(f"{figure:.1f}")
    least, most = (float(f"{one:.1f}") for one in (min(values), max(values)))
    where = "below all of ours" if shown < least else "above all of ours" if shown > most else "among our seeds"
    as_good = sum(value >= figure for value in values)
    return f"the published model is {where}; {as_good} of {len(values)} of them are as good as it or better."


def _beside_peer(task: str, ours: Found, theirs: Found) -> str:
    """All seeds of both, from the worst to the best: for settings under which a few go astray, a mean says little."""
    mine, peer = (
        ", ".join(f"{round(one, 1) + 0.0:.1f}" for one in sorted(row["returns"].values())) for row in (ours, theirs)
    )
    return f"{task} under the same settings, all seeds: ours {mine}; {SB3} itself {peer}, mean {theirs['mean']:.1f}."


def _in_training(tables: Found) -> Iterator[str]:
    rows = [(task, one) for task, row in tables.items() for one in row["in_training"]]
    if not rows:
        return
    yield "Return in training beside CleanRL's `ppo.py`, which has other settings; ± between seeds:"
    yield ""
    yield "| task | CleanRL | at env steps | ours | at env steps |"
    yield "|---|---|---|---|---|"
    for task, one in rows:
        figure = one["figure"]
        theirs = f"{figure['mean']:.0f} ± {figure['std']:.0f} | {figure['env_steps']:,}"
        yield f"| {task} | {theirs} | {one['mean']:.1f} ± {one['std']:.1f} | {one['env_steps']:,} |"
    yield ""


# schedules


def effect(name: str, one: Found) -> str:
    """What an interval says."""
    low, high = one["interval"]
    better, worse = (high < 0, low > 0) if name == STEPS else (low > 0, high < 0)
    return BETTER if better else WORSE if worse else NOTHING


def shown(name: str, one: Found | None) -> str:
    """A paired difference."""
    if one is None:
        return "-"
    scale, digits = (1e3, 1) if name == STEPS else (1.0, 1)
    mean, low, high = (round(value / scale, digits) + 0.0 for value in (one["mean"], *one["interval"]))  # never -0.0
    unit = "k" if name == STEPS else ""
    return f"{mean:+.1f}{unit} [{low:+.1f}, {high:+.1f}]"


def _asked() -> Iterator[str]:
    yield (
        "With a schedule minus without it, in return, or in env steps (k: thousands), of which fewer are better. "
        "`Among the others`: all four on, against all but this one. `By itself`: this one alone, against none. The "
        "thresholds of CartPole-v1 and Acrobot-v1 are the usual ones; Pendulum-v1's was chosen on other seeds, 101 to "
        "103. Of the KL-adaptive factor's bounds one pair was tried."
    )
    yield ""


def _known() -> Iterator[str]:
    """What others found."""
    yield (
        "Elsewhere: Andrychowicz et al. 2021 (arXiv:2006.05990, choice C31) found that annealing the lr to 0 helps on "
        "4 of 5 tasks of continuous control, and by little beside the choice of the rate itself. The tasks here are "
        "others, and far smaller; their settings were tuned by others, Pendulum's and Acrobot's at a constant rate."
    )
    yield ""


def _claims(tables: Found) -> Iterator[str]:
    """What intervals say, a sentence for each schedule."""
    count = 0
    for schedule in dict.fromkeys(name for table in tables.values() for name in table["effects"]):
        said: dict[str, list[str]] = {BETTER: [], WORSE: [], NOTHING: []}
        for task, table in tables.items():
            for place, measures in table["effects"].get(schedule, {}).items():
                for name, one in measures.items():
                    if one:
                        where = task if schedule not in TITLES else f"{task}, {place}"
                        said[effect(name, one)].append(f"{NAMES[name]} on {where}, {shown(name, one)}")
        nothing = len(said.pop(NOTHING))
        told = [f"{what} in {'; '.join(found)}" for what, found in said.items() if found]
        asked = nothing + sum(map(len, said.values()))
        count += asked
        seen = f"{' and '.join(told)}. Nothing" if told else "Nothing"
        yield f"- **{TITLES.get(schedule, ALL)}:** {seen} to be seen in {nothing} of {asked}."
    for name in MEASURES:
        verdicts = [effect(name, one[name]) for one in _differences(tables) if one[name]]
        yield f"- By measure, {NAMES[name]}: nothing to be seen in {verdicts.count(NOTHING)} of {len(verdicts)}."
    yield ""
    yield f"Of {count} intervals that know of no effect, about {count / 20:.0f} leave out 0 by chance."


def _differences(tables: Found) -> list[Found]:
    return [one for table in tables.values() for places in table["effects"].values() for one in places.values()]


def _effects(table: Found) -> Iterator[str]:
    yield "| with it minus without it | " + " | ".join(NAMES[name] for name in MEASURES) + " |"
    yield "|---|---|---|---|"
    for schedule, places in table["effects"].items():
        for place, measures in places.items():
            title = f"{TITLES[schedule]}, {place}" if schedule in TITLES else ALL
            yield f"| {title} | {' | '.join(_judged(name, measures[name]) for name in MEASURES)} |"
    yield ""


def _judged(name: str, one: Found | None) -> str:
    if one is None:
        return "-"
    if not any(one["by_seed"].values()):
        return "the same in all seeds"
    verdict = effect(name, one)
    return shown(name, one) if verdict == NOTHING else f"**{shown(name, one)}** {verdict}"


def _ablation(task: str, table: Found) -> Iterator[str]:
    made = table["settings"]
    low, high = made["factors"]
    yield f"## {task}, {made['total']:,} env steps"
    yield ""
    yield (
        f"lr {made['lr']:g}, clip range {made['clip_range']:g}, entropy coefficient {made['entropy_coef']:g}: "
        "constant, or on a line to 0 over the run. KL-adaptive: the lr times a factor that begins at 1, is divided by "
        f"1.5 after a batch with an `approx_kl` above {2 * made['target_kl']:g} and multiplied by 1.5 after one below "
        f"{made['target_kl'] / 2:g}, within {low:g} and {high:g}. Learned: {made['threshold']:g} in training; a run "
        "that never is counts as its length. Everything else as published."
    )
    yield ""
    yield "| | " + " | ".join(NAMES[name] for name in MEASURES) + " | learned | worst end | mean lr |"
    yield "|---|---|---|---|---|---|---|"
    for arm, row in table["arms"].items():
        cells = [_cell(name, row[name]) for name in MEASURES]
        learned = f"{row['reached']} of {len(row['by_seed'][FINAL])}"
        yield f"| {arm} | {' | '.join(cells)} | {learned} | {row['worst']:.1f} | {row['lr']:.1e} |"
    yield ""
    yield from _effects(table)


def _cell(name: str, row: Found) -> str:
    scale, unit = (1e3, "k") if name == STEPS else (1.0, "")
    low, high = (value / scale for value in row["interval"])
    return f"{row['mean'] / scale:.1f}{unit} [{low:.1f}, {high:.1f}]"


def _span(interval: tuple[float, float], digits: str) -> str:
    low, high = interval
    return f"[{low:{digits}}, {high:{digits}}]"
