"""What the supervisor writes, and its locks: one thing per module."""
