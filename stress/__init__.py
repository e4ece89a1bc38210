"""A black-box test of the command line: it breaks things and checks the records."""
