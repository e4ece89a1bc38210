"""The on-disk protocol: every file's name, format and way of being written. Stdlib only."""
