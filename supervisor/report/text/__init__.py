"""Text for terminals: sanitizing, width, colours, standard streams."""
