"""Run it: ``python -m experiments.precision``."""

import sys

from experiments.precision.main import main

if __name__ == "__main__":
    sys.exit(main())
