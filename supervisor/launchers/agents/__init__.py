"""Processes of their own that talk to the engines which place runs on other hosts."""
