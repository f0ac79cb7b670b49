"""Doors: what people write gradients for, each made one check of a loss, and its report told in their words."""
