"""Text for terminals: sanitizing, tables, colours, standard streams."""
