"""What it costs, measured against peers in the same run: ``python -m benches``."""
