"""Run it: ``python -m experiments.score``."""

from experiments.score.main import main

if __name__ == "__main__":
    raise SystemExit(main())
