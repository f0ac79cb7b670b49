"""Train a network that finds fraud, check its back-propagation as it learns, and report: the main job."""
