"""Benchmarks against other programs in the same run: ``python -m benches``."""
