"""Run it: ``python -m experiments.fraud``."""

import sys

from experiments.fraud.main import main

if __name__ == "__main__":
    sys.exit(main())
