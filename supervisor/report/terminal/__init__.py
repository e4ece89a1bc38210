"""Show records on a terminal."""
