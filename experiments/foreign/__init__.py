"""Foreign: what the check says of functions that other people wrote, beside what their own checkers say."""
