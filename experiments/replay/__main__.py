"""Run it: ``python -m experiments.replay``."""

from experiments.replay.main import main

if __name__ == "__main__":
    raise SystemExit(main())
