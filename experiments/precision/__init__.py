"""Precision: right gradients, and mistakes, where loss and backward pass are computed in bfloat16 or float16."""
