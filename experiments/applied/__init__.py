"""Applied: is it noticed when the gradient that is applied is not its batch's, and what does it cost to look."""
