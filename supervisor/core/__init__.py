"""Pure decisions: time, randomness and identity come in as arguments, actions go out as values."""
