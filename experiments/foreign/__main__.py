"""Run it: ``python -m experiments.foreign``."""

import sys

from experiments.foreign.main import main

if __name__ == "__main__":
    sys.exit(main())
