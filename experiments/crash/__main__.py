"""Run it: ``python -m experiments.crash``."""

import sys

from experiments.crash.main import main

if __name__ == "__main__":
    sys.exit(main())
