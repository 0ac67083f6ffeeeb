"""Measure against the peers, side by side in one run, pinned to one core; some five minutes.

python benchmarks/run.py                      every figure; rewrites benchmarks/results/foundation.{md,json}
python benchmarks/run.py --only curve apply   these alone, printed
python benchmarks/run.py --quick              one round of each: does it work here?
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
FIGURES = ("imports", "curve", "apply", "unchanging", "access")


def main() -> int:
    """Measure, print, and keep the result of a whole run."""
    options = _read_options()
    # Read by the libraries when they are first imported, hence before any figure.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from measuring import Stopwatch, pin

    core = pin(options.core)
    from writing import as_json, as_markdown, machine, replace

    where = {**machine(), "core": core}
    names = [name for name in FIGURES if name in options.only]
    figures = {name: import_module(name) for name in names}
    watch = Stopwatch(sum(figure.SECONDS for figure in figures.values()), quick=options.quick)
    measured = {name: figure.measure(watch) for name, figure in figures.items()}
    print(file=sys.stderr)

    command = " ".join(["python benchmarks/run.py", *sys.argv[1:]])
    told = as_markdown(measured, where, command), as_json(measured, where, command)
    print(told[0])
    if options.quick:
        print("Every contender was called once: the times mean little.")
    if options.json:
        replace(options.json, told[1])
    if len(names) == len(FIGURES) and not options.quick:
        for text, name in zip(told, ("foundation.md", "foundation.json"), strict=True):
            replace(RESULTS / name, text)
            print(f"Written: {RESULTS / name}", file=sys.stderr)
    return 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES, help="figures to measure")
    parser.add_argument("--quick", action="store_true", help="one round of each; the times mean little")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result there as well")
    parser.add_argument("--core", type=int, help="the core to be pinned to; the last one otherwise")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
