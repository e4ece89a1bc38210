"""The imperative shell: feeds stimuli to the core and performs its actions."""
