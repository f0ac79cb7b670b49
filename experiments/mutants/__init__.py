"""Mutants: how many false alarms, how many misses, and whether the check says where and why.

python -m experiments.mutants --quick          # under a minute
python -m experiments.mutants --json FILE      # the full campaign, some minutes on two cores
"""
