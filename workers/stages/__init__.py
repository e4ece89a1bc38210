"""A run's stages: order, tries, slots, sub-pipelines."""
