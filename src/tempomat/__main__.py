"""`python -m tempomat`: the command line."""

import sys

from tempomat.cli import main

if __name__ == "__main__":
    sys.exit(main())
