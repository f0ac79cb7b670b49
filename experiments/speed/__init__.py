"""Speed: this project side by side with what users would pick instead, in one run."""
