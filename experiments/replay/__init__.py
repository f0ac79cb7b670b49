"""Show the report of a violation that a halt has kept, and check its case again."""
