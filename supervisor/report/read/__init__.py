"""Read records: runs, trees, timing, events, figures."""
