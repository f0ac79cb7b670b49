"""Run it: ``python -m experiments.tables``."""

from experiments.tables.main import main

if __name__ == "__main__":
    raise SystemExit(main())
