"""Run it: ``python -m experiments.applied``."""

import sys

from experiments.applied.main import main

if __name__ == "__main__":
    sys.exit(main())
