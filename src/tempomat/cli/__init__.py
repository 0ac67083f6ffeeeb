"""The command line: parse, ask, print. The only room that prints, reads arguments or decides exit codes.

Exit codes: 0 when all is well, 1 when `lint`, `doctor` or `convert` found an error or `diff` a difference, 2 when it
could not be done.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from tempomat.cli.parser import parser
from tempomat.core import TempomatError

CANNOT = 2
"""The command could not be done: wrong arguments, a plan that cannot be read, a file that cannot be written."""
_INTERRUPTED, _PIPE_CLOSED = 130, 141  # what a shell reports for the signals 2 and 13


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Wrong arguments leave through `SystemExit(2)`, as argparse does."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets question marks, not a traceback
    try:
        options, strange = parser().parse_known_args(argv)
        if strange:
            hint = f". {options.hint}" if "hint" in options else ""
            options.usage_error(f"unrecognized arguments: {' '.join(strange)}{hint}")
        code = options.run(options)
        sys.stdout.flush()
    except TempomatError as error:
        print(f"tempomat: {error}", file=sys.stderr)
        return CANNOT
    except BrokenPipeError:
        # the reader, such as `head`, has gone; what Python would flush at exit must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except OSError as error:
        print(f"tempomat: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        return _INTERRUPTED
    return code
