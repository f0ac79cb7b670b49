"""The one problem behind every door: a function whose outputs are added up, and the gradient claimed of the sum."""
