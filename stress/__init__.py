"""A black box around the command line: it breaks things and reads what the records say."""
