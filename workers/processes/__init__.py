"""Processes: start them, find them, keep hold of them."""
