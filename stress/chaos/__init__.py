"""Chaos: break everything at random, by a seed, then check the invariants."""
