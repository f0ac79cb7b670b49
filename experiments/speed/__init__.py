"""Speed: this project side by side with what users would pick instead, in one run.

python -m experiments.speed --quick                    # under a minute
python -m experiments.speed --json FILE --plot FILE    # the whole table, some minutes

Every figure is the median of ratios of neighbouring runs, the contestants taking turns. torch and jax are extras
(`peers`), numba is one (`fast`), matplotlib is one (`report`); rows that need what is not installed are absent.
"""
