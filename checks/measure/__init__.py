"""What is measured: a loss at a point, its noise, and its slopes."""
