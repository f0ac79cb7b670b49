"""Crash: runs are killed, files damaged, disks fail, inputs are bad, hours pass: what is lost, and what gets in."""
