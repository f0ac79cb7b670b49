"""Crash: runs are killed, files damaged, disks fail, inputs are bad, hours pass: what is lost, and what gets in.

python -m experiments.crash --quick                    # under a minute
python -m experiments.crash --json FILE --soak 30      # the full campaign, under a quarter of an hour and the soak
"""
