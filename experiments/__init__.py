"""What can be run: the main job, the classic exercise, and the campaigns that measure the check."""
