"""Check records against the invariants."""
