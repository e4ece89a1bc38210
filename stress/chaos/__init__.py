"""Chaos: everything is broken at random, by a seed, and the invariants must hold at the end."""
