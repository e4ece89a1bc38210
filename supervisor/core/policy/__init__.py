"""Pure rules: backoff, liveness, guardrails, metrics, retention, retries, exit codes."""
