"""The worker: one process that runs one pipeline run and leaves its records. Stdlib only."""
