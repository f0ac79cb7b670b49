"""The check within a training run: the callback, its rows, its proof, and the case that it keeps."""
