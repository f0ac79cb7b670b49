"""Mistakes to plant."""
