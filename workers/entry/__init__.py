"""The processes that run a worker: by fork, by exec, for a caller, for an engine."""
