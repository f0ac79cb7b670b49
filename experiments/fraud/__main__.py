"""Run it: ``python -m experiments.fraud``."""

from experiments.fraud.main import main

if __name__ == "__main__":
    raise SystemExit(main())
