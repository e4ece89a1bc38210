"""Health checks for `supervisor doctor`."""
