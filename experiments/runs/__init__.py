"""A run as it is kept: its folder, what it found, and reading both again."""
