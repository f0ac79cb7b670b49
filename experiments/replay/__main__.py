"""Run it: ``python -m experiments.replay``."""

import sys

from experiments.replay.main import main

if __name__ == "__main__":
    sys.exit(main())
