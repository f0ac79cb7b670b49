"""What a run leaves on disk, so that a crash loses nothing of it."""
