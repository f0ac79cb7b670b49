"""Run it: ``python -m experiments.mutants``."""

import sys

from experiments.mutants.main import main

if __name__ == "__main__":
    sys.exit(main())
