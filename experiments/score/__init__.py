"""Score payments by a model that a run has kept: probability and decision for every row of a table."""
