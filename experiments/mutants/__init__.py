"""Mutants: how many false alarms, how many misses, and whether the check says where and why."""
