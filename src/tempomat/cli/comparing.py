"""`tempomat compare`: runs side by side."""

from __future__ import annotations

import argparse
import json
import math
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tempomat.cli.printing import add_pictures, columns, draw, wrapped

if TYPE_CHECKING:
    from tempomat.analysis.picture import Figure
    from tempomat.runs.compare import Comparison, Curve, Measurement, Side

_POINTS = 1_000
"""The most points of a curve in a picture."""


def add(several: Any) -> None:
    """Add the command to the parser."""
    one = several.add_parser(
        "compare",
        help="compare recorded runs",
        description="Compare recorded runs: what their plans differ in, what was applied, what was measured. "
        "Runs of one plan count as its seeds; differences are paired where seeds match.",
    )
    one.set_defaults(run=compare)
    one.add_argument("folders", metavar="RUN", nargs="+", help="a run's folder; the first one's plan is A")
    one.add_argument(
        "--metric", metavar="NAME", action="append", default=[], help="only this measurement; may be repeated"
    )
    one.add_argument(
        "--mode", metavar="NAME=min|max", type=_mode, action="append", default=[], help="which way is better"
    )
    one.add_argument("--by", choices=("last", "best"), default="last", help="which value decides (default: last)")
    one.add_argument("--clock", metavar="UNIT", help="what to count by, where the plans count different units")
    add_pictures(one, where="there too")
    one.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def compare(options: Namespace) -> int:
    """Say how runs compare."""
    from tempomat.runs.compare import compare as compared
    from tempomat.runs.reader import read_run

    runs = [read_run(folder) for folder in options.folders]
    found = compared(runs, metrics=options.metric, modes=dict(options.mode), clock=options.clock)
    for line in {"text": _text, "json": _json}[options.format](found, options.by):
        print(line)
    wrote = draw(figure(found, options.by), options) if options.png or options.html else []
    if options.format == "text":
        for path in wrote:
            print(f"wrote {path}")
    return 0


def _mode(text: str) -> tuple[str, str]:
    name, _, mode = text.rpartition("=")
    if not name or mode not in ("min", "max"):
        raise argparse.ArgumentTypeError(f"must be NAME=min or NAME=max, got {text!r}")
    return name, mode


# text


def _text(found: Comparison, by: Any) -> Iterator[str]:
    from tempomat.runs.verdicts import sentences

    width = columns(narrowest=60)
    for side in found.sides:
        yield from wrapped(f"{side.letter}  {', '.join(str(run.folder) for run in side.runs)}", width, "", "   ")
        yield from wrapped(_about(side), width, "   ")
    yield from _differences(found, width)
    yield from _applied(found)
    yield from _measured(found)
    yield ""
    for one in sentences(found, by):
        yield from wrapped(one, width)


def _about(side: Side) -> str:
    seeds = ", ".join("none" if seed is None else str(seed) for seed in side.seeds)
    return f"{'seed' if len(side.runs) == 1 else 'seeds'} {seeds}; up to {side.last:_} {side.clock}"


def _differences(found: Comparison, width: int) -> Iterator[str]:
    for side, changes in zip(found.sides, found.changes, strict=True):
        if changes:
            yield ""
            yield f"plan, A -> {side.letter}"
            for change in changes:
                yield from wrapped(str(change), width, "  ", "    ")


def _applied(found: Comparison) -> Iterator[str]:
    counts = found.counts()
    if found.differing:
        yield ""
        heads = [f"{count:_}" for count in counts]
        yield from _table(
            f"as applied, at {found.clock}",
            heads,
            [(name, [(side.letter, _values(side, name, counts)) for side in found.sides]) for name in found.differing],
        )
    same = [name for name in found.entries if name not in found.differing]
    if same:
        yield f"the same in all: {', '.join(same)}"


def _values(side: Side, name: str, counts: Sequence[int]) -> list[str]:
    curve = side.applied(name)
    if curve is None:
        return ["-"] * len(counts)
    by_seed = ["by seed"] if side.differs_by_seed(name) else []
    # beyond a run's end nothing was applied
    return [f"{curve.at(count):.4g}" if count <= side.last else "-" for count in counts] + by_seed


def _measured(found: Comparison) -> Iterator[str]:
    if not found.measurements:
        yield from ("", "No measurement is in every run.")
        return
    yield ""
    yield from _table(
        "measured",
        ["last", "95 % interval", "at", "best", "95 % interval", "at"],
        [
            (one.name, [(side.letter, _outcome(one, place)) for place, side in enumerate(found.sides)])
            for one in found.measurements
        ],
    )


def _outcome(one: Measurement, side: int) -> list[str]:
    outcomes = one.outcomes[side]
    last = [*_mean(one, side, "last"), _span([seen.last_at for seen in outcomes])]
    if one.mode is None:
        return last
    return [*last, *_mean(one, side, "best"), _span([seen.best_at for seen in outcomes])]


