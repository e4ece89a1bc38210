"""Effects: one outside thing per file."""
