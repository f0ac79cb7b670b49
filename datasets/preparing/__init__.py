"""Columns of a table made fit for a network."""
