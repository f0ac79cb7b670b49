"""What a check found, as data, words, pictures."""