def _mean(one: Measurement, side: int, by: Any) -> list[str]:
    found = one.interval(side, by)
    return [f"{found.mean:.4g}", f"{found.low:.4g} to {found.high:.4g}" if found.known else "one seed"]


def _span(counts: Sequence[int]) -> str:
    return f"{min(counts):_}" if min(counts) == max(counts) else f"{min(counts):_} to {max(counts):_}"


def _table(
    title: str, heads: Sequence[str], blocks: Sequence[tuple[str, Sequence[tuple[str, list[str]]]]]
) -> list[str]:
    """Rows under names, every column as wide as it needs."""
    rows = [cells for _, block in blocks for _, cells in block]
    columns = max(len(heads), *(len(cells) for cells in rows))
    widths = [
        max(len(line[column]) if column < len(line) else 0 for line in [heads, *rows]) + 2 for column in range(columns)
    ]
    first = max(len(title), 6)

    def line(label: str, cells: Sequence[str]) -> str:
        return f"{label:<{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))

    lines = [line(title, heads)]
    for name, block in blocks:
        lines.append(f"  {name}")
        lines += [line(f"    {letter}", cells) for letter, cells in block]
    return lines


# pictures and data


def figure(found: Comparison, by: Any) -> Figure:
    """The entries that differ as applied, and every measurement as the mean over the seeds of each side."""
    from tempomat.analysis.picture import Figure, Series
    from tempomat.runs.verdicts import sentences

    drawn: list[Any] = []
    for name in found.differing or found.entries:
        for side in found.sides:
            curve = side.applied(name)
            if curve is not None:
                note = "other seeds held other values" if side.differs_by_seed(name) else ""
                counts, values = _thinned(curve.counts, curve.values)
                drawn.append(Series(f"{side.letter}.{name}", found.clock, counts, values, steps=True, note=note))
    for one in found.measurements:
        for side in found.sides:
            counts, values, note = _mean_curve(side.measured(one.name))
            drawn.append(Series(f"{side.letter}.{one.name}", found.clock, counts, values, note=note))
    title = " and ".join(f"{side.letter} ({side.runs[0].folder.name})" for side in found.sides[:3])
    return Figure(f"Comparison of {title}", tuple(drawn), tuple(sentences(found, by)))


def _mean_curve(curves: list[Curve]) -> tuple[Any, Any, str]:
    """The mean over seeds at the counts that all of them have, or the first seed's curve where they have none."""
    shared = curves[0].counts
    for curve in curves[1:]:
        shared = np.intersect1d(shared, curve.counts, assume_unique=True)
    used = curves if shared.size else curves[:1]
    shared = shared if shared.size else curves[0].counts
    values = np.mean([one.values[np.searchsorted(one.counts, shared)] for one in used], axis=0)
    note = "" if len(used) == len(curves) else "the first seed alone: the others were measured at other counts"
    return *_thinned(shared, np.where(np.isfinite(values), values, np.nan)), note


def _thinned(counts: Any, values: Any) -> tuple[Any, Any]:
    """At most so many points, the first and the last among them, and those on both sides of the largest jumps."""
    if counts.size <= _POINTS:
        return counts, values
    even = np.linspace(0, counts.size - 1, _POINTS // 2).astype(int)
    jumps = np.argsort(-np.abs(np.nan_to_num(np.diff(values))), kind="stable")[: _POINTS // 4]
    kept = np.unique(np.concatenate([even, jumps, jumps + 1]))
    return counts[kept], values[kept]


def _json(found: Comparison, by: Any) -> Iterator[str]:
    from tempomat.runs.verdicts import sentences

    data = {
        "clock": found.clock,
        "sides": [
            {
                "letter": side.letter,
                "fingerprint": side.plan.fingerprint,
                "runs": [{"folder": str(run.folder), "seed": run.seed} for run in side.runs],
                "last": side.last,
                "changes": [str(change) for change in changes],
            }
            for side, changes in zip(found.sides, found.changes, strict=True)
        ],
        "differing": list(found.differing),
        "measured": [_measurement_data(found, one) for one in found.measurements],
        "sentences": list(sentences(found, by)),
    }
    yield json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)


def _measurement_data(found: Comparison, one: Measurement) -> dict[str, Any]:
    sides = {}
    for place, side in enumerate(found.sides):
        seeds, differences = one.paired(place, "last")
        sides[side.letter] = {
            "runs": [{key: _finite(value) for key, value in seen._asdict().items()} for seen in one.outcomes[place]],
            "last": [_finite(value) for value in one.interval(place)],
            "paired": {"seeds": list(seeds), "differences": [_finite(value) for value in differences]},
        }
    return {"name": one.name, "mode": one.mode, "sides": sides}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
