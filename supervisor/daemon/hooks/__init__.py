"""Hooks: commands that run when a run is on record."""
