"""Whether a gradient is right: one suspicious slope, or all of a network's."""
