"""Ways to start a worker: local processes, callers and engines."""
