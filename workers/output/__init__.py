"""The output of stages: capture, masking, limits."""
