"""Run it: ``python -m experiments.speed``."""

import sys

from experiments.speed.main import main

if __name__ == "__main__":
    sys.exit(main())
