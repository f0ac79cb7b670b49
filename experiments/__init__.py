"""What can be run: the main job, the classic exercise, and the campaigns that measure the check.

PYTEST_DONT_REWRITE: nothing in it asserts, and pytest would warn where it was imported before.
"""
